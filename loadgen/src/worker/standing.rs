//! How the nodes of a worker stand, all of them together: kept up to date by each change of one
//! node, so that telling it ten times a second costs the same for ten nodes and for ten thousand.

use std::time::Duration;

use crate::measure::{FleetCounts, NodeState, micros};
use crate::message::Tally;

/// What is told of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How far it is.
    pub state: NodeState,
    /// Certificate requests it made.
    pub csrs: u32,
    /// Whether it has answered a discovery request on the production network.
    pub confirmed: bool,
    /// Whether its certificate was renewed.
    pub renewed: bool,
    /// Dials for its first connection to the production network.
    pub first_dials: u32,
    /// The first of them, since the run's start.
    pub first_dialled: Option<Duration>,
    /// When that connection came up, since the run's start.
    pub first_up: Option<Duration>,
}

/// The sum of what is told of every node.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    fleets: Vec<FleetCounts>,
    tally: Tally,
}

impl Standing {
    /// No nodes yet, of fleets with these names in the scenario's order.
    pub fn of(fleets: impl Iterator<Item = String>) -> Self {
        let counts = |fleet| FleetCounts {
            fleet,
            ..FleetCounts::default()
        };
        Self {
            fleets: fleets.map(counts).collect(),
            tally: Tally::default(),
        }
    }

    /// A node of the fleet at this place was laid out.
    pub fn joined(&mut self, fleet: usize, state: NodeState) {
        if let Some(fleet) = self.fleets.get_mut(fleet) {
            *fleet.nodes.entry(state).or_default() += 1;
        }
    }

    /// A node of the fleet at this place went from one to the other.
    pub fn changed(&mut self, fleet: usize, before: Told, after: Told) {
        if before.state != after.state {
            self.left(fleet, before.state);
            self.joined(fleet, after.state);
        }
        let tally = &mut self.tally;
        if after.confirmed && !before.confirmed {
            tally.confirmed += 1;
            if let Some(fleet) = self.fleets.get_mut(fleet) {
                fleet.confirmed += 1;
            }
        }
        tally.renewed += u64::from(after.renewed && !before.renewed);
        tally.csrs += u64::from(after.csrs.saturating_sub(before.csrs));
        tally.first_dials += u64::from(after.first_dials.saturating_sub(before.first_dials));
        if before.first_dialled != after.first_dialled {
            let dialled = after.first_dialled.map(micros);
            tally.first_dial_us = [tally.first_dial_us, dialled].into_iter().flatten().min();
        }
        if before.first_up != after.first_up {
            tally.first_up += u64::from(before.first_up.is_none());
            tally.last_up_us = tally.last_up_us.max(after.first_up.map(micros));
        }
    }

    fn left(&mut self, fleet: usize, state: NodeState) {
        let Some(fleet) = self.fleets.get_mut(fleet) else {
            return;
        };
        let Some(nodes) = fleet.nodes.get_mut(&state) else {
            return;
        };
        *nodes = nodes.saturating_sub(1);
        if *nodes == 0 {
            fleet.nodes.remove(&state);
        }
    }

    /// Nodes by fleet and state.
    pub fn fleets(&self) -> Vec<FleetCounts> {
        self.fleets.clone()
    }

    /// What nodes have done since the start, but for what only the worker knows.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: [NodeState; 4] = [
        NodeState::Waiting,
        NodeState::Connecting,
        NodeState::Connected,
        NodeState::Down,
    ];

    fn new() -> Told {
        Told {
            state: NodeState::Waiting,
            csrs: 0,
            confirmed: false,
            renewed: false,
            first_dials: 0,
            first_dialled: None,
            first_up: None,
        }
    }

    proptest! {
        /// The sums are those of a walk over all nodes, whatever happened to which of them.
        #[test]
        fn the_sum_is_what_a_walk_over_all_nodes_finds(
            steps in prop::collection::vec((0..5_usize, 0..4_usize, 0..3_u32, any::<bool>(), 0..900_u64), 0..60)
        ) {
            let fleet_of = |node: usize| node % 2;
            let mut standing = Standing::of(["a", "b"].map(String::from).into_iter());
            let mut nodes = [new(); 5];
            for (number, node) in nodes.iter().enumerate() {
                standing.joined(fleet_of(number), node.state);
            }
            for (number, state, more, confirmed, at) in steps {
                let before = nodes[number];
                let at = Duration::from_micros(at);
                let after = Told {
                    state: STATES[state],
                    csrs: before.csrs + more,
                    confirmed: before.confirmed || confirmed,
                    renewed: before.renewed || confirmed,
                    first_dials: before.first_dials + more,
                    first_dialled: before.first_dialled.or((more > 0).then_some(at)),
                    first_up: before.first_up.or((more > 1).then_some(at)),
                };
                standing.changed(fleet_of(number), before, after);
                nodes[number] = after;
            }
            for (place, counts) in standing.fleets().iter().enumerate() {
                let own = || nodes.iter().enumerate().filter(|(n, _)| fleet_of(*n) == place);
                for state in STATES {
                    let walked = own().filter(|(_, node)| node.state == state).count() as u64;
                    prop_assert_eq!(counts.of(state), walked);
                }
                prop_assert!(counts.nodes.values().all(|nodes| *nodes > 0));
                let confirmed = own().filter(|(_, node)| node.confirmed).count() as u64;
                prop_assert_eq!(counts.confirmed, confirmed);
            }
            let tally = standing.tally();
            prop_assert_eq!(tally.csrs, nodes.iter().map(|n| u64::from(n.csrs)).sum::<u64>());
            prop_assert_eq!(tally.confirmed, nodes.iter().filter(|n| n.confirmed).count() as u64);
            prop_assert_eq!(tally.renewed, tally.confirmed);
            prop_assert_eq!(tally.first_up, nodes.iter().filter(|n| n.first_up.is_some()).count() as u64);
            prop_assert_eq!(tally.first_dial_us, nodes.iter().filter_map(|n| n.first_dialled).map(micros).min());
            prop_assert_eq!(tally.last_up_us, nodes.iter().filter_map(|n| n.first_up).map(micros).max());
        }
    }
}
