//! The operations that say most: requests and faults.

use std::time::Duration;

use super::Scene;
use super::link::{read_link_fault, refuse_foreign_keys as refuse_keys_of_links};
use crate::assert::Domain;
use crate::scenario::keys::OP_KEYS;
use crate::scenario::mistake::suggestion;
use crate::scenario::model::{Call, FaultOf, FaultOp, Moment, ProgressStep, RequestOp, Target};
use crate::scenario::read::{Context, Reader};
use crate::scenario::topology::targets;
use crate::scenario::tree::Value;
use crate::scenario::words::{Do, Expect, FaultKind, Manage};
use crate::units::{grouped, parse_duration};

pub(super) fn read_request(
    reader: &Reader<'_>,
    scene: &Scene<'_>,
    cx: &mut Context,
) -> Option<RequestOp> {
    let to = match reader.text("to", cx) {
        None => Some(Target::All),
        Some(at) => match read_target(&at.value, scene) {
            Ok(target) => Some(target),
            Err(why) => {
                cx.mistake(at.place, format!("to = \"{}\" {why}", at.value));
                None
            }
        },
    };
    let agent = reader.text("agent", cx);
    let action = reader.text("action", cx);
    let data = reader
        .table("data", cx)
        .map(|table| Value::Table(table.clone()).to_json());
    let call = match (agent, action) {
        (Some(agent), Some(action)) => Some(Call {
            agent: agent.value,
            action: action.value,
            data: data.unwrap_or_else(|| serde_json::json!({})),
        }),
        (None, None) => {
            if data.is_some() {
                cx.mistake(
                    reader.place_of("data"),
                    "data is the input of an action; write agent and action too",
                );
            }
            None
        }
        (Some(agent), None) => {
            let message = format!(
                "agent \"{}\" is asked nothing; write action = \"…\"",
                agent.value
            );
            cx.mistake(agent.place, message);
            None
        }
        (None, Some(action)) => {
            let message = format!(
                "action \"{}\" is of no agent; write agent = \"…\"",
                action.value
            );
            cx.mistake(action.place, message);
            None
        }
    };
    let collect = reader.duration("collect", cx);
    if let Some(at) = collect.as_ref().filter(|at| at.value.is_zero()) {
        cx.mistake(
            at.place,
            "collect is 0: no reply could come; write a time, as \"5s\"",
        );
    }
    Some(RequestOp {
        to: to?,
        call,
        expect: reader
            .choice("expect", cx)
            .map_or(Expect::OneReplyPerNode, |at| at.value),
        collect: collect.map_or(Duration::from_secs(5), |at| at.value),
    })
}

fn read_target(text: &str, scene: &Scene<'_>) -> Result<Target, String> {
    if text == "all" {
        return Ok(Target::All);
    }
    if let Some(number) = text.strip_prefix("random:") {
        let nodes: u64 = scene.fleets.iter().map(|fleet| fleet.nodes).sum();
        return match number.trim().parse() {
            Ok(n) if n > nodes && nodes > 0 => Err(format!(
                "asks more nodes than there are ({})",
                grouped(nodes)
            )),
            Ok(n) if n > 0 => Ok(Target::Random(n)),
            _ => Err("is no number of nodes; write \"random:50\"".to_owned()),
        };
    }
    if let Some(name) = text.strip_prefix("fleet:") {
        let names = scene.fleets.iter().map(|fleet| fleet.name.as_str());
        return if names.clone().any(|known| known == name) {
            Ok(Target::Fleet(name.to_owned()))
        } else {
            let near = suggestion(name, "fleets", names.collect::<Vec<_>>());
            Err(format!("names a fleet that is not defined{near}"))
        };
    }
    Err("is nobody; write \"all\", \"random:50\" or \"fleet:NAME\"".to_owned())
}

