//! Asking nodes: discovery, directed and broadcast requests, and an account of every answer.
//!
//! A [`Client`] is one connection and one task that sorts what arrives to whoever listens. Requests are
//! signed once ([`Prepared`]) and may be sent to many nodes; replies are told apart by request id and
//! sender, never by trust in a subject alone.

mod account;
mod discovery;
mod dispatch;
mod fan_out;
mod node_set;
mod replies;

pub use account::{Account, Answered};
pub use discovery::{Discovered, Discovery, DiscoveryEnd};
pub use fan_out::{FanOut, FanOutReport, Route};
pub use node_set::NodeSet;
pub use replies::{NodeReply, Replies, Watch, Watched};

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;

use crate::bus::{Bus, BusError, BusStats, Dial, Dialer};
use crate::wire::rpc::RpcRequest;
use crate::wire::{
    Filter, Headers, Limits, Protocol, Request, RequestSigner, WireError, encode_request,
    new_request_id,
};
use crate::words::{CallerId, CallerIdError, Clock, Collective, Identity, SystemClock, subject};
use dispatch::Dispatch;

/// What a client is.
#[derive(Clone)]
pub struct ClientConfig {
    /// The collective requests are sent in.
    pub collective: Collective,
    /// Who signs requests, and so who the caller is.
    pub signer: Arc<dyn RequestSigner>,
    /// The host the requests say they come from.
    pub identity: Identity,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How much of a reply is accepted.
    pub limits: Limits,
    /// Messages that may wait per subscription; at least as many as nodes may answer at once.
    pub capacity: usize,
    /// One subscription to the replies of every request, from the first moment on, instead of one for
    /// each request. In a supercluster interest takes time to travel, and replies that are faster are
    /// lost. For clients whose caller is theirs alone: every reply to the caller comes to each of them.
    pub standing_replies: bool,
}

impl ClientConfig {
    /// A configuration with the system's clock, default limits and room for 65,536 waiting replies.
    #[must_use]
    pub fn new(collective: Collective, identity: Identity, signer: Arc<dyn RequestSigner>) -> Self {
        Self {
            collective,
            signer,
            identity,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            capacity: 65_536,
            standing_replies: false,
        }
    }
}

/// One call, before it is signed.
#[derive(Debug, Clone)]
pub struct Call {
    /// The agent.
    pub agent: String,
    /// The agent's payload.
    pub payload: Bytes,
    /// Which nodes it is for; the agent itself is added.
    pub filter: Filter,
    /// Seconds the request is good for; servers refuse less than 30.
    pub ttl: u64,
}

impl Call {
    /// An RPC call.
    ///
    /// # Errors
    /// When the data cannot be written as JSON.
    pub fn rpc(agent: &str, action: &str, data: Value) -> Result<Self, ClientError> {
        let body = RpcRequest::new(agent, action, data).encode()?;
        Ok(Self::raw(agent, body))
    }

    /// A call with a payload that is not of the RPC form.
    #[must_use]
    pub fn raw(agent: &str, payload: impl Into<Bytes>) -> Self {
        Self {
            agent: agent.to_owned(),
            payload: payload.into(),
            filter: Filter::empty(),
            ttl: 60,
        }
    }

    /// A discovery ping.
    #[must_use]
    pub fn ping() -> Self {
        // The text is base64 of "ping": receivers decode what happens to be base64.
        Self::raw("discovery", &b"cGluZw=="[..])
    }

    /// The same for these nodes only.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// The same, good for so many seconds.
    #[must_use]
    pub fn ttl(mut self, seconds: u64) -> Self {
        self.ttl = seconds;
        self
    }
}

/// A signed request, ready to be sent any number of times while it is good.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its id.
    pub id: String,
    /// Its bytes.
    pub payload: Bytes,
    /// Where replies go.
    pub reply_to: String,
    /// The agent it is for.
    pub agent: String,
    collective: Collective,
}

/// Why a client could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The network.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The request could not be written or signed.
    #[error("the request cannot be sent: {0}")]
    Wire(#[from] WireError),
    /// The signer's caller id has no valid form.
    #[error("the signer's caller id is not usable: {0}")]
    Caller(#[from] CallerIdError),
}

impl ClientError {
    /// A stable word for logs and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bus(error) => error.code(),
            Self::Wire(error) => error.code(),
            Self::Caller(_) => "caller.form",
        }
    }
}

/// The state of a client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Up; `count` is 1 for the first connection and grows with each reconnect.
    Up {
        /// The broker's address.
        server: String,
        /// How many connections there have been.
        count: u64,
    },
    /// Lost, being re-established.
    Down,
    /// Over.
    Closed,
}

