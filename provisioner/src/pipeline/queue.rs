//! Step 2, `queue`: arrivals in, tickets out. Pure: it holds no clock, no
//! channel and no task.
//!
//! An identity is in here at most once, so at most one enrolment of it is under
//! way. Each source has a lane and the lanes take turns, so a flood from one
//! source delays the others by one place at most. Parked identities wait here
//! for their time. The number of identities waiting and parked is bounded; what
//! does not fit is shed, said so, and brought back by the next sweep.

use std::collections::{BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;
use server_core::words::Identity;

use super::arrive::Arrival;
use crate::ledger::Source;

/// The lanes, in the order of their turns.
const LANES: [Source; 4] = [
    Source::Startup,
    Source::Ledger,
    Source::Sweep,
    Source::Alive,
];

/// A place in the work: its holder may enrol this identity, and must give it
/// back with [`Queue::park`] or [`Queue::leave`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The node.
    pub identity: Identity,
    /// What told of it.
    pub source: Source,
    /// Since when it waited.
    pub since: Timestamp,
}

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It waits for its turn.
    Queued,
    /// It waits, is worked on or is parked already.
    Known,
    /// There is no room.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Working,
    Parked { until: Timestamp, eager: bool },
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    places: HashMap<Identity, Place>,
    working: usize,
    lanes: [VecDeque<Ticket>; LANES.len()],
    turn: usize,
    parked: BTreeSet<(Timestamp, Identity)>,
}

