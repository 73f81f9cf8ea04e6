//! Takes tickets from the queue, one task a node, as places are free.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use server_core::client::Connection;
use server_core::words::Clock;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::pipeline::queue::Queue;
use crate::pipeline::{Context, enrol};
use crate::ready::Readiness;

/// Parked nodes are looked at this often at least, should the clock be set.
const LOOK: Duration = Duration::from_secs(1);

/// A clock that is this much off after a look was set, not drifting.
const STEP: SignedDuration = SignedDuration::from_secs(2);

/// Runs for ever. Dropping it ends every enrolment where it stands.
pub(crate) async fn run(context: Arc<Context>) {
    let mut flows = JoinSet::new();
    let mut steps = Steps::new(context.now(), Instant::now());
    let mut connection = context.provisioning.client().connection();
    loop {
        // A node taken up while nobody can be asked would be set back for nothing.
        let up = |state: &Connection| matches!(state, Connection::Up { .. });
        if connection.wait_for(up).await.is_err() {
            return;
        }
        let Ok(permit) = Context::permit(&context.places.probes).await else {
            return;
        };
        let ticket = loop {
            if let Some(by) = steps.look(context.now(), Instant::now()) {
                tracing::warn!(seconds = by.as_secs(), "the clock was set");
                context.with_queue(|queue| queue.shift(by));
            }
            if let Some(ticket) = next(&context) {
                break ticket;
            }
            tokio::select! {
                () = context.queued.notified() => {}
                () = tokio::time::sleep(pause(&context)) => {}
                Some(ended) = flows.join_next() => report(ended),
            }
        };
        let probe = context.gate.enter(permit);
        while let Some(ended) = flows.try_join_next() {
            report(ended);
        }
        flows.spawn(enrol(Arc::clone(&context), ticket, probe));
    }
}

/// Notices when the clock is set: then it goes on otherwise than time does.
struct Steps {
    clock: Timestamp,
    time: Instant,
}

impl Steps {
    const fn new(clock: Timestamp, time: Instant) -> Self {
        Self { clock, time }
    }

    /// By how much the clock was set since the last look, if it was.
    fn look(&mut self, clock: Timestamp, time: Instant) -> Option<SignedDuration> {
        let passed = time.duration_since(self.time);
        let told = clock.duration_since(self.clock);
        *self = Self { clock, time };
        let by = told - SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        (by.abs() >= STEP).then_some(by)
    }
}

/// The next ticket, unless nobody may be asked for now.
fn next(context: &Context) -> Option<crate::pipeline::queue::Ticket> {
    if context.holds.any() {
        return None;
    }
    let free = context.places.nodes.available_permits();
    if !context.gate.with(|figures| figures.is_open(free)) {
        return None;
    }
    let now = context.now();
    context.with_queue(|queue| {
        queue.wake(now);
        loop {
            let ticket = queue.take()?;
            let group = context.ledger.group();
            // Another member took it while it waited here.
            match group.and_then(|group| group.held_by_other(ticket.identity.as_str())) {
                Some(_) => queue.leave(&ticket.identity),
                None => return Some(ticket),
            }
        }
    })
}

fn pause(context: &Context) -> Duration {
    if context.holds.any() {
        return LOOK;
    }
    let due = context.with_queue(|queue| queue.next_due());
    let until = due.map(|due| due.duration_since(context.now()));
    let until = until.map(|span| Duration::try_from(span).unwrap_or(Duration::ZERO));
    until.unwrap_or(LOOK).min(LOOK)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an enrolment ended by a defect of this service; the sweep brings the node back");
    }
}

/// Brings the gauges up to date.
pub(super) fn gauge(metrics: &Metrics, ready: &Readiness, queue: &Mutex<Queue>, clock: &dyn Clock) {
    let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.queue.waiting.set(count(queue.waiting()));
    metrics.queue.working.set(count(queue.working()));
    metrics.queue.parked.set(count(queue.parked()));
    metrics.queue.hearsay.set(count(queue.hearsay()));
    let now = crate::pipeline::now(clock);
    let oldest = queue
        .oldest()
        .map(|since| now.duration_since(since).as_secs_f64());
    metrics.queue.oldest.set(oldest.unwrap_or(0.0));
    metrics.service.ready.set(i64::from(ready.is_ready()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let (clock, time) = (Timestamp::UNIX_EPOCH, Instant::now());
        let mut steps = Steps::new(clock, time);
        let mut look = |clock_s: i64, time_s: u64| {
            let clock = clock + SignedDuration::from_secs(clock_s);
            let by = steps.look(clock, time + Duration::from_secs(time_s));
            by.map(|by| by.as_secs())
        };
        assert_eq!(look(600, 600), None);
        assert_eq!(look(4_201, 601), Some(3_600));
        assert_eq!(look(602, 602), Some(-3_600));
        assert_eq!(look(604, 603), None, "one second is no step");
    }
}
