//! What a scenario comes to, worked out before the first socket opens: which node is called what
//! and connects where, what each broker has to hold, what every phase does and about how long.
//!
//! A plan depends on the scenario and its seed alone. How many workers share it changes who does
//! what, never what is done.

mod costs;
mod describe;
mod formation;
mod nodes;
mod phases;
mod show;
mod spread;
mod survivors;

pub use formation::{PlannedBroker, formation};
pub use nodes::PlannedNode;
pub use phases::{PlannedOp, PlannedPhase};
pub use show::show;
pub use survivors::Survivors;

use std::time::Duration;

use serde::Serialize;

use crate::preflight::{DESCRIPTORS_BESIDES, Needs};
use crate::scenario::{Manage, Scenario, Start};

/// Version of `plan.json`.
const SCHEMA: u32 = 1;

/// A scenario, worked out.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Version of this file.
    pub schema: u32,
    /// How the production brokers are laid out, in a word.
    pub formation: &'static str,
    /// Nodes in all.
    pub nodes: u64,
    /// Nodes that should end as confirmed.
    pub expected_confirmed: u64,
    /// Every broker with what it has to hold, production first.
    pub brokers: Vec<PlannedBroker>,
    /// Names of the provisioners.
    pub provisioners: Vec<String>,
    /// Every phase.
    pub phases: Vec<PlannedPhase>,
    /// What each broker fault leaves.
    pub survivors: Vec<Survivors>,
    /// Estimated memory, bytes.
    pub memory: PlannedMemory,
    /// Estimated time of the whole run, µs; `None` when a phase has no foreseeable end.
    pub expected_us: Option<u64>,
    /// The scenario with every default filled in.
    pub scenario: Scenario,
    /// First index of each fleet's nodes, and of none past the last.
    #[serde(skip)]
    fleet_starts: Vec<u64>,
    /// How each fleet is dealt out to the production brokers.
    #[serde(skip)]
    deals: Vec<spread::Deal>,
}

/// Estimated memory at the highest, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlannedMemory {
    /// All nodes.
    pub nodes_bytes: u64,
    /// All brokers we start.
    pub brokers_bytes: u64,
    /// All provisioners we start.
    pub provisioners_bytes: u64,
}

impl PlannedMemory {
    /// Everything together.
    pub fn total(&self) -> u64 {
        self.nodes_bytes + self.brokers_bytes + self.provisioners_bytes
    }
}

impl Plan {
    /// Works a scenario out.
    pub fn new(scenario: Scenario) -> Self {
        let mut fleet_starts = vec![0];
        for fleet in &scenario.fleets {
            let end = fleet_starts.last().copied().unwrap_or_default() + fleet.nodes;
            fleet_starts.push(end);
        }
        let deals = spread::deals(&scenario);
        let brokers = formation::brokers(&scenario, &deals);
        let phases = phases::phases(&scenario);
        let expected: Option<Duration> = phases
            .iter()
            .map(|phase| phase.expected_us.map(Duration::from_micros))
            .sum();
        let provisioners = match scenario.provisioner.manage {
            Manage::None => Vec::new(),
            Manage::Local | Manage::External => (1..=scenario.provisioner.count)
                .map(|number| format!("provisioner-{number}"))
                .collect(),
        };
        Self {
            schema: SCHEMA,
            formation: formation(&scenario.topology),
            nodes: scenario.nodes(),
            expected_confirmed: scenario
                .fleets
                .iter()
                .filter(|fleet| fleet.start == Start::Unprovisioned)
                .map(|fleet| fleet.expected_confirmed())
                .sum(),
            survivors: survivors::survivors(&scenario, &brokers),
            memory: costs::memory(&scenario, &brokers),
            brokers,
            provisioners,
            phases,
            expected_us: expected.map(|time| crate::measure::micros(time + costs::STARTING)),
            scenario,
            fleet_starts,
            deals,
        }
    }

