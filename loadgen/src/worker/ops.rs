//! The operations of a phase that nodes take part in: connect, provision, publish, disconnect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::measure::{Counter, OpKey, Recorder};
use crate::pace::{NodeSlot, OnLate, Pacer, Slot};
use crate::scenario::{Action, Op};

use super::cell::Pending;
use super::churn::churn;
use super::clock::RunClock;
use super::guarded::Guarded;
use super::paced::{drive_closed, drive_open};
use super::publish::Arrivals;
use super::swarm::Swarm;

/// An event that has not arrived this long after the last one was sent is lost.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);

/// Under which phase an operation is measured now; changes when a later phase keeps it.
#[derive(Debug)]
pub struct CurrentKey(Guarded<Arc<OpKey>>);

impl CurrentKey {
    /// The key of an operation that begins.
    pub fn new(key: OpKey) -> Self {
        Self(Guarded::new(Arc::new(key)))
    }

    /// The key now.
    pub fn get(&self) -> Arc<OpKey> {
        self.0.with(|key| Arc::clone(key))
    }

    /// From now on it is measured under this phase.
    pub fn set_phase(&self, phase: &str) {
        self.0
            .with(|key| *key = Arc::new(OpKey::new(phase, key.op.clone())));
    }
}

/// How far an operation is.
#[derive(Debug, Default)]
pub struct Way {
    issued: AtomicBool,
    done: AtomicBool,
}

impl Way {
    /// Everything has been started.
    pub fn set_issued(&self) {
        self.issued.store(true, Ordering::Release);
    }

    /// Everything has come to its end.
    pub fn set_done(&self) {
        self.set_issued();
        self.done.store(true, Ordering::Release);
    }

    /// Whether everything has been started.
    pub fn issued(&self) -> bool {
        self.issued.load(Ordering::Acquire)
    }

    /// Whether everything has come to its end.
    pub fn done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

/// What every running operation holds.
#[derive(Debug)]
pub struct OpContext {
    /// The operation.
    pub op: Op,
    /// Under which phase it is measured.
    pub key: CurrentKey,
    /// How far it is.
    pub way: Way,
    /// Starts nothing more when cancelled.
    pub stop: CancellationToken,
    /// Waits for nothing more when cancelled.
    pub abandon: CancellationToken,
    /// Since the run's start, when its phase began.
    pub begun: Duration,
    /// The time of the run.
    pub clock: RunClock,
    /// Its own seed.
    pub seed: u64,
    /// The nodes of this worker.
    pub swarm: Arc<Swarm>,
    /// What arrives of the events they publish.
    pub arrivals: Option<Arc<Arrivals>>,
}

impl OpContext {
    /// Counts starts that could not happen in time.
    pub fn late(&self, n: u64) {
        let key = self.key.get();
        self.record(|recorder| recorder.count(&key, Counter::Late, n));
    }

    /// Counts something.
    pub fn record(&self, work: impl FnOnce(&mut Recorder)) {
        self.swarm.book().recorder.with(work);
    }
}

/// Runs an operation that nodes take part in.
pub async fn run_node_op(context: Arc<OpContext>) {
    let members = context.swarm.members_of(context.op.action.fleets());
    let (open, mut all_ended) = mpsc::channel(1);
    let steps = Steps {
        context: &context,
        members: &members,
        open,
    };
    match &context.op.action {
        Action::Publish { .. } => steps.publish().await,
        Action::Churn { away, .. } => churn(&context, &members, *away, &steps.open).await,
        _ => steps.once_each().await,
    }
    drop(steps);
    context.way.set_issued();
    tokio::select! {
        // Ends when the last operation under way has let go of its sender.
        _ = all_ended.recv() => {}
        () = context.abandon.cancelled() => {}
    }
    if let (Action::Publish { .. }, Some(arrivals)) = (&context.op.action, &context.arrivals) {
        arrivals.settle(ARRIVES_WITHIN, context.swarm.book()).await;
    }
    context.way.set_done();
}

struct Steps<'a> {
    context: &'a Arc<OpContext>,
    /// By number within the operation, over all workers; `None` is hosted by another worker.
    members: &'a [Option<usize>],
    open: mpsc::Sender<()>,
}

