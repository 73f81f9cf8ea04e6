//! Intended start times, one after the other, each computed from its number and not from the one
//! before it, so that no error adds up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Pace;

/// One operation that is to start: its number in the schedule and its intended time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Number from 0 over all workers.
    pub index: u64,
    /// When it is meant to start, from the operation's beginning.
    pub intended: Duration,
}

/// The intended times of an open pace in order; ends with the pace, or never.
#[derive(Clone, Debug)]
pub struct Schedule {
    pace: Pace,
    nodes: u64,
    next: u64,
    random: Option<RandomArrivals>,
}

/// Arrivals that are independent of each other.
#[derive(Clone, Debug)]
struct RandomArrivals {
    rng: ChaCha8Rng,
    at_s: f64,
}

impl Pace {
    /// The intended times for `nodes` nodes taking part together; `None` for a closed pace, which
    /// has none. `seed` is the operation's own.
    pub fn schedule(&self, nodes: u64, seed: u64) -> Option<Schedule> {
        let random = matches!(self, Self::Poisson { .. }).then(|| RandomArrivals {
            rng: ChaCha8Rng::seed_from_u64(seed),
            at_s: 0.0,
        });
        self.is_open().then(|| Schedule {
            pace: self.clone(),
            nodes,
            next: 0,
            random,
        })
    }

    /// Whether every node keeps its own time: a rate that is said `per node`.
    pub fn is_per_node(&self) -> bool {
        match self {
            Self::Constant { rate, .. } | Self::Poisson { rate, .. } => rate.per_node,
            _ => false,
        }
    }

    /// The intended times of each of these nodes, merged in order of time, for a pace that
    /// [`is_per_node`](Self::is_per_node). A node's times depend on the seed and its number alone,
    /// so any split over workers gives the same.
    pub fn node_slots(&self, nodes: impl IntoIterator<Item = u64>, seed: u64) -> NodeSlots {
        let (gap_s, random) = match self {
            Self::Constant { rate, .. } => (1.0 / rate.events_per_second(1), false),
            Self::Poisson { rate, .. } => (1.0 / rate.events_per_second(1), true),
            _ => (f64::INFINITY, false),
        };
        let mut slots = NodeSlots {
            queue: BinaryHeap::new(),
            gap_s,
            random,
            seed,
        };
        for node in nodes {
            slots.push(node, 0, 0.0);
        }
        slots
    }
}

impl Iterator for Schedule {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let index = self.next;
        let intended = match (&self.pace, &mut self.random) {
            (Pace::Poisson { rate, count }, Some(random)) => {
                if count.is_some_and(|count| index >= count) {
                    return None;
                }
                let uniform: f64 = random.rng.random();
                random.at_s += exponential(uniform) / rate.events_per_second(self.nodes);
                Duration::try_from_secs_f64(random.at_s).ok()?
            }
            (pace, _) => pace.expected_start(index, self.nodes)?,
        };
        self.next = index.checked_add(1)?;
        Some(Slot { index, intended })
    }
}

/// A node and the time it is meant to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeSlot {
    /// When, from the operation's beginning.
    pub intended: Duration,
    /// Number of the node.
    pub node: u64,
    /// How many times it has done so before.
    pub index: u64,
}

/// Intended times of many nodes, each at its own pace, in order; never ends.
#[derive(Clone, Debug)]
pub struct NodeSlots {
    queue: BinaryHeap<Reverse<NodeSlot>>,
    gap_s: f64,
    random: bool,
    seed: u64,
}

impl NodeSlots {
    /// Queues what comes after `from_s` for a node.
    fn push(&mut self, node: u64, index: u64, from_s: f64) {
        let uniform = || uniform(self.seed, node, index);
        let at_s = match (self.random, index) {
            (true, _) => from_s + exponential(uniform()) * self.gap_s,
            // Nodes of a constant pace are spread over the first interval.
            (false, 0) => uniform() * self.gap_s,
            (false, _) => from_s + self.gap_s,
        };
        if let Ok(intended) = Duration::try_from_secs_f64(at_s) {
            self.queue.push(Reverse(NodeSlot {
                intended,
                node,
                index,
            }));
        }
    }
}

impl Iterator for NodeSlots {
    type Item = NodeSlot;

    fn next(&mut self) -> Option<NodeSlot> {
        let Reverse(slot) = self.queue.pop()?;
        self.push(slot.node, slot.index + 1, slot.intended.as_secs_f64());
        Some(slot)
    }
}

/// A number in [0, 1) that depends on seed, stream and index alone: nothing is kept per node.
fn uniform(seed: u64, stream: u64, index: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng.set_word_pos(u128::from(index) * 2);
    rng.random()
}

/// Turns a uniform number in [0, 1) into the gap between arrivals of mean 1.
fn exponential(uniform: f64) -> f64 {
    -(1.0 - uniform).ln()
}

/// When the arrival number `index` comes at a constant rate.
pub(super) fn at_rate(index: u64, per_s: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(index as f64 / per_s).ok()
}

