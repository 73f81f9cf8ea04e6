//! A pace against the clock: waits for each slot's time, or for a place under the limit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::pace::{Due, Pacer, Slot};

use super::clock::RunClock;

/// What a driven pace came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driven {
    /// Started.
    pub started: u64,
    /// Left out or delayed, as they could not start in time.
    pub late: u64,
    /// Whether it ran to its end; it was stopped otherwise.
    pub complete: bool,
}

/// Runs an open pace that began at `begun`: `start` is called for every slot when it is due and is
/// told the intended time since the run's start. Ends early when `stop` is cancelled.
pub async fn drive_open<S: Iterator<Item = Slot>>(
    mut pacer: Pacer<S>,
    begun: Duration,
    clock: RunClock,
    stop: &CancellationToken,
    mut start: impl FnMut(Slot),
    mut late: impl FnMut(u64),
) -> Driven {
    let mut told = 0;
    let complete = loop {
        if stop.is_cancelled() {
            break false;
        }
        let now = clock.now().saturating_sub(begun);
        let due = pacer.poll(now);
        if pacer.late() > told {
            late(pacer.late() - told);
            told = pacer.late();
        }
        match due {
            Due::Now(slot) => start(slot),
            Due::Done => break true,
            Due::At(at) => {
                let wake = clock.instant(begun.saturating_add(at));
                tokio::select! {
                    () = tokio::time::sleep_until(wake) => {}
                    () = stop.cancelled() => break false,
                }
            }
        }
    };
    Driven {
        started: pacer.started(),
        late: pacer.late(),
        complete,
    }
}

/// Runs a closed pace: `start` is called for `0..count` as places become free; it is given the
/// place, which is freed when dropped.
pub async fn drive_closed(
    limit: u64,
    count: u64,
    stop: &CancellationToken,
    mut start: impl FnMut(u64, OwnedSemaphorePermit),
) -> Driven {
    let places = usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
    let mut driven = Driven::default();
    for index in 0..count {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stop.cancelled() => return driven,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { return driven };
        start(index, place);
        driven.started += 1;
    }
    driven.complete = true;
    driven
}
