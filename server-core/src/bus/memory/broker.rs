//! Who is connected to an in-process broker, who subscribed to what, and what waits for whom.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::super::{BusError, BusStats, Incoming, Message, SubscriptionId, subject_matches};
use super::lock;

/// One broker. Its lock is taken before that of a party, never after.
#[derive(Default)]
pub(super) struct Broker(Mutex<Routes>);

#[derive(Default)]
struct Routes {
    down: bool,
    next_party: u64,
    /// Which member of a queue group is next.
    turn: usize,
    parties: BTreeMap<u64, Arc<Party>>,
    /// Subscriptions without wildcards, by subject: nearly all there are.
    exact: HashMap<String, Vec<Route>>,
    patterns: Vec<(String, Route)>,
}

/// Where a subscription's messages go.
#[derive(Clone)]
struct Route {
    party: Arc<Party>,
    id: SubscriptionId,
    queue: Option<String>,
}

impl Route {
    fn is(&self, party: &Party, id: Option<SubscriptionId>) -> bool {
        self.party.id == party.id && id.is_none_or(|id| self.id == id)
    }
}

impl Routes {
    /// Forgets one subscription of a party, or all of them.
    fn forget(&mut self, party: &Party, id: Option<SubscriptionId>) {
        for subject in party.subjects(id) {
            if let Some(routes) = self.exact.get_mut(&subject) {
                routes.retain(|route| !route.is(party, id));
                if routes.is_empty() {
                    self.exact.remove(&subject);
                }
            }
        }
        self.patterns.retain(|(_, route)| !route.is(party, id));
    }
}

impl Broker {
    pub(super) fn is_down(&self) -> bool {
        lock(&self.0).down
    }

    pub(super) fn set_down(&self, server: &str, down: bool) {
        let mut routes = lock(&self.0);
        routes.down = down;
        for party in routes.parties.values() {
            party.set_connected(server, !down);
        }
    }

    pub(super) fn join(&self, capacity: usize) -> Arc<Party> {
        let mut routes = lock(&self.0);
        routes.next_party += 1;
        let party = Arc::new(Party {
            id: routes.next_party,
            capacity: capacity.max(1),
            state: Mutex::new(PartyState {
                connected: true,
                ..PartyState::default()
            }),
            waker: AtomicWaker::new(),
        });
        routes.parties.insert(party.id, Arc::clone(&party));
        party
    }

    pub(super) fn leave(&self, party: &Party) {
        let mut routes = lock(&self.0);
        if routes.parties.remove(&party.id).is_some() {
            routes.forget(party, None);
            party.close();
        }
    }

    pub(super) fn subscribe(
        &self,
        party: &Arc<Party>,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<SubscriptionId, BusError> {
        let mut routes = lock(&self.0);
        let route = Route {
            party: Arc::clone(party),
            id: party.subscribe(subject)?,
            queue: queue.map(str::to_owned),
        };
        let id = route.id;
        if subject.split('.').any(|token| matches!(token, "*" | ">")) {
            routes.patterns.push((subject.to_owned(), route));
        } else {
            let same = routes.exact.entry(subject.to_owned()).or_default();
            same.push(route);
        }
        Ok(id)
    }

    pub(super) fn unsubscribe(&self, party: &Party, id: SubscriptionId) {
        lock(&self.0).forget(party, Some(id));
        party.unsubscribe(id);
    }

    /// One copy per matching subscription, one per matching queue group.
    pub(super) fn deliver(&self, subject: &str, payload: &Bytes) {
        let mut groups: BTreeMap<(String, String), Vec<Route>> = BTreeMap::new();
        let mut routes = lock(&self.0);
        let exact = routes.exact.get(subject).into_iter().flatten();
        let exact = exact.map(|route| (subject, route));
        let patterns = routes
            .patterns
            .iter()
            .filter(|(pattern, _)| subject_matches(pattern, subject))
            .map(|(pattern, route)| (pattern.as_str(), route));
        for (subscribed, route) in exact.chain(patterns) {
            match &route.queue {
                None => route.party.offer(route.id, subject, payload),
                Some(queue) => groups
                    .entry((subscribed.to_owned(), queue.clone()))
                    .or_default()
                    .push(route.clone()),
            }
        }
        for members in groups.into_values() {
            routes.turn = routes.turn.wrapping_add(1);
            let member = &members[routes.turn % members.len()];
            member.party.offer(member.id, subject, payload);
        }
    }
}

/// One connection as the broker sees it.
pub(super) struct Party {
    id: u64,
    capacity: usize,
    state: Mutex<PartyState>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct PartyState {
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// What waits to be read; messages with the subscription whose room they take.
    queue: VecDeque<(Option<SubscriptionId>, Incoming)>,
    next_subscription: u64,
    unreported: u64,
    stats: BusStats,
    connected: bool,
    closed: bool,
}

struct Subscription {
    subject: String,
    waiting: usize,
}

impl Party {
    /// Whether messages can be sent and received at the moment.
    pub(super) fn alive(&self) -> Result<(), BusError> {
        let state = lock(&self.state);
        match (state.closed, state.connected) {
            (true, _) => Err(BusError::Closed),
            (false, false) => Err(BusError::Disconnected),
            (false, true) => Ok(()),
        }
    }

