//! Faults on the links between brokers.

use std::time::Duration;

use super::Scene;
use crate::scenario::mistake::suggestion;
use crate::scenario::model::{BrokerLink, LinkEffect, LinkFault, Tier};
use crate::scenario::read::{At, Context, Reader};
use crate::scenario::topology::{broker_links, matches_pattern};
use crate::scenario::words::{CutMode, FaultKind, LinkKind};
use crate::units::show_duration;

/// A link that takes longer than this is no link.
const LONGEST: Duration = Duration::from_secs(60);

/// Keys of a fault that only some kinds have.
const KEYS: [(&str, &[FaultKind]); 4] = [
    ("peer", &[FaultKind::CutLink, FaultKind::SlowLink]),
    ("mode", &[FaultKind::CutLink]),
    ("latency", &[FaultKind::SlowLink]),
    ("bandwidth", &[FaultKind::SlowLink]),
];

/// Refuses keys that mean nothing for a kind of fault.
pub(super) fn refuse_foreign_keys(reader: &Reader<'_>, kind: FaultKind, cx: &mut Context) {
    for (key, kinds) in KEYS {
        if reader.has(key) && !kinds.contains(&kind) {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
            let message = format!(
                "`{key}` means nothing for kind = \"{kind}\"; it belongs to {}",
                kinds.join(", ")
            );
            cx.mistake(reader.place_of(key), message);
        }
    }
}

/// Reads what a fault does to the links of its `targets`.
pub(super) fn read_link_fault(
    reader: &Reader<'_>,
    kind: FaultKind,
    (target, targets): (&At<String>, &[String]),
    scene: &Scene<'_>,
    cx: &mut Context,
) -> Option<LinkFault> {
    let effect = read_effect(reader, kind, cx)?;
    let peer = reader.text("peer", cx);
    let tiers = &scene.topology.tiers;
    let mut links = broker_links(tiers);
    links.retain(|link| targets.iter().any(|target| link.touches(target)));
    if links.is_empty() {
        let message = format!(
            "\"{}\" has no link to another broker, and those of nodes stay as they are; write kind \
             = \"freeze\" for a broker that nobody reaches",
            target.value
        );
        cx.mistake(target.place, message);
        return None;
    }
    if let Some(at) = &peer {
        let other = |name: &str| {
            // A link of two targets has a peer at both ends.
            matches_pattern(&at.value, name)
        };
        let far_end = |near: &str, far: &str| targets.iter().any(|name| name == near) && other(far);
        links.retain(|link| far_end(&link.from, &link.to) || far_end(&link.to, &link.from));
        if links.is_empty() {
            let names: Vec<String> = tiers.iter().flat_map(Tier::brokers).collect();
            let message = match names.iter().any(|name| other(name)) {
                true => format!(
                    "\"{}\" has no link to \"{}\"; leave peer out for all of its links",
                    target.value, at.value
                ),
                false => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let near = suggestion(&at.value, "brokers", names);
                    format!("there is no broker \"{}\"{near}", at.value)
                }
            };
            cx.mistake(at.place, message);
            return None;
        }
    }
    if let Some(message) = shared_gateways(&links, target, tiers) {
        cx.mistake(target.place, message);
        return None;
    }
    Some(LinkFault {
        peer: peer.map(|at| at.value),
        links,
        effect,
    })
}

/// Brokers of a region tell each other where to dial the others, so that one of them alone cannot
/// be kept from them: a fault takes every gateway between two regions, or none.
fn shared_gateways(links: &[BrokerLink], target: &At<String>, tiers: &[Tier]) -> Option<String> {
    let region = |broker: &str| {
        let tier = tiers
            .iter()
            .find(|tier| tier.brokers().any(|name| name == broker))?;
        Some((tier.role, tier.gateway.as_deref()?))
    };
    let between = |link: &BrokerLink| {
        let (from, to) = (region(&link.from), region(&link.to));
        (from.min(to), from.max(to))
    };
    let gateways = |link: &&BrokerLink| link.kind == LinkKind::Gateway;
    let taken: Vec<_> = links.iter().filter(gateways).map(between).collect();
    let all = broker_links(tiers);
    let whole = |pair: &_| {
        let every = all
            .iter()
            .filter(gateways)
            .filter(|link| between(link) == *pair);
        every.count() == taken.iter().filter(|own| *own == pair).count()
    };
    let split = taken.iter().find(|pair| !whole(pair))?;
    let names = [split.0, split.1].map(|region| region.map_or("", |(_, name)| name));
    Some(format!(
        "\"{}\" has some of the gateways between regions {} and {}, and brokers of a region share \
         theirs: what one cannot reach it dials where another does; name every broker of a region, \
         as target = \"NAME-*\", or only those it has routes to, as peer",
        target.value, names[0], names[1]
    ))
}

fn read_effect(reader: &Reader<'_>, kind: FaultKind, cx: &mut Context) -> Option<LinkEffect> {
    if kind == FaultKind::CutLink {
        let mode = reader.choice("mode", cx);
        return Some(LinkEffect::Cut {
            mode: mode.map_or(CutMode::Reset, |at| at.value),
        });
    }
    let latency = reader.duration("latency", cx);
    if let Some(at) = latency.as_ref().filter(|at| at.value > LONGEST) {
        let message = format!(
            "latency is more than {}; write less, or kind = \"cut-link\" with mode = \"silent\"",
            show_duration(LONGEST)
        );
        cx.mistake(at.place, message);
    }
    let bandwidth = reader.bandwidth("bandwidth", cx);
    if !reader.has("latency") && !reader.has("bandwidth") {
        let message = "slow-link does not say how slow; write latency = \"50ms\" or bandwidth = \
                       \"1MiB/s\"";
        cx.mistake(reader.place_of("kind"), message);
        return None;
    }
    Some(LinkEffect::Slow {
        latency: latency.map_or(Duration::ZERO, |at| at.value),
        bandwidth: bandwidth.map(|at| at.value),
    })
}
