//! `[placement]`: the targets nodes are sent to, and the rules that choose among them.

use std::collections::BTreeMap;

use super::mistake::Located;
use super::reader::Section;
use crate::placement::{Placement, Rule, Source, Target};

const KINDS: [&str; 6] = ["static", "fact", "claim", "hash", "weight", "capacity"];
const RULE: &str = "[{ by = \"hash\", targets = [\"west\", \"east\"] }]";

/// Reads the table; `collective` is the one enrolled nodes are looked for in.
pub(super) fn read(section: Section<'_, '_>, collective: &str) -> Placement {
    let tables = section.section("targets");
    let mut targets = BTreeMap::new();
    for (name, table) in tables.named() {
        let target = target(name, table, collective);
        targets.insert(target.name.clone(), target);
    }
    tables.finish();
    let mut placement = Placement {
        targets,
        ..Placement::default()
    };
    for rule in section.sections("rules", RULE) {
        placement.rules.extend(self::rule(rule, &placement));
    }
    if let Some(quarantine) = section.text("quarantine", "\"quarantine\"") {
        is_target(&section, &quarantine, &quarantine.value, &placement);
        placement.quarantine = Some(quarantine.value);
    }
    section.finish();
    placement
}

fn target(name: String, section: Section<'_, '_>, collective: &str) -> Target {
    let servers = servers(&section);
    let collectives = section.texts("collectives", "[\"mcollective\"]");
    if let Some(list) = &collectives
        && !list.value.iter().any(|name| name == collective)
    {
        let says = format!(
            "lacks {collective:?}, the collective of [network.production]: its nodes would never \
             be seen there"
        );
        section.report(list, says);
    }
    let settings = section.section("settings");
    let target = Target {
        name,
        servers,
        collectives: collectives.map(|list| list.value).unwrap_or_default(),
        tier: section.text("tier", "\"leaf\"").map(|tier| tier.value),
        settings: settings.entries("\"text\""),
        weight: u32::try_from(section.number("weight", 1, 1..1_000_001)).unwrap_or(1),
        capacity: section
            .has("capacity")
            .then(|| section.number("capacity", 1, 0..100_000_001) as u64),
    };
    settings.finish();
    section.finish();
    target
}

/// Addresses as a node's `plugin.choria.middleware_hosts` has them, with commas between.
fn servers(section: &Section<'_, '_>) -> Vec<String> {
    let example = "[\"broker.example.net:4222\"]";
    let Some(servers) = section.texts("servers", example) else {
        if !section.has("servers") {
            section.missing("servers", example);
        }
        return Vec::new();
    };
    let odd = |server: &&String| {
        server.is_empty() || server.contains(|c: char| c == ',' || !c.is_ascii_graphic())
    };
    if servers.value.is_empty() {
        section.report(&servers, format!("is empty; write servers = {example}"));
    } else if let Some(odd) = servers.value.iter().find(odd) {
        let says = format!("has {odd:?}, which is no address; write servers = {example}");
        section.report(&servers, says);
    }
    servers.value
}

fn rule(section: Section<'_, '_>, placement: &Placement) -> Option<Rule> {
    if !section.has("by") {
        section.missing("by", "\"hash\"");
    }
    let rule = match section.word("by", &KINDS, "hash").as_str() {
        "static" => {
            let target = section.needed("target", "\"west\"")?;
            is_target(&section, &target, &target.value, placement);
            Some(Rule::Static(target.value))
        }
        "fact" => by_value(&section, Source::Fact, "fact", placement),
        "claim" => by_value(&section, Source::Claim, "claim", placement),
        "weight" => list(&section, placement).map(|list| Rule::Weight(list.value)),
        "capacity" => list(&section, placement).map(|list| {
            for name in &list.value {
                let target = placement.targets.get(name);
                if target.is_some_and(|target| target.capacity.is_none()) {
                    let says = format!(
                        "names {name}, which has no capacity; write capacity = 10000 in \
                         [placement.targets.{name}]"
                    );
                    section.report(&list, says);
                }
            }
            Rule::Capacity(list.value)
        }),
        _ => list(&section, placement).map(|list| Rule::Hash(list.value)),
    };
    section.finish();
    rule
}

fn by_value(
    section: &Section<'_, '_>,
    of: Source,
    key: &str,
    placement: &Placement,
) -> Option<Rule> {
    let path = section.needed(key, "\"location.site\"");
    let table = section.section("targets");
    let mut targets = BTreeMap::new();
    for (value, target) in table.entries("\"west\"") {
        is_target(section, &target, &target.value, placement);
        targets.insert(value, target.value);
    }
    table.finish();
    if targets.is_empty() {
        section.missing("targets", "{ ams = \"west\", fra = \"east\" }");
    }
    let path = path?.value;
    Some(Rule::Value { of, path, targets })
}

/// The targets a rule chooses among.
fn list(section: &Section<'_, '_>, placement: &Placement) -> Option<Located<Vec<String>>> {
    let example = "[\"west\", \"east\"]";
    let Some(list) = section.texts("targets", example) else {
        if !section.has("targets") {
            section.missing("targets", example);
        }
        return None;
    };
    if list.value.is_empty() {
        section.report(&list, format!("is empty; write targets = {example}"));
    }
    for (index, name) in list.value.iter().enumerate() {
        is_target(section, &list, name, placement);
        if list.value[..index].contains(name) {
            section.report(&list, format!("names {name} twice"));
        }
    }
    Some(list)
}

/// Says so where a name is no target's.
fn is_target<T>(section: &Section<'_, '_>, at: &Located<T>, name: &str, placement: &Placement) {
    if !placement.targets.contains_key(name) {
        let hint = super::mistake::nearest(name, placement.targets.keys().map(String::as_str));
        section.report(
            at,
            format!("names {name:?}, and there is no [placement.targets.{name}]{hint}"),
        );
    }
}
