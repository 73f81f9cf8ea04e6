//! What the program that runs a node decides about it; everything else comes from the node's storage.

use std::time::Duration;

use tokio::sync::watch;

use crate::bus::Reconnect;
use crate::trust::KeyAlgorithm;
use crate::wire::Limits;
use crate::words::{Collective, Identity};

/// A node's settings. `server.conf` in its storage overrides identity, collectives and servers.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The node's name.
    pub identity: Identity,
    /// The algorithm of keys made by `gencsr`.
    pub key_algorithm: KeyAlgorithm,
    /// Whether `gencsr` asks for another certificate for the key the node is enrolled with, unless
    /// it is told to make a new one. Who comes back with its key proves by it who it is; the
    /// original makes a new key each time.
    pub keep_key: bool,
    /// Collectives on the production network, the main one first.
    pub collectives: Vec<Collective>,
    /// Brokers of the production network, where `server.conf` names none.
    pub servers: Vec<String>,
    /// Agents in all on the production network, built-in ones first.
    pub agents: usize,
    /// Requests that may be under way at once; further ones are answered with code 1 and `busy`.
    pub depth: usize,
    /// Messages that may wait per subscription before they are lost.
    pub queue: usize,
    /// When the node says that it still lives.
    pub alive: Alive,
    /// Delays between attempts to connect.
    pub reconnect: Reconnect,
    /// Limit of one attempt to connect.
    pub connect_timeout: Duration,
    /// Failed attempts in a row after which the node ends with an error; `None` tries for ever.
    pub give_up_after: Option<u32>,
    /// How it is known whom to trust.
    pub security: Security,
    /// How much of a request is accepted.
    pub limits: Limits,
    /// The software version told to others.
    pub version: String,
}

impl NodeConfig {
    /// The settings of a usual node: P-256 keys, collective `mcollective`, five agents, 64 requests at
    /// once, for ever.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            key_algorithm: KeyAlgorithm::P256,
            keep_key: true,
            collectives: vec![Collective::mcollective()],
            servers: Vec::new(),
            agents: 5,
            depth: 64,
            queue: 256,
            alive: Alive::default(),
            reconnect: Reconnect::choria(0),
            connect_timeout: Duration::from_secs(5),
            give_up_after: None,
            security: Security::Certificates,
            limits: Limits::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Whom a node trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// Mutual TLS and signed requests on the production network; anonymous TLS while provisioning.
    #[default]
    Certificates,
    /// Signed requests over connections without TLS: the trust anchors judge requests, and the node
    /// needs no certificate of its own. For networks that are protected by other means.
    SignedRequests,
    /// No TLS, and any request is believed. For demonstrations and tests inside one machine: whoever
    /// reaches the broker commands the node.
    Insecure,
}

/// When alive events are sent. Off the minute marks of others only by chance: the first comes after a
/// random whole number of minutes, as the original does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// Time between two events.
    pub every: Duration,
    /// Time to the first one; `None` draws a whole number of minutes below half an hour.
    pub first: Option<Duration>,
}

impl Default for Alive {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(30 * 60),
            first: None,
        }
    }
}

/// When a node publishes its first startup event. Later ones, after a restart, are never held back.
#[derive(Debug, Clone, Default)]
pub enum Announce {
    /// As soon as it is subscribed.
    #[default]
    AtOnce,
    /// Connected and subscribed already, once this turns true (or its sender is gone).
    When(watch::Receiver<bool>),
}
