//! The state of one connection, shared between its bus and its one reader; and the sending half.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::net::TcpStream;

use super::handshake::Established;
use super::plan::{Arrived, Plan, Route, Target};
use super::protocol::{self, Info};
use super::socket::{Lost, Socket};
use crate::bus::{Bus, BusError, BusStats, Message, SubscriptionId, is_subscribable};
use crate::words::subject::is_publishable;

/// Unsent bytes beyond which a sender waits for the network.
const HIGH_WATER: usize = 64 * 1024;
/// Waiting longer than this for the network means a dead connection.
const STALL: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Connection {
    pub(super) plan: Arc<Plan>,
    state: Mutex<State>,
    /// The reader, which also sends what others could not.
    pub(super) reader: AtomicWaker,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) in_msgs: AtomicU64,
    pub(super) in_bytes: AtomicU64,
    out_msgs: AtomicU64,
    out_bytes: AtomicU64,
    reconnects: AtomicU64,
}

pub(super) struct State {
    /// The connection to the broker, while there is one.
    pub(super) socket: Option<Socket>,
    /// The broker it leads to, or led to last.
    pub(super) target: Target,
    pub(super) route: Route,
    /// Messages that came with its greeting.
    pub(super) early: Vec<(u64, Message)>,
    /// The broker has announced its end.
    pub(super) leaving: bool,
    max_payload: usize,
    /// Subscriptions of the dial, with the ids from 1 on; the greeting makes them.
    given: u64,
    /// The others in order of their ids.
    subscriptions: Vec<Subscription>,
    next: u64,
    pub(super) closed: bool,
}

struct Subscription {
    id: u64,
    subject: Box<str>,
    queue: Option<Box<str>>,
}

impl State {
    /// Whether messages of this subscription are still wanted.
    pub(super) fn wants(&self, id: u64) -> bool {
        (1..=self.given).contains(&id) || self.position(id).is_ok()
    }

    fn position(&self, id: u64) -> Result<usize, usize> {
        self.subscriptions
            .binary_search_by_key(&id, |subscription| subscription.id)
    }

    /// Takes what a broker tells of itself.
    pub(super) fn told(&mut self, info: &Info, plan: &Plan) {
        self.leaving = info.ldm;
        self.max_payload = info.payload_limit();
        if let Some(socket) = &mut self.socket {
            socket.parser.set_max_payload(self.max_payload);
        }
        if let Some(urls) = &info.connect_urls {
            self.route.learn(urls, &self.target, &plan.targets);
        }
    }

    /// The socket, for whoever wants to send.
    fn sending(&mut self) -> Result<&mut Socket, BusError> {
        match (&mut self.socket, self.closed) {
            (_, true) => Err(BusError::Closed),
            (None, false) => Err(BusError::Disconnected),
            (Some(socket), false) => Ok(socket),
        }
    }

    /// Sends what the network takes now; what is left is the reader's, or the next sender's.
    fn pump(&mut self) -> Result<bool, BusError> {
        let server = Arc::clone(&self.target.url);
        self.sending()?.pump().map_err(|lost| {
            tracing::debug!(%server, %lost, "the connection broke while sending");
            self.socket = None;
            BusError::Disconnected
        })
    }
}

impl Connection {
    pub(super) fn new(plan: Arc<Plan>, arrived: Arrived) -> Arc<Self> {
        let given = plan.subscriptions().count() as u64;
        let mut state = State {
            socket: None,
            target: arrived.established.target.clone(),
            route: Route::default(),
            early: Vec::new(),
            leaving: false,
            max_payload: 0,
            subscriptions: Vec::new(),
            given,
            next: given + 1,
            closed: false,
        };
        state.install(&plan, arrived);
        Arc::new(Self {
            plan,
            state: Mutex::new(state),
            reader: AtomicWaker::new(),
            counters: Counters::default(),
        })
    }

    /// A poisoned lock means another thread panicked between whole changes; the state is sound.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a new connection in the place of the lost or leaving one and restores subscriptions.
    pub(super) fn replace(&self, arrived: Arrived) {
        self.counters.reconnects.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        state.install(&self.plan, arrived);
        // A failure shows at the reader's next round.
        let _ = self.pumped(&mut state);
    }

    /// The connection is over for everybody; gives the socket back, if there is one.
    pub(super) fn end(&self) -> Option<Socket> {
        let mut state = self.state();
        state.closed = true;
        state.given = 0;
        state.subscriptions = Vec::new();
        let socket = state.socket.take();
        drop(state);
        self.reader.wake();
        socket
    }

    /// Waits until the network takes more, or too long.
    async fn writable(&self, stream: Arc<TcpStream>) -> Result<(), BusError> {
        match tokio::time::timeout(STALL, stream.writable()).await {
            Err(_) => Err(BusError::Stalled(STALL)),
            // A broken connection is noticed by the next attempt to send.
            Ok(_) => Ok(()),
        }
    }

