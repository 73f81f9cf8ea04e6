//! Putting a node together.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::config::{Announce, NodeConfig};
use super::observer::{Nobody, NodeObserver};
use super::plan::Given;
use super::{Ended, NodeError, Shared, runtime};
use crate::agents::{Agent, Facts};
use crate::bus::Dialer;
use crate::bus::nats::NatsDialer;
use crate::storage::{MemoryStorage, Storage};
use crate::words::{Clock, Seed, Shutdown, SystemClock};

/// A node, ready to run.
pub struct Node {
    pub(super) given: Given,
    pub(super) dialer: Arc<dyn Dialer>,
    pub(super) observer: Arc<dyn NodeObserver>,
    pub(super) announce: Announce,
    pub(super) seed: Seed,
}

/// Collects what a [`Node`] is made of. Unset parts: files in memory, real brokers, the system's clock
/// and randomness, nobody observing.
#[must_use]
pub struct NodeBuilder {
    node: Node,
}

impl Node {
    /// Begins a node.
    pub fn builder(config: NodeConfig) -> NodeBuilder {
        let root = format!("/var/lib/muster/{}", config.identity);
        NodeBuilder {
            node: Self {
                given: Given {
                    config,
                    storage: Arc::new(MemoryStorage::new(root)),
                    shared: Shared::of_process(),
                    clock: Arc::new(SystemClock),
                    agents: Vec::new(),
                    facts: None,
                },
                dialer: Arc::new(NatsDialer::default()),
                observer: Arc::new(Nobody),
                announce: Announce::AtOnce,
                seed: Seed::from_os(),
            },
        }
    }

    /// Lives until `shutdown` is cancelled, a provisioner shuts it down, or it cannot go on.
    ///
    /// # Errors
    /// [`NodeError`], naming who is at fault.
    pub fn run(self, shutdown: Shutdown) -> BoxFuture<'static, Result<Ended, NodeError>> {
        runtime::run(self, shutdown)
    }
}

impl NodeBuilder {
    /// Adds an agent for the production network, replacing a built-in one of the same name.
    pub fn agent(self, agent: impl Agent + 'static) -> Self {
        self.shared_agent(Arc::new(agent))
    }

    /// The same for an agent that several nodes share.
    pub fn shared_agent(mut self, agent: Arc<dyn Agent>) -> Self {
        self.node.given.agents.push(agent);
        self
    }

    /// Where the node's files are.
    pub fn storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.node.given.storage = storage;
        self
    }

    /// How it connects.
    pub fn dialer(mut self, dialer: Arc<dyn Dialer>) -> Self {
        self.node.dialer = dialer;
        self
    }

    /// What it has in common with other nodes of the process.
    pub fn shared(mut self, shared: Arc<Shared>) -> Self {
        self.node.given.shared = shared;
        self
    }

    /// The time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.node.given.clock = clock;
        self
    }

    /// The source of its randomness; nodes of one process need different ones.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.node.seed = seed;
        self
    }

    /// Its facts, instead of those in its files.
    pub fn facts(mut self, facts: Arc<Facts>) -> Self {
        self.node.given.facts = Some(facts);
        self
    }

    /// Who hears what happens to it.
    pub fn observer(mut self, observer: Arc<dyn NodeObserver>) -> Self {
        self.node.observer = observer;
        self
    }

    /// When it publishes its first startup event.
    pub fn announce(mut self, announce: Announce) -> Self {
        self.node.announce = announce;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`NodeError::Settings`], naming the setting.
    pub fn build(self) -> Result<Node, NodeError> {
        let config = &self.node.given.config;
        let wrong = |what: &str| Err(NodeError::Settings(what.to_owned()));
        if config.depth == 0 || config.queue == 0 {
            return wrong("depth and queue must be at least 1");
        }
        if config.collectives.is_empty() {
            return wrong("a node needs at least one collective");
        }
        for agent in &self.node.given.agents {
            let name = &agent.metadata().name;
            let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if name.is_empty() || !name.bytes().all(sound) {
                return wrong(&format!(
                    "the agent name {name:?} is not of lower case letters, digits and _"
                ));
            }
        }
        Ok(self.node)
    }
}
