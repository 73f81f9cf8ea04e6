//! What to connect to, and how many may be connecting at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{BusError, Delays, Reconnect};
use crate::trust::jwt::Credential;

/// Everything needed to open one connection. `Debug` shows no secret.
#[derive(Clone)]
pub struct Dial {
    /// Addresses, `tls://host:port` or `nats://host:port`; tried in turn, after a loss from the
    /// one that follows.
    pub servers: Vec<String>,
    /// Whether the first attempt goes to the first address; to a seeded one where not, so that a
    /// fleet spreads over its brokers by itself.
    pub in_order: bool,
    /// The connection's name, shown in the broker's monitoring.
    pub name: String,
    /// Subjects that are subscribed to from the first moment of every connection, for as long as the
    /// link lasts. Some dialers send them with their greeting, which saves the broker a turn.
    pub subscriptions: Vec<String>,
    /// TLS settings. When present TLS is required whatever the scheme says.
    pub tls: Option<Arc<ClientConfig>>,
    /// Broker user.
    pub user: Option<String>,
    /// Broker password.
    pub password: Option<String>,
    /// Authentication token, sent beside user and password where both are given.
    pub token: Option<String>,
    /// A token of an organization, shown with a signature over the broker's nonce; instead of `token`.
    pub credential: Option<Arc<Credential>>,
    /// How long to wait between attempts, at first and after a loss.
    pub reconnect: Reconnect,
    /// Limit for TCP, TLS and handshake of one attempt together.
    pub connect_timeout: Duration,
    /// Messages that may wait unread per subscription; beyond it they are dropped and counted.
    pub capacity: usize,
    /// Failed attempts in a row after which to give up; `None` tries forever.
    pub give_up_after: Option<u32>,
    /// Told of every attempt, before and after the link exists.
    pub progress: Option<Arc<dyn DialProgress>>,
}

impl Dial {
    /// A dial with the usual settings: choria's delays, 5 s per attempt, 256 waiting messages, for ever.
    #[must_use]
    pub fn new(servers: Vec<String>, name: impl Into<String>) -> Self {
        Self {
            servers,
            in_order: false,
            name: name.into(),
            subscriptions: Vec::new(),
            tls: None,
            user: None,
            password: None,
            token: None,
            credential: None,
            reconnect: Reconnect::choria(0),
            connect_timeout: Duration::from_secs(5),
            capacity: 256,
            give_up_after: None,
            progress: None,
        }
    }

    /// The address of the first attempt, by its place in [`Dial::servers`].
    pub(crate) fn start(&self, delays: &mut Delays) -> usize {
        let seeded = delays.pick(self.servers.len());
        if self.in_order { 0 } else { seeded }
    }

    pub(crate) fn report(&self, step: DialStep<'_>) {
        if let Some(progress) = &self.progress {
            progress.step(step);
        }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("servers", &self.servers)
            .field("in_order", &self.in_order)
            .field("name", &self.name)
            .field("tls", &self.tls.is_some())
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("credential", &self.credential)
            .field("reconnect", &self.reconnect)
            .field("connect_timeout", &self.connect_timeout)
            .field("capacity", &self.capacity)
            .field("give_up_after", &self.give_up_after)
            .finish_non_exhaustive()
    }
}

/// Hears of every attempt to connect.
pub trait DialProgress: Send + Sync {
    /// Called from the connecting task; must not block.
    fn step(&self, step: DialStep<'_>);
}

/// One moment of connecting.
#[derive(Debug)]
pub enum DialStep<'a> {
    /// An attempt starts; a place under the [`DialLimit`] has been taken.
    Attempt {
        /// The address dialled.
        server: &'a str,
    },
    /// An attempt before the first success failed; the next follows after a delay. Dialers that see
    /// every attempt of a connection's life report those after a loss too.
    Failed(&'a BusError),
    /// An attempt succeeded. Told by dialers that see the layers apart.
    Connected {
        /// The address dialled.
        server: &'a str,
        /// What each layer took.
        took: Took,
    },
}

/// What the layers of one successful attempt took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Took {
    /// Name resolution and TCP.
    pub tcp: Duration,
    /// The TLS handshake, where there was one.
    pub tls: Option<Duration>,
    /// The broker's greeting, authentication and first `PONG`.
    pub nats: Duration,
}

/// Bounds how many dials are under way at once in this process: thousands of simultaneous TLS
/// handshakes end in time-outs, not in connections.
#[derive(Clone)]
pub struct DialLimit(Arc<Semaphore>);

impl DialLimit {
    /// At most `at_once` dials under way (at least one).
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(
            at_once.clamp(1, Semaphore::MAX_PERMITS),
        )))
    }

    /// Waits for a place; `None` only if the semaphore was closed, which nothing does.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

impl Default for DialLimit {
    /// 64 at once: enough to saturate two cores with TLS handshakes.
    fn default() -> Self {
        Self::new(64)
    }
}