pub(super) fn read_fault(
    reader: &Reader<'_>,
    scene: &Scene<'_>,
    cx: &mut Context,
) -> Option<FaultOp> {
    for (name, example) in [("kind", "\"kill\""), ("target", "\"hub-1\"")] {
        if !reader.has(name) {
            let message = format!("do = \"fault\" needs `{name}`; write {name} = {example}");
            cx.mistake(reader.place(), message);
        }
    }
    let kind = reader.choice::<FaultKind>("kind", cx);
    let target = reader.text("target", cx);
    let at = match reader.text("at", cx) {
        None => Some(Moment::After(Duration::ZERO)),
        Some(at) => match read_moment(&at.value) {
            Ok(moment) => Some(moment),
            Err(why) => {
                cx.mistake(at.place, format!("at = \"{}\" {why}", at.value));
                None
            }
        },
    };
    let down = reader.duration("down", cx).map(|at| at.value);
    let (kind, target) = (kind?, target?);
    let (of, names) = match targets(&target.value, scene.topology, scene.provisioner) {
        Ok(found) => found,
        Err(why) => {
            cx.mistake(target.place, why);
            return None;
        }
    };
    refuse_keys_of_links(reader, kind.value, cx);
    let of_links = matches!(kind.value, FaultKind::CutLink | FaultKind::SlowLink);
    let mut link = None;
    match (of, kind.value) {
        (FaultOf::Provisioners, FaultKind::LameDuck) => cx.mistake(
            kind.place,
            "lame-duck is for brokers; write kind = \"restart\" for a provisioner",
        ),
        (FaultOf::Provisioners, other) if of_links => {
            let message = format!(
                "{other} is for links between brokers; write kind = \"freeze\" for a provisioner \
                 that nobody reaches"
            );
            cx.mistake(kind.place, message);
        }
        // Brokers of somebody else are refused as a whole.
        (FaultOf::Brokers, kind) if of_links && scene.topology.manage == Manage::Local => {
            link = Some(read_link_fault(reader, kind, (&target, &names), scene, cx)?);
        }
        _ => {}
    }
    Some(FaultOp {
        kind: kind.value,
        target: target.value,
        targets: names,
        of,
        at: at?,
        down,
        link,
    })
}

/// `5s`, or `signed 30 %`.
fn read_moment(text: &str) -> Result<Moment, String> {
    if let Ok(after) = parse_duration(text) {
        return Ok(Moment::After(after));
    }
    let words = || ProgressStep::ALL.map(|(_, word, _)| word);
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let Some((step, _, _)) = ProgressStep::ALL
        .iter()
        .find(|(_, known, _)| *known == word)
    else {
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(
                "is no time; write \"5s\", or a progress such as \"signed 30 %\"".to_owned(),
            );
        }
        let near = suggestion(word, "steps", words());
        return Err(format!("is no time, and `{word}` is no step{near}"));
    };
    let percent = rest.trim().strip_suffix('%').map(str::trim);
    match percent.and_then(|percent| percent.parse().ok()) {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Moment::Progress {
            step: *step,
            percent,
        }),
        _ => Err(format!("does not say how far; write \"{word} 30 %\"")),
    }
}

/// Names that asserts use for something else.
pub(in crate::scenario) fn refuse_prefix(
    name: &str,
    place: crate::scenario::mistake::Place,
    cx: &mut Context,
) {
    if Domain::PREFIXED
        .iter()
        .any(|domain| domain.prefix() == Some(name))
    {
        let message = format!(
            "\"{name}\" is taken: asserts use {name}.… for something else; choose another name"
        );
        cx.mistake(place, message);
    }
}

/// Keys that belong to another `do`.
pub(super) fn refuse_foreign_keys(reader: &Reader<'_>, word: Do, cx: &mut Context) {
    let own = OP_KEYS.iter().find(|(owner, _)| *owner == word.word());
    for entry in reader.present() {
        let name = entry.name.as_str();
        let owners: Vec<&str> = OP_KEYS
            .iter()
            .filter(|(_, keys)| keys.contains(&name))
            .map(|(owner, _)| *owner)
            .collect();
        if !owners.is_empty() && !own.is_some_and(|(_, keys)| keys.contains(&name)) {
            let message = format!(
                "`{name}` means nothing for do = \"{word}\"; it belongs to {}",
                owners.join(", ")
            );
            cx.mistake(entry.place, message);
        }
    }
}
