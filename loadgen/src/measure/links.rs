//! What became of connections that were up: who lost one, who dialled, who came back, and when.
//!
//! Counted in ticks of the run's clock, so that the counts of several workers add up to one curve.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Length of a tick, µs.
pub(super) const TICK_US: u64 = 10_000;

/// Counts by tick; a tick in which nothing happened is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Links(BTreeMap<u64, LinkTick>);

/// One tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkTick {
    /// Connections that were lost, or left because their broker had announced its end.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// Of these, how many were left for another broker before they were cut.
    #[serde(skip_serializing_if = "is_zero")]
    pub moved: u64,
    /// Nodes that were connected and subscribed again.
    #[serde(skip_serializing_if = "is_zero")]
    pub back: u64,
    /// Dials by nodes that had been up before.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u64,
    /// Of these dials, how many failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Of `lost`, those whose node had lost one before, by the tick of that earlier loss: whoever
    /// looks at a stretch of time can count each node once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub again: BTreeMap<u64, u64>,
    /// The last return of this tick, µs from the run's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_back_us: Option<u64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl LinkTick {
    fn merge(&mut self, other: &Self) {
        self.lost += other.lost;
        self.moved += other.moved;
        self.back += other.back;
        self.attempts += other.attempts;
        self.failed += other.failed;
        for (tick, n) in &other.again {
            *self.again.entry(*tick).or_default() += n;
        }
        self.last_back_us = self.last_back_us.max(other.last_back_us);
    }
}

impl Links {
    /// The tick of a time, µs from the run's start.
    pub fn tick(at_us: u64) -> u64 {
        at_us / TICK_US
    }

    /// The counts of the tick in which `at_us` lies, to add to.
    pub fn at(&mut self, at_us: u64) -> &mut LinkTick {
        self.0.entry(Self::tick(at_us)).or_default()
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (tick, counts) in &other.0 {
            self.0.entry(*tick).or_default().merge(counts);
        }
    }

    /// The ticks from the one in which `at_us` lies, in order.
    pub fn since(&self, at_us: u64) -> impl Iterator<Item = (u64, &LinkTick)> {
        let ticks = self.0.range(Self::tick(at_us)..);
        ticks.map(|(tick, counts)| (*tick, counts))
    }

    /// Everything together.
    pub fn total(&self) -> LinkTick {
        let mut total = LinkTick::default();
        for counts in self.0.values() {
            total.merge(counts);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn counts_of_workers_add_up_and_survive_json() {
        let mut one = Links::default();
        one.at(25_000).lost = 3;
        one.at(31_000).again.insert(2, 1);
        let mut two = Links::default();
        two.at(29_999).lost = 2;
        two.at(1_000_000).last_back_us = Some(1_000_000);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(json, r#"{"2":{"lost":3},"3":{"again":{"2":1}}}"#);
        let mut all: Links = serde_json::from_str(&json).unwrap();
        all.merge(&two);
        let ticks: Vec<_> = all.since(20_000).map(|(tick, t)| (tick, t.lost)).collect();
        assert_eq!(ticks, [(2, 5), (3, 0), (100, 0)]);
        assert_eq!(all.total().lost, 5);
    }
}
