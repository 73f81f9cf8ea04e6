//! Drives a run: starts the workers, lets the conductor take them through the phases, and hands back
//! what it came to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::formation::monitor::Varz;
use crate::guard::RunMark;
use crate::measure::{
    BrokerSample, BrokerView, LogLine, PhaseView, RunState, Snapshot, Totals, WorkerHealth,
};
use crate::message::{Access, Assignment, ToWorker};
use crate::plan::Plan;
use crate::results::Ending;
use crate::site::Site;
use crate::view::Logs;
use crate::worker::clock::RunClock;

use super::conduct::Conductor;

/// Dials a worker has under way at once.
const DIALS: usize = 64;
/// Messages of all workers that may wait for the coordinator.
const INBOX: usize = 1_024;

/// Takes note of what happens during a run, as it happens.
pub trait Chronicle: Send {
    /// A worker's numbers, taken while `phase` was running.
    fn snapshot(&mut self, phase: &str, snapshot: &Snapshot);
    /// What a broker said of itself.
    fn broker(&mut self, at_us: u64, phase: &str, name: &str, sample: &BrokerSample);
    /// Log lines.
    fn log(&mut self, lines: &[LogLine]);
}

/// What a run is driven with.
pub struct Drive<'a> {
    /// Identifier of the run.
    pub run: &'a str,
    /// The plan.
    pub plan: Arc<Plan>,
    /// How many workers.
    pub workers: u32,
    /// Brokers and provisioners.
    pub site: &'a mut Site,
    /// Marks what faults start again.
    pub mark: RunMark,
    /// The time of the run.
    pub clock: RunClock,
    /// Asks for the end of the run.
    pub stop: CancellationToken,
    /// Where pictures go.
    pub states: &'a watch::Sender<Arc<RunState>>,
    /// The log of this process.
    pub logs: &'a Logs,
    /// Who takes note.
    pub chronicle: &'a mut dyn Chronicle,
    /// Hold after the last phase until asked to stop.
    pub hold: Option<Hold<'a>>,
}

/// What to do once everything is up, for `loadgen up`.
pub struct Hold<'a> {
    /// Called once, when the last phase is over.
    pub up: &'a mut (dyn FnMut(&Totals) + Send),
    /// How long to hold; until asked to stop when `None`.
    pub within: Option<Duration>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Driven {
    /// How it ended.
    pub ending: Ending,
    /// Everything measured.
    pub totals: Totals,
    /// What makes the measurement worthless.
    pub spoilt: Vec<String>,
    /// Two counts of the same thing that disagree.
    pub wrong: Vec<String>,
    /// Every phase as it ended.
    pub phases: Vec<PhaseView>,
    /// Every broker as it was seen last.
    pub brokers: Vec<BrokerView>,
    /// What every broker said of itself last.
    pub varz: BTreeMap<String, Varz>,
    /// Every worker's nodes and latest health.
    pub workers: BTreeMap<u32, (u64, WorkerHealth)>,
}

impl Driven {
    /// A run in which nothing came to be driven.
    pub fn nothing(ending: Ending) -> Self {
        Self {
            ending,
            totals: Totals::new(),
            spoilt: Vec::new(),
            wrong: Vec::new(),
            phases: Vec::new(),
            brokers: Vec::new(),
            varz: BTreeMap::new(),
            workers: BTreeMap::new(),
        }
    }
}

impl Drive<'_> {
    /// Runs everything from the first phase to the last node's end.
    pub async fn run(self) -> Driven {
        let (outbox, inbox) = mpsc::channel(INBOX);
        let mut tasks = Vec::new();
        let mut to_workers = Vec::new();
        for worker in 0..self.workers {
            let (sender, receiver) = mpsc::channel(16);
            tasks.push(tokio::spawn(crate::worker::run(receiver, outbox.clone())));
            to_workers.push(sender);
            let assignment = self.assignment(worker, self.site.access());
            let message = ToWorker::Assign(Box::new(assignment));
            // A worker that is gone already is told of by its closed inbox below.
            let _ = to_workers[worker as usize].send(message).await;
        }
        drop(outbox);
        let beside = CancellationToken::new();
        let mut conductor = Conductor::new(self, to_workers, &beside);
        conductor.conduct(inbox).await;
        beside.cancel();
        let driven = conductor.finish().await;
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker broke off");
            }
        }
        driven
    }

    fn assignment(&self, worker: u32, access: Access) -> Assignment {
        Assignment {
            worker,
            workers: self.workers,
            plan: Arc::clone(&self.plan),
            access,
            clock: self.clock,
            dials: DIALS,
        }
    }
}
