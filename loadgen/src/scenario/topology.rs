//! Reads `[topology]` and `[provisioner]`.

use super::mistake::{Location, nearest};
use super::model::{External, Fleet, Provisioner, Tier, Topology};
use super::read::{Context, Reader};
use super::words::{Manage, Role, Start, Tls};

/// Nodes one broker of the provisioning tier takes when the scenario does not say how many there
/// are: below the 20,000 descriptors a process commonly has.
const NODES_PER_PROVISIONING_BROKER: u64 = 18_000;

/// Keys that only brokers of somebody else have.
const EXTERNAL_KEYS: [&str; 8] = [
    "servers",
    "context",
    "credentials",
    "ca",
    "certificate",
    "key",
    "user",
    "password_file",
];

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
    }
    Topology { manage, tiers }
}

fn read_tier(reader: &Reader<'_>, manage: Manage, cx: &mut Context) -> Option<Tier> {
    let name = reader.name("name", cx);
    let role = reader
        .choice("role", cx)
        .map_or(Role::Production, |at| at.value);
    let default_tls = match role {
        Role::Production => Tls::Mutual,
        Role::Provisioning => Tls::Server,
    };
    let tls = reader.choice("tls", cx).map_or(default_tls, |at| at.value);
    if role == Role::Provisioning && tls == Tls::Mutual && reader.has("tls") {
        cx.mistake(
            reader.place_of("tls"),
            "a provisioning tier cannot ask for certificates, its nodes have none yet; \
             write tls = \"server\"",
        );
    }
    let count = reader.count("count", cx).map_or(1, |at| at.value);
    let cluster = reader.name("cluster", cx).map(|at| at.value);
    let leaf_of = reader.name("leaf_of", cx).map(|at| at.value);
    let gateway = reader.name("gateway", cx).map(|at| at.value);
    let max_conns = reader.count("max_conns", cx).map(|at| at.value);
    let external = read_external(reader, manage, cx);
    let name = name?;
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

fn read_external(reader: &Reader<'_>, manage: Manage, cx: &mut Context) -> Option<External> {
    if manage != Manage::External {
        for entry in reader.present() {
            if EXTERNAL_KEYS.contains(&entry.name.as_str()) {
                let message = format!(
                    "`{}` is for brokers of somebody else; with manage = \"local\" we make it",
                    entry.name
                );
                cx.mistake(entry.place, message);
            }
        }
        return None;
    }
    let mut text = |name: &str| reader.text(name, cx).map(|at| at.value);
    let (context, credentials, ca) = (text("context"), text("credentials"), text("ca"));
    let (certificate, key) = (text("certificate"), text("key"));
    let (user, password_file) = (text("user"), text("password_file"));
    let mut servers = Vec::new();
    for server in reader.texts("servers", cx).unwrap_or_default() {
        if server.value.starts_with("tls://") || server.value.starts_with("nats://") {
            servers.push(server.value);
        } else {
            let message = format!(
                "\"{}\" is no address; write \"tls://{0}\" or \"nats://{0}\"",
                server.value
            );
            cx.mistake(server.place, message);
        }
    }
    if !reader.has("servers") && context.is_none() {
        cx.mistake(
            reader.place(),
            "a broker of somebody else needs an address; write servers = [\"tls://host:4222\"] \
             or context = \"file.json\"",
        );
    }
    if certificate.is_some() != key.is_some() {
        cx.mistake(
            reader.place(),
            "certificate and key go together; write both or neither",
        );
    }
    Some(External {
        servers,
        context,
        credentials,
        ca,
        certificate,
        key,
        user,
        password_file,
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
            count: 1,
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
    Provisioner {
        manage,
        count: u32::try_from(count).unwrap_or(u32::MAX),
        location,
    }
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
        count: u32::try_from(nodes.div_ceil(NODES_PER_PROVISIONING_BROKER)).unwrap_or(u32::MAX),
        cluster: None,
        leaf_of: None,
        gateway: None,
        max_conns: None,
        tls: Tls::Server,
        external: None,
        location,
    });
    if let Some(tier) = topology.tiers.last_mut().filter(|tier| tier.count > 1) {
        tier.cluster = Some(tier.name.clone());
    }
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

/// Names of the brokers and provisioners a fault's target stands for.
pub(super) fn targets(
    target: &str,
    topology: &Topology,
    provisioner: &Provisioner,
) -> Result<(super::model::FaultOf, Vec<String>), String> {
    use super::model::FaultOf::{Brokers, Provisioners};

    let brokers: Vec<String> = topology.tiers.iter().flat_map(Tier::brokers).collect();
    let provisioners: Vec<String> = match provisioner.manage {
        Manage::None => Vec::new(),
        Manage::Local | Manage::External => (1..=provisioner.count)
            .map(|number| format!("provisioner-{number}"))
            .collect(),
    };
    // The name of a tier of one means that one; of several it would be a guess.
    let sole = |names: &[String]| {
        let has = |number| names.contains(&format!("{target}-{number}"));
        (has(1) && !has(2)).then(|| format!("{target}-1"))
    };
    let pick = |names: &[String]| -> Vec<String> {
        let matching = names.iter().filter(|name| matches_pattern(target, name));
        let picked: Vec<String> = matching.cloned().collect();
        if picked.is_empty() {
            sole(names).into_iter().collect()
        } else {
            picked
        }
    };
    match (pick(&brokers), pick(&provisioners)) {
        (brokers, provisioners) if !brokers.is_empty() && !provisioners.is_empty() => Err(format!(
            "\"{target}\" means brokers and provisioners; write one operation for each"
        )),
        (picked, _) if !picked.is_empty() => Ok((Brokers, picked)),
        (_, picked) if !picked.is_empty() => Ok((Provisioners, picked)),
        _ => {
            let all: Vec<&str> = brokers
                .iter()
                .chain(&provisioners)
                .map(String::as_str)
                .collect();
            if all.contains(&format!("{target}-2").as_str()) {
                return Err(format!(
                    "\"{target}\" has several; write \"{target}-1\" or \"{target}-*\""
                ));
            }
            let near = match nearest(target, all.iter().copied()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => super::mistake::suggestion(target, "targets", all),
            };
            Err(format!(
                "there is no broker or provisioner \"{target}\"{near}"
            ))
        }
    }
}

/// Whether a name matches a pattern in which `*` stands for any text.
pub(super) fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            let Some(rest) = name.strip_prefix(head) else {
                return false;
            };
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches_pattern(tail, &rest[at..]))
        }
    }
}
