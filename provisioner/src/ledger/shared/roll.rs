//! Who is alive, by the beats the bucket has stored: pure.
//!
//! The order of the bucket is the clock. A member is dead when several beats of this one
//! were stored since its last: a bucket that stands still, as while its leader changes,
//! lets nobody die, and neither does a clock that is set. Beats of a member that was cut off are
//! stored all at once when it is back, and count as one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::step::State;

/// Between two beats of a member.
pub(super) const BEAT: Duration = Duration::from_millis(400);
/// So many beats of this member without one of another mean that it is dead: 1.6 to 2 s.
const MISSED: u32 = 5;

/// What a member tells with each beat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    /// The sender that nodes see.
    pub(super) sender: String,
    /// The caller that signs its requests.
    pub(super) caller: String,
    /// Whether it can enrol at the moment.
    pub(super) ready: bool,
}

#[derive(Debug)]
struct Other {
    missed: u32,
    beat: Beat,
}

/// The members.
#[derive(Debug)]
pub(super) struct Roll {
    me: String,
    others: BTreeMap<String, Other>,
    /// When a beat of this member was heard that counted.
    counted: Option<Instant>,
}

impl Roll {
    pub(super) fn new(me: &str) -> Self {
        Self {
            me: me.to_owned(),
            others: BTreeMap::new(),
            counted: None,
        }
    }

    /// A beat was stored, and heard of at this moment; returns who is dead by it.
    pub(super) fn beat(&mut self, member: &str, beat: Beat, heard: Instant) -> Vec<String> {
        if member != self.me {
            let other = Other { missed: 0, beat };
            self.others.insert(member.to_owned(), other);
            return Vec::new();
        }
        let is_late = |before| heard.saturating_duration_since(before) < BEAT / 2;
        if self.counted.is_some_and(is_late) {
            return Vec::new();
        }
        self.counted = Some(heard);
        self.others.values_mut().for_each(|other| other.missed += 1);
        let gone = |(_, other): (&String, &Other)| other.missed >= MISSED;
        let dead: Vec<_> = self
            .others
            .iter()
            .filter(|o| gone((o.0, o.1)))
            .map(|o| o.0.clone())
            .collect();
        self.others.retain(|_, other| other.missed < MISSED);
        dead
    }

    /// A member took its leave, or somebody else found it dead; says whether it was known.
    pub(super) fn left(&mut self, member: &str) -> bool {
        self.others.remove(member).is_some()
    }

    pub(super) fn is_alive(&self, member: &str) -> bool {
        member == self.me || self.others.contains_key(member)
    }

    /// Whether a member will go on with what it holds. One that cannot enrol at the moment
    /// ends what it has begun, and what only waits for it may be another's.
    pub(super) fn cares(&self, member: &str, state: State) -> bool {
        match self.others.get(member) {
            Some(other) => other.beat.ready || state == State::Working,
            None => member == self.me,
        }
    }

    /// Another member that nodes would not take for the same as this one.
    pub(super) fn stranger(&self, own: &Beat) -> Option<(&str, &Beat)> {
        let differs = |beat: &Beat| (&beat.sender, &beat.caller) != (&own.sender, &own.caller);
        let mut others = self.others.iter();
        others
            .find_map(|(name, other)| differs(&other.beat).then_some((name.as_str(), &other.beat)))
    }

    /// Members beside this one, and whether each can enrol.
    pub(super) fn others(&self) -> impl Iterator<Item = (&str, bool)> {
        let others = self.others.iter();
        others.map(|(name, other)| (name.as_str(), other.beat.ready))
    }

    /// Whether this member is the first to take a node that nobody holds: members that can
    /// enrol share them evenly, without asking each other.
    pub(super) fn is_first_for(&self, identity: &str) -> bool {
        let weight = |member: &str| {
            let mut hasher = DefaultHasher::new();
            (member, identity).hash(&mut hasher);
            hasher.finish()
        };
        let own = weight(&self.me);
        let mut ready = self.others.iter().filter(|(_, other)| other.beat.ready);
        ready.all(|(name, _)| weight(name) < own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(ready: bool) -> Beat {
        Beat {
            sender: "p".to_owned(),
            caller: "choria=p".to_owned(),
            ready,
        }
    }

    #[test]
    fn who_does_not_beat_while_others_do_is_dead() {
        let mut roll = Roll::new("a");
        let mut now = Instant::now();
        roll.beat("b", beat(true), now);
        roll.beat("c", beat(true), now);
        for _ in 1..MISSED {
            now += BEAT;
            assert!(roll.beat("a", beat(true), now).is_empty());
            roll.beat("c", beat(true), now);
        }
        assert!(roll.is_alive("b"));
        assert_eq!(roll.beat("a", beat(true), now + BEAT), ["b"]);
        assert!(!roll.is_alive("b") && roll.is_alive("c") && roll.is_alive("a"));
        roll.beat("b", beat(true), now);
        assert!(roll.is_alive("b"), "it was only paused");
        assert!(roll.left("b") && !roll.left("b"));
    }

    #[test]
    fn a_bucket_that_stands_still_lets_nobody_die() {
        let mut roll = Roll::new("a");
        let start = Instant::now();
        for n in 0..100 {
            let now = start + BEAT * n;
            roll.beat("b", beat(true), now);
            assert!(roll.beat("a", beat(true), now).is_empty());
        }
    }

    #[test]
    fn who_was_cut_off_and_is_back_buries_nobody() {
        let mut roll = Roll::new("a");
        let now = Instant::now();
        roll.beat("b", beat(true), now);
        for n in 0..100 {
            let flushed = now + Duration::from_millis(n);
            assert!(roll.beat("a", beat(true), flushed).is_empty());
        }
        assert!(roll.is_alive("b"));
    }

    #[test]
    fn every_node_has_one_first_member_and_shares_are_even() {
        let names = ["a", "b", "c"];
        let rolls = names.map(|me| {
            let mut roll = Roll::new(me);
            for other in names.iter().filter(|name| **name != me) {
                roll.beat(other, beat(true), Instant::now());
            }
            roll
        });
        let mut shares = [0; 3];
        for n in 0..3_000 {
            let identity = format!("web{n}.example.net");
            let firsts: Vec<_> = (0..3)
                .filter(|i| rolls[*i].is_first_for(&identity))
                .collect();
            assert_eq!(firsts.len(), 1, "{identity}");
            shares[firsts[0]] += 1;
        }
        assert!(
            shares.iter().all(|n| (850..1_150).contains(n)),
            "{shares:?}"
        );
    }

    #[test]
    fn who_cannot_enrol_is_nobodys_first() {
        let mut roll = Roll::new("a");
        roll.beat("b", beat(false), Instant::now());
        assert!((0..100).all(|n| roll.is_first_for(&n.to_string())));
    }

    #[test]
    fn another_pair_is_a_stranger() {
        let mut roll = Roll::new("a");
        roll.beat("b", beat(false), Instant::now());
        assert_eq!(roll.stranger(&beat(true)), None);
        let other = Beat {
            sender: "q".to_owned(),
            ..beat(true)
        };
        assert_eq!(roll.stranger(&other).map(|(name, _)| name), Some("b"));
    }
}
