//! Who takes part, and who has come to the end of a phase or of the run. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The workers that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    live: BTreeSet<u32>,
    closed: BTreeSet<u32>,
    drained: BTreeSet<u32>,
    lost: BTreeMap<u32, String>,
}

impl Roll {
    /// A worker is ready: from now on it is waited for.
    pub fn ready(&mut self, worker: u32) {
        self.live.insert(worker);
    }

    /// Everybody who is waited for.
    pub fn live(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter().copied()
    }

    /// Whether nobody is waited for.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// A worker has handed over the last numbers of a phase.
    pub fn close(&mut self, worker: u32) {
        self.closed.insert(worker);
    }

    /// Whether everybody has handed over the last numbers of the phase; asked once, as the next
    /// phase begins with nobody again.
    pub fn take_closed(&mut self) -> bool {
        let all = !self.live.is_empty() && self.live.is_subset(&self.closed);
        if all {
            self.closed.clear();
        }
        all
    }

    /// A worker's nodes have ended.
    pub fn drain(&mut self, worker: u32) {
        self.drained.insert(worker);
    }

    /// Whether the nodes of everybody have ended.
    pub fn all_drained(&self) -> bool {
        self.live.is_subset(&self.drained)
    }

    /// A worker is gone, and nobody waits for it any more.
    pub fn lose(&mut self, worker: u32, why: &str) {
        self.live.remove(&worker);
        self.lost.insert(worker, why.to_owned());
    }

    /// Everybody who is gone, and why.
    pub fn lost(&self) -> &BTreeMap<u32, String> {
        &self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_is_waited_for_no_more() {
        let mut roll = Roll::default();
        assert!(!roll.take_closed(), "nobody is nobody's end");
        (0..3).for_each(|worker| roll.ready(worker));
        roll.close(0);
        roll.close(2);
        assert!(!roll.take_closed());
        roll.lose(1, "killed");
        assert!(roll.take_closed());
        assert!(!roll.take_closed(), "the next phase begins with nobody");
        roll.drain(2);
        assert!(!roll.all_drained());
        roll.lose(0, "killed too");
        assert!(roll.all_drained());
        assert_eq!(roll.lost().len(), 2);
    }
}
