//! Step 2, `queue`: arrivals in, tickets out. Pure: it holds no clock, no
//! channel and no task.
//!
//! An identity is in here at most once, so at most one enrolment of it is under
//! way. Each source has a lane and the lanes take turns, so a flood from one
//! source delays the others by one place at most. Whoever was silent when it was
//! asked last has a lane beside those: it is asked again when nobody else waits,
//! and now and then while others do, so that dead nodes keep no living one
//! waiting. Parked identities wait here for their time. The number of identities waiting and parked is bounded; what
//! does not fit is shed, said so, and brought back by the next sweep. Only what the ledger holds from
//! before a restart is taken in beyond that. Nodes that
//! never answered have three quarters of the places: made-up names cannot fill it.

mod lanes;

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use server_core::words::Identity;

use super::arrive::Arrival;
use crate::ledger::Source;
use lanes::{Lanes, SILENT, lane_of};

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
    /// There is no room for those of whom only events tell.
    Limited,
}

/// What an identity is parked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// It waits for its time.
    Firm,
    /// Hearing of it earlier is reason enough to try earlier.
    Eager,
    /// The same, and it was silent when it was asked.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting { lane: usize },
    Working,
    Parked { until: Timestamp, parking: Parking },
}

/// Where an identity is, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Seat {
    place: Place,
    /// Only events tell of it: it never answered. Whoever may publish can make
    /// up as many of these as they like.
    hearsay: bool,
}

impl Seat {
    /// What it is parked for, if it is.
    const fn parking(&self) -> Option<Parking> {
        match self.place {
            Place::Parked { parking, .. } => Some(parking),
            _ => None,
        }
    }

