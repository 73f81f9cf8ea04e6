//! What a scenario says, typed: every value parsed, every default filled in, every name resolved.

mod link;
mod phase;
mod provisioner;

pub use link::{BrokerLink, LinkEffect, LinkFault};
pub use phase::{
    Action, Call, FaultOf, FaultOp, Moment, Op, Phase, ProgressStep, RequestOp, Target, Until,
};
pub use provisioner::{Provisioner, Renewal};

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::behaviour::Behaviour;
use super::load::Assignment;
use super::mistake::{Location, Source};
use super::words::{
    AssertLevel, Check, Format, KeyKind, Manage, OnFail, Outcome, ReconnectPolicy, Role,
    SourceAddress, Start, Tls, Verify,
};
use crate::assert::Expression;
use crate::units::{Size, as_optional_text, as_text};

/// A load test: who takes part, what happens in which order, what must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// Name, part of every run's name.
    pub name: String,
    /// What it is about, one line.
    pub about: String,
    /// Every random choice derives from this.
    pub seed: u64,
    /// Parameters after `--set`.
    pub params: BTreeMap<String, serde_json::Value>,
    /// What makes a run worthless.
    pub limits: Limits,
    /// What is checked before the first socket opens.
    pub preflight: Preflight,
    /// The worker processes.
    pub generator: Generator,
    /// The brokers.
    pub topology: Topology,
    /// The enrolment service.
    pub provisioner: Provisioner,
    /// The nodes.
    pub fleets: Vec<Fleet>,
    /// What happens, in order.
    pub phases: Vec<Phase>,
    /// What must hold.
    pub asserts: Vec<Assert>,
    /// What is written.
    pub output: Output,
    /// The files it was read from, the scenario itself first.
    #[serde(skip)]
    pub sources: Vec<Source>,
    /// Parameters given on the command line.
    #[serde(skip)]
    pub assignments: Vec<Assignment>,
    /// Only what brings the fleet up is left of it, for `loadgen up`.
    #[serde(skip)]
    pub only_up: bool,
}

impl Scenario {
    /// Nodes of all fleets together.
    pub fn nodes(&self) -> u64 {
        self.fleets.iter().map(|fleet| fleet.nodes).sum()
    }

    /// The phase of that name.
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.name == name)
    }

    /// The tier of that name.
    pub fn tier(&self, name: &str) -> Option<&Tier> {
        self.topology.tiers.iter().find(|tier| tier.name == name)
    }

    /// The links between brokers that a fault falls on, each once: those that are relayed.
    pub fn relayed_links(&self) -> Vec<BrokerLink> {
        let ops = self.phases.iter().flat_map(|phase| &phase.ops);
        let faults = ops.filter_map(|op| match &op.action {
            Action::Fault(fault) => fault.link.as_ref(),
            _ => None,
        });
        let mut links: Vec<BrokerLink> = faults.flat_map(|fault| fault.links.clone()).collect();
        links.sort_unstable();
        links.dedup();
        links
    }

    /// Whether any node has to be enrolled.
    pub fn enrols(&self) -> bool {
        let unprovisioned = |fleet: &Fleet| fleet.start == Start::Unprovisioned;
        self.fleets.iter().any(unprovisioned)
    }
}

/// Limits of the generator: breaching one makes the run invalid. `None` is not judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// The whole run may take this long.
    #[serde(serialize_with = "as_optional_text")]
    pub wall_time: Option<Duration>,
    /// CPU of the busiest worker, percent of one core.
    pub gen_cpu_pct: Option<f64>,
    /// How late the generator's timers fire, 99th percentile.
    #[serde(serialize_with = "as_optional_text")]
    pub gen_sched_lag_p99: Option<Duration>,
    /// Share of its descriptors any worker uses, percent.
    pub fd_use_pct: Option<f64>,
    /// Share of sends that could not start in time, percent.
    pub late_sends_pct: Option<f64>,
}

