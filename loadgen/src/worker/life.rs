//! The life of one node: what it is made from, how it is run, and what its observer makes of it.

mod disk;
mod liar;
mod lie;
mod tap;
mod watcher;

use std::collections::{BTreeMap, HashSet};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{DialLimit, Reconnect};
use server_core::node::{
    Announce, CommonFiles, Facts, MemoryStorage, Node, NodeConfig, Security, Shared, Storage,
    Verification,
};
use server_core::trust::KeyAlgorithm;
use server_core::words::{Collective, Identity, Seed};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::formation::certificates::{CertificateError, NodeAuthority};
use crate::message::{Access, Assignment, FACT_BROKER, FACT_FLEET, Login, Network};
use crate::plan::{Plan, PlannedBroker};
use crate::scenario::{Behaviour, Fleet, KeyKind, ReconnectPolicy, Role, Start, Tls, Verify};

use super::cell::{Book, Cell, Seen};
use super::clock::RunClock;
use super::guarded::Guarded;
use super::publish::PublishLine;
use lie::Lie;
use tap::Tap;
use watcher::Watcher;

/// How long one attempt to connect may take: TCP, TLS and greeting of a busy broker.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What nodes share cannot be made, or one node cannot be made from it.
#[derive(Debug, Error)]
pub enum LifeError {
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A fleet attaches to a tier that does not run.
    #[error("fleet {fleet} attaches to {tier}, and no broker of that tier runs")]
    NoTier {
        /// The fleet.
        fleet: String,
        /// The tier.
        tier: String,
    },
    /// A fleet's nodes are to be enrolled and there is no token for them.
    #[error("fleet {fleet} is to be enrolled, and no provisioning broker runs")]
    NoToken {
        /// The fleet.
        fleet: String,
    },
    /// The plan has no such node.
    #[error("the plan has no node number {0}")]
    NoPlan(u64),
    /// A value of the scenario that a node cannot have.
    #[error("fleet {fleet}: {why}")]
    Fleet {
        /// The fleet.
        fleet: String,
        /// What is wrong.
        why: String,
    },
}

/// What the nodes of a worker have in common.
pub struct Ground {
    plan: Arc<Plan>,
    access: Access,
    dialer: Arc<SwarmDialer>,
    shared: Arc<Shared>,
    files: Arc<CommonFiles>,
    signing: NodeAuthority,
    plain: HashSet<String>,
    token: Option<Arc<[u8]>>,
    expired: String,
    roots: Arc<[u8]>,
    /// What nodes that start in production have on their disks alike, by fleet and broker.
    disks: Guarded<BTreeMap<(String, String), Arc<MemoryStorage>>>,
}

impl std::fmt::Debug for Ground {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ground").finish_non_exhaustive()
    }
}

impl Ground {
    /// Makes what nodes share, and makes sure that every fleet can live on it.
    ///
    /// # Errors
    /// When a fleet has no brokers or no token, or the intermediate cannot be read.
    pub fn new(assignment: &Assignment) -> Result<Self, LifeError> {
        let access = assignment.access.clone();
        for fleet in &assignment.plan.scenario.fleets {
            if !access.production.contains_key(&fleet.attach) {
                return Err(LifeError::NoTier {
                    fleet: fleet.name.clone(),
                    tier: fleet.attach.clone(),
                });
            }
            if fleet.start == Start::Unprovisioned && access.provisioning_token.is_none() {
                return Err(LifeError::NoToken {
                    fleet: fleet.name.clone(),
                });
            }
        }
        let now = time::OffsetDateTime::now_utc();
        Ok(Self {
            plan: Arc::clone(&assignment.plan),
            // There are addresses where the scenario binds to them.
            dialer: Arc::new(
                SwarmDialer::new(DialLimit::new(assignment.dials))
                    .sources(assignment.plan.scenario.generator.addrs.iter().copied()),
            ),
            shared: Shared::swarm(match assignment.plan.scenario.generator.verification {
                Verify::Shared => Verification::Shared,
                Verify::Each => Verification::Each,
            }),
            files: Arc::default(),
            signing: NodeAuthority::of(&access.intermediate, now)?,
            plain: plain_addresses(access.production.values()),
            token: access
                .provisioning_token
                .as_ref()
                .map(|token| Arc::from(token.as_bytes())),
            expired: access
                .expired_token
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            roots: Arc::from(access.roots.as_bytes()),
            disks: Guarded::default(),
            access,
        })
    }