    /// It is parked, and tried as soon as it is heard of.
    fn is_eager(&self) -> bool {
        self.parking()
            .is_some_and(|parking| parking != Parking::Firm)
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    places: HashMap<Identity, Seat>,
    waiting: usize,
    working: usize,
    /// Identities waiting or parked that never answered.
    hearsay: usize,
    lanes: Lanes,
    parked: BTreeSet<(Timestamp, Identity)>,
}

impl Queue {
    /// A queue for this many identities, waiting and parked together.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            places: HashMap::new(),
            waiting: 0,
            working: 0,
            hearsay: 0,
            lanes: Lanes::default(),
            parked: BTreeSet::new(),
        }
    }

    /// Takes an arrival in. A parked identity that was only silent is queued at
    /// once when it is heard of again, and goes before others that were silent. One that waits among
    /// those of whom only events tell goes to another lane once it answers.
    pub fn offer(&mut self, arrival: &Arrival) -> Offer {
        let answered = answers(arrival.source);
        let Some(seat) = self.places.get(&arrival.identity).copied() else {
            if self.places.len() - self.working >= self.capacity {
                return Offer::Full;
            }
            if !answered && self.hearsay >= self.most_hearsay() {
                return Offer::Limited;
            }
            self.enqueue(ticket(arrival), !answered);
            return Offer::Queued;
        };
        let hearsay = seat.hearsay && !answered;
        let is_news = arrival.source != Source::Alive;
        match seat.place {
            Place::Parked { .. } if is_news && seat.is_eager() => {
                self.leave(&arrival.identity);
                self.enqueue(ticket(arrival), hearsay);
                Offer::Queued
            }
            Place::Waiting { lane: SILENT } if is_news => {
                self.leave(&arrival.identity);
                self.enqueue(ticket(arrival), hearsay);
                Offer::Known
            }
            Place::Waiting { .. } if hearsay != seat.hearsay => {
                self.leave(&arrival.identity);
                self.enqueue(ticket(arrival), false);
                Offer::Known
            }
            _ => Offer::Known,
        }
    }

    /// The next identity to work on.
    pub fn take(&mut self) -> Option<Ticket> {
        // Some have left, or wait in another lane by now.
        let waits = |ticket: &Ticket, lane| {
            let seat = self.places.get(&ticket.identity);
            seat.is_some_and(|seat| seat.place == Place::Waiting { lane })
        };
        let ticket = self.lanes.take(waits)?;
        let seat = self.places.get_mut(&ticket.identity)?;
        seat.place = Place::Working;
        self.hearsay -= usize::from(seat.hearsay);
        self.waiting -= 1;
        self.working += 1;
        Some(ticket)
    }

    /// Gives an identity back that is to be tried again at a time.
    pub fn park(&mut self, identity: &Identity, until: Timestamp, parking: Parking) {
        let before = self.places.get(identity);
        let hearsay = parking != Parking::Firm && before.is_some_and(|seat| seat.hearsay);
        self.leave(identity);
        let place = Place::Parked { until, parking };
        self.places
            .insert(identity.clone(), Seat { place, hearsay });
        self.hearsay += usize::from(hearsay);
        self.parked.insert((until, identity.clone()));
    }

    /// Takes an arrival in whose turn is another's first: it is queued at a time, unless it has
    /// left by then.
    pub fn stand_by(&mut self, arrival: &Arrival, until: Timestamp) -> Offer {
        let identity = &arrival.identity;
        if self.places.contains_key(identity) {
            return Offer::Known;
        }
        let offer = self.offer(arrival);
        if offer == Offer::Queued {
            self.park(identity, until, Parking::Firm);
            if !answers(arrival.source) {
                self.doubt(identity);
            }
        }
        offer
    }

    /// Takes in, to be tried at a time, what the ledger says was let in before: there has to be room
    /// for it. One that is in already stays where it is; says whether it was not.
    pub fn restore(&mut self, identity: &Identity, due: Timestamp, parking: Parking) -> bool {
        let is_new = !self.places.contains_key(identity);
        if is_new {
            self.park(identity, due, parking);
        }
        is_new
    }

    /// A parked identity never answered, as far as the ledger knows.
    pub fn doubt(&mut self, identity: &Identity) {
        if let Some(seat) = self.places.get_mut(identity)
            && !seat.hearsay
            && seat.place != Place::Working
        {
            seat.hearsay = true;
            self.hearsay += 1;
        }
    }

    /// Gives an identity back that is done with, or waits for somebody else.
    pub fn leave(&mut self, identity: &Identity) {
        let Some(seat) = self.places.remove(identity) else {
            return;
        };
        match seat.place {
            Place::Working => self.working -= 1,
            Place::Parked { until, .. } => {
                self.parked.remove(&(until, identity.clone()));
            }
            // Its ticket is passed over when its turn comes.
            Place::Waiting { .. } => self.waiting -= 1,
        }
        if seat.place != Place::Working {
            self.hearsay -= usize::from(seat.hearsay);
        }
    }

    /// Queues an identity whose time has come before it was due; says whether it
    /// was not on its way already.
    pub fn hasten(&mut self, identity: &Identity, now: Timestamp) -> bool {
        let place = self.places.get(identity).map(|seat| seat.place);
        if matches!(place, Some(Place::Waiting { .. } | Place::Working)) {
            return false;
        }
        self.leave(identity);
        let ticket = Ticket {
            identity: identity.clone(),
            source: Source::Ledger,
            since: now,
        };
        self.enqueue(ticket, false);
        true
    }

    /// Queues a parked identity of which hearing is reason enough to try it earlier; says whether
    /// it was one.
    pub fn rouse(&mut self, identity: &Identity, now: Timestamp) -> bool {
        let seat = self.places.get(identity);
        seat.is_some_and(Seat::is_eager) && self.hasten(identity, now)
    }

    /// The clock was set by this much: whoever is parked waits as long as before.
    pub fn shift(&mut self, by: SignedDuration) {
        let parked = std::mem::take(&mut self.parked);
        for (until, identity) in parked {
            let until = until.saturating_add(by).unwrap_or(until);
            if let Some(seat) = self.places.get_mut(&identity)
                && let Place::Parked { until: own, .. } = &mut seat.place
            {
                *own = until;
            }
            self.parked.insert((until, identity));
        }
    }

    /// Takes an identity out that is parked, whatever for.
    pub fn unpark(&mut self, identity: &Identity) {
        let seat = self.places.get(identity);
        if seat.is_some_and(|seat| seat.parking().is_some()) {
            self.leave(identity);
        }
    }

    /// Takes an identity out that waits or is parked. One that is being worked on
    /// stays: its flow is stopped by the ledger and gives it back.
    pub fn withdraw(&mut self, identity: &Identity) {
        let place = self.places.get(identity).map(|seat| seat.place);
        if place != Some(Place::Working) {
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
            let seat = self.places.get(&identity).copied();
            let hearsay = seat.is_some_and(|seat| seat.hearsay);
            let parking = seat.and_then(|seat| seat.parking());
            self.leave(&identity);
            let ticket = Ticket {
                identity,
                source: Source::Ledger,
                since: until,
            };
            match parking {
                Some(Parking::Silent) => self.enqueue_in(SILENT, ticket, hearsay),
                _ => self.enqueue(ticket, hearsay),
            }
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
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Identities waiting or parked that never answered.
    #[must_use]
    pub const fn hearsay(&self) -> usize {
        self.hearsay
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

    /// Since when the longest-waiting identity waits, those that were silent left out.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        let waits = |(lane, ticket): (usize, &Ticket)| {
            let seat = self.places.get(&ticket.identity)?;
            (seat.place == Place::Waiting { lane }).then_some(ticket.since)
        };
        self.lanes.fronts().filter_map(waits).min()
    }

    /// Places for those of whom only events tell: three quarters. The rest is
    /// kept for nodes that answered a sweep or an earlier question.
    const fn most_hearsay(&self) -> usize {
        self.capacity - self.capacity / 4
    }

    fn enqueue(&mut self, ticket: Ticket, hearsay: bool) {
        self.enqueue_in(lane_of(ticket.source), ticket, hearsay);
    }

    fn enqueue_in(&mut self, lane: usize, ticket: Ticket, hearsay: bool) {
        let place = Place::Waiting { lane };
        self.places
            .insert(ticket.identity.clone(), Seat { place, hearsay });
        self.waiting += 1;
        self.hearsay += usize::from(hearsay);
        self.lanes.push(lane, ticket);
    }
}

