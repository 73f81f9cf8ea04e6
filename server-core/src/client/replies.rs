//! Replies to one request, and raw watches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::dispatch::{Dispatch, Listening};
use crate::bus::{Bus, SubscriptionId};
use crate::wire::rpc::RpcReply;
use crate::wire::{Limits, WireError, decode_reply};
use crate::words::Identity;

/// Everything published to one subject or pattern, until dropped.
pub struct Watch {
    listening: Listening,
    dispatch: Arc<Dispatch>,
    bus: Arc<dyn Bus>,
    /// None where a standing subscription brings the messages.
    subscription: Option<SubscriptionId>,
}

/// One message of a [`Watch`].
#[derive(Debug, Clone)]
pub struct Watched {
    /// Where it was published.
    pub subject: String,
    /// Its bytes.
    pub payload: Bytes,
    /// When it was taken off the connection.
    pub at: Instant,
}

impl Watch {
    pub(super) fn new(listening: Listening, dispatch: Arc<Dispatch>, bus: Arc<dyn Bus>) -> Self {
        Self {
            listening,
            dispatch,
            bus,
            subscription: None,
        }
    }

    /// A subscription of its own brings the messages, and ends with it.
    pub(super) fn subscribed(&mut self, subscription: SubscriptionId) {
        self.subscription = Some(subscription);
    }

    /// The next message; `None` once the connection is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Watched> {
        let arrived = self.listening.receiver.recv().await?;
        Some(Watched {
            subject: arrived.subject,
            payload: arrived.payload,
            at: arrived.at,
        })
    }

    /// Messages lost because this watch was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.listening.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription {
            self.bus.unsubscribe(subscription);
        }
        self.dispatch
            .remove(&self.listening.subject, self.listening.id);
    }
}

/// One node's reply. Its hash was checked, and its request id; in protocol 1 nothing proves its sender.
#[derive(Debug, Clone)]
pub struct NodeReply {
    /// The node that answered, by its own word.
    pub sender: Identity,
    /// The request answered.
    pub request_id: String,
    /// The agent that answered.
    pub agent: String,
    /// The agent's payload.
    pub payload: Bytes,
    /// When it was taken off the connection.
    pub at: Instant,
}

impl NodeReply {
    /// The reply as one of an RPC agent.
    ///
    /// # Errors
    /// When it is none.
    pub fn rpc(&self, limits: &Limits) -> Result<RpcReply, WireError> {
        RpcReply::parse(&self.payload, limits)
    }

    /// Whether it is a discovery agent's answer.
    #[must_use]
    pub fn is_pong(&self) -> bool {
        self.payload == b"pong"[..]
    }
}

/// The replies to one request, until dropped.
pub struct Replies {
    watch: Watch,
    request_id: String,
    limits: Limits,
    refused: u64,
}

impl Replies {
    pub(super) fn new(watch: Watch, request_id: String, limits: Limits) -> Self {
        Self {
            watch,
            request_id,
            limits,
            refused: 0,
        }
    }

    /// The next acceptable reply; `None` once the connection is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<NodeReply> {
        loop {
            let arrived = self.watch.next().await?;
            match self.read(&arrived) {
                Ok(reply) => return Some(reply),
                Err(why) => {
                    self.refused += 1;
                    tracing::warn!(request = self.request_id, why, "a reply was refused");
                }
            }
        }
    }

    /// The next acceptable reply within this time.
    pub async fn next_within(&mut self, limit: Duration) -> Option<NodeReply> {
        tokio::time::timeout(limit, self.next())
            .await
            .ok()
            .flatten()
    }

    /// Replies refused so far: not readable, for another request, or two names for one sender.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Replies lost because nobody read them fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.watch.dropped()
    }

    fn read(&self, arrived: &Watched) -> Result<NodeReply, String> {
        let envelope =
            decode_reply(&arrived.payload, &self.limits).map_err(|error| error.to_string())?;
        let reply = envelope.body;
        if reply.request_id != self.request_id {
            return Err("it answers another request".to_owned());
        }
        if let Some(host) = envelope.headers.sender.as_deref()
            && host != reply.sender
        {
            let host: String = host.chars().take(80).collect();
            return Err(format!("it was sent by {host:?} in another's name"));
        }
        Ok(NodeReply {
            sender: Identity::parse(&reply.sender).map_err(|error| error.to_string())?,
            request_id: reply.request_id,
            agent: reply.agent,
            payload: reply.payload,
            at: arrived.at,
        })
    }
}