/// What is checked before the first socket opens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preflight {
    /// The checks.
    pub require: Vec<Check>,
    /// What a failed one does.
    pub on_fail: OnFail,
}

/// The worker processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generator {
    /// How many; from the descriptors each may have when not given.
    pub workers: Option<u32>,
    /// How many of them may be lost without ending the run.
    pub may_lose: u32,
    /// How a connection gets its source address.
    pub source: SourceAddress,
    /// Source addresses to bind.
    pub addrs: Vec<std::net::IpAddr>,
    /// Who verifies a request that many nodes of a worker receive.
    pub verification: Verify,
    /// Accepted without effect: a connection that has nothing to read holds no buffer.
    pub read_buffer: Option<Size>,
}

/// The brokers.
#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    /// Whether we start them.
    pub manage: Manage,
    /// Tiers in the order they are written.
    pub tiers: Vec<Tier>,
}

/// Brokers of one kind, named `NAME-1` to `NAME-n`.
#[derive(Clone, Debug, Serialize)]
pub struct Tier {
    /// Name of the tier.
    pub name: String,
    /// Which network it carries.
    pub role: Role,
    /// How many brokers.
    pub count: u32,
    /// The cluster they form.
    pub cluster: Option<String>,
    /// The tier they dial as leaf nodes.
    pub leaf_of: Option<String>,
    /// The region of a supercluster they belong to.
    pub gateway: Option<String>,
    /// Connections one broker accepts.
    pub max_conns: Option<u64>,
    /// How the transport is protected.
    pub tls: Tls,
    /// Where they are and how to get in, when they are somebody else's.
    pub external: Option<External>,
    /// Where it is written.
    #[serde(skip)]
    pub location: Location,
}

impl Tier {
    /// Whether its broker can keep the bucket that several provisioners share: one that has no
    /// others to agree with.
    pub fn keeps_bucket(&self) -> bool {
        let alone = self.leaf_of.is_none() && self.gateway.is_none() && self.cluster.is_none();
        self.role == Role::Production && self.count == 1 && alone
    }

    /// The names of its brokers.
    pub fn brokers(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.count).map(move |number| format!("{}-{number}", self.name))
    }

    /// The cluster its brokers are of. A region of a supercluster is a cluster of its name; brokers
    /// of one tier are one cluster even where none is named, save leaves, which are each alone.
    pub fn cluster_name(&self) -> Option<&str> {
        let named = self.gateway.as_deref().or(self.cluster.as_deref());
        let several = self.count > 1 && self.leaf_of.is_none();
        named.or_else(|| several.then_some(self.name.as_str()))
    }
}

/// Brokers of somebody else: addresses and credentials. Paths are relative to the scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct External {
    /// Addresses, `tls://host:port` or `nats://host:port`.
    pub servers: Vec<String>,
    /// A NATS context file.
    pub context: Option<String>,
    /// The file of trusted certificates.
    pub ca: Option<String>,
    /// User name.
    pub user: Option<String>,
    /// The file that holds the password.
    pub password_file: Option<String>,
    /// The file that holds a token.
    pub token_file: Option<String>,
    /// The files of the certificate and the key that nodes' certificates are signed with.
    pub issuer: Option<(String, String)>,
}

/// Nodes of one kind, named `NAME-00001.example.net` and on.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// Name of the fleet.
    pub name: String,
    /// How many nodes, shares already worked out.
    pub nodes: u64,
    /// The production tier they connect to.
    pub attach: String,
    /// Which broker each starts at.
    pub spread: Spread,
    /// How they begin.
    pub start: Start,
    /// Algorithm of their keys.
    pub key: KeyKind,
    /// The collectives they are in.
    pub collectives: Vec<String>,
    /// Agents in all, the built-in ones included.
    pub agents: u32,
    /// Facts by name.
    pub facts: BTreeMap<String, Fact>,
    /// How a lost connection is opened again.
    pub reconnect: Reconnect,
    /// How they behave.
    pub behaviour: Behaviour,
    /// What should come of their enrolment.
    pub expect: Outcome,
    /// The code the provisioner should give as its reason.
    pub code: Option<String>,
    /// Where it is written.
    #[serde(skip)]
    pub location: Location,
}

