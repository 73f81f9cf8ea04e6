//! A broker inside the process: for tests, and for programs that want a fleet without a network.
//!
//! Delivery follows the rules of a NATS server: wildcards, queue groups, no echo suppression, a payload
//! limit, and a bounded queue per subscription that drops and counts what its reader is too slow for.

mod broker;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::Stream;

use super::{
    Bus, BusError, BusStats, Dial, DialStep, Dialer, Inbound, Incoming, Link, SubscriptionId,
    is_subscribable,
};
use crate::words::subject::is_publishable;
use broker::{Broker, Party};

/// The payload limit, as a NATS server has it by default.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// Any number of in-process brokers, told apart by address: dialling `tls://a:1` and `nats://a:1`
/// reaches the same one. Cloning shares them.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    brokers: Arc<Mutex<HashMap<String, Arc<Broker>>>>,
}

impl MemoryNetwork {
    /// A network without brokers; each appears when it is first dialled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts or restores a broker: parties see [`Incoming::Disconnected`] and [`Incoming::Connected`].
    pub fn set_down(&self, server: &str, down: bool) {
        self.broker(server).set_down(server, down);
    }

    fn broker(&self, server: &str) -> Arc<Broker> {
        let address = server.split_once("://").map_or(server, |(_, rest)| rest);
        Arc::clone(lock(&self.brokers).entry(address.to_owned()).or_default())
    }
}

#[async_trait]
impl Dialer for MemoryNetwork {
    async fn dial(&self, dial: Dial) -> Result<Link, BusError> {
        let mut delays = dial.reconnect.delays();
        let mut attempts = 0u32;
        let (server, broker) = loop {
            let server = dial
                .servers
                .get(attempts as usize % dial.servers.len().max(1))
                .ok_or_else(|| BusError::Address {
                    server: String::new(),
                    why: "no broker is configured".to_owned(),
                })?;
            dial.report(DialStep::Attempt { server });
            attempts = attempts.saturating_add(1);
            let broker = self.broker(server);
            if !broker.is_down() {
                break (server.clone(), broker);
            }
            let error = BusError::Unreachable {
                server: server.clone(),
                why: "it is down".to_owned(),
            };
            dial.report(DialStep::Failed(&error));
            if dial.give_up_after.is_some_and(|limit| attempts >= limit) {
                return Err(BusError::GaveUp {
                    attempts,
                    last: Box::new(error),
                });
            }
            tokio::time::sleep(delays.after_failure(dial.servers.len())).await;
        };
        let party = broker.join(dial.capacity);
        let inbound = Inbound::new(MemoryInbound(Arc::clone(&party)));
        let bus = MemoryBus {
            broker,
            party,
            server,
            attempts: u64::from(attempts),
        };
        for subject in &dial.subscriptions {
            bus.subscribe(subject, None).await?;
        }
        Ok(Link {
            inbound,
            bus: Arc::new(bus),
        })
    }
}

struct MemoryBus {
    broker: Arc<Broker>,
    party: Arc<Party>,
    server: String,
    attempts: u64,
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        if !is_publishable(subject) {
            return Err(BusError::Subject(subject.to_owned()));
        }
        if payload.len() > MAX_PAYLOAD {
            return Err(BusError::TooLarge {
                size: payload.len(),
                limit: MAX_PAYLOAD,
            });
        }
        self.party.sends(payload.len())?;
        self.broker.deliver(subject, &payload);
        Ok(())
    }

    async fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<SubscriptionId, BusError> {
        if !is_subscribable(subject) {
            return Err(BusError::Subject(subject.to_owned()));
        }
        self.broker.subscribe(&self.party, subject, queue)
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        self.broker.unsubscribe(&self.party, id);
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.party.alive()
    }

    async fn close(&self) {
        self.broker.leave(&self.party);
    }

    fn server(&self) -> String {
        match self.party.alive() {
            Ok(()) => self.server.clone(),
            Err(_) => "unknown".to_owned(),
        }
    }

    fn stats(&self) -> BusStats {
        BusStats {
            attempts: self.attempts,
            ..self.party.stats()
        }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        self.broker.leave(&self.party);
    }
}

struct MemoryInbound(Arc<Party>);

impl Stream for MemoryInbound {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.0.poll_next(cx).map(Some)
    }
}

/// A poisoned lock only means a test panicked elsewhere; the data is plain counters and queues.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
