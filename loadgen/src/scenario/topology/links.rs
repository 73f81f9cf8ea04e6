//! Whether the tiers we start make up one network each.

use crate::scenario::model::{BrokerLink, Tier};
use crate::scenario::read::{Context, Reader};
use crate::scenario::words::LinkKind;

/// Every link between two brokers of these tiers, each once.
pub(in crate::scenario) fn broker_links(tiers: &[Tier]) -> Vec<BrokerLink> {
    let brokers = tiers
        .iter()
        .flat_map(|tier| tier.brokers().map(move |name| (tier, name)));
    let brokers: Vec<(&Tier, String)> = brokers.collect();
    let mut links = Vec::new();
    for (index, (tier, name)) in brokers.iter().enumerate() {
        for (other, peer) in brokers.iter().skip(index + 1) {
            let link = |kind, from: &String, to: &String| BrokerLink {
                kind,
                from: from.clone(),
                to: to.clone(),
            };
            if tier.role != other.role {
                continue;
            }
            let clustered = tier.cluster_name().is_some();
            if clustered && tier.cluster_name() == other.cluster_name() {
                links.push(link(LinkKind::Route, name, peer));
            } else if tier.gateway.is_some() && other.gateway.is_some() {
                links.push(link(LinkKind::Gateway, name, peer));
            }
            // A leaf may stand before its hub or after it.
            if tier.leaf_of.as_ref() == Some(&other.name) {
                links.push(link(LinkKind::Leaf, name, peer));
            } else if other.leaf_of.as_ref() == Some(&tier.name) {
                links.push(link(LinkKind::Leaf, peer, name));
            }
        }
    }
    links
}

/// Regions and clusters must fit each other, and what is said at one broker must reach all others
/// of its role.
pub(super) fn check(readers: &[Reader<'_>], tiers: &[Tier], cx: &mut Context) {
    let mut sound = true;
    for (tier, reader) in tiers.iter().zip(readers) {
        for (key, message) in region_mistakes(tier, tiers) {
            cx.mistake(reader.place_of(key), message);
            sound = false;
        }
    }
    if !sound {
        return;
    }
    for (index, (tier, reader)) in tiers.iter().zip(readers).enumerate() {
        let first = tiers.iter().position(|other| other.role == tier.role);
        // What a leaf names is judged where leaves are.
        let judged = |first: &usize| *first < index && tier.leaf_of.is_none();
        let Some(first) = first.filter(judged) else {
            continue;
        };
        if !reached_from(first, tiers).contains(&index) {
            let message = format!(
                "broker `{}` is linked with `{}` by nothing, so requests cannot reach its nodes; \
                 write cluster, leaf_of or gateway",
                tier.name, tiers[first].name
            );
            cx.mistake(reader.place(), message);
        }
    }
}

/// What is wrong with the region of a tier, each with the key it is about.
fn region_mistakes(tier: &Tier, tiers: &[Tier]) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    let Some(region) = &tier.gateway else {
        return mistakes;
    };
    if let Some(cluster) = tier.cluster.as_ref().filter(|name| *name != region) {
        let message = format!(
            "cluster = \"{cluster}\" in region \"{region}\": a region is a cluster of its own name; \
             leave cluster out"
        );
        mistakes.push(("cluster", message));
    }
    if tier.leaf_of.is_some() {
        let message = "a tier is a leaf or a region, not both; leave leaf_of or gateway out";
        mistakes.push(("gateway", message.to_owned()));
    }
    let elsewhere = |other: &Tier| {
        other.role == tier.role && other.gateway.as_ref().is_some_and(|other| other != region)
    };
    if !tiers.iter().any(elsewhere) {
        let message = format!(
            "\"{region}\" is the only region; a supercluster has two or more, so give another \
             tier gateway = \"...\" or leave it out"
        );
        mistakes.push(("gateway", message));
    }
    mistakes
}

/// The places of the tiers that are linked with the one at `from`, itself included.
fn reached_from(from: usize, tiers: &[Tier]) -> Vec<usize> {
    let mut reached = vec![from];
    let mut next = 0;
    while let Some(tier) = reached.get(next).and_then(|at| tiers.get(*at)) {
        next += 1;
        for (index, other) in tiers.iter().enumerate() {
            if !reached.contains(&index) && linked(tier, other) {
                reached.push(index);
            }
        }
    }
    reached
}

fn linked(one: &Tier, other: &Tier) -> bool {
    let cluster = one.cluster_name().is_some() && one.cluster_name() == other.cluster_name();
    let regions = one.gateway.is_some() && other.gateway.is_some();
    let leaf = |leaf: &Tier, hub: &Tier| leaf.leaf_of.as_ref() == Some(&hub.name);
    one.role == other.role && (cluster || regions || leaf(one, other) || leaf(other, one))
}