impl Queue {
    /// A queue for this many identities, waiting and parked together.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            places: HashMap::new(),
            working: 0,
            lanes: Default::default(),
            turn: 0,
            parked: BTreeSet::new(),
        }
    }

    /// Takes an arrival in. A parked identity that was only silent is queued at
    /// once when it is heard of again.
    pub fn offer(&mut self, arrival: &Arrival) -> Offer {
        match self.places.get(&arrival.identity) {
            Some(Place::Parked { until, eager: true }) if arrival.source != Source::Alive => {
                let until = *until;
                self.parked.remove(&(until, arrival.identity.clone()));
            }
            Some(_) => return Offer::Known,
            None if self.places.len() - self.working >= self.capacity => return Offer::Full,
            None => {}
        }
        self.enqueue(Ticket {
            identity: arrival.identity.clone(),
            source: arrival.source,
            since: arrival.at,
        });
        Offer::Queued
    }

    /// The next identity to work on.
    pub fn take(&mut self) -> Option<Ticket> {
        for step in 0..LANES.len() {
            let lane = (self.turn + step) % LANES.len();
            if let Some(ticket) = self.lanes[lane].pop_front() {
                self.turn = (lane + 1) % LANES.len();
                self.places.insert(ticket.identity.clone(), Place::Working);
                self.working += 1;
                return Some(ticket);
            }
        }
        None
    }

    /// Gives an identity back that is to be tried again at a time. `eager` when
    /// hearing of it earlier is reason enough to try earlier.
    pub fn park(&mut self, identity: &Identity, until: Timestamp, eager: bool) {
        self.leave(identity);
        let place = Place::Parked { until, eager };
        self.places.insert(identity.clone(), place);
        self.parked.insert((until, identity.clone()));
    }

    /// Gives an identity back that is done with, or waits for somebody else.
    pub fn leave(&mut self, identity: &Identity) {
        match self.places.remove(identity) {
            Some(Place::Working) => self.working -= 1,
            Some(Place::Parked { until, .. }) => {
                self.parked.remove(&(until, identity.clone()));
            }
            Some(Place::Waiting) => {
                for lane in &mut self.lanes {
                    lane.retain(|ticket| ticket.identity != *identity);
                }
            }
            None => {}
        }
    }

    /// Queues an identity whose time has come before it was due; says whether it
    /// was not on its way already.
    pub fn hasten(&mut self, identity: &Identity, now: Timestamp) -> bool {
        match self.places.get(identity) {
            Some(Place::Waiting | Place::Working) => return false,
            Some(Place::Parked { until, .. }) => {
                self.parked.remove(&(*until, identity.clone()));
            }
            None => {}
        }
        self.enqueue(Ticket {
            identity: identity.clone(),
            source: Source::Ledger,
            since: now,
        });
        true
    }

    /// Takes an identity out that waits or is parked. One that is being worked on
    /// stays: its flow is stopped by the ledger and gives it back.
    pub fn withdraw(&mut self, identity: &Identity) {
        if !matches!(self.places.get(identity), Some(Place::Working)) {
            self.leave(identity);
        }
    }

    /// Queues the parked identities whose time has come; returns how many.
    pub fn wake(&mut self, now: Timestamp) -> usize {
        let mut woken = 0;
        while let Some((until, identity)) = self.parked.first().cloned() {
            if until > now {
                break;
            }
            self.parked.pop_first();
            self.enqueue(Ticket {
                identity,
                source: Source::Ledger,
                since: until,
            });
            woken += 1;
        }
        woken
    }

    /// When the next parked identity is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.parked.first().map(|(until, _)| *until)
    }

    /// Identities waiting for a place.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Identities parked.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Identities being worked on.
    #[must_use]
    pub const fn working(&self) -> usize {
        self.working
    }

    /// Since when the longest-waiting identity waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        let fronts = self.lanes.iter().filter_map(VecDeque::front);
        fronts.map(|ticket| ticket.since).min()
    }

    fn enqueue(&mut self, ticket: Ticket) {
        let lane = LANES.iter().position(|l| *l == ticket.source).unwrap_or(0);
        self.places.insert(ticket.identity.clone(), Place::Waiting);
        self.lanes[lane].push_back(ticket);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(s)
    }

    fn id(name: &str) -> Identity {
        Identity::parse(name).unwrap()
    }

    fn arrival(name: &str, source: Source) -> Arrival {
        Arrival {
            identity: id(name),
            source,
            at: at(0),
            version: None,
        }
    }

    fn taken(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.take())
            .map(|t| t.identity.to_string())
            .collect()
    }

    #[test]
    fn an_identity_is_in_it_once() {
        let mut queue = Queue::new(10);
        assert_eq!(queue.offer(&arrival("a", Source::Startup)), Offer::Queued);
        assert_eq!(queue.offer(&arrival("a", Source::Sweep)), Offer::Known);
        assert_eq!(queue.take().unwrap().identity, id("a"));
        assert_eq!(queue.offer(&arrival("a", Source::Startup)), Offer::Known);
        queue.leave(&id("a"));
        assert_eq!(queue.offer(&arrival("a", Source::Startup)), Offer::Queued);
    }

    #[test]
    fn sources_take_turns() {
        let mut queue = Queue::new(100);
        for name in ["s1", "s2", "s3"] {
            queue.offer(&arrival(name, Source::Startup));
        }
        queue.offer(&arrival("w1", Source::Sweep));
        queue.offer(&arrival("l1", Source::Alive));
        assert_eq!(taken(&mut queue), ["s1", "w1", "l1", "s2", "s3"]);
    }

    #[test]
    fn a_full_queue_sheds_and_says_so() {
        let mut queue = Queue::new(2);
        queue.offer(&arrival("a", Source::Startup));
        queue.offer(&arrival("b", Source::Startup));
        assert_eq!(queue.offer(&arrival("c", Source::Startup)), Offer::Full);
        queue.take();
        assert_eq!(queue.offer(&arrival("c", Source::Startup)), Offer::Queued);
    }

    #[test]
    fn parked_identities_come_back_in_time_or_when_heard_of() {
        let mut queue = Queue::new(10);
        for name in ["a", "b", "c"] {
            queue.offer(&arrival(name, Source::Startup));
            queue.take();
        }
        queue.park(&id("a"), at(10), true);
        queue.park(&id("b"), at(20), true);
        queue.park(&id("c"), at(30), false);
        assert_eq!(queue.next_due(), Some(at(10)));
        assert_eq!(queue.wake(at(9)), 0);
        assert_eq!(queue.wake(at(10)), 1);
        assert_eq!(queue.take().unwrap().source, Source::Ledger);
        assert_eq!(queue.offer(&arrival("b", Source::Startup)), Offer::Queued);
        assert_eq!(queue.offer(&arrival("c", Source::Startup)), Offer::Known);
        assert_eq!(
            (queue.waiting(), queue.parked(), queue.working()),
            (1, 1, 1)
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled(ops in prop::collection::vec((0u8..6, 0u8..8), 0..300)) {
            let mut queue = Queue::new(6);
            let mut working = BTreeSet::new();
            for (clock, (op, name)) in (0..).zip(ops) {
                let name = format!("n{name}");
                match op {
                    0 => { queue.offer(&arrival(&name, Source::Startup)); }
                    1 => { queue.offer(&arrival(&name, Source::Sweep)); }
                    2 => if let Some(ticket) = queue.take() {
                        prop_assert!(working.insert(ticket.identity), "taken twice");
                    },
                    3 => if working.remove(&id(&name)) {
                        queue.park(&id(&name), at(clock + 3), clock % 2 == 0);
                    },
                    4 => if working.remove(&id(&name)) { queue.leave(&id(&name)); },
                    _ => { queue.wake(at(clock)); }
                }
                prop_assert_eq!(queue.working(), working.len());
                let inside = queue.waiting() + queue.parked() + queue.working();
                prop_assert_eq!(queue.places.len(), inside);
            }
        }
    }
}