    /// Sends with `write` as soon as there is room.
    async fn send(&self, mut write: impl FnMut(&mut Vec<u8>) + Send) -> Result<(), BusError> {
        loop {
            let full = {
                let mut state = self.state();
                if state.sending()?.waiting() >= HIGH_WATER && !self.pumped(&mut state)? {
                    Some(Arc::clone(state.sending()?.stream()))
                } else {
                    write(state.sending()?.queue());
                    self.pumped(&mut state)?;
                    None
                }
            };
            match full {
                None => return Ok(()),
                Some(stream) => self.writable(stream).await?,
            }
        }
    }

    /// Sends what the network takes and leaves the rest to the reader; `true` when there is none.
    fn pumped(&self, state: &mut State) -> Result<bool, BusError> {
        let all = state.pump();
        if !matches!(all, Ok(true)) {
            self.reader.wake();
        }
        all
    }
}

impl State {
    fn install(&mut self, plan: &Plan, arrived: Arrived) {
        let Established {
            mut socket,
            info,
            target,
            early,
            ..
        } = arrived.established;
        for subscription in &self.subscriptions {
            let Subscription { id, subject, queue } = subscription;
            protocol::subscribe(socket.queue(), *id, subject, queue.as_deref());
        }
        self.socket = Some(socket);
        self.target = target;
        self.early = early;
        self.route.turn = arrived.turn;
        self.route.epoch += 1;
        self.told(&info, plan);
    }
}

/// The sending half.
pub(super) struct SwarmBus(pub(super) Arc<Connection>);

#[async_trait]
impl Bus for SwarmBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        if !is_publishable(subject) {
            return Err(BusError::Subject(subject.to_owned()));
        }
        let (size, limit) = (payload.len(), self.0.state().max_payload);
        if size > limit {
            return Err(BusError::TooLarge { size, limit });
        }
        self.0
            .send(|out| protocol::publish(out, subject, &payload))
            .await?;
        let counters = &self.0.counters;
        counters.out_msgs.fetch_add(1, Ordering::Relaxed);
        counters.out_bytes.fetch_add(size as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The subscription leaves with the next publication, flush or read, whichever comes first.
    async fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<SubscriptionId, BusError> {
        if !is_subscribable(subject) {
            return Err(BusError::Subject(subject.to_owned()));
        }
        if let Some(queue) = queue.filter(|queue| !is_publishable(queue)) {
            return Err(BusError::Subject(queue.to_owned()));
        }
        let mut state = self.0.state();
        if state.closed {
            return Err(BusError::Closed);
        }
        let id = state.next;
        state.next += 1;
        state.subscriptions.push(Subscription {
            id,
            subject: subject.into(),
            queue: queue.map(Into::into),
        });
        if let Some(socket) = &mut state.socket {
            protocol::subscribe(socket.queue(), id, subject, queue);
        }
        drop(state);
        self.0.reader.wake();
        Ok(SubscriptionId(id))
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        let mut state = self.0.state();
        if let Ok(at) = state.position(id.0) {
            state.subscriptions.remove(at);
            if let Some(socket) = &mut state.socket {
                protocol::unsubscribe(socket.queue(), id.0);
            }
            drop(state);
            self.0.reader.wake();
        }
    }

    async fn flush(&self) -> Result<(), BusError> {
        loop {
            let stream = {
                let mut state = self.0.state();
                if self.0.pumped(&mut state)? {
                    return Ok(());
                }
                Arc::clone(state.sending()?.stream())
            };
            self.0.writable(stream).await?;
        }
    }

    async fn close(&self) {
        let _ = self.flush().await;
        if let Some(socket) = self.0.end() {
            socket.part().await;
        }
    }

    fn server(&self) -> String {
        let state = self.0.state();
        match &state.socket {
            Some(_) => state.target.url.to_string(),
            None => "unknown".to_owned(),
        }
    }

    fn stats(&self) -> BusStats {
        let counters = &self.0.counters;
        BusStats {
            in_msgs: counters.in_msgs.load(Ordering::Relaxed),
            out_msgs: counters.out_msgs.load(Ordering::Relaxed),
            in_bytes: counters.in_bytes.load(Ordering::Relaxed),
            out_bytes: counters.out_bytes.load(Ordering::Relaxed),
            reconnects: counters.reconnects.load(Ordering::Relaxed),
            attempts: self.0.plan.attempts.load(Ordering::Relaxed),
            // What is not read stays with the network, which slows its senders down.
            dropped: 0,
        }
    }
}

/// Notes why a connection was lost.
pub(super) fn note(target: &Target, lost: &Lost) {
    tracing::debug!(server = %target.url, %lost, "the connection was lost");
}
