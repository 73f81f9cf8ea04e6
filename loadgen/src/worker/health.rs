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

/// Counts open-paced operations that are running: while there is one, lag and CPU are judged.
#[derive(Clone, Debug, Default)]
pub struct OpenOps(Arc<AtomicU32>);

impl OpenOps {
    /// Counts one more until the answer is dropped.
    pub fn enter(&self) -> OpenOp {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenOp(Arc::clone(&self.0))
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One running open-paced operation.
#[derive(Debug)]
pub struct OpenOp(Arc<AtomicU32>);

impl Drop for OpenOp {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Measures this process between two snapshots.
#[derive(Debug)]
pub struct HealthProbe {
    lag: Arc<Guarded<Lag>>,
    open: OpenOps,
    last: (Instant, Option<f64>),
}

#[derive(Debug, Default)]
struct Lag {
    hist: Hist,
    judged: bool,
}

impl HealthProbe {
    /// Starts the timer whose lag is measured; it ends with `shutdown`.
    pub fn start(open: OpenOps, shutdown: CancellationToken) -> Self {
        let lag = Arc::new(Guarded::<Lag>::default());
        tokio::spawn(probe(Arc::clone(&lag), open.clone(), shutdown));
        Self {
            lag,
            open,
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
            sched_lag: lag.hist,
            judged: lag.judged || self.open.any(),
            rss_bytes: usage.rss_bytes,
            descriptors: usage.descriptors,
            descriptors_limit: descriptor_limit(),
        }
    }
}

/// A timer that is late tells that everything else here is: each tick's distance from when it was
/// due is one sample.
async fn probe(lag: Arc<Guarded<Lag>>, open: OpenOps, shutdown: CancellationToken) {
    let mut ticks = interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let due = tokio::select! {
            due = ticks.tick() => due,
            () = shutdown.cancelled() => return,
        };
        let late = Instant::now().saturating_duration_since(due);
        lag.with(|lag| {
            lag.hist.record(late);
            lag.judged |= open.any();
        });
    }
}
