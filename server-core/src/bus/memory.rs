//! A broker inside the process: for tests, and for programs that want a fleet without a network.
//!
//! Delivery follows the rules of a NATS server: wildcards, queue groups, no echo suppression, a payload
//! limit, and a bounded queue per subscription that drops and counts what its reader is too slow for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::Stream;
use futures::task::AtomicWaker;

use super::{
    Bus, BusError, BusStats, Dial, DialStep, Dialer, Inbound, Incoming, Link, Message,
    SubscriptionId, is_subscribable, subject_matches as matches,
};
use crate::words::subject::is_publishable;

/// The payload limit, as a NATS server has it by default.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// Any number of in-process brokers, told apart by address: dialling `tls://a:1` and `nats://a:1`
/// reaches the same one. Cloning shares them.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    brokers: Arc<Mutex<HashMap<String, Arc<Broker>>>>,
}

#[derive(Default)]
struct Broker {
    parties: Mutex<BTreeMap<u64, Arc<Party>>>,
    next: AtomicU64,
    down: Mutex<bool>,
}

/// One connection as the broker sees it.
struct Party {
    id: u64,
    capacity: usize,
    state: Mutex<PartyState>,
    waker: AtomicWaker,
    in_bytes: AtomicU64,
    out_msgs: AtomicU64,
    out_bytes: AtomicU64,
}

#[derive(Default)]
struct PartyState {
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    queue: VecDeque<Incoming>,
    next_subscription: u64,
    in_msgs: u64,
    dropped: u64,
    unreported: u64,
    reconnects: u64,
    connected: bool,
    closed: bool,
}

struct Subscription {
    subject: String,
    queue: Option<String>,
    waiting: usize,
}

impl MemoryNetwork {
    /// A network without brokers; each appears when it is first dialled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts or restores a broker: parties see [`Incoming::Disconnected`] and [`Incoming::Connected`].
    pub fn set_down(&self, server: &str, down: bool) {
        let broker = self.broker(server);
        *lock(&broker.down) = down;
        for party in lock(&broker.parties).values() {
            let mut state = lock(&party.state);
            if state.connected == down {
                state.connected = !down;
                state.reconnects += u64::from(!down);
                state.queue.push_back(if down {
                    Incoming::Disconnected
                } else {
                    Incoming::Connected {
                        server: server.to_owned(),
                    }
                });
            }
            drop(state);
            party.waker.wake();
        }
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
            if !*lock(&broker.down) {
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
            tokio::time::sleep(delays.after_failure()).await;
        };
        let party = Arc::new(Party {
            id: broker.next.fetch_add(1, Ordering::Relaxed),
            capacity: dial.capacity.max(1),
            state: Mutex::new(PartyState {
                connected: true,
                ..PartyState::default()
            }),
            waker: AtomicWaker::new(),
            in_bytes: AtomicU64::new(0),
            out_msgs: AtomicU64::new(0),
            out_bytes: AtomicU64::new(0),
        });
        lock(&broker.parties).insert(party.id, Arc::clone(&party));
        Ok(Link {
            inbound: Inbound::new(MemoryInbound {
                party: Arc::clone(&party),
            }),
            bus: Arc::new(MemoryBus {
                broker,
                party,
                server,
                attempts: u64::from(attempts),
            }),
        })
    }
}

struct MemoryBus {
    broker: Arc<Broker>,
    party: Arc<Party>,
    server: String,
    attempts: u64,
}

