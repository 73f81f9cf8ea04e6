//! The account of one round: who answered, when, how often, and who did not. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::NodeSet;
use crate::words::Identity;

/// What one reply was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The first answer of an expected node, in time.
    Expected,
    /// The first answer of an expected node, after the round's time.
    Late,
    /// A further answer of a node.
    Duplicate,
    /// From a node that was not asked.
    Unknown,
}

/// Latency of a node that has not answered.
const NONE: u32 = u32::MAX;

/// Who answered what in one round.
#[derive(Debug, Clone)]
pub struct Account {
    nodes: Arc<NodeSet>,
    /// Microseconds from the start of the round, by node number.
    latency: Vec<u32>,
    answered: usize,
    /// Nodes whose answer came in time.
    pub replies: u64,
    /// Answers beyond a node's first.
    pub duplicate: u64,
    /// First answers after the round's time.
    pub late: u64,
    /// First answers that say the action failed, or that nobody can read.
    pub failed: u64,
    /// Answers of nodes that were not asked.
    pub unknown: u64,
}

impl Account {
    /// An empty account of these nodes.
    #[must_use]
    pub fn new(nodes: Arc<NodeSet>) -> Self {
        Self {
            latency: vec![NONE; nodes.len()],
            nodes,
            answered: 0,
            replies: 0,
            duplicate: 0,
            late: 0,
            failed: 0,
            unknown: 0,
        }
    }

    /// Enters one reply that came `after` the start, of a round that lasts `collect`.
    pub fn enter(
        &mut self,
        sender: &Identity,
        after: Duration,
        collect: Duration,
        failed: bool,
    ) -> Answered {
        let Some(number) = self.nodes.number(sender) else {
            self.unknown += 1;
            return Answered::Unknown;
        };
        let slot = &mut self.latency[number as usize];
        if *slot != NONE {
            self.duplicate += 1;
            return Answered::Duplicate;
        }
        *slot = u32::try_from(after.as_micros())
            .unwrap_or(NONE)
            .min(NONE - 1);
        self.answered += 1;
        self.failed += u64::from(failed);
        if after > collect {
            self.late += 1;
            Answered::Late
        } else {
            self.replies += 1;
            Answered::Expected
        }
    }

    /// Nodes expected to answer.
    #[must_use]
    pub fn expected(&self) -> usize {
        self.nodes.len()
    }

    /// Whether every expected node has answered.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answered == self.nodes.len()
    }

    /// Nodes that have not answered at all.
    pub fn missing(&self) -> impl Iterator<Item = &Identity> {
        self.nodes
            .nodes()
            .iter()
            .zip(&self.latency)
            .filter(|(_, latency)| **latency == NONE)
            .map(|(node, _)| node)
    }

    /// How many have not answered at all.
    #[must_use]
    pub fn missing_count(&self) -> usize {
        self.nodes.len() - self.answered
    }

    /// Microseconds from the start of the round to each node's first answer.
    pub fn latencies(&self) -> impl Iterator<Item = u64> {
        self.latency
            .iter()
            .filter(|latency| **latency != NONE)
            .map(|latency| u64::from(*latency))
    }

    /// A node's latency by its number.
    #[must_use]
    pub fn latency(&self, number: u32) -> Option<Duration> {
        self.latency
            .get(number as usize)
            .filter(|latency| **latency != NONE)
            .map(|latency| Duration::from_micros(u64::from(*latency)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn id(number: usize) -> Identity {
        Identity::parse(&format!("n{number}")).unwrap()
    }

    #[test]
    fn every_reply_is_counted_in_exactly_one_way() {
        let mut account = Account::new(Arc::new((0..4).map(id).collect()));
        let (soon, late) = (Duration::from_millis(5), Duration::from_secs(9));
        let collect = Duration::from_secs(1);
        assert_eq!(
            account.enter(&id(0), soon, collect, false),
            Answered::Expected
        );
        assert_eq!(
            account.enter(&id(0), soon, collect, true),
            Answered::Duplicate
        );
        assert_eq!(account.enter(&id(1), late, collect, true), Answered::Late);
        assert_eq!(
            account.enter(&id(9), soon, collect, false),
            Answered::Unknown
        );
        assert!(!account.is_complete());
        assert_eq!(
            account.missing().cloned().collect::<Vec<_>>(),
            [id(2), id(3)]
        );
        let counted = (
            account.replies,
            account.duplicate,
            account.late,
            account.failed,
            account.unknown,
        );
        assert_eq!(counted, (1, 1, 1, 1, 1));
        assert_eq!(account.latencies().collect::<Vec<_>>(), [5_000, 9_000_000]);
        assert_eq!(account.latency(0), Some(soon));
        assert_eq!(account.latency(2), None);
    }

    proptest::proptest! {
        #[test]
        fn sums_hold(senders in proptest::collection::vec((0usize..12, 0u64..3000, proptest::bool::ANY), 0..200)) {
            let mut account = Account::new(Arc::new((0..8).map(id).collect()));
            for (sender, ms, failed) in &senders {
                account.enter(&id(*sender), Duration::from_millis(*ms), Duration::from_secs(1), *failed);
            }
            let firsts = account.replies + account.late;
            proptest::prop_assert_eq!(firsts + account.duplicate + account.unknown, senders.len() as u64);
            proptest::prop_assert_eq!(firsts as usize + account.missing_count(), 8);
            proptest::prop_assert_eq!(account.missing().count(), account.missing_count());
            proptest::prop_assert_eq!(account.latencies().count(), firsts as usize);
            proptest::prop_assert!(account.failed <= firsts);
            proptest::prop_assert_eq!(account.is_complete(), account.missing_count() == 0);
        }
    }
}
