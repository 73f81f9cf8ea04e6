//! The whole run at a glance: what the live view draws, the line output prints and
//! `--progress json` writes, all from the same value.
//!
//! The coordinator builds a new one four times a second and hands it over through a watch
//! channel; who draws it never touches samples and can never slow a worker down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{LogLine, NodeState, Quantiles};

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Checking that this machine can hold the run.
    #[default]
    Preflight,
    /// Starting brokers, provisioners and workers.
    Starting,
    /// Phases are running.
    Running,
    /// `loadgen up`: everything is up and stays so.
    Holding,
    /// Taking everything down.
    Stopping,
    /// Over; the results are written.
    Done,
}

/// Everything worth showing about a run at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Identifier of the run, also the name of its folder.
    pub run: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The scenario's seed.
    pub seed: u64,
    /// Where the run stands.
    pub stage: Stage,
    /// What is being done right now, in a few words; empty when the phases say it.
    pub doing: String,
    /// Time since the start, µs.
    pub elapsed_us: u64,
    /// How long the plan expects it to take, µs.
    pub expected_us: Option<u64>,
    /// Every phase in order, queued ones included.
    pub phases: Vec<PhaseView>,
    /// Every fleet.
    pub fleets: Vec<FleetView>,
    /// Enrolments by step now, from the provisioner's ledger: `queue` 12, `csr` 3, … in the order
    /// of the steps. Empty without a provisioner.
    pub steps: Vec<(String, u64)>,
    /// Every operation that has begun.
    pub ops: Vec<OpView>,
    /// Rates over the last two minutes, one value a second.
    pub rates: Vec<RateView>,
    /// Every broker.
    pub brokers: Vec<BrokerView>,
    /// Faults that have fallen, in order.
    #[serde(default)]
    pub faults: Vec<FaultView>,
    /// Every worker process.
    pub workers: Vec<WorkerView>,
    /// Whether the numbers can be trusted.
    pub health: GeneratorHealth,
    /// Every assert.
    pub asserts: Vec<AssertView>,
    /// The latest lines, oldest first, at most [`RunState::LOG_LINES`].
    pub log: Vec<LogLine>,
    /// Lines told since the start: a reader that missed some sees it by this number.
    pub log_total: u64,
}

impl RunState {
    /// How many log lines a state carries.
    pub const LOG_LINES: usize = 200;
    /// How many values of a rate a state carries, one a second.
    pub const RATE_VALUES: usize = 120;

    /// The phase that is running, with its number from 1.
    pub fn current_phase(&self) -> Option<(usize, &PhaseView)> {
        self.phases
            .iter()
            .enumerate()
            .find(|(_, phase)| phase.state == PhaseProgress::Running)
            .map(|(index, phase)| (index + 1, phase))
    }

    /// Nodes on the production network and nodes in all.
    pub fn nodes_up(&self) -> (u64, u64) {
        self.fleets.iter().fold((0, 0), |(up, total), fleet| {
            (up + fleet.up(), total + fleet.total)
        })
    }
}

/// Where a phase stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseProgress {
    /// Its turn has not come.
    #[default]
    Queued,
    /// It is running.
    Running,
    /// It ended as it should.
    Ok,
    /// It timed out or an assert of it failed.
    Failed,
    /// The run ended before its turn came.
    Skipped,
}

/// One phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseView {
    /// Name.
    pub name: String,
    /// Where it stands.
    pub state: PhaseProgress,
    /// How much is done, in the unit of `of` (nodes confirmed, rounds collected, µs passed).
    pub done: u64,
    /// How much there is to do; 0 when that is not known.
    pub of: u64,
    /// What `done` and `of` count: `nodes`, `rounds`, `µs`.
    pub unit: String,
    /// When it began, µs from the run's start.
    pub started_us: Option<u64>,
    /// How long it has run or ran, µs.
    pub elapsed_us: u64,
    /// How long the plan expects it to run, µs.
    pub expected_us: Option<u64>,
    /// Its latest figures in a few words, e.g. `20 × 1000  0 missing  last reply p50 41 ms`.
    pub note: String,
}

impl PhaseView {
    /// Share done from 0 to 1, where it is known.
    pub fn ratio(&self) -> Option<f64> {
        match self.state {
            PhaseProgress::Ok => Some(1.0),
            _ if self.of > 0 => Some((self.done as f64 / self.of as f64).clamp(0.0, 1.0)),
            _ => None,
        }
    }
}

