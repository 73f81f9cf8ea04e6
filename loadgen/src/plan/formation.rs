//! Which brokers there are, and what each has to hold.

use serde::Serialize;

use crate::preflight::DESCRIPTORS_BESIDES;
use crate::scenario::{Manage, Role, Scenario, Start, Tier, Tls, Topology};

/// Connections a node's broker has beside the nodes': provisioner, operator, load generator.
const SERVICES: u64 = 8;
/// Subscriptions of a node on the provisioning network: four agents and the node itself.
const PROVISIONING_SUBSCRIPTIONS: u64 = 5;

/// One broker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedBroker {
    /// Its name, `TIER-n`.
    pub name: String,
    /// Its tier.
    pub tier: String,
    /// Which network it carries.
    pub role: Role,
    /// How its transport is protected.
    pub tls: Tls,
    /// Nodes that connect to it.
    pub nodes: u64,
    /// Subscriptions of these nodes.
    pub subscriptions: u64,
    /// Client connections in all: nodes and services.
    pub connections: u64,
    /// Connections to other brokers: routes, leaf nodes, gateways.
    pub links: u64,
    /// Descriptors it needs.
    pub descriptors: u64,
    /// Connections it accepts at most, where the scenario says so.
    pub max_conns: Option<u64>,
    /// The broker it dials as a leaf node.
    pub leaf_of: Option<String>,
}

/// The word for how the production brokers are laid out: `single`, `cluster`, `leafnodes`,
/// `gateways`, or `external` where they are somebody else's.
pub fn formation(topology: &Topology) -> &'static str {
    let production = || {
        let tiers = topology.tiers.iter();
        tiers.filter(|tier| tier.role == Role::Production)
    };
    if topology.manage == Manage::External {
        "external"
    } else if production().any(|tier| tier.gateway.is_some()) {
        "gateways"
    } else if production().any(|tier| tier.leaf_of.is_some()) {
        "leafnodes"
    } else if production().map(|tier| tier.count).sum::<u32>() > 1 {
        "cluster"
    } else {
        "single"
    }
}

/// Every broker, the production tiers first, with what it has to hold.
pub(super) fn brokers(scenario: &Scenario) -> Vec<PlannedBroker> {
    let mut brokers = Vec::new();
    let of_role = |role| {
        let tiers = scenario.topology.tiers.iter();
        tiers.filter(move |tier| tier.role == role)
    };
    for tier in of_role(Role::Production) {
        let nodes = Slots::of_tier(scenario, tier);
        for (index, name) in tier.brokers().enumerate() {
            let (nodes, subscriptions) = nodes.of_broker(index as u64, u64::from(tier.count));
            brokers.push(broker(scenario, tier, index, name, nodes, subscriptions));
        }
    }
    let provisioning: u64 = of_role(Role::Provisioning)
        .map(|tier| u64::from(tier.count))
        .sum();
    let unprovisioned = Slots::unprovisioned(scenario);
    let mut number = 0;
    for tier in of_role(Role::Provisioning) {
        for (index, name) in tier.brokers().enumerate() {
            let (nodes, subscriptions) = unprovisioned.of_broker(number, provisioning);
            brokers.push(broker(scenario, tier, index, name, nodes, subscriptions));
            number += 1;
        }
    }
    brokers
}

fn broker(
    scenario: &Scenario,
    tier: &Tier,
    index: usize,
    name: String,
    nodes: u64,
    subscriptions: u64,
) -> PlannedBroker {
    let connections = nodes + SERVICES;
    let links = links(scenario, tier, index);
    PlannedBroker {
        name,
        tier: tier.name.clone(),
        role: tier.role,
        tls: tier.tls,
        nodes,
        subscriptions,
        connections,
        links,
        descriptors: connections + links + DESCRIPTORS_BESIDES,
        max_conns: tier.max_conns,
        leaf_of: hub_of(scenario, tier, index),
    }
}

/// The broker a leaf dials: round robin over the tier it hangs on.
fn hub_of(scenario: &Scenario, tier: &Tier, index: usize) -> Option<String> {
    let hub = scenario.tier(tier.leaf_of.as_ref()?)?;
    let number = index % (hub.count.max(1) as usize);
    hub.brokers().nth(number)
}

/// Connections to other brokers: a route to each of its cluster, a leaf's or to a leaf, and one
/// gateway to each broker of the other regions.
fn links(scenario: &Scenario, tier: &Tier, index: usize) -> u64 {
    let tiers = || scenario.topology.tiers.iter();
    let count = |of: &dyn Fn(&&Tier) -> bool| -> u64 {
        tiers().filter(of).map(|tier| u64::from(tier.count)).sum()
    };
    let routes = match &tier.cluster {
        Some(cluster) => count(&|other| other.cluster.as_ref() == Some(cluster)) - 1,
        None => 0,
    };
    let dialled = u64::from(tier.leaf_of.is_some());
    let leaves: u64 = tiers()
        .filter(|other| other.leaf_of.as_ref() == Some(&tier.name))
        .map(|leaf| dealt(u64::from(leaf.count), index as u64, u64::from(tier.count)))
        .sum();
    let gateways = match &tier.gateway {
        Some(region) => {
            count(&|other| other.gateway.is_some() && other.gateway.as_ref() != Some(region))
        }
        None => 0,
    };
    routes + dialled + leaves + gateways
}

/// Of `n` things dealt out to `hands` in turn, how many the hand number `hand` gets.
fn dealt(n: u64, hand: u64, hands: u64) -> u64 {
    let hands = hands.max(1);
    n / hands + u64::from(n % hands > hand)
}

/// Nodes in the order they are dealt out to the brokers of a tier: runs of one fleet each.
struct Slots(Vec<(u64, u64)>);

impl Slots {
    fn of_tier(scenario: &Scenario, tier: &Tier) -> Self {
        let fleets = scenario
            .fleets
            .iter()
            .filter(|fleet| fleet.attach == tier.name);
        Self(
            fleets
                .map(|fleet| (fleet.nodes, fleet.subscriptions()))
                .collect(),
        )
    }

    fn unprovisioned(scenario: &Scenario) -> Self {
        let fleets = scenario
            .fleets
            .iter()
            .filter(|fleet| fleet.start == Start::Unprovisioned);
        Self(
            fleets
                .map(|fleet| (fleet.nodes, PROVISIONING_SUBSCRIPTIONS))
                .collect(),
        )
    }

    /// Nodes and subscriptions of one broker among `count`.
    fn of_broker(&self, index: u64, count: u64) -> (u64, u64) {
        let mut before = 0;
        let (mut nodes, mut subscriptions) = (0, 0);
        for (n, each) in &self.0 {
            // Dealing goes on where the fleet before left off.
            let upto = |end| dealt(end, index, count);
            let mine = upto(before + n) - upto(before);
            nodes += mine;
            subscriptions += mine * each;
            before += n;
        }
        (nodes, subscriptions)
    }
}
