//! One life of a node: a connection, what arrives on it, and what is due.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::machine::Input;
use super::observer::{NodeEvent, NodeObserver};
use super::plan::Authorization;
use super::registration::{self, Registration};
use super::request;
use super::{Alive, Mode, NodeError};
use crate::agents::{AgentSet, Next, Surroundings, count};
use crate::bus::{Bus, BusError, Inbound, Incoming, Link};
use crate::events::{Event, EventKind};
use crate::trust::Verifier;
use crate::trust::jwt::Credential;
use crate::wire::Limits;
use crate::words::{Collective, Identity, Seed, Shutdown, subject};

/// What every request of this life is judged and answered with.
pub(super) struct Core {
    pub(super) node: Surroundings,
    pub(super) verifier: Arc<Verifier>,
    pub(super) authorization: Authorization,
    /// What replies of protocol 2 are signed with.
    pub(super) credential: Option<Arc<Credential>>,
    pub(super) limits: Limits,
    pub(super) depth: usize,
    pub(super) observer: Arc<dyn NodeObserver>,
}

impl Core {
    pub(super) fn tell(&self, event: NodeEvent) {
        self.observer.event(&self.node.identity, event);
    }
}

/// The connection and everything under way on it.
pub(super) struct Life {
    pub(super) core: Arc<Core>,
    pub(super) bus: Arc<dyn Bus>,
    inbound: Inbound,
    in_flight: FuturesUnordered<BoxFuture<'static, Option<Next>>>,
    due: Due,
    first_alive: Duration,
    every_alive: Duration,
    /// Every alive event of a life is this one, as with the original.
    alive_event: Event,
    registration: Option<Registration>,
    /// Turns true when the node may announce itself; `None` while nobody waits for it.
    permission: Option<watch::Receiver<bool>>,
    /// The startup event could not be sent and is sent at the next connection.
    owes_startup: bool,
    lost: Option<Instant>,
    over: bool,
}

/// What is due when.
#[derive(Default)]
struct Due {
    leave: Option<Instant>,
    alive: Option<Instant>,
    registration: Option<Instant>,
}

