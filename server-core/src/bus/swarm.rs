//! Links for swarms: tens of thousands of connections to NATS brokers in one process.
//!
//! A link has no task of its own: polling its [`Inbound`] reads the socket, answers pings, watches over
//! silence and dials again, so a node is one task. An idle link owns no buffer; reading and writing
//! borrow those of the thread, and TLS keeps its keys and nothing else. In the order of the data:
//!
//! * `plan`: where to, in which order, and the attempts;
//! * `handshake`: from an address to a connection that may be used;
//! * `socket`, `tls`, `pool`: bytes in and out, without waiting;
//! * `protocol`: bytes to operations and back;
//! * `connection`: what bus and reader share, and the bus;
//! * `inbound`: the reader, which drives all of it.
//!
//! What differs from [`super::nats`]: a reader that is too slow loses nothing here. What it has not read
//! stays with the network and slows the broker down, whose own limits then apply; a broker that cuts
//! such a connection shows as [`super::Incoming::Disconnected`]. Dropping the [`Inbound`] ends the
//! connection, since nobody would answer the broker any more.

mod connection;
mod handshake;
mod inbound;
mod plan;
mod pool;
mod protocol;
mod socket;
mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;

use super::{BusError, Dial, DialLimit, Dialer, Inbound, Link, is_subscribable};
use connection::{Connection, SwarmBus};
use inbound::{KeepAlive, SwarmInbound};
use plan::{Occasion, Plan, Route, targets};
use tls::Settings;

/// Dials NATS brokers for many nodes; shared by all of them, bounded by its [`DialLimit`].
#[derive(Clone)]
pub struct SwarmDialer {
    limit: DialLimit,
    keep_alive: KeepAlive,
    sources: Arc<[IpAddr]>,
    settings: Arc<Settings>,
}

impl SwarmDialer {
    /// A dialer whose connections share `limit`. A broker that is silent for two minutes is pinged, and
    /// given up after two pings without an answer; the source address is left to the system.
    #[must_use]
    pub fn new(limit: DialLimit) -> Self {
        Self {
            limit,
            keep_alive: KeepAlive {
                interval: Duration::from_secs(120),
                unanswered: 2,
            },
            sources: Arc::new([]),
            settings: Arc::default(),
        }
    }

    /// Pings a broker after this much silence, and counts the connection as lost after `unanswered`
    /// pings (at least one) without a word.
    #[must_use]
    pub fn keep_alive(mut self, silence: Duration, unanswered: u32) -> Self {
        self.keep_alive = KeepAlive {
            interval: silence.max(Duration::from_millis(1)),
            unanswered: unanswered.max(1),
        };
        self
    }

    /// Spreads connections over these source addresses, for more of them to one broker than there are
    /// ports. Ports stay per destination (`IP_BIND_ADDRESS_NO_PORT`).
    #[must_use]
    pub fn sources(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.sources = addresses.into_iter().collect();
        self
    }
}

impl Default for SwarmDialer {
    fn default() -> Self {
        Self::new(DialLimit::default())
    }
}

#[async_trait]
impl Dialer for SwarmDialer {
    async fn dial(&self, mut dial: Dial) -> Result<Link, BusError> {
        let targets = targets(&dial)?;
        let unusable = |subject: &&String| !is_subscribable(subject);
        if let Some(subject) = dial.subscriptions.iter().find(unusable) {
            return Err(BusError::Subject(subject.clone()));
        }
        // In one piece, for as long as the link lasts.
        let subscriptions = std::mem::take(&mut dial.subscriptions).join(" ").into();
        dial.servers = Vec::new();
        let tls = dial.tls.take().map(|given| self.settings.lean(&given));
        let route = Route {
            turn: dial.start(&mut dial.reconnect.delays()),
            ..Route::default()
        };
        let plan = Arc::new(Plan {
            dial,
            subscriptions,
            tls,
            targets,
            sources: Arc::clone(&self.sources),
            limit: self.limit.clone(),
            attempts: AtomicU64::new(0),
        });
        let arrived = Arc::clone(&plan).connect(route, Occasion::First).await?;
        let connection = Connection::new(plan, arrived);
        Ok(Link {
            inbound: Inbound::new(SwarmInbound::new(Arc::clone(&connection), self.keep_alive)),
            bus: Arc::new(SwarmBus(connection)),
        })
    }
}
