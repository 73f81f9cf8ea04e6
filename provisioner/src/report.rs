//! What the service tells about itself: the shapes of `provisioner status`,
//! `nodes` and `show`, as JSON and as text.
//!
//! `provisioner status --json` prints one [`Status`]:
//!
//! ```json
//! {
//!   "schema": 1,
//!   "service": "running",
//!   "ready": true,
//!   "http": "127.0.0.1:9464",
//!   "states": { "queued": 0, "working": 12, "parked": 1, "quarantined": 0, "refused": 0, "confirmed": 987, "banned": 0, "decommissioned": 0 },
//!   "confirmed": 987,
//!   "certificates_issued": 999,
//!   "keys_signed_twice": 0,
//!   "first_event": "2026-11-22T14:03:11.020Z",
//!   "last_confirm": "2026-11-22T14:03:16.300Z",
//!   "steps": {
//!     "arrive": { "count": 1000, "now": 0, "latency_us": { "p50": null, "p90": null, "p99": null, "max": null }, "hist": null },
//!     "queue":  { "count": 1000, "now": 0, "latency_us": { "p50": 310, "p90": 2100, "p99": 4000, "max": 5200 }, "hist": "HISTFAAA…" }
//!   },
//!   "errors": { "rpc.timeout": 3 }
//! }
//! ```
//!
//! - `service` is `running` when a running service answered, `stopped` when the
//!   ledger was read instead. The numbers mean the same either way: all of them
//!   come from the ledger and survive a kill. `ready` is false and `http` null
//!   when stopped.
//! - `steps` has the eight steps in order. `count` is how often the step was
//!   completed (so `steps.sign.count` is how many nodes have got as far as a
//!   certificate), `now` how many queued or working enrolments are in it at this
//!   moment, the latencies are in microseconds of wall time between two
//!   entries of the ledger, and `hist` is the whole histogram: HDR V2,
//!   deflated, base64 (1 µs to 1 h, three significant digits). A percentile is
//!   null until there are samples enough for it (p50 2, p90 10, p99 100).
//! - `members`, only where a shared ledger's service answered, are the provisioners
//!   that share it: `[{"name": "first.0a1b2c3d", "own": true, "ready": true}]`.
//! - `election`, only where the running service stands in one, says whether it leads, and who does:
//!   `{"leads": false, "leader": "prov1.example.net", "trouble": null}`.
//! - `events`, only where a stream is told, says up to which line of the audit log it was:
//!   `{"told": 4711, "trouble": null}`.
//! - `errors` counts every setback by its code since the ledger began.

mod build;
mod text;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use build::{nearest, nodes, show, status};
pub use text::{print_nodes, print_show, print_status};

use crate::code::Code;
use crate::election::Standing;
use crate::events::Telling;
use crate::ledger::{Entry, Pause, Renewal, Turn};
use crate::step::{State, Step};

/// Version of the JSON shapes in this module.
pub const SCHEMA: u32 = 1;

/// Whether a running service answered or the ledger was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// A running service answered.
    Running,
    /// No service runs; the ledger was read.
    Stopped,
}

/// `provisioner status --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who answered.
    pub service: Service,
    /// Both networks connected and the hook in order; false when stopped.
    pub ready: bool,
    /// What is missing when it is not ready, a line each.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Where `/metrics` is served.
    pub http: Option<String>,
    /// The provisioners that share the ledger, as far as they are alive; nothing where it is
    /// not shared or the service is stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// Who leads, where the service stands in an election.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election: Option<Standing>,
    /// How far a stream was told what is decided and done, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Telling>,
    /// No new node is taken up: since when, by whom and why.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// Enrolments by state; every state is there.
    pub states: BTreeMap<String, u64>,
    /// Enrolments confirmed, the same as `states.confirmed`.
    pub confirmed: u64,
    /// Certificates in the ledger.
    pub certificates_issued: u64,
    /// Public keys with more than one certificate.
    pub keys_signed_twice: u64,
    /// Nodes by the target they are placed at.
    #[serde(default)]
    pub targets: BTreeMap<String, u64>,
    /// How often a node was asked back to renew its certificate.
    #[serde(default)]
    pub renewals_asked: u64,
    /// Certificates that were revoked.
    #[serde(default)]
    pub certificates_revoked: u64,
    /// First arrival, RFC 3339.
    pub first_event: Option<String>,
    /// Latest confirmation, RFC 3339.
    pub last_confirm: Option<String>,
    /// The eight steps in order.
    pub steps: Steps,
    /// Setbacks by code.
    pub errors: BTreeMap<String, u64>,
    /// Events and arrivals not taken in since the service started, by code.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// A provisioner that shares its ledger with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, of its own for each start.
    pub name: String,
    /// Whether it is the one that answers.
    pub own: bool,
    /// Whether it takes up nodes, as far as the one that answers knows.
    pub ready: bool,
}