impl MemoryBus {
    fn alive(&self) -> Result<(), BusError> {
        let state = lock(&self.party.state);
        match (state.closed, state.connected) {
            (true, _) => Err(BusError::Closed),
            (false, false) => Err(BusError::Disconnected),
            (false, true) => Ok(()),
        }
    }
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
        self.alive()?;
        self.party.out_msgs.fetch_add(1, Ordering::Relaxed);
        self.party
            .out_bytes
            .fetch_add(payload.len() as u64, Ordering::Relaxed);
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
        let mut state = lock(&self.party.state);
        if state.closed {
            return Err(BusError::Closed);
        }
        state.next_subscription += 1;
        let id = SubscriptionId(state.next_subscription);
        state.subscriptions.insert(
            id,
            Subscription {
                subject: subject.to_owned(),
                queue: queue.map(str::to_owned),
                waiting: 0,
            },
        );
        Ok(id)
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        lock(&self.party.state).subscriptions.remove(&id);
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.alive()
    }

    async fn close(&self) {
        lock(&self.broker.parties).remove(&self.party.id);
        let mut state = lock(&self.party.state);
        if !std::mem::replace(&mut state.closed, true) {
            state.subscriptions.clear();
            state.queue.push_back(Incoming::Closed);
        }
        drop(state);
        self.party.waker.wake();
    }

    fn server(&self) -> String {
        if lock(&self.party.state).connected {
            self.server.clone()
        } else {
            "unknown".to_owned()
        }
    }

    fn stats(&self) -> BusStats {
        let state = lock(&self.party.state);
        BusStats {
            in_msgs: state.in_msgs,
            out_msgs: self.party.out_msgs.load(Ordering::Relaxed),
            in_bytes: self.party.in_bytes.load(Ordering::Relaxed),
            out_bytes: self.party.out_bytes.load(Ordering::Relaxed),
            reconnects: state.reconnects,
            attempts: self.attempts,
            dropped: state.dropped,
        }
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        lock(&self.broker.parties).remove(&self.party.id);
    }
}

/// A subject with the queue group on it.
type QueueGroup = (String, String);
/// One who shares a group's messages.
type Member = (Arc<Party>, SubscriptionId);

impl Broker {
    /// One copy per matching subscription, one per matching queue group.
    fn deliver(&self, subject: &str, payload: &Bytes) {
        let mut groups: BTreeMap<QueueGroup, Vec<Member>> = BTreeMap::new();
        let parties: Vec<_> = lock(&self.parties).values().cloned().collect();
        for party in parties {
            let mut single = Vec::new();
            let state = lock(&party.state);
            for (id, subscription) in &state.subscriptions {
                if !matches(&subscription.subject, subject) {
                    continue;
                }
                match &subscription.queue {
                    None => single.push(*id),
                    Some(queue) => groups
                        .entry((subscription.subject.clone(), queue.clone()))
                        .or_default()
                        .push((Arc::clone(&party), *id)),
                }
            }
            drop(state);
            for id in single {
                party.offer(id, subject, payload);
            }
        }
        for members in groups.into_values() {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) as usize % members.len();
            let (party, id) = &members[turn];
            party.offer(*id, subject, payload);
        }
    }
}

impl Party {
    fn offer(&self, id: SubscriptionId, subject: &str, payload: &Bytes) {
        let mut state = lock(&self.state);
        let Some(subscription) = state.subscriptions.get_mut(&id) else {
            return;
        };
        if subscription.waiting >= self.capacity {
            state.dropped += 1;
            state.unreported += 1;
        } else {
            subscription.waiting += 1;
            state.in_msgs += 1;
            self.in_bytes
                .fetch_add(payload.len() as u64, Ordering::Relaxed);
            state.queue.push_back(Incoming::Message(Message {
                subject: subject.to_owned(),
                payload: payload.clone(),
            }));
        }
        drop(state);
        self.waker.wake();
    }
}

struct MemoryInbound {
    party: Arc<Party>,
}

impl Stream for MemoryInbound {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.party.waker.register(cx.waker());
        let mut state = lock(&self.party.state);
        if state.unreported > 0 {
            let dropped = std::mem::take(&mut state.unreported);
            return Poll::Ready(Some(Incoming::Slow { dropped }));
        }
        match state.queue.pop_front() {
            Some(Incoming::Message(message)) => {
                for subscription in state.subscriptions.values_mut() {
                    if matches(&subscription.subject, &message.subject) {
                        subscription.waiting = subscription.waiting.saturating_sub(1);
                    }
                }
                Poll::Ready(Some(Incoming::Message(message)))
            }
            Some(item) => Poll::Ready(Some(item)),
            None => Poll::Pending,
        }
    }
}

/// A poisoned lock only means a test panicked elsewhere; the data is plain counters and queues.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
