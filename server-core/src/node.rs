//! The node: what it is, how it starts, and the one task in which it lives.
//!
//! A node starts from its storage and from nothing else. The files there decide whether it waits on the
//! provisioning network or serves on the production one (`plan`); a pure state machine decides what
//! comes next (`machine`); the runtime performs it. `restart` ends the connection and everything built
//! for it, and begins again from storage.
//!
//! A node costs one task and about 9 kB, its files in memory and five agents included; policies, trust
//! anchors, agents and anonymous TLS settings are shared within a process by one [`Shared`]. A connection
//! of the brokers' client library adds one descriptor, two tasks and about 55 kB without TLS
//! (`cargo test -p server-core --test node -- --ignored --nocapture cost` measures it).

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
pub use shared::Shared;

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
