//! Reads `[topology]` and `[provisioner]`.

mod external;
mod links;
mod targets;

pub(super) use links::broker_links;
pub(super) use targets::{matches_pattern, targets};

use external::{has_plain_address, read_external};

use super::mistake::Location;
use super::model::{Fleet, Provisioner, Tier, Topology};
use super::read::{Context, Reader};
use super::renewal::{LONGEST, read_renewal, read_validity};
use super::words::{Issues, Manage, Role, Start, Tls};

/// Nodes that one broker takes alone, when the scenario does not say how many provisioning brokers
/// there are.
const ALONE: u64 = 5_000;
/// Nodes for each of more of them: below the 20,000 descriptors a process commonly has, with room
/// for those that dial again while their last connection is being closed.
const NODES_PER_PROVISIONING_BROKER: u64 = 17_000;

/// Brokers that take so many nodes which may all come at once.
fn provisioning_brokers(nodes: u64) -> u32 {
    let count = match nodes {
        0..=ALONE => 1,
        _ => nodes.div_ceil(NODES_PER_PROVISIONING_BROKER).max(2),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn read_topology(reader: &Reader<'_>, cx: &mut Context) -> Topology {
    let Some(reader) = reader.section("topology", cx) else {
        return Topology {
            manage: Manage::Local,
            tiers: Vec::new(),
        };
    };
    let manage = reader
        .choice("manage", cx)
        .map_or(Manage::Local, |at| at.value);
    let mut tiers: Vec<Tier> = Vec::new();
    let readers = reader.sections("broker", cx);
    let mut complete = true;
    for broker in &readers {
        let Some(tier) = read_tier(broker, manage, cx) else {
            complete = false;
            continue;
        };
        if let Some(first) = tiers.iter().find(|other| other.name == tier.name) {
            let message = format!(
                "broker `{}` is already there (line {})",
                tier.name, first.location.line
            );
            cx.mistake(broker.place_of("name"), message);
        }
        tiers.push(tier);
    }
    if complete {
        check_leaves(&readers, &tiers, cx);
        if manage == Manage::Local {
            links::check(&readers, &tiers, cx);
        }
    }
    Topology { manage, tiers }
}

fn read_tier(reader: &Reader<'_>, manage: Manage, cx: &mut Context) -> Option<Tier> {
    let name = reader.name("name", cx);
    let role = reader
        .choice("role", cx)
        .map_or(Role::Production, |at| at.value);
    let default_tls = match (manage, role) {
        (Manage::External, _) if has_plain_address(reader) => Tls::None,
        (Manage::External, Role::Production) if reader.has("issuer") => Tls::Mutual,
        (Manage::External, _) | (_, Role::Provisioning) => Tls::Server,
        (_, Role::Production) => Tls::Mutual,
    };
    let tls = reader.choice("tls", cx).map_or(default_tls, |at| at.value);
    if manage == Manage::External && tls == Tls::Mutual && !reader.has("issuer") {
        cx.mistake(
            reader.place_of("tls"),
            "somebody else's brokers do not trust the certificates that are made for nodes; write \
             issuer and issuer_key, whose certificates they trust, or tls = \"server\", and let their \
             listener not verify",
        );
    } else if role == Role::Provisioning && tls == Tls::Mutual && reader.has("tls") {
        cx.mistake(
            reader.place_of("tls"),
            "a provisioning tier cannot ask for certificates, its nodes have none yet; \
             write tls = \"server\"",
        );
    }
    // How many a provisioning tier has by itself depends on the fleets, which are read later.
    let by_fleets = role == Role::Provisioning && manage == Manage::Local;
    let default_count = if by_fleets { 0 } else { 1 };
    let count = reader.count("count", cx);
    let count = count.map_or(default_count, |at| at.value);
    let cluster = reader.name("cluster", cx).map(|at| at.value);
    let leaf_of = reader.name("leaf_of", cx).map(|at| at.value);
    let gateway = reader.name("gateway", cx).map(|at| at.value);
    let max_conns = reader.count("max_conns", cx).map(|at| at.value);
    let external = read_external(reader, manage, cx);
    let name = name?;
    let addresses = external
        .as_ref()
        .map_or(0, |external| external.servers.len() as u64);
    if addresses > 0 && reader.has("count") && addresses != count {
        let message = format!("servers has {addresses} addresses; leave count out");
        cx.mistake(reader.place_of("count"), message);
    }
    let count = if addresses > 0 { addresses } else { count };
    Some(Tier {
        name: name.value,
        role,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        cluster,
        leaf_of,
        gateway,
        max_conns,
        tls,
        external,
        location: cx.locate(reader.place()),
    })
}

/// Leaf tiers must hang on a tier that is there, is no leaf itself and carries the same network.
fn check_leaves(readers: &[Reader<'_>], tiers: &[Tier], cx: &mut Context) {
    for (tier, reader) in tiers.iter().zip(readers) {
        let Some(hub) = &tier.leaf_of else { continue };
        let place = reader
            .item("leaf_of")
            .map_or(reader.place(), |item| item.place);
        match tiers.iter().find(|other| &other.name == hub) {
            Some(other) if other.name == tier.name => {
                cx.mistake(place, format!("broker `{hub}` cannot be a leaf of itself"));
            }
            Some(other) if other.leaf_of.is_some() => cx.mistake(
                place,
                format!("broker `{hub}` is a leaf itself; leaves hang on a tier that is none"),
            ),
            Some(other) if other.role != tier.role => cx.mistake(
                place,
                format!(
                    "broker `{hub}` carries the {} network, `{}` the {} one",
                    other.role, tier.name, tier.role
                ),
            ),
            Some(_) => {}
            None => {
                let names = tiers.iter().map(|tier| tier.name.as_str());
                let near = super::mistake::suggestion(hub, "brokers", names.collect::<Vec<_>>());
                cx.mistake(place, format!("broker `{hub}` is not defined{near}"));
            }
        }
    }
}

/// Reads `[provisioner]`; left out, there is one where nodes are enrolled and none elsewhere.
pub(super) fn read_provisioner(reader: &Reader<'_>, enrols: bool, cx: &mut Context) -> Provisioner {
    let location = cx.locate(reader.place_of("provisioner"));
    let Some(section) = reader.section("provisioner", cx) else {
        return Provisioner {
            manage: if enrols { Manage::Local } else { Manage::None },
            issues: Issues::Certificates,
            validity: LONGEST,
            renewal: None,
            count: 1,
            helpers: 0,
            helper: Vec::new(),
            location,
        };
    };
    let manage = section
        .choice("manage", cx)
        .map_or(Manage::Local, |at| at.value);
    let count = section.count("count", cx).map_or(1, |at| at.value);
    if manage == Manage::None && enrols {
        cx.mistake(
            section.place_of("manage"),
            "manage = \"none\", and a phase has do = \"provision\"; write manage = \"local\"",
        );
    }
    let issues = read_issues(&section, manage, cx);
    let (helpers, helper) = read_helpers(&section, manage, cx);
    Provisioner {
        manage,
        issues,
        validity: read_validity(&section, !helper.is_empty(), cx),
        renewal: read_renewal(&section, manage, cx),
        count: u32::try_from(count).unwrap_or(u32::MAX),
        helpers,
        helper,
        location,
    }
}

fn read_issues(section: &Reader<'_>, manage: Manage, cx: &mut Context) -> Issues {
    let issues = section.choice("issues", cx);
    let issues = issues.map_or(Issues::Certificates, |at| at.value);
    if issues == Issues::Certificates {
        return issues;
    }
    if manage == Manage::None {
        cx.mistake(
            section.place_of("issues"),
            "issues = \"tokens\", and with manage = \"none\" nobody issues them; write manage = \"local\"",
        );
    }
    for key in ["helper", "helpers"]
        .into_iter()
        .filter(|key| section.has(key))
    {
        let message = format!(
            "{key} is about signing certificates, and with issues = \"tokens\" the provisioner signs \
             itself; leave it out"
        );
        cx.mistake(section.place_of(key), message);
    }
    issues
}

/// How many helpers sign, and their command: empty for the provisioner's own.
fn read_helpers(section: &Reader<'_>, manage: Manage, cx: &mut Context) -> (u32, Vec<String>) {
    let command = section.texts("helper", cx).unwrap_or_default();
    let command: Vec<_> = command.into_iter().map(|at| at.value).collect();
    let written = section.has("helper");
    if written && command.is_empty() {
        cx.mistake(
            section.place_of("helper"),
            "helper = [] is no command; write helper = [\"./signer\"]",
        );
    }
    let count = match section.count("helpers", cx) {
        Some(at) => at.value,
        None if written => 2,
        None => 0,
    };
    if count == 0 && written {
        cx.mistake(
            section.place_of("helpers"),
            "helpers = 0, so nobody runs the helper; write helpers = 2",
        );
    }
    if count > 0 && manage != Manage::Local {
        let key = if written { "helper" } else { "helpers" };
        cx.mistake(
            section.place_of(key),
            "helpers are for provisioners that loadgen starts; write manage = \"local\"",
        );
    }
    (u32::try_from(count).unwrap_or(u32::MAX), command)
}

/// Nodes without credentials need a network that takes them. Where we start the brokers and the
/// scenario names no such tier, it is planned like any other.
pub(super) fn add_provisioning_tier(
    topology: &mut Topology,
    fleets: &[Fleet],
    provisioner: Manage,
    cx: &mut Context,
) {
    let unprovisioned = |fleet: &&Fleet| fleet.start == Start::Unprovisioned;
    let nodes: u64 = fleets
        .iter()
        .filter(unprovisioned)
        .map(|fleet| fleet.nodes)
        .sum();
    let open = topology.tiers.iter().filter(|tier| tier.count == 0);
    let open = (open.count() as u64).max(1);
    for tier in topology.tiers.iter_mut().filter(|tier| tier.count == 0) {
        tier.count = provisioning_brokers(nodes.div_ceil(open));
    }
    let has = |role| topology.tiers.iter().any(|tier| tier.role == role);
    if nodes == 0 || topology.tiers.is_empty() || has(Role::Provisioning) {
        return;
    }
    let location = fleets
        .iter()
        .find(unprovisioned)
        .map(|fleet| fleet.location.clone());
    let Some(location) = location else { return };
    if topology.manage != Manage::Local {
        cx.findings.mistake_at(
            location,
            "these nodes begin without credentials, and no broker takes them; \
             write a [[topology.broker]] with role = \"provisioning\"",
        );
        return;
    }
    if provisioner == Manage::None {
        cx.findings.mistake_at(
            location,
            "these nodes begin without credentials, and nobody enrols them; \
             write start = \"production\", or [provisioner] manage = \"local\"",
        );
        return;
    }
    topology.tiers.push(Tier {
        name: unused_name(topology),
        role: Role::Provisioning,
        count: provisioning_brokers(nodes),
        cluster: None,
        leaf_of: None,
        gateway: None,
        max_conns: None,
        tls: Tls::Server,
        external: None,
        location,
    });
}

fn unused_name(topology: &Topology) -> String {
    let taken = |name: &str| topology.tiers.iter().any(|tier| tier.name == name);
    let name = "provisioning";
    if taken(name) {
        format!("{name}-network")
    } else {
        name.to_owned()
    }
}

/// The production tier a fleet connects to, by name or because there is only one.
pub(super) fn attach(
    wanted: Option<(&str, Location)>,
    topology: &Topology,
    fleet: &Location,
    cx: &mut Context,
) -> Option<String> {
    let production: Vec<&str> = topology
        .tiers
        .iter()
        .filter(|tier| tier.role == Role::Production)
        .map(|tier| tier.name.as_str())
        .collect();
    match (wanted, production.as_slice()) {
        (Some((name, _)), names) if names.contains(&name) => Some(name.to_owned()),
        (Some((name, at)), names) => {
            let message = match topology.tiers.iter().find(|tier| tier.name == name) {
                Some(_) => format!(
                    "`{name}` is a provisioning tier; attach names the one nodes live on{}",
                    names
                        .first()
                        .map(|name| format!(": `{name}`"))
                        .unwrap_or_default()
                ),
                None => {
                    let near = super::mistake::suggestion(name, "production tiers", names.to_vec());
                    format!("broker `{name}` is not defined{near}")
                }
            };
            cx.findings.mistake_at(at, message);
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        (None, []) => None,
        (None, several) => {
            let message = format!(
                "[[fleet]] does not say which brokers it connects to; write attach = \"{}\" (or {})",
                several[0],
                several[1..].join(", ")
            );
            cx.findings.mistake_at(fleet.clone(), message);
            None
        }
    }
}
