//! Drives a run: lets the conductor take the workers through the phases, and hands back what it came
//! to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::assert::Baselines;
use crate::control::crew::{Crew, Member};
use crate::formation::monitor::Varz;
use crate::formation::relay::LineSeen;
use crate::guard::RunMark;
use crate::measure::{BrokerSample, BrokerView, LogLine, PhaseView, RunState, Snapshot, Totals};
use crate::plan::Plan;
use crate::results::Ending;
use crate::site::Site;
use crate::view::Logs;
use crate::worker::clock::RunClock;

use super::conduct::Conductor;
use super::workers::WorkerSeen;

/// Takes note of what happens during a run, as it happens.
pub trait Chronicle: Send {
    /// A worker's numbers, taken while `phase` was running.
    fn snapshot(&mut self, phase: &str, snapshot: &Snapshot);
    /// What a broker said of itself.
    fn broker(&mut self, at_us: u64, phase: &str, name: &str, sample: &BrokerSample);
    /// A fault of `kind` took `targets` away, or they are back from it.
    fn fault(&mut self, at_us: u64, phase: &str, kind: &str, targets: &[String], away: bool);
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
    /// The workers.
    pub crew: &'a mut Crew,
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
    /// The runs that asserts compare with.
    pub baselines: &'a Baselines,
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
    /// What went over every relayed link.
    pub relayed: Vec<LineSeen>,
    /// What is known of every worker.
    pub workers: BTreeMap<u32, WorkerSeen>,
    /// Who the workers were.
    pub members: BTreeMap<u32, Member>,
    /// Workers that were lost, and how.
    pub lost: BTreeMap<u32, String>,
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
            relayed: Vec::new(),
            workers: BTreeMap::new(),
            members: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }
}

impl Drive<'_> {
    /// Runs everything from the first phase to the last node's end.
    pub async fn run(self) -> Driven {
        let beside = CancellationToken::new();
        let mut conductor = Conductor::new(self, &beside);
        conductor.conduct().await;
        beside.cancel();
        conductor.finish().await
    }
}
