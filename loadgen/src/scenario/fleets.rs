//! Reads `[[fleet]]`: who takes part.

use std::collections::BTreeMap;
use std::time::Duration;

use super::behaviour::Behaviour;
use super::model::{Fact, Fleet, Reconnect, Topology};
use super::read::{Context, Reader};
use super::share::{Share, ShareError, split};
use super::spread::read_spread;
use super::topology::attach;
use super::tree::{Item, Table, Value};
use super::words::{KeyKind, ReconnectPolicy, Start};

pub(super) fn read_fleets(
    reader: &Reader<'_>,
    topology: &Topology,
    enrols: bool,
    cx: &mut Context,
) -> Vec<Fleet> {
    let readers = reader.sections("fleet", cx);
    let shares: Vec<Option<Share>> = readers.iter().map(|fleet| read_share(fleet, cx)).collect();
    let nodes = divide(&readers, &shares, cx);
    let mut fleets: Vec<Fleet> = Vec::with_capacity(readers.len());
    for (reader, nodes) in readers.iter().zip(nodes) {
        let Some(fleet) = read_fleet(reader, nodes, topology, enrols, cx) else {
            continue;
        };
        if let Some(first) = fleets.iter().find(|other| other.name == fleet.name) {
            let message = format!(
                "fleet `{}` is already there (line {})",
                fleet.name, first.location.line
            );
            cx.mistake(reader.place_of("name"), message);
        }
        fleets.push(fleet);
    }
    fleets
}

fn read_fleet(
    reader: &Reader<'_>,
    nodes: u64,
    topology: &Topology,
    enrols: bool,
    cx: &mut Context,
) -> Option<Fleet> {
    let location = cx.locate(reader.place());
    let name = reader.name("name", cx);
    let wanted = reader.name("attach", cx);
    let skip = reader.has("attach") && wanted.is_none();
    let wanted = wanted.map(|at| (at.value, cx.locate(at.place)));
    let attach = (!skip).then(|| {
        let wanted = wanted
            .as_ref()
            .map(|(name, at)| (name.as_str(), at.clone()));
        attach(wanted, topology, &location, cx)
    });
    let behaviour = reader
        .choice("behaviour", cx)
        .map_or(Behaviour::Honest, |at| at.value);
    let (by_behaviour, reason) = behaviour.outcome();
    let expect = reader
        .choice("expect", cx)
        .map_or(by_behaviour, |at| at.value);
    // The reason that is right for a behaviour is none for another outcome of it.
    let reason = reason.filter(|_| expect == by_behaviour).map(str::to_owned);
    let by_phases = if enrols {
        Start::Unprovisioned
    } else {
        Start::Production
    };
    let start = reader.choice("start", cx).map_or(by_phases, |at| at.value);
    if start == Start::Production && behaviour != Behaviour::Honest {
        let message = format!(
            "behaviour = \"{behaviour}\" is about enrolment, and these nodes begin enrolled; \
             write start = \"unprovisioned\""
        );
        cx.mistake(reader.place_of("behaviour"), message);
    }
    let attach = attach.flatten();
    let facts = read_facts(reader, cx);
    let fleet = Fleet {
        name: String::new(),
        nodes,
        spread: read_spread(reader, attach.as_deref(), &facts, topology, cx),
        attach: attach.unwrap_or_default(),
        start,
        key: reader
            .choice("key", cx)
            .map_or(KeyKind::P256, |at| at.value),
        collectives: read_collectives(reader, cx),
        agents: reader
            .count("agents", cx)
            .map_or(5, |at| u32::try_from(at.value).unwrap_or(u32::MAX)),
        facts,
        reconnect: read_reconnect(reader, cx),
        behaviour,
        expect,
        code: reader.text("code", cx).map(|at| at.value).or(reason),
        location,
    };
    Some(Fleet {
        name: name?.value,
        ..fleet
    })
}

/// Exactly one of `nodes` and `share`.
fn read_share(reader: &Reader<'_>, cx: &mut Context) -> Option<Share> {
    match (reader.has("nodes"), reader.has("share")) {
        (true, true) => {
            cx.mistake(
                reader.place_of("share"),
                "a fleet has nodes or share, not both; leave one out",
            );
            None
        }
        (false, false) if reader.meant("nodes") || reader.meant("share") => None,
        (false, false) => {
            cx.mistake(
                reader.place(),
                "[[fleet]] does not say how many nodes; write nodes = 1000, share = 60 (percent of \
                 params.nodes) or share = \"rest\"",
            );
            None
        }
        (true, false) => reader.count("nodes", cx).map(|at| Share::Nodes(at.value)),
        (false, true) => {
            let item = reader.item("share")?;
            let percent = match &item.value {
                Value::Integer(n) => *n as f64,
                Value::Float(n) => *n,
                Value::Text(word) if word == "rest" => return Some(Share::Rest),
                _ => return reader.refuse_type("share", cx),
            };
            // 0 is a fleet that is left out, as a parameter may want it.
            if (0.0..=100.0).contains(&percent) {
                return Some(Share::Percent(percent));
            }
            let message = format!("share = {percent} is no percentage; write 0 to 100");
            cx.mistake(item.place, message);
            None
        }
    }
}