/// One fleet's nodes by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetView {
    /// Name.
    pub name: String,
    /// Nodes in all.
    pub total: u64,
    /// Nodes by state; a state without nodes may be absent.
    pub nodes: BTreeMap<NodeState, u64>,
}

impl FleetView {
    /// Nodes in `state`.
    pub fn of(&self, state: NodeState) -> u64 {
        self.nodes.get(&state).copied().unwrap_or_default()
    }

    /// Nodes on the production network.
    pub fn up(&self) -> u64 {
        let up = self.nodes.iter().filter(|(state, _)| state.is_up());
        up.map(|(_, n)| n).sum()
    }
}

/// How a target of the scenario is being met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Nothing to say yet.
    #[default]
    Waiting,
    /// Met so far, the phase is still running.
    Live,
    /// Met.
    Ok,
    /// Not met, and only a warning.
    Warned,
    /// Not met.
    Failed,
    /// Too few samples to say, or none.
    Inconclusive,
}

/// One operation's line in the latency pane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpView {
    /// Phase it was measured in.
    pub phase: String,
    /// Name with the series where there are several: `ping.reply`, `ping.last`, `connect`.
    pub name: String,
    /// From the intended start.
    pub intended: Quantiles,
    /// From the actual start (service time); the same where the two cannot differ.
    pub actual: Quantiles,
    /// Errors.
    pub errors: u64,
    /// Late starts.
    pub late: u64,
    /// The first assert on this line, e.g. `p99 <= 2s`.
    pub target: Option<String>,
    /// How that one is met.
    pub target_state: TargetState,
}

/// One rate over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateView {
    /// What is counted: `connect`, `replies`, `events`, `errors`, `attempts`, `enrolled`.
    pub name: String,
    /// Per second, now.
    pub now: f64,
    /// Per second, oldest first, one value a second.
    pub history: Vec<f64>,
}

/// One broker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerView {
    /// Name, e.g. `hub-1`.
    pub name: String,
    /// Tier, e.g. `hub`.
    pub tier: String,
    /// Address clients dial.
    pub address: String,
    /// `starting`, `up`, `down`, `frozen`, `lame duck`, `ended`.
    pub state: String,
    /// Client connections.
    pub connections: Option<u64>,
    /// Subscriptions.
    pub subscriptions: Option<u64>,
    /// Messages in per second.
    pub in_per_s: Option<f64>,
    /// Messages out per second.
    pub out_per_s: Option<f64>,
    /// Slow consumers since it started.
    pub slow_consumers: Option<u64>,
    /// Resident memory, bytes.
    pub mem_bytes: Option<u64>,
    /// CPU, percent of one core.
    pub cpu_pct: Option<f64>,
}

/// One fault that has fallen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// What was done, e.g. `kill`.
    pub kind: String,
    /// To whom.
    pub targets: Vec<String>,
    /// When, µs from the run's start.
    pub at_us: u64,
    /// When all of them were up again, µs from the run's start.
    pub up_us: Option<u64>,
    /// Nodes that lost their connection by it; `None` where it took no broker.
    pub affected: Option<u64>,
    /// Of these, how many are back.
    pub back: Option<u64>,
}

/// One worker process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Number, from 0.
    pub worker: u32,
    /// Nodes it hosts.
    pub nodes: u64,
    /// CPU, percent of one core.
    pub cpu_pct: Option<f64>,
    /// How late its timers fire: 99th percentile since the start, µs.
    pub sched_lag_p99_us: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Most descriptors open at once so far: what has to fit under the limit.
    pub descriptors: Option<u64>,
    /// Descriptors it may have open.
    pub descriptors_limit: Option<u64>,
}

/// Whether the generator measures the target or itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum GeneratorHealth {
    /// Nothing measured yet.
    #[default]
    Unknown,
    /// Within every limit.
    Healthy,
    /// Over a limit: the run is invalid. Says which and by how much.
    Limited(String),
}

/// One assert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AssertView {
    /// Phase it is scoped to; empty for the whole run.
    pub phase: String,
    /// The expression as written.
    pub that: String,
    /// Its value so far, with its unit.
    pub value: Option<String>,
    /// How it is met.
    pub state: TargetState,
}
