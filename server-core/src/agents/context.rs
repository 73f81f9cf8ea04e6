//! What an agent may know and touch of the node it runs on.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{AgentSet, ProvisionState};
use crate::bus::{Bus, BusStats};
use crate::events::{PROVISION_MODE_SERVER, SERVER};
use crate::server_conf::ServerConf;
use crate::storage::Storage;
use crate::trust::KeyAlgorithm;
use crate::trust::jwt::ProvisioningClaims;
use crate::wire::FilterSubject;
use crate::words::{Clock, Collective, Identity, Seed, UnixTime};

mod counters;
mod facts;

pub(crate) use counters::count;
pub use counters::{CounterValues, Counters};
pub use facts::Facts;

/// Which network a node is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Without credentials, waiting to be enrolled.
    Provisioning,
    /// With its certificate, serving.
    Production,
}

impl Mode {
    /// The mode as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Production => "production",
        }
    }

    /// The component a node's lifecycle events name in this mode.
    #[must_use]
    pub fn component(self) -> &'static str {
        match self {
            Self::Provisioning => PROVISION_MODE_SERVER,
            Self::Production => SERVER,
        }
    }
}

/// Everything agents and filters see of one node between two restarts. One per node; what nodes have
/// in common is behind an `Arc`.
pub struct Surroundings {
    /// The node's name.
    pub identity: Identity,
    /// Which network it is on.
    pub mode: Mode,
    /// Its collectives, the main one first.
    pub collectives: Vec<Collective>,
    /// Its agents.
    pub agents: Arc<AgentSet>,
    /// Its facts.
    pub facts: Arc<Facts>,
    /// Its classes, sorted.
    pub classes: Arc<[String]>,
    /// Its configuration as written.
    pub conf: ServerConf,
    /// Where its files are.
    pub storage: Arc<dyn Storage>,
    /// The software version it tells.
    pub version: Arc<str>,
    /// When this life of the node began.
    pub started: UnixTime,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What it counts.
    pub counters: Counters,
    /// The algorithm of keys it makes.
    pub key_algorithm: KeyAlgorithm,
    /// Whether it keeps the key it is enrolled with.
    pub keep_key: bool,
    /// The provisioning token it was shipped with, as text and claims.
    pub(crate) provisioning: Option<ProvisioningToken>,
    /// The state of `choria_provision`.
    pub(crate) provision: ProvisionState,
    /// Brokers and TLS, as configured.
    pub(crate) servers: Vec<String>,
    pub(crate) tls: bool,
    pub(crate) connect_timeout_secs: u64,
    /// The connection, once there is one.
    pub(crate) bus: OnceLock<Arc<dyn Bus>>,
    pub(crate) seed: Seed,
    /// Made at the first draw: most nodes never draw, and it is large.
    pub(crate) random: OnceLock<Box<Mutex<ChaCha8Rng>>>,
    /// Tries what a restart would do: which mode the files in storage lead to, or why to none.
    pub(crate) rehearse: Arc<Rehearsal>,
}

/// Decides from the node's files, without touching anything, what it would start as.
pub(crate) type Rehearsal = dyn Fn() -> Result<Mode, String> + Send + Sync;

/// The provisioning token of a node. `Debug` shows neither the text nor what it grants.
#[derive(Clone, Debug)]
pub(crate) struct ProvisioningToken {
    pub(crate) text: Arc<Secret>,
    pub(crate) claims: Arc<ProvisioningClaims>,
}

/// Text that is never shown.
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Surroundings {
    /// The main collective.
    #[must_use]
    pub fn main_collective(&self) -> &str {
        self.collectives.first().map_or("", Collective::as_str)
    }

    pub(crate) fn server(&self) -> String {
        self.bus
            .get()
            .map_or_else(|| "unknown".to_owned(), |bus| bus.server())
    }

    pub(crate) fn bus_stats(&self) -> BusStats {
        self.bus.get().map(|bus| bus.stats()).unwrap_or_default()
    }
}

impl FilterSubject for Surroundings {
    fn identity(&self) -> &str {
        self.identity.as_str()
    }

    fn agents(&self) -> &[String] {
        self.agents.names()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn facts_json(&self) -> &str {
        self.facts.json()
    }
}

/// What a running call sees: its node.
pub struct AgentContext<'a> {
    node: &'a Surroundings,
}

impl<'a> AgentContext<'a> {
    pub(crate) fn new(node: &'a Surroundings) -> Self {
        Self { node }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &'a Surroundings {
        self.node
    }

    /// The node's name.
    #[must_use]
    pub fn identity(&self) -> &'a Identity {
        &self.node.identity
    }

    /// A fact by its path (`os.family`, `tags.0`), null when there is none.
    #[must_use]
    pub fn fact(&self, path: &str) -> Value {
        self.node.facts.get(path)
    }

    /// The time now, by the node's clock.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.node.clock.unix()
    }

    /// True with this probability, by the node's own seeded randomness.
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        self.random(|random| random.random_bool(probability.clamp(0.0, 1.0)))
    }

    /// A whole number of seconds within these bounds, both included.
    pub(crate) fn seconds(&self, least: u64, most: u64) -> u64 {
        self.random(|random| random.random_range(least..=most.max(least)))
    }

    fn random<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut random = self
            .node
            .random
            .get_or_init(|| Box::new(Mutex::new(self.node.seed.stream(1))))
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        draw(&mut random)
    }
}
