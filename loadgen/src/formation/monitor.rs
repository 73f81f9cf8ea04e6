//! A broker's monitoring endpoint: is it ready, and how is it doing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpStream;

/// A monitoring answer larger than this is not read.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// A monitoring endpoint on loopback that takes longer than this has no answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The monitoring endpoint did not answer as it should.
#[derive(Debug, Error)]
pub enum MonitorError {
    /// No connection, or it broke.
    #[error("no answer: {0}")]
    Connection(String),
    /// Another status than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The answer is not what nats-server sends.
    #[error("not understood: {0}")]
    Content(String),
    /// No answer in time.
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    Late,
}

/// What is read of nats-server's `/varz`. Sizes are bytes, counters are since the broker's start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Varz {
    /// nats-server's version.
    pub version: String,
    /// The Go version it was built with.
    pub go: String,
    /// Go's limit of running threads.
    pub gomaxprocs: u64,
    /// Go's soft limit of memory, where one is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gomemlimit: Option<u64>,
    /// The most client connections it accepts.
    pub max_connections: u64,
    /// Client connections now.
    pub connections: u64,
    /// Client connections since the start.
    pub total_connections: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Resident memory.
    pub mem: u64,
    /// CPU use in percent of one core.
    pub cpu: f64,
    /// Messages received.
    pub in_msgs: u64,
    /// Messages sent.
    pub out_msgs: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Bytes sent.
    pub out_bytes: u64,
    /// Connections it closed because they did not read fast enough.
    pub slow_consumers: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Routez {
    routes: Vec<Routed>,
}

#[derive(Deserialize)]
struct Routed {
    remote_name: String,
    port: u16,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Leafz {
    leafs: Vec<Leaf>,
}

#[derive(Deserialize)]
struct Leaf {
    name: String,
    port: u16,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Gatewayz {
    outbound_gateways: BTreeMap<String, Outbound>,
}

#[derive(Deserialize)]
struct Outbound {
    connection: OutboundConnection,
}

#[derive(Deserialize)]
struct OutboundConnection {
    port: u16,
}

/// A connection of a broker to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Name of the other broker; of a gateway, of the other region.
    pub name: String,
    /// The other end's port: the one that was dialled, where this broker did.
    pub port: u16,
}

#[derive(Deserialize)]
struct Subsz {
    num_subscriptions: u64,
}

/// The monitoring endpoint of one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Monitor {
    address: SocketAddr,
}

impl Monitor {
    /// The endpoint on this port of 127.0.0.1.
    pub fn on_loopback(port: u16) -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    /// Whether the broker is ready for clients (`/healthz`).
    pub async fn ready(&self) -> bool {
        self.get("/healthz").await.is_ok()
    }

    /// Connections to brokers of its cluster, several for each (`/routez`).
    ///
    /// # Errors
    /// When the broker does not answer, or not as nats-server does.
    pub async fn routes(&self) -> Result<Vec<Peer>, MonitorError> {
        let seen: Routez = self.read("/routez").await?;
        let peers = seen.routes.into_iter().map(|route| Peer {
            name: route.remote_name,
            port: route.port,
        });
        Ok(peers.collect())
    }

    /// Its leaf links, those to hubs and those of its leaves (`/leafz`).
    ///
    /// # Errors
    /// When the broker does not answer, or not as nats-server does.
    pub async fn leaf_links(&self) -> Result<Vec<Peer>, MonitorError> {
        let seen: Leafz = self.read("/leafz").await?;
        let peers = seen.leafs.into_iter().map(|leaf| Peer {
            name: leaf.name,
            port: leaf.port,
        });
        Ok(peers.collect())
    }

    /// The connections it has made to other regions (`/gatewayz`).
    ///
    /// # Errors
    /// When the broker does not answer, or not as nats-server does.
    pub async fn gateways(&self) -> Result<Vec<Peer>, MonitorError> {
        let seen: Gatewayz = self.read("/gatewayz").await?;
        let peers = seen.outbound_gateways.into_iter().map(|(name, out)| Peer {
            name,
            port: out.connection.port,
        });
        Ok(peers.collect())
    }

    /// Subscriptions it holds of its own clients and of other brokers (`/subsz`).
    ///
    /// # Errors
    /// When the broker does not answer, or not as nats-server does.
    pub async fn subscriptions(&self) -> Result<u64, MonitorError> {
        let seen: Subsz = self.read("/subsz").await?;
        Ok(seen.num_subscriptions)
    }

    /// The broker's counters (`/varz`).
    ///
    /// # Errors
    /// When the broker does not answer, or not as nats-server does.
    pub async fn varz(&self) -> Result<Varz, MonitorError> {
        self.read("/varz").await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, MonitorError> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|error| MonitorError::Content(error.to_string()))
    }

    async fn get(&self, path: &str) -> Result<Bytes, MonitorError> {
        tokio::time::timeout(ANSWER_WITHIN, self.exchange(path))
            .await
            .unwrap_or(Err(MonitorError::Late))
    }

    async fn exchange(&self, path: &str) -> Result<Bytes, MonitorError> {
        let broken = |error: &dyn std::fmt::Display| MonitorError::Connection(error.to_string());
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| broken(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let request = Request::get(path)
            .header(hyper::header::HOST, self.address.to_string())
            .body(Empty::<Bytes>::new())
            .map_err(|error| broken(&error))?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| broken(&error))?;
            let status = response.status();
            if !status.is_success() {
                return Err(MonitorError::Status(status.as_u16()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
            let whole = body.collect().await.map_err(|error| broken(&error))?;
            Ok(whole.to_bytes())
        };
        // The connection is driven beside the exchange and let go with it.
        tokio::pin!(connection);
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                Err(error) => Err(broken(&error)),
                Ok(()) => exchange.await,
            },
        }
    }
}
