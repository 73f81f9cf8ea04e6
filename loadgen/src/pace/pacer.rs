//! Decides what is due now, and keeps a stall from turning into a burst.

use std::iter::Peekable;
use std::time::Duration;

use super::Slot;

/// The finest time a start is judged by. Timers of an ordinary kernel fire within about a
/// millisecond; at a thousand starts a second that alone would make most of them "late".
pub const TIMER_GRAIN: Duration = Duration::from_millis(10);

/// What becomes of a start that could not happen in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLate {
    /// It is counted and left out: the next ones come at their times.
    Skip,
    /// It is counted and happens now, and all after it are as much later: nobody asked for a
    /// burst, and no node may be forgotten.
    Delay,
}

/// What to do at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Start this one now. Its latency is told from `intended`.
    Now(Slot),
    /// Nothing before this time, from the operation's beginning.
    At(Duration),
    /// Everything has been started.
    Done,
}

/// Hands out the slots of a schedule as their time comes.
///
/// Time is a parameter: the caller asks with the time since the operation's beginning, on a
/// monotonic clock, and is told what is due.
#[derive(Debug)]
pub struct Pacer<S: Iterator<Item = Slot>> {
    slots: Peekable<S>,
    slack: Duration,
    on_late: OnLate,
    shift: Duration,
    started: u64,
    late: u64,
}

impl<S: Iterator<Item = Slot>> Pacer<S> {
    /// A pacer over these slots: a start more than `slack` behind is late (see
    /// [`Pace::slack`](super::Pace::slack)).
    pub fn new(slots: S, slack: Duration, on_late: OnLate) -> Self {
        Self {
            slots: slots.peekable(),
            slack,
            on_late,
            shift: Duration::ZERO,
            started: 0,
            late: 0,
        }
    }

    /// What is due at `now`. Call it again after each [`Due::Now`].
    pub fn poll(&mut self, now: Duration) -> Due {
        while let Some(slot) = self.slots.peek().copied() {
            let intended = slot.intended.saturating_add(self.shift);
            if intended > now {
                return Due::At(intended);
            }
            self.slots.next();
            if now - intended > self.slack {
                self.late += 1;
                match self.on_late {
                    OnLate::Skip => continue,
                    OnLate::Delay => self.shift = now.saturating_sub(slot.intended),
                }
            }
            self.started += 1;
            return Due::Now(Slot {
                index: slot.index,
                intended,
            });
        }
        Due::Done
    }

    /// How many were started.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// How many were late: left out or delayed.
    pub fn late(&self) -> u64 {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Pace;
    use super::*;
    use crate::units::Rate;

    const MS: Duration = Duration::from_millis(1);

    fn pacer(per_s: f64, count: u64, on_late: OnLate) -> Pacer<super::super::Schedule> {
        let pace = Pace::Constant {
            rate: Rate::per_second(per_s),
            count: Some(count),
        };
        Pacer::new(pace.schedule(1, 0).unwrap(), pace.slack(1), on_late)
    }

    #[test]
    fn a_stall_is_counted_and_not_caught_up() {
        let mut pacer = pacer(10.0, 50, OnLate::Skip);
        assert!(matches!(pacer.poll(Duration::ZERO), Due::Now(_)));
        assert_eq!(pacer.poll(Duration::ZERO), Due::At(100 * MS));
        // Stalled to 1,030 ms: those of 100 … 900 ms are gone, the one of 1,000 ms is due.
        let Due::Now(slot) = pacer.poll(1_030 * MS) else {
            panic!("one is due")
        };
        assert_eq!((slot.index, slot.intended), (10, 1_000 * MS));
        assert_eq!(pacer.poll(1_030 * MS), Due::At(1_100 * MS));
        assert_eq!(pacer.late(), 9);
    }

    #[test]
    fn a_delayed_pace_forgets_nobody_and_keeps_its_spacing() {
        let mut pacer = pacer(10.0, 3, OnLate::Delay);
        let Due::Now(first) = pacer.poll(1_000 * MS) else {
            panic!("one is due")
        };
        assert_eq!(
            first.intended,
            Duration::ZERO,
            "latency is told from the plan"
        );
        assert_eq!(pacer.poll(1_000 * MS), Due::At(1_100 * MS));
        assert!(matches!(pacer.poll(1_100 * MS), Due::Now(_)));
        assert!(matches!(pacer.poll(1_200 * MS), Due::Now(_)));
        assert_eq!(pacer.poll(9_000 * MS), Due::Done);
        assert_eq!((pacer.started(), pacer.late()), (3, 1));
    }

    proptest! {
        #[test]
        fn every_slot_is_started_or_late_and_never_early(
            per_s in 1u32..2_000,
            count in 1u64..500,
            steps in prop::collection::vec(0u64..400, 1..200),
            skip: bool,
        ) {
            let on_late = if skip { OnLate::Skip } else { OnLate::Delay };
            let mut pacer = pacer(f64::from(per_s), count, on_late);
            let slack = TIMER_GRAIN.max(Duration::from_secs_f64(1.0 / f64::from(per_s)));
            let mut now = Duration::ZERO;
            let mut seen = Vec::new();
            for step in steps.into_iter().map(Duration::from_millis).chain([Duration::MAX / 4; 3]) {
                now = now.saturating_add(step);
                let mut at_once = 0u32;
                while let Due::Now(slot) = pacer.poll(now) {
                    prop_assert!(slot.intended <= now);
                    prop_assert!(on_late == OnLate::Delay || now - slot.intended <= slack);
                    seen.push(slot.index);
                    at_once += 1;
                }
                // A burst is at most what fits into the slack, and the one that is due.
                let fits = slack.as_secs_f64() * f64::from(per_s);
                prop_assert!(f64::from(at_once) <= fits + 2.0, "{at_once} at once");
            }
            prop_assert!(seen.is_sorted());
            if skip {
                prop_assert_eq!(pacer.started() + pacer.late(), count);
            }
            prop_assert_eq!(pacer.started(), seen.len() as u64);
        }
    }
}