impl Steps<'_> {
    async fn once_each(&self) {
        let context = self.context;
        let count = self.members.len() as u64;
        let pace = &context.op.pace;
        context.record(|recorder| recorder.count(&context.key.get(), Counter::Late, 0));
        let Some(schedule) = pace.schedule(count, context.seed) else {
            let limit = match pace {
                crate::pace::Pace::InFlight { limit, .. } => *limit,
                _ => count,
            };
            let start = |index, place| {
                let now = context.clock.now();
                self.start(index, now, Some(place));
            };
            drive_closed(limit, count, &context.stop, start).await;
            return;
        };
        let own = schedule
            .take(self.members.len())
            .filter(|slot| self.member(slot.index).is_some());
        // No node may be forgotten: one that is late happens later.
        let pacer = Pacer::new(own, pace.slack(count), OnLate::Delay);
        let start = |slot: Slot| {
            let intended = context.begun.saturating_add(slot.intended);
            self.start(slot.index, intended, None);
        };
        let (stop, clock) = (&context.stop, context.clock);
        drive_open(pacer, context.begun, clock, stop, start, |n| {
            context.late(n)
        })
        .await;
    }

    fn member(&self, index: u64) -> Option<usize> {
        let index = usize::try_from(index).ok()?;
        self.members.get(index).copied().flatten()
    }

    fn start(&self, index: u64, intended: Duration, place: Option<OwnedSemaphorePermit>) {
        let Some(member) = self.member(index) else {
            return;
        };
        let pending = Pending {
            key: self.context.key.get(),
            intended,
            began: self.context.clock.now(),
            place,
            counted: true,
            open: Some(self.open.clone()),
        };
        let swarm = &self.context.swarm;
        match &self.context.op.action {
            Action::Connect { .. } => swarm.connect(member, pending),
            Action::Provision { .. } => swarm.provision(member, pending),
            Action::Disconnect { .. } => {
                swarm.disconnect(member, pending);
            }
            Action::Publish { .. }
            | Action::Churn { .. }
            | Action::Request(_)
            | Action::Fault(_) => {}
        }
    }

    async fn publish(&self) {
        let context = self.context;
        let count = self.members.len() as u64;
        let pace = &context.op.pace;
        let (stop, clock) = (&context.stop, context.clock);
        let late = |n| context.late(n);
        let slack = pace.slack(count);
        if pace.is_per_node() {
            let own = (0..count).filter(|index| self.member(*index).is_some());
            // The pacer asks for a number and a time; a node's own count is not needed here.
            let slots =
                pace.node_slots(own, context.seed)
                    .map(|NodeSlot { intended, node, .. }| Slot {
                        index: node,
                        intended,
                    });
            let pacer = Pacer::new(slots, slack, OnLate::Skip);
            let send = |slot: Slot| self.send(slot.index);
            drive_open(pacer, context.begun, clock, stop, send, late).await;
        } else if let Some(schedule) = pace.schedule(count, context.seed) {
            let own = schedule.filter(|slot| self.member(slot.index % count.max(1)).is_some());
            let pacer = Pacer::new(own, slack, OnLate::Skip);
            let send = |slot: Slot| self.send(slot.index % count.max(1));
            drive_open(pacer, context.begun, clock, stop, send, late).await;
        }
    }

    fn send(&self, index: u64) {
        if let (Some(member), Action::Publish { body, .. }) =
            (self.member(index), &self.context.op.action)
        {
            let key = self.context.key.get();
            let arrivals = self.context.arrivals.clone();
            let open = self.open.clone();
            let swarm = &self.context.swarm;
            swarm.publish(member, (key, body.0), arrivals, open);
        }
    }
}
