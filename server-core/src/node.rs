//! The node: what it is, how it starts, and the one task in which it lives.
//!
//! A node starts from its storage and from nothing else. The files there decide whether it waits on the
//! provisioning network or serves on the production one (`plan`); a pure state machine decides what
//! comes next (`machine`); the runtime performs it. `restart` ends the connection and everything built
//! for it, and begins again from storage.
//!
//! In a swarm an idle node with its connection costs one task, one descriptor and 8 kB of resident memory,
//! or 17 kB under mutual TLS, its files and five agents included (`cargo bench -p benches --bench
//! node_cost`); policies, trust anchors, agents, verdicts and anonymous TLS settings are shared within a
//! process by one [`Shared`]. A connection of the brokers' client library costs two tasks and about 55 kB
//! more.

mod builder;
mod config;
mod error;
mod life;
mod machine;
mod observer;
mod plan;
mod registration;
mod request;
mod runtime;
mod shared;

pub use builder::{Node, NodeBuilder};
pub use config::{Alive, Announce, NodeConfig, Security};
pub use error::NodeError;
pub use observer::{NodeEvent, NodeObserver};
pub use shared::{Shared, Verification};

pub use crate::agents::{CounterValues, Facts, Mode};
pub use crate::server_conf::{ConfError, SERVER_CONF, ServerConf};
pub use crate::storage::{CommonFiles, DirStorage, MemoryStorage, Storage, StorageError};

/// The provisioning token's name in a node's storage.
pub const PROVISIONING_JWT: &str = "provisioning.jwt";

/// How a node's run ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its owner asked it to stop.
    Stopped,
    /// A provisioner told it to shut down.
    ShutDown,
}