impl Due {
    fn next(&self) -> Option<Instant> {
        [self.leave, self.alive, self.registration]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Life {
    pub(super) fn new(core: Arc<Core>, link: Link, alive: Alive, seed: Seed) -> Self {
        let node = &core.node;
        let mut random = seed.stream(2);
        let version = node.version.to_string();
        let alive_event = Event::new(
            node.identity.clone(),
            node.mode.component(),
            EventKind::Alive { version },
            node.started,
        );
        let first = alive
            .first
            .unwrap_or_else(|| Duration::from_secs(60 * random.random_range(0..30)));
        let registration = match node.mode {
            Mode::Provisioning => Registration::of(&core),
            Mode::Production => None,
        };
        let soon = Duration::from_secs(random.random_range(1..=4));
        Self {
            due: Due {
                leave: None,
                alive: None,
                registration: registration.as_ref().map(|_| Instant::now() + soon),
            },
            bus: link.bus,
            inbound: link.inbound,
            in_flight: FuturesUnordered::new(),
            first_alive: first,
            every_alive: alive.every.max(Duration::from_millis(10)),
            alive_event,
            registration,
            permission: None,
            owes_startup: false,
            lost: None,
            over: false,
            core,
        }
    }

    /// Tells that the node's subjects are subscribed to. The connection came with them, so whoever
    /// hears the startup event may ask at once.
    pub(super) fn subscribed(&self) {
        let node = &self.core.node;
        let count = subjects(&node.collectives, &node.agents, &node.identity).count();
        let mode = node.mode;
        self.core.tell(NodeEvent::Subscribed { mode, count });
    }

    /// From now on, `serve` reports when this turns true.
    pub(super) fn await_permission(&mut self, permission: watch::Receiver<bool>) {
        self.permission = Some(permission);
    }

    /// From now on, `serve` reports when the time is over.
    pub(super) fn leave_after(&mut self, delay: Duration) {
        self.permission = None;
        self.due.leave = Some(Instant::now() + delay);
    }

    /// Publishes the startup event.
    pub(super) async fn announce(&mut self) {
        let version = self.core.node.version.to_string();
        let startup = EventKind::Startup { version };
        let sent = self.publish(startup).await;
        self.owes_startup = !sent;
        if sent {
            self.due.alive = Some(Instant::now() + self.first_alive);
            let mode = self.core.node.mode;
            self.core.tell(NodeEvent::Announced { mode });
        }
    }

    /// Publishes a lifecycle event; false when it could not be sent.
    pub(super) async fn publish(&mut self, kind: EventKind) -> bool {
        request::publish_event(&self.core, self.bus.as_ref(), kind).await
    }

    /// Serves until something changes the node's state.
    pub(super) async fn serve(&mut self, shutdown: &Shutdown) -> Result<Input, NodeError> {
        // Both outlast many messages: waiting anew for each of them costs more than the message.
        let stopped = shutdown.cancelled();
        tokio::pin!(stopped);
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut armed = None;
        loop {
            let due = self.due.next();
            if let Some(at) = due.filter(|_| armed != due) {
                timer.as_mut().reset(at);
            }
            armed = due;
            let next = tokio::select! {
                biased;
                () = &mut stopped => return Ok(Input::StopAsked),
                () = granted(self.permission.as_mut()) => {
                    self.permission = None;
                    return Ok(Input::Permitted);
                }
                () = &mut timer, if armed.is_some() => {
                    // Rare: it takes its room only while it lasts.
                    if let Some(input) = Box::pin(self.on_time()).await {
                        return Ok(input);
                    }
                    armed = None;
                    None
                }
                Some(next) = self.in_flight.next() => next,
                incoming = self.inbound.next(), if !self.over => self.on_incoming(incoming).await?,
            };
            if let Some(next) = next {
                return Ok(Input::Promised(next));
            }
        }
    }

    /// Acts on what arrived; what an answer has promised, if it has.
    async fn on_incoming(&mut self, incoming: Incoming) -> Result<Option<Next>, NodeError> {
        match incoming {
            Incoming::Message(message) => match request::judge(&self.core, &message.payload) {
                Err(code) => self.core.tell(NodeEvent::Dropped { code }),
                Ok(accepted) => {
                    let busy = self.in_flight.len() >= self.core.depth;
                    let (core, bus) = (Arc::clone(&self.core), Arc::clone(&self.bus));
                    let mut call = Box::pin(async move {
                        let finished = request::execute(Arc::clone(&core), accepted, busy).await;
                        finished.publish(&core, bus.as_ref()).await
                    });
                    // Most calls have nothing to wait for, and need no place among those that do.
                    match futures::poll!(call.as_mut()) {
                        Poll::Ready(next) => return Ok(next),
                        Poll::Pending => self.in_flight.push(call),
                    }
                }
            },
            Incoming::Disconnected => {
                self.lost = Some(Instant::now());
                self.core.tell(NodeEvent::Disconnected);
            }
            Incoming::Connected { server } => {
                let took = self
                    .lost
                    .take()
                    .map_or(Duration::ZERO, |lost| lost.elapsed());
                let mode = self.core.node.mode;
                self.core
                    .tell(NodeEvent::Reconnected { mode, server, took });
                if self.owes_startup {
                    Box::pin(self.announce()).await;
                }
            }
            Incoming::Slow { dropped } => {
                let counters = &self.core.node.counters;
                (0..dropped).for_each(|_| count(&counters.dropped));
                tracing::warn!(node = %self.core.node.identity, dropped,
                    "messages were lost: this node is too slow");
            }
            // A promised restart makes a new connection anyway.
            Incoming::Closed if self.due.leave.is_some() => self.over = true,
            Incoming::Closed => return Err(NodeError::Network(BusError::Closed)),
        }
        Ok(None)
    }

    async fn on_time(&mut self) -> Option<Input> {
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.due.leave) {
            self.due.leave = None;
            return Some(Input::DelayOver);
        }
        if is_due(self.due.alive) {
            self.due.alive = Some(now + self.every_alive);
            request::publish_as_is(&self.core, self.bus.as_ref(), &self.alive_event).await;
        }
        if is_due(self.due.registration) {
            self.due.registration = Some(now + registration::EVERY);
            if let Some(registration) = &mut self.registration {
                registration.publish(&self.core, self.bus.as_ref()).await;
            }
        }
        None
    }
}

/// What a node subscribes to: every agent in every collective, and its own subject in each.
pub(super) fn subjects<'a>(
    collectives: &'a [Collective],
    agents: &'a AgentSet,
    identity: &'a Identity,
) -> impl Iterator<Item = String> + 'a {
    collectives.iter().flat_map(move |collective| {
        let agents = agents.names().iter();
        let of_agents = agents.map(|agent| subject::broadcast_agent(collective, agent));
        of_agents.chain(std::iter::once(subject::node(collective, identity)))
    })
}

/// Resolves once the permission is given, or nobody is left who could give it.
async fn granted(permission: Option<&mut watch::Receiver<bool>>) {
    match permission {
        Some(permission) => {
            let _ = permission.wait_for(|given| *given).await;
        }
        None => std::future::pending().await,
    }
}