/// `index` times an interval, saturating.
pub(super) fn nth(every: Duration, index: u64) -> Duration {
    let nanos = every.as_nanos().saturating_mul(u128::from(index));
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RampStep;
    use super::*;
    use crate::units::Rate;

    fn times(pace: &Pace, nodes: u64, seed: u64) -> Vec<Duration> {
        let schedule = pace.schedule(nodes, seed).unwrap();
        schedule.take(5_000).map(|slot| slot.intended).collect()
    }

    fn ramp(steps: &[&str]) -> Pace {
        let steps = steps.iter().map(|step| RampStep::parse(step).unwrap());
        Pace::Ramp {
            steps: steps.collect(),
        }
    }

    #[test]
    fn a_ramp_sends_what_its_area_says() {
        let pace = ramp(&[
            "0/s..200/s over 10s",
            "200/s..800/s over 20s",
            "800/s for 5m",
        ]);
        assert_eq!(pace.count(), Some(1_000 + 10_000 + 240_000));
        let at = |index| pace.expected_start(index, 0).unwrap().as_secs_f64();
        assert!(
            (at(250) - 5.0).abs() < 1e-6,
            "a quarter of the area at half the time"
        );
        assert!((at(1_000) - 10.0).abs() < 1e-6);
        assert!((at(11_000) - 30.0).abs() < 1e-6);
        assert!((at(11_800) - 31.0).abs() < 1e-6);
        assert_eq!(pace.expected_start(251_000, 0), None);
    }

    #[test]
    fn random_arrivals_keep_their_mean_and_their_seed() {
        let pace = Pace::Poisson {
            rate: Rate::per_second(1_000.0),
            count: Some(4_000),
        };
        let first = times(&pace, 1, 7);
        assert_eq!(first.len(), 4_000);
        assert_eq!(first, times(&pace, 1, 7));
        assert_ne!(first, times(&pace, 1, 8));
        let last = first.last().unwrap().as_secs_f64();
        assert!((3.7..4.3).contains(&last), "4,000 at 1,000/s took {last} s");
    }

    #[test]
    fn each_node_keeps_its_own_time_whoever_hosts_it() {
        let pace = Pace::Poisson {
            rate: Rate::parse("1/2s per node").unwrap(),
            count: None,
        };
        let until = |slots: NodeSlots| {
            let slots = slots.take_while(|slot| slot.intended < Duration::from_secs(60));
            slots.collect::<Vec<_>>()
        };
        let all = until(pace.node_slots(0..100, 3));
        let mut split = until(pace.node_slots((0..100).filter(|n| n % 3 == 0), 3));
        split.extend(until(pace.node_slots((0..100).filter(|n| n % 3 != 0), 3)));
        split.sort();
        assert_eq!(all, split);
        assert!((2_700..3_300).contains(&all.len()), "{} events", all.len());
        assert!(all.is_sorted());
    }

    proptest! {
        #[test]
        fn a_constant_rate_never_drifts(per_s in 1u32..100_000, index in 0u64..100_000_000) {
            let pace = Pace::Constant { rate: Rate::per_second(f64::from(per_s)), count: None };
            let at = pace.expected_start(index, 0).unwrap().as_nanos();
            let exact = u128::from(index) * 1_000_000_000 / u128::from(per_s);
            prop_assert!(at.abs_diff(exact) < 1_000, "{at} ns, exactly {exact} ns");
        }

        #[test]
        fn an_interval_is_exact(millis in 1u64..100_000, index in 0u64..1_000_000) {
            let pace = Pace::Every { every: Duration::from_millis(millis), count: None };
            let at = pace.expected_start(index, 0).unwrap();
            prop_assert_eq!(at, Duration::from_millis(millis * index));
        }

        #[test]
        fn counts_are_exact_and_times_never_go_back(
            count in 1u64..3_000,
            rates in prop::collection::vec((0u32..500, 0u32..500, 1u64..10), 1..4),
            seed: u64,
        ) {
            let rate = Rate::per_second(50.0);
            let steps: Vec<RampStep> = rates
                .iter()
                .map(|(from, to, seconds)| RampStep {
                    from_per_s: f64::from(*from),
                    to_per_s: f64::from(*to),
                    over: Duration::from_secs(*seconds),
                })
                .collect();
            // Twice the area is whole, so the area rounded up is known exactly.
            let twice: u64 = rates.iter().map(|(a, b, s)| u64::from(a + b) * s).sum();
            let paces = [
                (Pace::Constant { rate, count: Some(count) }, count),
                (Pace::Every { every: Duration::from_millis(3), count: Some(count) }, count),
                (Pace::Poisson { rate, count: Some(count) }, count),
                (Pace::Ramp { steps }, twice.div_ceil(2)),
            ];
            for (pace, count) in paces {
                prop_assert_eq!(pace.count(), Some(count));
                let slots: Vec<Slot> = pace.schedule(1, seed).unwrap().collect();
                prop_assert_eq!(slots.len() as u64, count);
                prop_assert!(slots.is_sorted_by_key(|slot| slot.intended));
                prop_assert!(slots.iter().zip(0..).all(|(slot, index)| slot.index == index));
            }
        }
    }
}