/// One entry a step, in the order of the flow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Steps {
    /// Event or sweep.
    pub arrive: StepReport,
    /// Waiting for a place.
    pub queue: StepReport,
    /// Token and inventory.
    pub inspect: StepReport,
    /// Key and request, judged.
    pub csr: StepReport,
    /// Hook and authority, the certificate judged.
    pub sign: StepReport,
    /// Configuration sent.
    pub configure: StepReport,
    /// Told to restart.
    pub restart: StepReport,
    /// Seen on the production network.
    pub confirm: StepReport,
}

impl Steps {
    /// The report of a step, to be filled in.
    pub(crate) const fn of(&mut self, step: Step) -> &mut StepReport {
        match step {
            Step::Arrive => &mut self.arrive,
            Step::Queue => &mut self.queue,
            Step::Inspect => &mut self.inspect,
            Step::Csr => &mut self.csr,
            Step::Sign => &mut self.sign,
            Step::Configure => &mut self.configure,
            Step::Restart => &mut self.restart,
            Step::Confirm => &mut self.confirm,
        }
    }

    /// The steps in order with their reports.
    #[must_use]
    pub fn in_order(&self) -> [(Step, &StepReport); 8] {
        [
            (Step::Arrive, &self.arrive),
            (Step::Queue, &self.queue),
            (Step::Inspect, &self.inspect),
            (Step::Csr, &self.csr),
            (Step::Sign, &self.sign),
            (Step::Configure, &self.configure),
            (Step::Restart, &self.restart),
            (Step::Confirm, &self.confirm),
        ]
    }
}

/// How often a step was completed and how long it took.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StepReport {
    /// Completions.
    pub count: u64,
    /// Enrolments on their way that are in this step now.
    #[serde(default)]
    pub now: u64,
    /// Percentiles, microseconds.
    pub latency_us: Latency,
    /// The histogram itself: HDR V2 deflated, base64.
    pub hist: Option<String>,
}

/// Percentiles in microseconds; null without samples enough.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: Option<u64>,
    /// 90th percentile.
    pub p90: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
    /// Longest.
    pub max: Option<u64>,
}

/// One line of `provisioner nodes --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Node {
    /// The node.
    pub identity: String,
    /// What it is doing.
    pub state: State,
    /// The step it is in, or got stuck in.
    pub step: Step,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Setbacks in a row.
    pub tries: u32,
    /// Why it does not go on.
    pub code: Option<Code>,
    /// The same for people.
    pub says: String,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
}

/// `provisioner show IDENTITY --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Show {
    /// The summary.
    #[serde(flatten)]
    pub node: Node,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// How often it was begun.
    pub attempts: u32,
    /// The target it is placed at.
    #[serde(default)]
    pub target: Option<String>,
    /// What it is enrolled with, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled: Option<Enrolled>,
    /// It is enrolled and may enrol once more with another key.
    #[serde(default)]
    pub approved: bool,
    /// It was asked back to renew its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// What the renewal of its certificate waits for, where certificates are renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<Turn>,
    /// Its history, oldest first: at most the last 200 entries.
    pub history: Vec<Entry>,
    /// Until when brokers may let somebody in by a server token of it, whatever was decided about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_token_until: Option<Timestamp>,
    /// What was signed for it last, if anything.
    pub certificate: Option<Certificate>,
}

/// What a node is enrolled with, in `provisioner show IDENTITY --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// SHA-256 of the public key (SPKI), hexadecimal.
    pub key: String,
    /// End of its certificate or server token.
    pub until: Option<Timestamp>,
    /// The key it is on its way with, hexadecimal like the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coming: Option<String>,
}

/// A certificate in `provisioner show IDENTITY --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certificate {
    /// It is a server token and no certificate; then `serial` is its unique name and `chain` empty.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub token: bool,
    /// SHA-256 of the public key (SPKI), hexadecimal.
    pub key: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// End of its life.
    pub not_after: Option<Timestamp>,
    /// Leaf and intermediates in PEM, as they were sent.
    pub chain: String,
    /// How many certificates the ledger holds for this key.
    pub certificates_for_key: usize,
}