    /// Puts in place what a node that starts in production has on its disk, certificate included:
    /// in the field it is there before the node connects.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self, cell: &Cell, identity: &Identity, number: u64) -> Result<(), LifeError> {
        let planned = self.plan.node(number).ok_or(LifeError::NoPlan(number))?;
        let fleet = self.plan.scenario.fleets.get(planned.fleet);
        let broker = planned.broker.and_then(|at| self.plan.brokers.get(at));
        // A node that lacks one of them says so when it starts.
        if let (Some(fleet), Some(broker)) = (fleet, broker)
            && fleet.start == Start::Production
        {
            cell.disk(|| self.storage(identity, fleet, broker))?;
        }
        Ok(())
    }

    /// Who we are at the production brokers that have one of these addresses.
    fn login_at(&self, servers: &[String]) -> Option<&Login> {
        let first = address(servers.first()?);
        let mut networks = self.access.production.values();
        let network = networks.find(|network| {
            let mut own = network.servers.iter();
            own.any(|server| address(server) == first)
        })?;
        Some(&network.login)
    }

    /// The place among the provisioning brokers of the broker that has this place in the plan.
    fn place_of(&self, at: usize) -> Option<usize> {
        let provisioning = |broker: &&PlannedBroker| broker.role == Role::Provisioning;
        let before = self.plan.brokers.get(..at)?.iter().filter(provisioning);
        let place = before.count();
        (place < self.access.provisioning.len()).then_some(place)
    }
}

/// One node about to live.
pub struct Life {
    /// What it shares with the others.
    pub ground: Arc<Ground>,
    /// Its name.
    pub identity: Identity,
    /// Its number among all nodes.
    pub number: u64,
    /// What is known of it.
    pub cell: Arc<Cell>,
    /// When it announces itself.
    pub announce: watch::Receiver<bool>,
    /// Where its connection is put for whoever publishes in its name.
    pub publish: PublishLine,
}

impl Life {
    /// Lives until `cancel`, or until the node ends by itself.
    pub async fn live(self, cancel: CancellationToken) {
        match self.twin() {
            // Boxed, so that nodes without a twin have no room for one.
            Some(twin) => {
                let twin = Box::pin(twin.live_alone(cancel.clone()));
                tokio::join!(self.live_alone(cancel), twin);
            }
            None => self.live_alone(cancel).await,
        }
    }

    /// The second node of the same name, where the behaviour is that there are two. It has its own
    /// connection and its own keys; what becomes of it is nobody's figure.
    fn twin(&self) -> Option<Self> {
        let plan = &self.ground.plan;
        let fleet = plan.scenario.fleets.get(plan.node(self.number)?.fleet)?;
        if fleet.behaviour != Behaviour::Twice {
            return None;
        }
        let book = Book::new(RunClock::start(), iter::once(fleet.name.clone()));
        let book = Arc::new(book);
        Some(Self {
            ground: Arc::clone(&self.ground),
            identity: self.identity.clone(),
            number: self.number,
            cell: Arc::new(Cell::new(book, 0, false)),
            announce: self.announce.clone(),
            publish: PublishLine::default(),
        })
    }

    async fn live_alone(self, cancel: CancellationToken) {
        let cell = Arc::clone(&self.cell);
        let identity = self.identity.clone();
        let node = match self.make() {
            Ok(node) => node,
            Err(error) => {
                tracing::error!(node = %identity, %error, "a node could not be made");
                return cell.failed("node.made");
            }
        };
        if let Err(error) = node.run(cancel).await {
            tracing::error!(node = %identity, %error, "a node ended");
            cell.failed(error.code());
        }
        cell.saw(Seen::Ended);
    }

