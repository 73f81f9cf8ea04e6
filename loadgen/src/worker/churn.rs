//! Churn: nodes leave in order and come back after a while, one after the other, at a steady pace.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::measure::Counter;
use crate::pace::{OnLate, Pacer, Slot};

use super::cell::Pending;
use super::ops::OpContext;
use super::paced::drive_open;

/// Lets members leave in turn until the pace or the phase is over; `open` is held for as long as
/// somebody is on the way. `None` among the members is hosted by another worker.
pub async fn churn(
    context: &Arc<OpContext>,
    members: &[Option<usize>],
    away: Duration,
    open: &mpsc::Sender<()>,
) {
    let count = members.len().max(1) as u64;
    let member = |slot: &Slot| {
        let index = usize::try_from(slot.index % count).ok()?;
        members.get(index).copied().flatten()
    };
    let pace = &context.op.pace;
    let Some(schedule) = pace.schedule(count, context.seed) else {
        return;
    };
    let own = schedule.filter(|slot| member(slot).is_some());
    let pacer = Pacer::new(own, pace.slack(count), OnLate::Skip);
    let start = |slot: Slot| {
        if let Some(member) = member(&slot) {
            let absence = be_away(Arc::clone(context), member, away, open.clone());
            tokio::spawn(absence);
        }
    };
    context.record(|recorder| recorder.count(&context.key.get(), Counter::Left, 0));
    let (stop, clock) = (&context.stop, context.clock);
    drive_open(pacer, context.begun, clock, stop, start, |n| {
        context.late(n)
    })
    .await;
}

/// One absence. When the operation is stopped it is cut short: nobody is left outside.
async fn be_away(context: Arc<OpContext>, member: usize, away: Duration, open: mpsc::Sender<()>) {
    let (leaving, mut gone) = mpsc::channel(1);
    let pending = |counted, open| Pending {
        key: context.key.get(),
        intended: context.clock.now(),
        began: context.clock.now(),
        place: None,
        counted,
        open: Some(open),
    };
    let left = context.swarm.disconnect(member, pending(false, leaving));
    let Some(announced) = left else {
        // It is away already.
        return context.late(1);
    };
    context.record(|recorder| recorder.count(&context.key.get(), Counter::Left, 1));
    // Ends when the node has ended and let go of its sender.
    let _ = gone.recv().await;
    tokio::select! {
        () = tokio::time::sleep(away) => {}
        () = context.stop.cancelled() => {}
    }
    let back = pending(true, open);
    context.swarm.come_back(member, announced, back);
}
