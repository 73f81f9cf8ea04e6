//! Takes tickets from the queue, one task a node, as places are free.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use server_core::client::Connection;
use server_core::words::Clock;
use tokio::task::JoinSet;

use crate::metrics::Metrics;
use crate::pipeline::queue::Queue;
use crate::pipeline::{Context, enrol};
use crate::ready::Readiness;

/// Parked nodes are looked at this often at least, should the clock be set.
const LOOK: Duration = Duration::from_secs(1);

/// Runs for ever. Dropping it ends every enrolment where it stands.
pub(crate) async fn run(context: Arc<Context>) {
    let mut flows = JoinSet::new();
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

/// The next ticket, unless nobody may be asked for now.
fn next(context: &Context) -> Option<crate::pipeline::queue::Ticket> {
    if context.paused.load(Ordering::Relaxed) {
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
    if context.paused.load(Ordering::Relaxed) {
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
    metrics.waiting.set(count(queue.waiting()));
    metrics.working.set(count(queue.working()));
    metrics.parked.set(count(queue.parked()));
    metrics.hearsay.set(count(queue.hearsay()));
    let now = crate::pipeline::now(clock);
    let oldest = queue
        .oldest()
        .map(|since| now.duration_since(since).as_secs_f64());
    metrics.oldest.set(oldest.unwrap_or(0.0));
    metrics.ready.set(i64::from(ready.is_ready()));
}