    fn make(self) -> Result<Node, LifeError> {
        let ground = Arc::clone(&self.ground);
        let planned = ground.plan.node(self.number);
        let fleets = &ground.plan.scenario.fleets;
        let found = planned.and_then(|node| fleets.get(node.fleet).map(|fleet| (node, fleet)));
        let Some((planned, fleet)) = found else {
            return Err(LifeError::NoPlan(self.number));
        };
        let refused = |why: String| LifeError::Fleet {
            fleet: fleet.name.clone(),
            why,
        };
        let mut config = NodeConfig::new(self.identity.clone());
        config.key_algorithm = match fleet.key {
            KeyKind::P256 => KeyAlgorithm::P256,
            KeyKind::Rsa2048 => KeyAlgorithm::Rsa2048,
            KeyKind::Ed25519 => KeyAlgorithm::Ed25519,
        };
        config.collectives = fleet
            .collectives
            .iter()
            .map(|name| Collective::parse(name).map_err(|error| refused(error.to_string())))
            .collect::<Result<_, _>>()?;
        config.agents = usize::try_from(fleet.agents).unwrap_or(usize::MAX);
        config.reconnect = reconnect(fleet, planned.seed);
        config.connect_timeout = CONNECT_WITHIN;
        let mut facts: serde_json::Map<String, serde_json::Value> =
            planned.facts.into_iter().collect();
        let broker = planned.broker.and_then(|at| ground.plan.brokers.get(at));
        let broker = broker.ok_or_else(|| refused("it attaches to no broker".to_owned()))?;
        if needs_no_certificate(fleet, broker) {
            config.security = Security::SignedRequests;
        }
        // Templates of the provisioner tell nodes apart by them.
        facts.insert(FACT_FLEET.to_owned(), fleet.name.clone().into());
        if fleet.start == Start::Unprovisioned {
            facts.insert(FACT_BROKER.to_owned(), broker.name.clone().into());
        }
        let provisioning = planned.provisioning_broker;
        let disk: Arc<dyn Storage> = self
            .cell
            .disk(|| ground.storage(&self.identity, fleet, broker))?;
        Node::builder(config)
            .storage(Arc::clone(&disk))
            .dialer(Arc::new(Tap {
                dialer: Arc::clone(&ground.dialer),
                ground: Arc::clone(&ground),
                provisioning: provisioning.and_then(|at| ground.place_of(at)),
                line: self.publish,
                lie: Lie::of(fleet.behaviour, &self.identity, &ground.expired, disk),
                behaviour: fleet.behaviour,
            }))
            .shared(Arc::clone(&ground.shared))
            .seed(Seed(planned.seed))
            .facts(Arc::new(Facts::from(facts)))
            .observer(Arc::new(Watcher(self.cell)))
            .announce(Announce::When(self.announce))
            .build()
            .map_err(|error| refused(error.to_string()))
    }
}

/// Whether a node that starts at this broker never speaks TLS: it starts in production, where the
/// broker is plain.
fn needs_no_certificate(fleet: &Fleet, broker: &PlannedBroker) -> bool {
    broker.tls == Tls::None && fleet.start == Start::Production
}

fn reconnect(fleet: &Fleet, seed: u64) -> Reconnect {
    let wanted = &fleet.reconnect;
    match wanted.policy {
        ReconnectPolicy::Jitter => Reconnect::jitter(seed, wanted.min, wanted.max, wanted.spread),
        ReconnectPolicy::Choria => Reconnect::choria(seed),
        ReconnectPolicy::NatsDefault => Reconnect::nats_default(seed),
    }
}

/// `host:port` of every broker that speaks plain TCP.
fn plain_addresses<'a>(networks: impl Iterator<Item = &'a Network>) -> HashSet<String> {
    networks
        .filter(|network| network.tls == Tls::None)
        .flat_map(|network| network.servers.iter().map(|server| address(server)))
        .collect()
}

fn address(server: &str) -> String {
    server
        .split_once("://")
        .map_or(server, |(_, address)| address)
        .to_owned()
}