impl Fleet {
    /// Subscriptions of one of its nodes on the production network: each collective has one for
    /// every agent and one for the node itself.
    pub fn subscriptions(&self) -> u64 {
        self.collectives.len() as u64 * (u64::from(self.agents) + 1)
    }

    /// Whether its nodes should end on the production network, where requests reach them.
    pub fn ends_in_production(&self) -> bool {
        self.start == Start::Production || self.expect == Outcome::Confirmed
    }

    /// How many of its nodes should end as confirmed.
    pub fn expected_confirmed(&self) -> u64 {
        match self.expect {
            Outcome::Confirmed => self.nodes,
            _ => 0,
        }
    }
}

/// Which production broker each node of a fleet starts at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// The brokers of its tier in turn.
    #[default]
    RoundRobin,
    /// Each broker of its tier as often as its weight says.
    Share(Vec<(String, u64)>),
    /// By the value of a fact.
    Fact {
        /// The fact.
        fact: String,
        /// The broker or tier for each value; the brokers of its tier in turn when empty.
        sites: Vec<(String, String)>,
    },
}

/// Where the value of a fact comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Fact {
    /// The same for every node.
    Value(serde_json::Value),
    /// Dealt out in turn, from a place the seed chooses.
    OneOf(Vec<serde_json::Value>),
    /// Whole numbers in turn, from the first to the last and again.
    Sequence {
        /// The first.
        from: i64,
        /// The last, included.
        to: i64,
    },
}

impl Fact {
    /// How many values there are before they come again.
    pub fn period(&self) -> u64 {
        match self {
            Self::Value(_) => 1,
            Self::OneOf(values) => values.len().max(1) as u64,
            Self::Sequence { from, to } => to.abs_diff(*from).saturating_add(1),
        }
    }

    /// The values as text, in the order they are dealt out.
    pub fn texts(&self) -> Vec<String> {
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match self {
            Self::Value(value) => vec![text(value)],
            Self::OneOf(values) => values.iter().map(text).collect(),
            Self::Sequence { from, to } => (*from..=*to).map(|n| n.to_string()).collect(),
        }
    }
}

/// How a lost connection is opened again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reconnect {
    /// The policy.
    pub policy: ReconnectPolicy,
    /// Shortest delay.
    #[serde(serialize_with = "as_text")]
    pub min: Duration,
    /// Longest delay.
    #[serde(serialize_with = "as_text")]
    pub max: Duration,
    /// Random time on top.
    #[serde(serialize_with = "as_text")]
    pub spread: Duration,
}

/// Expressions that must hold.
#[derive(Clone, Debug, Serialize)]
pub struct Assert {
    /// The phase they are about; the whole run when `None`.
    pub phase: Option<String>,
    /// What a breach means.
    pub level: AssertLevel,
    /// The expressions.
    pub that: Vec<Expression>,
    /// The results folder `baseline` stands for.
    pub baseline: Option<String>,
    /// When a breach ends the run early.
    pub abort: Option<Abort>,
    /// Where it is written.
    #[serde(skip)]
    pub location: Location,
}

/// When a breach ends the run early.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Abort {
    /// Not in the first part of the phase.
    #[serde(serialize_with = "as_text")]
    pub grace: Duration,
    /// Only when it has been breached for this long.
    #[serde(serialize_with = "as_text")]
    pub lasting: Duration,
}

/// What is written into the results folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Output {
    /// Time between two rows of the time series.
    #[serde(serialize_with = "as_text")]
    pub interval: Duration,
    /// Kinds of files.
    pub formats: Vec<Format>,
}
