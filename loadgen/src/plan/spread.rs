//! Which broker each node of a fleet starts at.

use server_core::words::Seed;

use super::nodes::first_choice;
use crate::scenario::{Fleet, Role, Scenario, Spread};

/// How one fleet is dealt out to the production brokers: a pattern that comes again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct Deal {
    pattern: Vec<Hand>,
    /// Where in the pattern the first node is.
    offset: u64,
}

/// Brokers side by side that take turns, one each time the pattern comes round.
#[derive(Clone, Copy, Debug)]
struct Hand {
    first: usize,
    count: u64,
}

impl Deal {
    /// The place of the broker at which node number `within` of the fleet starts, among all
    /// production brokers; `None` when the fleet has none.
    pub(super) fn broker(&self, within: u64) -> Option<usize> {
        let length = self.pattern.len() as u64;
        let slot = self.offset + within;
        let at = usize::try_from(slot.checked_rem(length)?).ok()?;
        let hand = self.pattern.get(at)?;
        let turn = (slot / length) % hand.count.max(1);
        Some(hand.first + usize::try_from(turn).ok()?)
    }
}

/// How every fleet is dealt out.
pub(super) fn deals(scenario: &Scenario) -> Vec<Deal> {
    let fleets = scenario.fleets.iter().enumerate();
    fleets
        .map(|(number, fleet)| deal(scenario, number, fleet))
        .collect()
}

fn deal(scenario: &Scenario, number: usize, fleet: &Fleet) -> Deal {
    let Some(tier) = hand(scenario, &fleet.attach) else {
        return Deal::default();
    };
    let each = |hand: Hand| {
        (0..hand.count as usize).map(move |at| Hand {
            first: hand.first + at,
            count: 1,
        })
    };
    match &fleet.spread {
        Spread::RoundRobin => {
            // Dealing goes on where the fleet before left off.
            let together =
                |other: &&Fleet| other.attach == fleet.attach && other.spread == Spread::RoundRobin;
            let before = scenario.fleets[..number].iter().filter(together);
            Deal {
                pattern: each(tier).collect(),
                offset: before.map(|other| other.nodes).sum(),
            }
        }
        Spread::Share(weights) => {
            let weights: Vec<u64> = weights.iter().map(|(_, weight)| *weight).collect();
            let turns = in_turn(&weights).into_iter();
            let hands = turns.map(|at| Hand {
                first: tier.first + at,
                count: 1,
            });
            Deal {
                pattern: hands.collect(),
                offset: 0,
            }
        }
        Spread::Fact { fact, sites } => {
            let Some((place, values)) = fleet
                .facts
                .keys()
                .position(|name| name == fact)
                .zip(fleet.facts.get(fact))
            else {
                return Deal::default();
            };
            let texts = values.texts();
            let hands: Vec<Hand> = match sites.as_slice() {
                [] => (0..texts.len())
                    .filter_map(|at| each(tier).nth(at % (tier.count as usize).max(1)))
                    .collect(),
                sites => {
                    let site = |text: &String| sites.iter().find(|(value, _)| value == text);
                    let target = |text| hand(scenario, &site(text)?.1);
                    texts.iter().filter_map(target).collect()
                }
            };
            Deal {
                offset: first_choice(Seed(scenario.seed), number, place, values),
                pattern: hands,
            }
        }
    }
}

/// The brokers of a tier, or the one of that name, by their place among the production brokers.
fn hand(scenario: &Scenario, target: &str) -> Option<Hand> {
    let tiers = scenario.topology.tiers.iter();
    let mut first = 0;
    for tier in tiers.filter(|tier| tier.role == Role::Production) {
        if tier.name == target {
            let count = u64::from(tier.count);
            return Some(Hand { first, count });
        }
        if let Some(at) = tier.brokers().position(|name| name == target) {
            let first = first + at;
            return Some(Hand { first, count: 1 });
        }
        first += tier.count as usize;
    }
    None
}

/// Places in an order in which each comes as often as its weight says, evenly spaced ("smooth
/// weighted round robin").
fn in_turn(weights: &[u64]) -> Vec<usize> {
    let total: u64 = weights.iter().sum();
    let mut credit = vec![0i64; weights.len()];
    let mut order = Vec::with_capacity(usize::try_from(total).unwrap_or_default());
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(weights) {
            *credit += i64::try_from(*weight).unwrap_or(i64::MAX);
        }
        let richest = (0..credit.len()).rev().max_by_key(|at| credit[*at]);
        if let Some(at) = richest {
            credit[at] -= i64::try_from(total).unwrap_or(i64::MAX);
            order.push(at);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::in_turn;

    #[test]
    fn weights_come_evenly_spaced() {
        assert_eq!(in_turn(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(in_turn(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(in_turn(&[0, 2, 1]), [1, 2, 1]);
        assert_eq!(in_turn(&[]), [0; 0]);
    }
}
