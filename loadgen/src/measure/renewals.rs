//! Renewals as the nodes saw them: who left the production network for a new certificate, who came
//! back with it, and how long that took.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Hist;

/// Counts of renewals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Renewals {
    /// Times a node left the production network to be enrolled again.
    pub left: u64,
    /// Times a node was back, configured anew, and answered there.
    pub back: u64,
    /// Nodes that were back at least once.
    pub nodes: u64,
    /// Times a node left before the time of its renewal, where that time is known.
    pub early: Option<u64>,
    /// Times a node was back only after its certificate before had ended, where its end is known.
    pub late: Option<u64>,
    /// From leaving to the first answer there.
    pub away: Hist,
}

/// When certificates are renewed, from the request they were made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalTime {
    /// The time of renewal begins.
    pub begin: Duration,
    /// The certificate ends.
    pub end: Duration,
}

impl Renewals {
    /// None yet; none of them early or late where their time is known.
    pub fn none(timed: bool) -> Self {
        Self {
            early: timed.then_some(0),
            late: timed.then_some(0),
            ..Self::default()
        }
    }

    /// A node left; its certificate is of this age, where that is known.
    pub fn left(&mut self, age: Option<Duration>, time: Option<RenewalTime>) {
        self.left += 1;
        if let Some(time) = time {
            let early = age.is_some_and(|age| age < time.begin);
            *self.early.get_or_insert_default() += u64::from(early);
        }
    }

    /// A node is back, for the first time or again, after so long; its certificate before is of
    /// this age, where that is known.
    pub fn back(
        &mut self,
        first: bool,
        away: Duration,
        age: Option<Duration>,
        time: Option<RenewalTime>,
    ) {
        self.back += 1;
        self.nodes += u64::from(first);
        if let Some(time) = time {
            let late = age.is_some_and(|age| age > time.end);
            *self.late.get_or_insert_default() += u64::from(late);
        }
        self.away.record(away);
    }

    /// Whether no node has left.
    pub fn is_empty(&self) -> bool {
        self.left == 0 && self.back == 0
    }

    /// Renewals of nodes that had been renewed before.
    pub fn repeated(&self) -> u64 {
        self.back.saturating_sub(self.nodes)
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.left += other.left;
        self.back += other.back;
        self.nodes += other.nodes;
        let sum = |mine: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *mine.get_or_insert_default() += more;
            }
        };
        sum(&mut self.early, other.early);
        sum(&mut self.late, other.late);
        self.away.merge(&other.away);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_too_early_or_too_late_is_counted() {
        let seconds = Duration::from_secs;
        let time = Some(RenewalTime {
            begin: seconds(40),
            end: seconds(600),
        });
        let mut renewals = Renewals::default();
        renewals.left(Some(seconds(39)), time);
        renewals.left(Some(seconds(40)), time);
        renewals.left(None, time);
        renewals.back(true, seconds(9), Some(seconds(50)), time);
        renewals.back(false, seconds(9), Some(seconds(601)), time);
        assert_eq!((renewals.left, renewals.early), (3, Some(1)));
        assert_eq!((renewals.back, renewals.late), (2, Some(1)));
        assert_eq!((renewals.nodes, renewals.repeated()), (1, 1));
        let mut both = renewals.clone();
        both.merge(&renewals);
        assert_eq!((both.left, both.away.count()), (6, 4));
        assert_eq!((both.early, both.late), (Some(2), Some(2)));
    }

    #[test]
    fn nobody_is_early_or_late_by_a_time_that_is_not_known() {
        let mut renewals = Renewals::none(false);
        renewals.left(Some(Duration::ZERO), None);
        renewals.back(true, Duration::ZERO, Some(Duration::MAX), None);
        assert_eq!((renewals.early, renewals.late), (None, None));
        assert_eq!(Renewals::none(true).early, Some(0));
    }
}
