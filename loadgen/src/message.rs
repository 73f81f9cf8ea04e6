//! What coordinator and workers say to each other. A worker knows nothing else of the run, so it
//! makes no difference to it on which machine the coordinator is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use server_core::bus::Dial;

use crate::formation::certificates::Issued;
use crate::formation::organization::Member;
use crate::measure::{FleetCounts, Snapshot};
use crate::plan::Plan;
use crate::scenario::{ScenarioText, Tls};
use crate::worker::clock::RunClock;

/// Dials under way at once, of all workers together.
pub const DIALS: u32 = 192;

/// The fact in which a node tells its fleet, for the provisioner's templates.
pub const FACT_FLEET: &str = "loadgen_fleet";
/// The fact in which a node that is to be enrolled tells the broker it starts at.
pub const FACT_BROKER: &str = "loadgen_broker";

/// Where nodes that get tokens have the run's trust anchors from the beginning, which verify brokers.
pub const ROOTS: &str = "/etc/choria/ca.pem";

/// From the coordinator to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// Who the worker is and what it hosts; the first message, answered by [`FromWorker::Ready`].
    Assign(Box<Orders>),
    /// Begin the operations of this phase, and keep those of earlier ones that it names.
    Begin {
        /// The phase's place in the scenario.
        phase: usize,
        /// When, µs since the start of the run: a little later than now, so that all workers begin
        /// at one time.
        at_us: u64,
    },
    /// End what is not kept by the next phase; answered by [`FromWorker::Closed`] after the last
    /// numbers.
    End {
        /// The phase's place in the scenario.
        phase: usize,
        /// Do not wait for replies that are still under way.
        at_once: bool,
    },
    /// End every node; answered by [`FromWorker::Drained`].
    Drain {
        /// How long nodes may take to go in order.
        within: Duration,
    },
}

/// From a worker to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// The assignment is understood and its nodes are laid out.
    Ready,
    /// How far nodes and operations are; several times a second.
    Progress(WorkerProgress),
    /// What was counted since the last one; once a second and at the end of a phase.
    Snapshot(Box<Snapshot>),
    /// The last numbers of the phase were handed over.
    Closed {
        /// The phase's place in the scenario.
        phase: usize,
    },
    /// Every node has ended.
    Drained,
    /// The worker cannot go on.
    Failed {
        /// Why.
        why: String,
    },
}

/// How far one worker is with the running phase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// The phase it tells of: one message may cross another that begins the next phase.
    pub phase: Option<usize>,
    /// Nodes by state.
    pub fleets: Vec<FleetCounts>,
    /// What its nodes have done since the start.
    pub tally: Tally,
    /// Whether every finite operation has started all it has to.
    pub issued: bool,
    /// Whether every finite operation has come to its end.
    pub done: bool,
    /// Rounds of requests that were collected in this phase.
    pub rounds: u64,
}

/// What the nodes of a worker have done since the start, all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Certificate requests made.
    pub csrs: u64,
    /// Nodes that answered a discovery request on the production network.
    pub confirmed: u64,
    /// Nodes whose certificates were renewed.
    #[serde(default)]
    pub renewed: u64,
    /// Dials for first connections to the production network.
    pub first_dials: u64,
    /// First connections to the production network that came up.
    pub first_up: u64,
    /// The first of those dials, µs since the run's start.
    pub first_dial_us: Option<u64>,
    /// When the last of those connections came up, µs since the run's start.
    pub last_up_us: Option<u64>,
    /// Replies that were lost on our side, as we were too slow.
    pub lost_replies: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let first = [self.first_dial_us, other.first_dial_us];
        Self {
            csrs: self.csrs + other.csrs,
            confirmed: self.confirmed + other.confirmed,
            renewed: self.renewed + other.renewed,
            first_dials: self.first_dials + other.first_dials,
            first_up: self.first_up + other.first_up,
            first_dial_us: first.into_iter().flatten().min(),
            last_up_us: self.last_up_us.max(other.last_up_us),
            lost_replies: self.lost_replies + other.lost_replies,
        }
    }
}

/// Everything a worker has to know, as it is told: with the scenario's text, from which it works
/// out the same plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Its number, from 0. Worker 0 asks the fleet; all of them host nodes.
    pub worker: u32,
    /// How many there are; the plan says who hosts which nodes.
    pub workers: u32,
    /// The scenario.
    pub scenario: ScenarioText,
    /// SHA-256 of the coordinator's plan, hexadecimal.
    pub plan_sha256: String,
    /// Where the networks are and how to get in.
    pub access: Access,
    /// Dials a worker has under way at once.
    pub dials: usize,
}

impl Orders {
    /// Works the plan out.
    ///
    /// # Errors
    /// In words, when the scenario cannot be read here or comes to another plan.
    pub fn work_out(self, clock: RunClock) -> Result<Assignment, String> {
        let scenario = self.scenario.read();
        let plan = Plan::new(scenario.map_err(|mistakes| format!("the scenario: {mistakes}"))?);
        let own = plan.sha256();
        if own != self.plan_sha256 {
            return Err(format!(
                "the scenario comes to another plan here (SHA-256 {own}) than at the coordinator \
                 ({}): run the same build of loadgen on both",
                self.plan_sha256
            ));
        }
        Ok(Assignment {
            worker: self.worker,
            workers: self.workers,
            plan: Arc::new(plan),
            access: self.access,
            clock,
            dials: self.dials,
        })
    }
}

/// Everything a worker knows.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Its number, from 0.
    pub worker: u32,
    /// How many there are.
    pub workers: u32,
    /// The plan, which is the same for every worker.
    pub plan: Arc<Plan>,
    /// Where the networks are and how to get in.
    pub access: Access,
    /// The time of the run.
    pub clock: RunClock,
    /// Dials it has under way at once.
    pub dials: usize,
}

/// Where the networks are and how to get in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    /// Text of the `provisioning.jwt` that nodes without credentials are shipped with.
    pub provisioning_token: Option<Arc<str>>,
    /// One of the same key that has expired, for nodes that come with such a token.
    pub expired_token: Option<Arc<str>>,
    /// Addresses of the provisioning brokers, in the order of the plan.
    pub provisioning: Vec<String>,
    /// Production tiers by name.
    pub production: BTreeMap<String, Network>,
    /// Trust anchors of the run, PEM.
    pub roots: Arc<str>,
    /// The caller that loadgen's requests are signed by.
    pub caller: Caller,
    /// The run, which the intermediate is named after.
    pub run: String,
    /// The intermediate with its key, with which the certificates of nodes that start in
    /// production are signed.
    pub intermediate: Issued,
    /// Action policies of nodes that start in production, by file name.
    pub policies: BTreeMap<String, String>,
}

/// What loadgen proves with who it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// A certificate: mutual TLS, requests of protocol 1.
    Certificate(Issued),
    /// A client token: requests of protocol 2.
    Token(Member),
}

/// Who we are at the brokers of somebody else; nobody at our own production brokers.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Login {
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
}

impl Login {
    /// Says so when dialling.
    pub fn apply(&self, dial: &mut Dial) {
        dial.user.clone_from(&self.user);
        dial.password.clone_from(&self.password);
        dial.token.clone_from(&self.token);
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// One production tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Addresses of its brokers with scheme, in the order of the plan.
    pub servers: Vec<String>,
    /// How connections are secured.
    pub tls: Tls,
    /// Who nodes and callers are there.
    pub login: Login,
}