/// Whether the node itself answered something, by which it was heard of.
const fn answers(source: Source) -> bool {
    matches!(source, Source::Sweep | Source::Late | Source::Ledger)
}

fn ticket(arrival: &Arrival) -> Ticket {
    Ticket {
        identity: arrival.identity.clone(),
        source: arrival.source,
        since: arrival.at,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::lanes::PASSES;
    use super::*;

    const PARKINGS: [Parking; 3] = [Parking::Firm, Parking::Eager, Parking::Silent];

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
    fn a_clock_that_is_set_keeps_nobody_waiting_longer() {
        let mut queue = Queue::new(10);
        for name in ["a", "b"] {
            queue.offer(&arrival(name, Source::Startup));
            queue.take();
        }
        queue.park(&id("a"), at(5), Parking::Firm);
        queue.park(&id("b"), at(9), Parking::Firm);
        queue.shift(SignedDuration::from_hours(-1));
        assert_eq!(queue.next_due(), Some(at(5 - 3_600)));
        assert_eq!(queue.wake(at(6 - 3_600)), 1);
        assert_eq!(taken(&mut queue), ["a"]);
        queue.shift(SignedDuration::from_hours(2));
        assert_eq!(queue.wake(at(8 + 3_600)), 0);
        queue.leave(&id("b"));
        assert_eq!((queue.parked(), queue.next_due()), (0, None));
    }

    #[test]
    fn who_was_only_silent_is_roused_and_nobody_else() {
        let mut queue = Queue::new(10);
        for name in ["silent", "refused"] {
            queue.offer(&arrival(name, Source::Startup));
            queue.take();
        }
        queue.park(&id("silent"), at(90), Parking::Eager);
        queue.park(&id("refused"), at(90), Parking::Firm);
        let roused = ["silent", "refused", "stranger", "silent"].map(|name| {
            let name = id(name);
            queue.rouse(&name, at(1))
        });
        assert_eq!(roused, [true, false, false, false]);
        assert_eq!(taken(&mut queue), ["silent"]);
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
    fn whoever_was_silent_is_asked_after_the_others_but_not_never() {
        let mut queue = Queue::new(100);
        for name in ["dead1", "dead2", "back"] {
            queue.offer(&arrival(name, Source::Startup));
            queue.take();
            queue.park(&id(name), at(5), Parking::Silent);
        }
        queue.wake(at(5));
        for n in 0..20 {
            queue.offer(&arrival(&format!("n{n}"), Source::Startup));
        }
        queue.offer(&arrival("back", Source::Startup));
        let order = taken(&mut queue);
        let turn = |name: &str| order.iter().position(|taken| taken == name);
        assert_eq!(
            turn("dead1"),
            Some(PASSES - 3),
            "three had been taken before"
        );
        assert_eq!(turn("n0"), Some(0));
        assert_eq!(turn("back"), Some(21), "it was heard of again");
        assert_eq!(turn("dead2"), Some(22), "nobody else waits");
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
    fn what_was_let_in_before_a_restart_is_taken_in_again_whether_or_not_there_is_room() {
        let mut queue = Queue::new(1);
        queue.offer(&arrival("stranger", Source::Startup));
        for (name, parking) in [("begun", Parking::Firm), ("silent", Parking::Silent)] {
            assert!(queue.restore(&id(name), at(1), parking));
        }
        assert!(!queue.restore(&id("stranger"), at(1), Parking::Firm));
        assert_eq!((queue.waiting(), queue.parked()), (1, 2));
        queue.wake(at(1));
        assert_eq!(taken(&mut queue), ["stranger", "begun", "silent"]);
    }

    #[test]
    fn made_up_names_cannot_fill_it_and_who_answers_goes_first() {
        let mut queue = Queue::new(8);
        for n in 0..6 {
            let made_up = arrival(&format!("f{n}"), Source::Startup);
            assert_eq!(queue.offer(&made_up), Offer::Queued);
        }
        let honest = arrival("honest", Source::Startup);
        assert_eq!(queue.offer(&honest), Offer::Limited);
        let swept = arrival("honest", Source::Sweep);
        assert_eq!(queue.offer(&swept), Offer::Queued);
        // One that waits among the others is found by the sweep as well.
        assert_eq!(queue.offer(&arrival("f5", Source::Sweep)), Offer::Known);
        assert_eq!(queue.hearsay(), 5);
        assert_eq!(
            taken(&mut queue),
            ["f0", "honest", "f1", "f5", "f2", "f3", "f4"]
        );
        // Parked and woken, they are still no more than hearsay.
        for n in 0..5 {
            queue.park(&id(&format!("f{n}")), at(10), Parking::Eager);
        }
        assert_eq!(queue.hearsay(), 5);
        queue.wake(at(10));
        assert_eq!((queue.hearsay(), queue.waiting()), (5, 5));
        queue.withdraw(&id("f0"));
        assert_eq!(queue.take().unwrap().identity, id("f1"));
    }

    #[test]
    fn parked_identities_come_back_in_time_or_when_heard_of() {
        let mut queue = Queue::new(10);
        for name in ["a", "b", "c"] {
            queue.offer(&arrival(name, Source::Startup));
            queue.take();
        }
        queue.park(&id("a"), at(10), Parking::Eager);
        queue.park(&id("b"), at(20), Parking::Eager);
        queue.park(&id("c"), at(30), Parking::Firm);
        assert_eq!(queue.next_due(), Some(at(10)));
        assert_eq!(queue.wake(at(9)), 0);
        assert_eq!(queue.wake(at(10)), 1);
        assert_eq!(queue.take().unwrap().source, Source::Ledger);
        assert_eq!(queue.offer(&arrival("b", Source::Startup)), Offer::Queued);
        assert_eq!(queue.offer(&arrival("c", Source::Startup)), Offer::Known);
        queue.unpark(&id("a"));
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
                        queue.park(&id(&name), at(clock + 3), PARKINGS[clock as usize % 3]);
                    },
                    4 => if working.remove(&id(&name)) { queue.leave(&id(&name)); },
                    _ => { queue.wake(at(clock)); }
                }
                prop_assert_eq!(queue.working(), working.len());
                let inside = queue.waiting() + queue.parked() + queue.working();
                prop_assert_eq!(queue.places.len(), inside);
                let hearsay = |seat: &&Seat| seat.hearsay && seat.place != Place::Working;
                prop_assert_eq!(queue.hearsay, queue.places.values().filter(hearsay).count());
            }
        }
    }
}