/// Nodes for each fleet; 0 where a mistake was found.
fn divide(readers: &[Reader<'_>], shares: &[Option<Share>], cx: &mut Context) -> Vec<u64> {
    let Some(known) = shares.iter().copied().collect::<Option<Vec<Share>>>() else {
        return vec![0; shares.len()];
    };
    let sharing = readers
        .iter()
        .zip(&known)
        .find(|(_, share)| !matches!(share, Share::Nodes(_)));
    let total = match (sharing, cx.params.get("nodes")) {
        (None, _) => 0,
        (
            Some(_),
            Some(Item {
                value: Value::Integer(total @ 1..),
                ..
            }),
        ) => *total as u64,
        (Some((reader, _)), found) => {
            let message = match found {
                None => {
                    "share is a part of params.nodes, which is not there; \
                         write nodes = 1000 under [params]"
                }
                Some(_) => "share is a part of params.nodes, which is no whole number above 0",
            };
            cx.mistake(reader.place_of("share"), message);
            return vec![0; shares.len()];
        }
    };
    split(total, &known).unwrap_or_else(|error| {
        let message = match error {
            ShareError::TooMuch(sum) => format!("the shares add up to {sum} %; they are percent of params.nodes"),
            ShareError::TooLittle(sum) => format!(
                "the shares add up to {sum} %; write share = \"rest\" for the fleet that takes what is left"
            ),
            ShareError::TwoRests => "two fleets take the rest; only one can".to_owned(),
            ShareError::NothingLeft => {
                format!("the other fleets take all of params.nodes = {total}; nothing is left for the rest")
            }
        };
        let last = readers.iter().rev().find(|reader| reader.has("share"));
        if let Some(reader) = last {
            cx.mistake(reader.place_of("share"), message);
        }
        vec![0; shares.len()]
    })
}

fn read_collectives(reader: &Reader<'_>, cx: &mut Context) -> Vec<String> {
    let Some(names) = reader.texts("collectives", cx) else {
        return vec!["mcollective".to_owned()];
    };
    if names.is_empty() {
        cx.mistake(
            reader.place_of("collectives"),
            "collectives is empty; a node is in at least one: [\"mcollective\"]",
        );
    }
    let mut seen: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        let valid = !name.value.is_empty()
            && name
                .value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !valid {
            let message = format!(
                "collective \"{}\" is no name; write letters, digits, _ and -",
                name.value
            );
            cx.mistake(name.place, message);
        } else if seen.contains(&name.value) {
            cx.mistake(
                name.place,
                format!("collective \"{}\" is there twice", name.value),
            );
        }
        seen.push(name.value);
    }
    seen
}

fn read_facts(reader: &Reader<'_>, cx: &mut Context) -> BTreeMap<String, Fact> {
    let Some(table) = reader.table("facts", cx) else {
        return BTreeMap::new();
    };
    let Table { entries, .. } = table;
    let read = entries.iter().filter_map(|entry| {
        let fact = read_fact(&entry.name, &entry.item, cx)?;
        Some((entry.name.clone(), fact))
    });
    read.collect()
}

fn read_fact(name: &str, item: &Item, cx: &mut Context) -> Option<Fact> {
    match &item.value {
        Value::Text(text) => match text.strip_prefix("seq:") {
            None => Some(Fact::Value(text.clone().into())),
            Some(range) => {
                let bounds = range.split_once("..").and_then(|(from, to)| {
                    Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
                });
                match bounds {
                    Some((from, to)) if from <= to => Some(Fact::Sequence { from, to }),
                    _ => {
                        let message = format!(
                            "{name} = \"{text}\" is no sequence; write \"seq:1..40\", the smaller first"
                        );
                        cx.mistake(item.place, message);
                        None
                    }
                }
            }
        },
        Value::List(items) if items.is_empty() => {
            cx.mistake(
                item.place,
                format!("fact {name} has no values to choose from"),
            );
            None
        }
        Value::List(items) => Some(Fact::OneOf(
            items.iter().map(|item| item.value.to_json()).collect(),
        )),
        value => Some(Fact::Value(value.to_json())),
    }
}

fn read_reconnect(reader: &Reader<'_>, cx: &mut Context) -> Reconnect {
    let section = reader.section("reconnect", cx);
    let policy = section
        .as_ref()
        .and_then(|reader| reader.choice("policy", cx))
        .map_or(ReconnectPolicy::Jitter, |at| at.value);
    let mut bound = |name: &str, default: u64| {
        let given = section
            .as_ref()
            .and_then(|reader| reader.duration(name, cx));
        if let (Some(at), true) = (&given, policy != ReconnectPolicy::Jitter) {
            let message =
                format!("{name} is for policy = \"jitter\"; \"{policy}\" has times of its own");
            cx.mistake(at.place, message);
        }
        given.map_or(Duration::from_secs(default), |at| at.value)
    };
    let (min, max, spread) = (bound("min", 2), bound("max", 20), bound("spread", 5));
    if min > max {
        let place = section
            .as_ref()
            .map_or(reader.place(), |reader| reader.place_of("min"));
        cx.mistake(place, "min is longer than max");
    }
    Reconnect {
        policy,
        min,
        max,
        spread,
    }
}
