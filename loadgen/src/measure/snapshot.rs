//! What a worker tells the coordinator once a second: everything that changed since it last did.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Hist, Links, Renewals};

/// Which operation a number belongs to: the phase it was measured in, and the operation's name.
///
/// An operation kept alive under a later phase (`keep`) is measured under that phase's name, so
/// that "canary during the storm" and "canary before it" are two keys. Written `phase/op`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpKey {
    /// Name of the phase during which it was measured.
    pub phase: String,
    /// Name of the operation.
    pub op: String,
}

impl OpKey {
    /// The key of operation `op` as measured during `phase`.
    pub fn new(phase: impl Into<String>, op: impl Into<String>) -> Self {
        Self {
            phase: phase.into(),
            op: op.into(),
        }
    }
}

impl fmt::Display for OpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.phase, self.op)
    }
}

impl Serialize for OpKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OpKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (phase, op) = text
            .split_once('/')
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not phase/op")))?;
        Ok(Self::new(phase, op))
    }
}

/// Something that is counted, per operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counter {
    /// Operations started (connections begun, nodes announced, rounds or events sent).
    Started,
    /// Operations that ended as they should.
    Ok,
    /// Operations that ended in an error; the kinds are in [`OpDelta::errors`].
    Errors,
    /// Operations that could not start within one pace interval of their intended time.
    Late,
    /// Connection attempts, the failed ones included.
    Attempts,
    /// Replies a round should have brought.
    Expected,
    /// Replies that came, each node counted once.
    Replies,
    /// Expected replies that had not come when the round was closed.
    Missing,
    /// Further replies of a node that had already answered.
    Duplicate,
    /// Replies that came after their round was closed.
    LateReplies,
    /// Replies that carry an error status.
    Failed,
    /// Replies of nodes nobody asked, or that could not be read.
    Unknown,
    /// Nodes that left to come back later.
    Left,
    /// Published events that did not arrive.
    Lost,
    /// Events sent while our own listener was away: whether they arrived is unknown.
    Unheard,
    /// Rounds during which the asking connection itself was lost: they say nothing about the nodes.
    Interrupted,
    /// Faults that fell where they were meant to.
    Happened,
    /// Faults that did not: nothing was left to disturb.
    Missed,
}

/// Counters of one operation; a counter that was never touched is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<Counter, u64>);

impl Counters {
    /// Adds `n`; adding 0 makes the counter known, which is how "measured, and none" is said.
    pub fn add(&mut self, counter: Counter, n: u64) {
        *self.0.entry(counter).or_default() += n;
    }

    /// The count, `None` when it was never touched.
    pub fn get(&self, counter: Counter) -> Option<u64> {
        self.0.get(&counter).copied()
    }

    /// The count, 0 when it was never touched.
    pub fn of(&self, counter: Counter) -> u64 {
        self.get(counter).unwrap_or_default()
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (counter, n) in &other.0 {
            self.add(*counter, *n);
        }
    }

    /// Every touched counter.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        self.0.iter().map(|(counter, n)| (*counter, *n))
    }
}

/// A distribution of durations that is kept, per operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// From the *intended* start to the end: what a user of the target would have waited.
    Intended,
    /// From the actual start to the end (service time).
    Actual,
    /// TCP connect of one connection.
    Tcp,
    /// TLS handshake of one connection.
    Tls,
    /// NATS handshake of one connection.
    Nats,
    /// From sending a round to its first reply.
    FirstReply,
    /// From sending a round to its last expected reply.
    LastReply,
    /// From sending a round to each single reply.
    Reply,
    /// From a node's startup event to the restart request it received.
    ToRestart,
    /// From publishing an event to its delivery, both seen by one process.
    EndToEnd,
}

impl Series {
    /// The tag of this distribution in `latency.hlog`: `i` and `s` for the two bases of latency.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Intended => "i",
            Self::Actual => "s",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Nats => "nats",
            Self::FirstReply => "first_reply",
            Self::LastReply => "last_reply",
            Self::Reply => "reply",
            Self::ToRestart => "to_restart",
            Self::EndToEnd => "e2e",
        }
    }
}

/// What one operation did since the last snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpDelta {
    /// Counts since the last snapshot.
    pub counters: Counters,
    /// Samples since the last snapshot.
    pub series: BTreeMap<Series, Hist>,
    /// Errors by kind since the last snapshot; the number of kinds is bounded by the recorder.
    pub errors: BTreeMap<String, u64>,
    /// Rounds closed since the last snapshot.
    pub rounds: Vec<Round>,
}

