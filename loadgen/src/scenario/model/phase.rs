//! Phases and what is done in them.

use std::time::Duration;

use serde::Serialize;

use super::{LinkFault, Location};
use crate::pace::Pace;
use crate::scenario::words::{Expect, FaultKind, Reached};
use crate::units::{Size, as_optional_text, as_text};

/// A part of a run: its operations run side by side.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Name.
    pub name: String,
    /// What it shows, one line.
    pub about: String,
    /// The condition that ends it.
    pub until: Option<Until>,
    /// Failed when the condition is not met in this time.
    #[serde(serialize_with = "as_optional_text")]
    pub timeout: Option<Duration>,
    /// It ends after this time.
    #[serde(serialize_with = "as_optional_text")]
    pub duration: Option<Duration>,
    /// First rounds recorded apart and not asserted on.
    pub warmup: u64,
    /// Earlier phases whose operations keep running underneath.
    pub keep: Vec<String>,
    /// Operations.
    pub ops: Vec<Op>,
    /// Where it is written.
    #[serde(skip)]
    pub location: Location,
}

/// The condition that ends a phase, over the nodes that are expected to get there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Until {
    /// What every node must be.
    pub every: Reached,
    /// The share of them that is enough.
    pub ratio: f64,
    /// For how long it must have been so.
    #[serde(serialize_with = "as_text")]
    pub settle: Duration,
}

/// An operation.
#[derive(Clone, Debug, Serialize)]
pub struct Op {
    /// Its name in metrics.
    pub name: String,
    /// What it does, to whom.
    #[serde(flatten)]
    pub action: Action,
    /// How fast.
    pub pace: Pace,
    /// Where it is written.
    #[serde(skip)]
    pub location: Location,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Opens first connections and subscribes; announces nothing.
    Connect {
        /// Names of the fleets that do it.
        fleets: Vec<String>,
    },
    /// Publishes startup events and follows the nodes until confirmed.
    Provision {
        /// Names of the fleets that do it.
        fleets: Vec<String>,
    },
    /// Asks many nodes and counts the answers.
    Request(RequestOp),
    /// Lets nodes publish events.
    Publish {
        /// Names of the fleets that do it.
        fleets: Vec<String>,
        /// Size of one event.
        body: Size,
    },
    /// Closes connections.
    Disconnect {
        /// Names of the fleets that do it.
        fleets: Vec<String>,
    },
    /// Lets nodes leave in order and come back, one after the other, over and over.
    Churn {
        /// Names of the fleets that do it.
        fleets: Vec<String>,
        /// How long a node stays away.
        #[serde(serialize_with = "as_text")]
        away: Duration,
    },
    /// Disturbs brokers or provisioners.
    Fault(FaultOp),
}

impl Action {
    /// The word of `do`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Provision { .. } => "provision",
            Self::Request(_) => "request",
            Self::Publish { .. } => "publish",
            Self::Disconnect { .. } => "disconnect",
            Self::Churn { .. } => "churn",
            Self::Fault(_) => "fault",
        }
    }

    /// The fleets whose nodes take part, one send each at a time; empty for requests and faults.
    pub fn fleets(&self) -> &[String] {
        match self {
            Self::Connect { fleets }
            | Self::Provision { fleets }
            | Self::Publish { fleets, .. }
            | Self::Disconnect { fleets }
            | Self::Churn { fleets, .. } => fleets,
            Self::Request(_) | Self::Fault(_) => &[],
        }
    }

    /// Whether each node does it exactly once.
    pub fn once_per_node(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Provision { .. } | Self::Disconnect { .. }
        )
    }
}

/// A request to many nodes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestOp {
    /// Who is asked.
    pub to: Target,
    /// The agent and what it is asked; a discovery ping when `None`.
    pub call: Option<Call>,
    /// What a right answer is.
    pub expect: Expect,
    /// How long replies are waited for.
    #[serde(serialize_with = "as_text")]
    pub collect: Duration,
}

/// An agent's action and its input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// The agent.
    pub agent: String,
    /// Its action.
    pub action: String,
    /// Its input, a JSON object.
    pub data: serde_json::Value,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Every node, by broadcast.
    All,
    /// So many nodes, chosen anew for each round.
    Random(u64),
    /// Every node of one fleet.
    Fleet(String),
}

/// A disturbance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultOp {
    /// What is done.
    pub kind: FaultKind,
    /// The target as written.
    pub target: String,
    /// Names of the brokers or provisioners it stands for.
    pub targets: Vec<String>,
    /// What they are.
    pub of: FaultOf,
    /// When.
    pub at: Moment,
    /// How long it lasts; for ever when `None`.
    #[serde(serialize_with = "as_optional_text")]
    pub down: Option<Duration>,
    /// What it does to links; `None` where it is done to brokers or provisioners themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkFault>,
}

/// What a fault falls on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultOf {
    /// Brokers.
    Brokers,
    /// Provisioners.
    Provisioners,
}

/// When a fault falls.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// So long after the phase began.
    After(#[serde(serialize_with = "as_text")] Duration),
    /// When so many percent of the nodes that are to be enrolled have finished a step.
    Progress {
        /// The step that is finished.
        step: ProgressStep,
        /// Percent of the nodes.
        percent: f64,
    },
}

/// A finished step of enrolment, in the word that says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgressStep {
    /// `arrive`
    Arrived,
    /// `inspect`
    Inspected,
    /// `csr`
    Requested,
    /// `sign`
    Signed,
    /// `configure`
    Configured,
    /// `restart`
    Restarted,
    /// `confirm`
    Confirmed,
}

impl ProgressStep {
    /// Every one with its word and the name of its step.
    pub const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Arrived, "arrived", "arrive"),
        (Self::Inspected, "inspected", "inspect"),
        (Self::Requested, "requested", "csr"),
        (Self::Signed, "signed", "sign"),
        (Self::Configured, "configured", "configure"),
        (Self::Restarted, "restarted", "restart"),
        (Self::Confirmed, "confirmed", "confirm"),
    ];

    /// The name of the step, as the provisioner's status has it.
    pub fn step(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(step, _, _)| *step == self)
            .map_or("", |(_, _, name)| name)
    }
}
