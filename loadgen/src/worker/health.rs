//! Whether this worker measures the target or itself: timer lag, CPU, memory, descriptors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::guarded::Guarded;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::measure::{Hist, WorkerHealth};
use crate::resources::{Usage, descriptor_limit};

/// How often the probe's timer fires.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// Says whether lag and CPU are to be judged now: while an open-paced operation is running, and not
/// while nodes are enrolled or replies are collected. On one machine brokers and nodes fill the
/// cores then, by design.
#[derive(Clone, Debug, Default)]
pub struct Judging(Arc<Going>);

#[derive(Debug, Default)]
struct Going {
    open: AtomicU32,
    busy: AtomicU32,
}

impl Judging {
    /// An open-paced operation runs until the answer is dropped.
    pub fn open(&self) -> Ongoing {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Ongoing(Arc::clone(&self.0), |going| &going.open)
    }

    /// Nodes are enrolled or replies are collected until the answer is dropped.
    pub fn busy(&self) -> Ongoing {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Ongoing(Arc::clone(&self.0), |going| &going.busy)
    }

    fn now(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0 && self.0.busy.load(Ordering::Relaxed) == 0
    }
}

/// Something that goes on for as long as this is held.
#[derive(Debug)]
pub struct Ongoing(Arc<Going>, fn(&Going) -> &AtomicU32);

impl Drop for Ongoing {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Measures this process between two snapshots.
#[derive(Debug)]
pub struct HealthProbe {
    lag: Arc<Guarded<Lag>>,
    last: (Instant, Option<f64>),
}

#[derive(Debug, Default)]
struct Lag {
    judged: Hist,
    unjudged: Hist,
}

impl HealthProbe {
    /// Starts the timer whose lag is measured; it ends with `shutdown`.
    pub fn start(judging: Judging, shutdown: CancellationToken) -> Self {
        let lag = Arc::new(Guarded::<Lag>::default());
        tokio::spawn(probe(Arc::clone(&lag), judging.clone(), shutdown));
        Self {
            lag,
            last: (Instant::now(), Usage::own().cpu_s),
        }
    }

    /// What was measured since the last call.
    pub fn take(&mut self) -> WorkerHealth {
        let usage = Usage::own();
        let now = Instant::now();
        let seconds = now.duration_since(self.last.0).as_secs_f64();
        let cpu_pct = match (usage.cpu_s, self.last.1) {
            (Some(now), Some(before)) if seconds > 0.0 => Some((now - before) * 100.0 / seconds),
            _ => None,
        };
        self.last = (now, usage.cpu_s);
        let lag = self.lag.with(std::mem::take);
        WorkerHealth {
            cpu_pct,
            cpu_s: usage.cpu_s,
            // CPU is measured over the whole interval, so all of it must be fit to be judged.
            judged: !lag.judged.is_empty() && lag.unjudged.is_empty(),
            sched_lag: lag.judged,
            sched_lag_unjudged: lag.unjudged,
            rss_bytes: usage.rss_bytes,
            descriptors: usage.descriptors,
            descriptors_limit: descriptor_limit(),
        }
    }
}

/// A timer that is late tells that everything else here is: each tick's distance from when it was
/// due is one sample.
async fn probe(lag: Arc<Guarded<Lag>>, judging: Judging, shutdown: CancellationToken) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let due = tokio::select! {
            due = ticks.tick() => due,
            () = shutdown.cancelled() => return,
        };
        let late = Instant::now().saturating_duration_since(due);
        lag.with(|lag| {
            let hist = match judging.now() {
                true => &mut lag.judged,
                false => &mut lag.unjudged,
            };
            hist.record(late);
        });
    }
}