    /// SHA-256 of it, hexadecimal: equal for equal scenario, parameters and seed.
    pub fn sha256(&self) -> String {
        let written = serde_json::to_vec(self).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &written);
        hex::encode(digest)
    }

    /// Fewest workers whose share of the nodes fits their descriptors; as many as the scenario
    /// says where it does.
    pub fn workers(&self, descriptors: Option<u64>) -> u32 {
        if let Some(workers) = self.scenario.generator.workers {
            return workers;
        }
        let each = descriptors
            .map_or(u64::MAX, |limit| limit.saturating_sub(DESCRIPTORS_BESIDES))
            .max(1);
        u32::try_from(self.nodes.div_ceil(each).max(1)).unwrap_or(u32::MAX)
    }

    /// What the machine must have for so many workers.
    pub fn needs(&self, workers: u32) -> Needs {
        let local = self.scenario.topology.manage == Manage::Local;
        let named = |pick: fn(&PlannedBroker) -> Option<u64>| {
            self.brokers
                .iter()
                .filter_map(|broker| Some((broker.name.clone(), pick(broker)?)))
                .collect()
        };
        Needs {
            nodes: self.nodes,
            connections_per_worker: self.nodes.div_ceil(u64::from(workers.max(1))),
            workers: u64::from(workers),
            broker_connections: named(|broker| Some(broker.connections + broker.links)),
            brokers_ours: local,
            broker_limits: named(|broker| broker.max_conns),
            memory_bytes: self.memory.total() + u64::from(workers) * costs::WORKER_EMPTY,
            sources: self.scenario.generator.addrs.len().max(1) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::scenario::parse;

    fn plan(text: &str) -> Plan {
        let scenario = parse(Path::new("test.toml"), text, &[]);
        Plan::new(scenario.unwrap_or_else(|mistakes| panic!("{mistakes}")))
    }

    fn large() -> Plan {
        plan(include_str!("../tests/data/hub3-leaf6-50k.toml"))
    }

    #[test]
    fn identities_are_unique_names_that_certificates_can_carry() {
        let plan = large();
        let grammar = regex::Regex::new(
            r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
        )
        .unwrap();
        let mut seen = BTreeSet::new();
        for node in plan.all_nodes() {
            assert!(grammar.is_match(&node.identity), "{}", node.identity);
            assert!(node.identity.len() <= 64);
            assert!(seen.insert(node.identity));
        }
        assert_eq!(seen.len(), 50_000);
        assert_eq!(seen.first().unwrap(), "direct-00001.example.net");
        assert_eq!(seen.last().unwrap(), "edge-20000.example.net");
    }

    #[test]
    fn the_same_scenario_and_seed_give_the_same_plan() {
        let (one, other) = (large(), large());
        assert!(one.all_nodes().eq(other.all_nodes()));
        assert_eq!(
            serde_json::to_string(&one).unwrap(),
            serde_json::to_string(&other).unwrap()
        );
        let reseeded = include_str!("../tests/data/hub3-leaf6-50k.toml").replace("= 42 ", "= 43 ");
        let reseeded = plan(&reseeded);
        assert!(!one.all_nodes().eq(reseeded.all_nodes()));
    }

    #[test]
    fn any_number_of_workers_does_the_same_work() {
        let plan = large();
        let fleets: Vec<String> = plan
            .scenario
            .fleets
            .iter()
            .map(|f| f.name.clone())
            .collect();
        let order = plan.order(&fleets);
        for workers in [1, 3, 4, 7] {
            let mut together: Vec<u64> = (0..workers)
                .flat_map(|worker| plan.nodes_of_worker(worker, workers))
                .collect();
            together.sort_unstable();
            assert!(together.iter().copied().eq(0..50_000), "{workers} workers");
        }
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50_000));
        let direct = order[..1_000]
            .iter()
            .filter(|index| **index < 30_000)
            .count();
        assert!(
            (598..=602).contains(&direct),
            "fleets start side by side: {direct} of 1,000"
        );
    }

    #[test]
    fn facts_are_dealt_out_evenly() {
        let plan = large();
        let sites = ["ams", "fra", "lon"].map(|site| {
            let of_site = |node: &PlannedNode| node.facts["site"] == site;
            plan.all_nodes().filter(of_site).count()
        });
        assert_eq!(sites, [10_000; 3]);
        let racks: BTreeSet<i64> = plan
            .all_nodes()
            .map(|node| node.facts["rack"].as_i64().unwrap())
            .collect();
        assert!(racks.into_iter().eq(1..=40));
    }

    #[test]
    fn brokers_hold_what_the_nodes_bring() {
        let plan = large();
        let of = |name: &str| {
            plan.brokers
                .iter()
                .find(|broker| broker.name == name)
                .unwrap()
        };
        assert_eq!(plan.formation, "leafnodes");
        assert_eq!(of("hub-1").nodes, 10_000);
        assert_eq!(of("leaf-6").nodes, 3_333);
        let total: u64 = plan
            .brokers
            .iter()
            .filter(|broker| broker.tier != "provisioning")
            .map(|broker| broker.nodes)
            .sum();
        assert_eq!(total, 50_000);
        // Nobody wrote a provisioning tier; nodes without credentials need one all the same.
        let provisioning: Vec<_> = plan
            .brokers
            .iter()
            .filter(|b| b.tier == "provisioning")
            .collect();
        assert_eq!(provisioning.len(), 3);
        assert!(provisioning.iter().all(|broker| broker.nodes <= 16_667));
    }

    #[test]
    fn survivors_are_judged_where_there_are_any() {
        let plan = large();
        let storms: Vec<_> = plan
            .survivors
            .iter()
            .map(|s| (s.staying, s.each, s.fits))
            .collect();
        assert_eq!(storms, [(2, Some(15_000), Some(true)), (0, None, None)]);
    }

    #[test]
    fn workers_follow_from_the_descriptors() {
        let text =
            include_str!("../tests/data/hub3-leaf6-50k.toml").replace("workers       = 4", "");
        let plan = plan(&text);
        assert_eq!(plan.workers(Some(20_000)), 3);
        assert_eq!(plan.workers(Some(60_000)), 1);
        assert_eq!(plan.workers(None), 1);
        assert_eq!(plan.needs(3).connections_per_worker, 16_667);
        assert_eq!(
            large().workers(Some(20_000)),
            4,
            "the scenario says how many"
        );
    }

    #[test]
    fn shows_a_page_for_people() {
        insta::assert_snapshot!(show(&large(), 4, Some(20_000)));
        let quickstart = plan(include_str!("../../scenarios/quickstart.toml"));
        insta::assert_snapshot!(show(&quickstart, 1, Some(20_000)));
    }
}