/// A connection to ask on. Cloning shares it; the connection ends with [`Client::close`] or when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    bus: Arc<dyn Bus>,
    config: ClientConfig,
    caller: CallerId,
    dispatch: Arc<Dispatch>,
    connection: watch::Receiver<Connection>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Connects and starts the task that sorts replies.
    ///
    /// # Errors
    /// When no connection comes about or the signer's caller id has no valid form.
    pub async fn connect(
        dialer: &dyn Dialer,
        mut dial: Dial,
        config: ClientConfig,
    ) -> Result<Self, ClientError> {
        let caller = match config.signer.protocol() {
            Protocol::V1 => CallerId::parse(config.signer.caller())?,
            Protocol::V2 => CallerId::of_token(config.signer.caller())?,
        };
        dial.capacity = dial.capacity.max(config.capacity);
        if config.standing_replies {
            dial.subscriptions
                .push(subject::replies(&config.collective, &caller));
        }
        let link = dialer.dial(dial).await?;
        let up = Connection::Up {
            server: link.bus.server(),
            count: 1,
        };
        let (changes, connection) = watch::channel(up);
        let dispatch = Arc::new(Dispatch::default());
        let task = tokio::spawn(dispatch::run(link.inbound, Arc::clone(&dispatch), changes));
        Ok(Self {
            inner: Arc::new(Inner {
                bus: link.bus,
                config,
                caller,
                dispatch,
                connection,
                task,
            }),
        })
    }

    /// Signs a request. The agent is added to its filter, as nodes expect.
    ///
    /// # Errors
    /// When it cannot be written or signed.
    pub fn prepare(&self, call: &Call) -> Result<Prepared, ClientError> {
        let config = &self.inner.config;
        let id = new_request_id();
        let reply_to = subject::reply(&config.collective, &self.inner.caller, &id);
        let mut filter = call.filter.clone();
        // A bare ping asks every node there is; whatever else is asked names its agent.
        if call.agent != "discovery" && !filter.agent.contains(&call.agent) {
            filter.agent.push(call.agent.clone());
        }
        let request = Request {
            id: id.clone(),
            sender: config.identity.to_string(),
            caller: self.inner.caller.as_str().to_owned(),
            collective: config.collective.to_string(),
            agent: call.agent.clone(),
            ttl_secs: call.ttl,
            time: config.clock.unix(),
            filter,
            payload: call.payload.clone(),
        };
        let headers = Headers::from_here(
            config.identity.as_str(),
            &self.inner.bus.server(),
            Some(reply_to.clone()),
        );
        Ok(Prepared {
            payload: encode_request(&request, config.signer.as_ref(), &headers)?,
            id,
            reply_to,
            agent: call.agent.clone(),
            collective: config.collective.clone(),
        })
    }

    /// Listens for the replies to a request, until dropped. No queue group: every client with the same
    /// caller sees its own replies. `capacity` replies may wait; more are dropped and counted.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn listen(
        &self,
        request: &Prepared,
        capacity: usize,
    ) -> Result<Replies, ClientError> {
        let watch = match self.inner.config.standing_replies {
            true => self.watching(&request.reply_to, capacity),
            false => self.watch(&request.reply_to, capacity).await?,
        };
        Ok(Replies::new(
            watch,
            request.id.clone(),
            self.inner.config.limits.clone(),
        ))
    }

    /// Sends to every node that has the agent.
    ///
    /// # Errors
    /// When the message cannot be handed to the network.
    pub async fn publish_broadcast(&self, request: &Prepared) -> Result<(), ClientError> {
        let subject = subject::broadcast_agent(&request.collective, &request.agent);
        Ok(self
            .inner
            .bus
            .publish(&subject, request.payload.clone())
            .await?)
    }

    /// Sends to one node.
    ///
    /// # Errors
    /// When the message cannot be handed to the network.
    pub async fn publish_to(&self, request: &Prepared, node: &Identity) -> Result<(), ClientError> {
        let subject = subject::node(&request.collective, node);
        Ok(self
            .inner
            .bus
            .publish(&subject, request.payload.clone())
            .await?)
    }

    /// Publishes any bytes to any subject.
    ///
    /// # Errors
    /// When the message cannot be handed to the network.
    pub async fn publish_raw(&self, subject: &str, payload: Bytes) -> Result<(), ClientError> {
        Ok(self.inner.bus.publish(subject, payload).await?)
    }

    /// Everything published to a subject, wildcards allowed, until dropped.
    ///
    /// # Errors
    /// When the subject is none or the connection is over.
    pub async fn watch(&self, subject: &str, capacity: usize) -> Result<Watch, ClientError> {
        let mut watch = self.watching(subject, capacity);
        watch.subscribed(self.inner.bus.subscribe(subject, None).await?);
        Ok(watch)
    }

    fn watching(&self, subject: &str, capacity: usize) -> Watch {
        Watch::new(
            self.inner.dispatch.add(subject, capacity),
            Arc::clone(&self.inner.dispatch),
            Arc::clone(&self.inner.bus),
        )
    }

    /// Returns once everything sent so far has left this process.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn flush(&self) -> Result<(), ClientError> {
        Ok(self.inner.bus.flush().await?)
    }

    /// The state of the connection, and its changes.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.inner.connection.clone()
    }

    /// The caller requests are signed as.
    #[must_use]
    pub fn caller(&self) -> &CallerId {
        &self.inner.caller
    }

    /// The client's configuration.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Counters of the connection.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        self.inner.bus.stats()
    }

    /// Sends what is queued and ends the connection, for every clone.
    pub async fn close(&self) {
        self.inner.bus.close().await;
    }
}
