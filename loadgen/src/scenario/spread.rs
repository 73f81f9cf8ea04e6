//! Reads how a fleet is spread over brokers.

use std::collections::BTreeMap;

use super::mistake::suggestion;
use super::model::{Fact, Spread, Tier, Topology};
use super::read::{At, Context, Reader};
use super::tree::{Table, Value};
use super::words::Role;

/// Parts that a fleet can be divided into by weights.
const MOST_PARTS: u64 = 10_000;

/// Reads `spread` and what belongs to it. `attach` is the tier the fleet connects to, where that
/// is known already.
pub(super) fn read_spread(
    reader: &Reader<'_>,
    attach: Option<&str>,
    facts: &BTreeMap<String, Fact>,
    topology: &Topology,
    cx: &mut Context,
) -> Spread {
    let given = reader.text("spread", cx);
    let word = given.as_ref().map_or("round-robin", |at| at.value.as_str());
    let by_fact = word.strip_prefix("fact:");
    for (key, fits, of) in [
        ("weights", word == "share", "share"),
        ("brokers", by_fact.is_some(), "fact:NAME"),
    ] {
        if reader.has(key) && !fits {
            let message = format!("{key} is for spread = \"{of}\"; leave it out, or write that");
            cx.mistake(reader.place_of(key), message);
        }
    }
    match (word, by_fact, &given) {
        ("round-robin", ..) => Spread::RoundRobin,
        ("share", ..) => read_weights(reader, attach, topology, cx),
        (_, Some(fact), Some(at)) => {
            let Some(fact_values) = facts.get(fact) else {
                let names: Vec<&str> = facts.keys().map(String::as_str).collect();
                let near = suggestion(fact, "facts", names);
                cx.mistake(at.place, format!("this fleet has no fact `{fact}`{near}"));
                return Spread::RoundRobin;
            };
            if fact_values.period() > MOST_PARTS {
                let message = format!(
                    "fact `{fact}` has {} values; {MOST_PARTS} at most can be told apart",
                    fact_values.period()
                );
                cx.mistake(at.place, message);
                return Spread::RoundRobin;
            }
            let sites = read_sites(reader, at, fact_values, topology, cx);
            Spread::Fact {
                fact: fact.to_owned(),
                sites,
            }
        }
        (_, _, at) => {
            let place = at.as_ref().map_or(reader.place(), |at| at.place);
            let message = format!(
                "spread = \"{word}\" is no rule; write \"round-robin\", \"share\" or \"fact:NAME\""
            );
            cx.mistake(place, message);
            Spread::RoundRobin
        }
    }
}

/// How many of `weights` each broker of the tier gets.
fn read_weights(
    reader: &Reader<'_>,
    attach: Option<&str>,
    topology: &Topology,
    cx: &mut Context,
) -> Spread {
    let Some(Table { entries, .. }) = reader.table("weights", cx) else {
        if !reader.has("weights") {
            cx.mistake(
                reader.place_of("spread"),
                "spread = \"share\" needs the shares; write weights = { hub-1 = 2, hub-2 = 1 }",
            );
        }
        return Spread::RoundRobin;
    };
    let tier = topology
        .tiers
        .iter()
        .find(|tier| Some(tier.name.as_str()) == attach);
    let Some(tier) = tier else {
        return Spread::RoundRobin;
    };
    let names: Vec<String> = tier.brokers().collect();
    let mut weights = vec![0u64; names.len()];
    for entry in entries {
        let place = entry.item.place;
        let Some(at) = names.iter().position(|name| *name == entry.name) else {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = suggestion(&entry.name, "brokers", names);
            let message = format!("`{}` is no broker of {}{near}", entry.name, tier.name);
            cx.mistake(place, message);
            continue;
        };
        match entry.item.value {
            Value::Integer(weight @ 1..=1_000) => weights[at] = weight.unsigned_abs(),
            _ => {
                let message = format!(
                    "the weight of {} is no whole number from 1 to 1000; write {0} = 1",
                    entry.name
                );
                cx.mistake(place, message);
            }
        }
    }
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let weights: Vec<u64> = weights.into_iter().map(|weight| weight / divisor).collect();
    let parts: u64 = weights.iter().sum();
    if parts > MOST_PARTS {
        let message =
            format!("the weights divide the fleet into {parts} parts; {MOST_PARTS} at most");
        cx.mistake(reader.place_of("weights"), message);
    }
    Spread::Share(names.into_iter().zip(weights).collect())
}

fn gcd(one: u64, other: u64) -> u64 {
    match other {
        0 => one,
        _ => gcd(other, one % other),
    }
}

/// Where the nodes of each value of a fact go: to a broker, or in turn to those of a tier.
fn read_sites(
    reader: &Reader<'_>,
    spread: &At<String>,
    values: &Fact,
    topology: &Topology,
    cx: &mut Context,
) -> Vec<(String, String)> {
    let Some(Table { entries, .. }) = reader.table("brokers", cx) else {
        return Vec::new();
    };
    let production: Vec<&Tier> = topology
        .tiers
        .iter()
        .filter(|tier| tier.role == Role::Production)
        .collect();
    let tiers = production.iter().map(|tier| tier.name.clone());
    let brokers = production.iter().flat_map(|tier| tier.brokers());
    let targets: Vec<String> = tiers.chain(brokers).collect();
    let known = values.texts();
    let mut sites = Vec::new();
    for entry in entries {
        let place = entry.item.place;
        if !known.contains(&entry.name) {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let near = suggestion(&entry.name, "values", names);
            cx.mistake(
                place,
                format!("`{}` is no value of the fact{near}", entry.name),
            );
        }
        match &entry.item.value {
            Value::Text(target) if targets.contains(target) => {
                sites.push((entry.name.clone(), target.clone()));
            }
            other => {
                let given = other.shown();
                let names: Vec<&str> = targets.iter().map(String::as_str).collect();
                let near = suggestion(given.trim_matches('"'), "brokers and tiers", names);
                cx.mistake(
                    place,
                    format!("{given} is no production broker or tier{near}"),
                );
            }
        }
    }
    let missing = known
        .iter()
        .find(|value| !entries.iter().any(|entry| entry.name == **value));
    if let Some(missing) = missing {
        let message =
            format!("brokers does not say where \"{missing}\" goes; write {missing} = \"hub-1\"");
        cx.mistake(spread.place, message);
    }
    sites
}
