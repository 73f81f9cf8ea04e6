//! Each node of a plan: what it is called, where it connects, what it knows of itself.
//!
//! A node is computed from its number when it is asked for; a plan of 50,000 costs nothing.

use std::collections::BTreeMap;

use rand::RngCore as _;
use server_core::words::Seed;

use super::Plan;
use crate::scenario::{Fact, Fleet, Role, Start};

/// The domain all nodes are in: reserved for examples, so that no name is anybody's.
const DOMAIN: &str = "example.net";
/// First random stream that is not a node's.
const OTHER_STREAMS: u64 = 1 << 48;

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedNode {
    /// Its number from 0 over all fleets.
    pub index: u64,
    /// The number of its fleet in the scenario.
    pub fleet: usize,
    /// What it is called, `FLEET-00001.example.net`.
    pub identity: String,
    /// The production broker it connects to first, an index into [`Plan::brokers`].
    pub broker: Option<usize>,
    /// The provisioning broker it connects to first, where it begins without credentials.
    pub provisioning_broker: Option<usize>,
    /// Its facts.
    pub facts: BTreeMap<String, serde_json::Value>,
    /// The seed of everything random it does.
    pub seed: u64,
}

impl Plan {
    /// The node of that number; `None` past the last.
    pub fn node(&self, index: u64) -> Option<PlannedNode> {
        let fleet_index = self.fleet_of(index)?;
        let fleet = self.scenario.fleets.get(fleet_index)?;
        let within = index - self.fleet_starts[fleet_index];
        Some(PlannedNode {
            index,
            fleet: fleet_index,
            identity: identity(&fleet.name, within),
            broker: self
                .deals
                .get(fleet_index)
                .and_then(|deal| deal.broker(within)),
            provisioning_broker: self.provisioning_broker(fleet_index, within),
            facts: self.facts(fleet_index, fleet, within),
            seed: self.stream_seed(index),
        })
    }

    /// Every node in order.
    pub fn all_nodes(&self) -> impl Iterator<Item = PlannedNode> + '_ {
        (0..self.nodes).filter_map(|index| self.node(index))
    }

    /// Numbers of the nodes a worker hosts: dealt out in turn, so that every worker has its part
    /// of every fleet and of every moment of a pace.
    pub fn nodes_of_worker(&self, worker: u32, workers: u32) -> impl Iterator<Item = u64> + use<> {
        (u64::from(worker)..self.nodes).step_by(workers.max(1) as usize)
    }

    /// The nodes of some fleets in the order an operation takes them: side by side, each fleet at
    /// its share, so that a pace meets all of them from its beginning to its end. Slot `k` of an
    /// operation's schedule is the node at place `k`.
    pub fn order(&self, fleets: &[String]) -> Vec<u64> {
        let mut places: Vec<(f64, u64)> = Vec::new();
        for (fleet_index, fleet) in self.scenario.fleets.iter().enumerate() {
            if !fleets.contains(&fleet.name) {
                continue;
            }
            let start = self.fleet_starts[fleet_index];
            let nodes = fleet.nodes as f64;
            places.extend((0..fleet.nodes).map(|n| ((n as f64 + 0.5) / nodes, start + n)));
        }
        places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        places.into_iter().map(|(_, index)| index).collect()
    }

    /// The seed of an operation's own choices: arrival times, random targets.
    pub fn op_seed(&self, phase: usize, op: usize) -> u64 {
        self.stream_seed(OTHER_STREAMS + ((phase as u64) << 16) + op as u64)
    }

    fn stream_seed(&self, stream: u64) -> u64 {
        stream_seed(Seed(self.scenario.seed), stream)
    }

    fn fleet_of(&self, index: u64) -> Option<usize> {
        let after = self.fleet_starts.partition_point(|start| *start <= index);
        (index < self.nodes).then(|| after - 1)
    }

    /// Nodes before the fleet among those that are dealt out together.
    fn dealt_before(&self, fleet: usize, together: impl Fn(&Fleet) -> bool) -> u64 {
        let before = self.scenario.fleets[..fleet].iter();
        before
            .filter(|fleet| together(fleet))
            .map(|fleet| fleet.nodes)
            .sum()
    }

    fn provisioning_broker(&self, fleet: usize, within: u64) -> Option<usize> {
        let unprovisioned = |fleet: &Fleet| fleet.start == Start::Unprovisioned;
        if !unprovisioned(&self.scenario.fleets[fleet]) {
            return None;
        }
        let provisioning = |role| role == Role::Provisioning;
        let first = self.brokers.iter().position(|b| provisioning(b.role))?;
        let count = self.brokers.iter().filter(|b| provisioning(b.role)).count();
        let slot = self.dealt_before(fleet, unprovisioned) + within;
        Some(first + (slot % count as u64) as usize)
    }

    fn facts(
        &self,
        fleet_index: usize,
        fleet: &Fleet,
        within: u64,
    ) -> BTreeMap<String, serde_json::Value> {
        let values = fleet
            .facts
            .iter()
            .enumerate()
            .map(|(number, (name, fact))| {
                let seed = Seed(self.scenario.seed);
                let first = first_choice(seed, fleet_index, number, fact);
                let at = (first + within) % fact.period();
                let value = match fact {
                    Fact::Value(value) => value.clone(),
                    Fact::OneOf(values) => values.get(at as usize).cloned().unwrap_or_default(),
                    Fact::Sequence { from, .. } => from.saturating_add_unsigned(at).into(),
                };
                (name.clone(), value)
            });
        values.collect()
    }
}

fn stream_seed(seed: Seed, stream: u64) -> u64 {
    seed.stream(stream).next_u64()
}

/// Which of its values the first node of a fleet has; the others follow in turn.
pub(super) fn first_choice(seed: Seed, fleet: usize, number: usize, fact: &Fact) -> u64 {
    match fact {
        Fact::Value(_) | Fact::Sequence { .. } => 0,
        Fact::OneOf(_) => {
            let stream = OTHER_STREAMS * 2 + ((fleet as u64) << 16) + number as u64;
            stream_seed(seed, stream) % fact.period()
        }
    }
}

/// `direct-00001.example.net`, the first being 1.
fn identity(fleet: &str, within: u64) -> String {
    format!("{fleet}-{:05}.{DOMAIN}", within + 1)
}