/// One fan-out: a request to many nodes and what came back. Offsets are from the run's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Number of the round within its operation, from 0.
    pub index: u64,
    /// A warm-up round: written to the results, left out of counters and asserts.
    pub warmup: bool,
    /// The asking connection was lost during it: written to the results, left out of counters but one.
    #[serde(default)]
    pub interrupted: bool,
    /// When it should have been sent, µs.
    pub intended_us: u64,
    /// When it was sent, µs.
    pub sent_us: u64,
    /// Nodes that should answer.
    pub expected: u64,
    /// Nodes that answered, each counted once.
    pub replies: u64,
    /// Nodes that did not answer in time.
    pub missing: u64,
    /// Second and further answers.
    pub duplicate: u64,
    /// Answers after the round was closed.
    pub late: u64,
    /// Answers with an error status.
    pub failed: u64,
    /// Answers of nodes nobody asked, or unreadable ones.
    pub unknown: u64,
    /// First reply, µs after sending.
    pub first_us: Option<u64>,
    /// Last expected reply, µs after sending.
    pub last_us: Option<u64>,
}

/// How far a node is, as the process that hosts it sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Planned, not started yet.
    Waiting,
    /// Opening its connection to the provisioning network.
    Joining,
    /// Connected to the provisioning network, its startup event not published yet.
    Joined,
    /// Its startup event is out (step `arrive`).
    Arrived,
    /// It has made its key and request (step `csr`).
    Csr,
    /// It has been configured (step `configure`).
    Configured,
    /// It is restarting (step `restart`).
    Restarting,
    /// Opening its connection to the production network.
    Connecting,
    /// Connected and subscribed on the production network.
    Connected,
    /// Connected, and seen by the provisioner to answer there (step `confirm`).
    Confirmed,
    /// It lost its connection and is coming back.
    Down,
    /// It has ended.
    Stopped,
}

impl NodeState {
    /// Every state, in the order a node goes through them.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Joining,
        Self::Joined,
        Self::Arrived,
        Self::Csr,
        Self::Configured,
        Self::Restarting,
        Self::Connecting,
        Self::Connected,
        Self::Confirmed,
        Self::Down,
        Self::Stopped,
    ];

    /// The word for it on screen and in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Arrived => "arrived",
            Self::Csr => "csr",
            Self::Configured => "configured",
            Self::Restarting => "restarting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Confirmed => "confirmed",
            Self::Down => "down",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the node is on the production network.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Connected | Self::Confirmed)
    }
}

/// Nodes of one fleet by state: what is so now, not what changed. And what they once reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetCounts {
    /// Name of the fleet.
    pub fleet: String,
    /// How many nodes are in each state; a state without nodes may be absent.
    pub nodes: BTreeMap<NodeState, u64>,
    /// How many were confirmed on the production network at any time, wherever they are now.
    #[serde(default)]
    pub confirmed: u64,
}

impl FleetCounts {
    /// Nodes in `state`.
    pub fn of(&self, state: NodeState) -> u64 {
        self.nodes.get(&state).copied().unwrap_or_default()
    }

    /// Nodes in any state.
    pub fn total(&self) -> u64 {
        self.nodes.values().sum()
    }

    /// Nodes on the production network.
    pub fn up(&self) -> u64 {
        self.nodes
            .iter()
            .filter(|(state, _)| state.is_up())
            .map(|(_, n)| n)
            .sum()
    }
}

/// How one worker process is doing: what tells whether it can be trusted to measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerHealth {
    /// CPU used since the last snapshot, percent of one core.
    pub cpu_pct: Option<f64>,
    /// CPU seconds used since the process started.
    pub cpu_s: Option<f64>,
    /// How late its timers fired since the last snapshot, while an open-paced operation was running
    /// and nothing was enrolled or collected: what the limit is judged by.
    pub sched_lag: Hist,
    /// How late they fired the rest of the time.
    #[serde(default)]
    pub sched_lag_unjudged: Hist,
    /// Whether all of the interval was fit to be judged, which CPU needs.
    pub judged: bool,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Descriptors it may have open.
    pub descriptors_limit: Option<u64>,
}

/// How much attention a line wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warn,
    /// Something failed.
    Error,
}

/// One line of the log pane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, µs from the run's start.
    pub at_us: u64,
    /// How much attention it wants.
    pub level: Level,
    /// One line of text.
    pub text: String,
}

/// What one worker counted since its last snapshot.
///
/// Counters and histograms are differences, so merging is adding; `fleets` and `health` are what
/// is so at `at_us`. A gap in `seq` means numbers were lost, which makes a run invalid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Number of the worker, from 0.
    pub worker: u32,
    /// Number of this snapshot, from 0, without gaps.
    pub seq: u64,
    /// End of the interval, µs from the run's start on the coordinator's clock.
    pub at_us: u64,
    /// Length of the interval, µs.
    pub span_us: u64,
    /// What each operation did.
    pub ops: BTreeMap<OpKey, OpDelta>,
    /// Connections lost and made again.
    #[serde(default)]
    pub links: Links,
    /// Certificates renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewals: Option<Renewals>,
    /// The worker's nodes by state.
    pub fleets: Vec<FleetCounts>,
    /// How the worker itself is doing.
    pub health: WorkerHealth,
    /// Lines for the log pane, at most 100 a snapshot.
    pub log: Vec<LogLine>,
}
