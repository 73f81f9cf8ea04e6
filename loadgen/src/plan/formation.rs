//! Which brokers there are, and what each has to hold.

use serde::Serialize;

use super::spread::Deal;
use crate::preflight::DESCRIPTORS_BESIDES;
use crate::scenario::{Manage, Role, Scenario, Start, Tier, Tls, Topology};

/// Connections of one route: nats-server keeps a pool of three, and one for the system account.
const ROUTE_CONNECTIONS: u64 = 4;
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
    /// Its place in the tier, from 0.
    #[serde(skip)]
    pub place: usize,
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
pub(super) fn brokers(scenario: &Scenario, deals: &[Deal]) -> Vec<PlannedBroker> {
    let mut brokers = Vec::new();
    let mut loads = production_loads(scenario, deals).into_iter();
    let of_role = |role| {
        let tiers = scenario.topology.tiers.iter();
        tiers.filter(move |tier| tier.role == role)
    };
    for tier in of_role(Role::Production) {
        for (index, name) in tier.brokers().enumerate() {
            let (nodes, subscriptions) = loads.next().unwrap_or_default();
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

/// Nodes and their subscriptions on every production broker, counted as they are dealt out.
fn production_loads(scenario: &Scenario, deals: &[Deal]) -> Vec<(u64, u64)> {
    let tiers = scenario.topology.tiers.iter();
    let production = tiers.filter(|tier| tier.role == Role::Production);
    let count: u32 = production.map(|tier| tier.count).sum();
    let mut loads = vec![(0, 0); count as usize];
    for (fleet, deal) in scenario.fleets.iter().zip(deals) {
        let each = fleet.subscriptions();
        let places = (0..fleet.nodes).map_while(|within| deal.broker(within));
        for place in places {
            if let Some((nodes, subscriptions)) = loads.get_mut(place) {
                *nodes += 1;
                *subscriptions += each;
            }
        }
    }
    loads
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
        place: index,
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

/// Connections to other brokers at most: routes to each of its cluster, a leaf's or to leaves, a
/// gateway to each other region, and one from each of their brokers should all have chosen it.
fn links(scenario: &Scenario, tier: &Tier, index: usize) -> u64 {
    let tiers = || scenario.topology.tiers.iter();
    let count = |of: &dyn Fn(&&Tier) -> bool| -> u64 {
        tiers().filter(of).map(|tier| u64::from(tier.count)).sum()
    };
    let of_cluster = |other: &&Tier| {
        let own = tier.cluster_name();
        own.is_some() && other.cluster_name() == own && other.role == tier.role
    };
    let routes = count(&of_cluster).saturating_sub(1) * ROUTE_CONNECTIONS;
    let dialled = u64::from(tier.leaf_of.is_some());
    let leaves: u64 = tiers()
        .filter(|other| other.leaf_of.as_ref() == Some(&tier.name))
        .map(|leaf| dealt(u64::from(leaf.count), index as u64, u64::from(tier.count)))
        .sum();
    let gateways = match &tier.gateway {
        Some(region) => {
            let mut regions: Vec<&String> =
                tiers().filter_map(|other| other.gateway.as_ref()).collect();
            regions.sort_unstable();
            regions.dedup();
            let others = regions.iter().filter(|other| **other != region).count() as u64;
            let elsewhere = |other: &&Tier| other.gateway.as_ref().is_some_and(|r| r != region);
            others + count(&elsewhere)
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