    /// Counts a message of this party's own.
    pub(super) fn sends(&self, bytes: usize) -> Result<(), BusError> {
        self.alive()?;
        let mut state = lock(&self.state);
        state.stats.out_msgs += 1;
        state.stats.out_bytes += bytes as u64;
        Ok(())
    }

    pub(super) fn stats(&self) -> BusStats {
        lock(&self.state).stats
    }

    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.waker.register(cx.waker());
        let mut state = lock(&self.state);
        if state.unreported > 0 {
            let dropped = std::mem::take(&mut state.unreported);
            return Poll::Ready(Incoming::Slow { dropped });
        }
        let Some((id, item)) = state.queue.pop_front() else {
            return Poll::Pending;
        };
        if let Some(subscription) = id.and_then(|id| state.subscriptions.get_mut(&id)) {
            subscription.waiting -= 1;
        }
        Poll::Ready(item)
    }

    fn subscribe(&self, subject: &str) -> Result<SubscriptionId, BusError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(BusError::Closed);
        }
        state.next_subscription += 1;
        let id = SubscriptionId(state.next_subscription);
        let subscription = Subscription {
            subject: subject.to_owned(),
            waiting: 0,
        };
        state.subscriptions.insert(id, subscription);
        Ok(id)
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        lock(&self.state).subscriptions.remove(&id);
    }

    fn subjects(&self, id: Option<SubscriptionId>) -> Vec<String> {
        let state = lock(&self.state);
        let all = state.subscriptions.iter();
        all.filter(|(one, _)| id.is_none_or(|id| **one == id))
            .map(|(_, subscription)| subscription.subject.clone())
            .collect()
    }

    fn set_connected(&self, server: &str, connected: bool) {
        let mut state = lock(&self.state);
        if state.connected != connected {
            state.connected = connected;
            state.stats.reconnects += u64::from(connected);
            let change = match connected {
                true => Incoming::Connected {
                    server: server.to_owned(),
                },
                false => Incoming::Disconnected,
            };
            state.queue.push_back((None, change));
        }
        drop(state);
        self.waker.wake();
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.subscriptions.clear();
        state.queue.push_back((None, Incoming::Closed));
        drop(state);
        self.waker.wake();
    }

    fn offer(&self, id: SubscriptionId, subject: &str, payload: &Bytes) {
        let mut state = lock(&self.state);
        if !state.connected {
            return;
        }
        let Some(subscription) = state.subscriptions.get_mut(&id) else {
            return;
        };
        if subscription.waiting >= self.capacity {
            state.stats.dropped += 1;
            state.unreported += 1;
        } else {
            subscription.waiting += 1;
            state.stats.in_msgs += 1;
            state.stats.in_bytes += payload.len() as u64;
            let message = Message {
                subject: subject.to_owned(),
                payload: payload.clone(),
            };
            state
                .queue
                .push_back((Some(id), Incoming::Message(message)));
        }
        drop(state);
        self.waker.wake();
    }
}
