//! Reads `[[phase]]` and its operations: what happens, in order.

mod link;
mod op;

use op::{read_fault, read_request, refuse_foreign_keys, refuse_prefix};

use std::time::Duration;

use super::mistake::suggestion;
use super::model::{Action, FaultOp, Fleet, Moment, Op, Phase, Provisioner, Topology, Until};
use super::paces::{Paces, read_op_pace};
use super::read::{Context, Reader};
use super::topology::matches_pattern;
use super::tree::Value;
use super::words::{Do, Reached};
use crate::pace::Pace;
use crate::units::{Size, grouped};

/// Whether any phase enrols nodes, seen before anything else is read because defaults follow it.
pub(super) fn has_provision(reader: &Reader<'_>) -> bool {
    let tables = |value: &Value| match value {
        Value::List(items) => items.clone(),
        _ => Vec::new(),
    };
    let Some(phases) = reader.item("phase") else {
        return false;
    };
    tables(&phases.value)
        .iter()
        .any(|phase| match &phase.value {
            Value::Table(phase) => phase.get("op").is_some_and(|ops| {
                tables(&ops.item.value).iter().any(|op| match &op.value {
                    Value::Table(op) => op.get("do").is_some_and(
                        |word| matches!(&word.item.value, Value::Text(word) if word == "provision"),
                    ),
                    _ => false,
                })
            }),
            _ => false,
        })
}

/// What operations refer to.
struct Scene<'a> {
    paces: &'a Paces,
    fleets: &'a [Fleet],
    topology: &'a Topology,
    provisioner: &'a Provisioner,
}

/// What asserts can name in a phase, whether or not the rest of it could be read.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) phase: String,
    pub(super) keep: Vec<String>,
    /// Its fixed length, where it has one.
    pub(super) duration: Option<Duration>,
    /// Operations by name, with the word of their `do`.
    pub(super) ops: Vec<(String, &'static str)>,
    /// Whether every operation is among them.
    pub(super) complete: bool,
}

pub(super) fn read_phases(
    reader: &Reader<'_>,
    paces: &Paces,
    fleets: &[Fleet],
    topology: &Topology,
    provisioner: &Provisioner,
    cx: &mut Context,
) -> (Vec<Phase>, Vec<Names>) {
    let scene = Scene {
        paces,
        fleets,
        topology,
        provisioner,
    };
    let mut phases: Vec<Phase> = Vec::new();
    let mut names = Vec::new();
    for reader in reader.sections("phase", cx) {
        let mut known = Names {
            complete: true,
            ..Names::default()
        };
        let Some(phase) = read_phase(&reader, &phases, &scene, &mut known, cx) else {
            continue;
        };
        known.phase.clone_from(&phase.name);
        known.keep.clone_from(&phase.keep);
        known.duration = phase.duration;
        names.push(known);
        if let Some(first) = phases.iter().find(|other| other.name == phase.name) {
            let message = format!(
                "phase `{}` is already there (line {})",
                phase.name, first.location.line
            );
            cx.mistake(reader.place_of("name"), message);
        }
        phases.push(phase);
    }
    (phases, names)
}

fn read_phase(
    reader: &Reader<'_>,
    before: &[Phase],
    scene: &Scene<'_>,
    names: &mut Names,
    cx: &mut Context,
) -> Option<Phase> {
    let name = reader.name("name", cx);
    if let Some(name) = &name {
        refuse_prefix(&name.value, name.place, cx);
    }
    let until = reader
        .section("until", cx)
        .and_then(|reader| read_until(&reader, cx));
    let timeout = reader.duration("timeout", cx).map(|at| at.value);
    let duration = reader.duration("duration", cx).map(|at| at.value);
    let keep = read_keep(reader, before, cx);
    let readers = reader.sections("op", cx);
    let mut ops: Vec<Op> = Vec::with_capacity(readers.len());
    let mut all_read = true;
    for op in &readers {
        match read_op(op, scene, names, cx) {
            Some(read) => {
                if ops.iter().any(|other| other.name == read.name) {
                    let message = format!(
                        "operation `{}` is in this phase twice; give one a name = \"…\"",
                        read.name
                    );
                    cx.mistake(op.place_of("name"), message);
                }
                ops.push(read);
            }
            None => all_read = false,
        }
    }
    let phase = Phase {
        name: String::new(),
        about: reader
            .text("about", cx)
            .map(|at| at.value)
            .unwrap_or_default(),
        until,
        timeout,
        duration,
        warmup: reader.count("warmup", cx).map_or(0, |at| at.value),
        keep,
        ops,
        location: cx.locate(reader.place()),
    };
    check_end(reader, &phase, all_read, cx);
    check_progress(&phase, before, cx);
    Some(Phase {
        name: name?.value,
        ..phase
    })
}

fn read_until(reader: &Reader<'_>, cx: &mut Context) -> Option<Until> {
    Some(Until {
        ratio: reader.number("ratio", cx).map_or(1.0, |at| at.value),
        settle: reader
            .duration("settle", cx)
            .map_or(Duration::ZERO, |at| at.value),
        every: reader.choice::<Reached>("every", cx)?.value,
    })
}

fn read_keep(reader: &Reader<'_>, before: &[Phase], cx: &mut Context) -> Vec<String> {
    let mut keep = Vec::new();
    for name in reader.texts("keep", cx).unwrap_or_default() {
        if before.iter().any(|phase| phase.name == name.value) {
            keep.push(name.value);
            continue;
        }
        let names: Vec<&str> = before.iter().map(|phase| phase.name.as_str()).collect();
        let near = suggestion(&name.value, "earlier phases", names);
        cx.mistake(
            name.place,
            format!(
                "keep names `{}`, which is no earlier phase{near}",
                name.value
            ),
        );
    }
    keep
}

/// Every phase must be sure to end.
fn check_end(reader: &Reader<'_>, phase: &Phase, all_read: bool, cx: &mut Context) {
    match (&phase.until, phase.timeout, phase.duration) {
        (Some(_), None, _) if !reader.has("timeout") => cx.mistake(
            reader.place_of("until"),
            "until needs a limit; write timeout = \"5m\"",
        ),
        (Some(_), _, Some(_)) => cx.mistake(
            reader.place_of("duration"),
            "a phase ends by until or by duration; leave one out",
        ),
        (None, Some(_), _) if !reader.has("until") => cx.mistake(
            reader.place_of("timeout"),
            "timeout is the limit of until, which is not there; write duration, or an until",
        ),
        (None, _, None) if all_read && !reader.has("until") && !reader.has("duration") => {
            if let Some(op) = phase.ops.iter().find(|op| !ends(op)) {
                let message = format!(
                    "`{}` never ends by itself; write duration = \"5m\" in the phase, or a count in its pace",
                    op.name
                );
                cx.findings.mistake_at(op.location.clone(), message);
            }
        }
        _ => {}
    }
}

fn ends(op: &Op) -> bool {
    match &op.action {
        Action::Request(_) | Action::Publish { .. } | Action::Churn { .. } => {
            op.pace.count().is_some()
        }
        _ => true,
    }
}

/// A fault that waits for progress needs enrolments that make some.
fn check_progress(phase: &Phase, before: &[Phase], cx: &mut Context) {
    let enrols = |phase: &Phase| {
        let provisions = |op: &Op| matches!(op.action, Action::Provision { .. });
        phase.ops.iter().any(provisions)
    };
    let kept = |other: &&Phase| phase.keep.contains(&other.name);
    if enrols(phase) || before.iter().filter(kept).any(enrols) {
        return;
    }
    for op in &phase.ops {
        if let Action::Fault(FaultOp {
            at: Moment::Progress { .. },
            ..
        }) = &op.action
        {
            cx.findings.mistake_at(
                op.location.clone(),
                "at waits for the progress of enrolments, and no operation of this phase has \
                 do = \"provision\"; write a time, as at = \"5s\"",
            );
        }
    }
}

fn read_op(
    reader: &Reader<'_>,
    scene: &Scene<'_>,
    names: &mut Names,
    cx: &mut Context,
) -> Option<Op> {
    let name = reader.name("name", cx);
    if let Some(name) = &name {
        refuse_prefix(&name.value, name.place, cx);
    }
    let pace = read_op_pace(reader, scene.paces, cx);
    let word = reader.choice::<Do>("do", cx).map(|at| at.value);
    names.complete &= word.is_some() && (name.is_some() || !reader.has("name"));
    let word = word?;
    let called = name.map_or_else(|| word.word().to_owned(), |name| name.value);
    names.ops.push((called.clone(), word.word()));
    refuse_foreign_keys(reader, word, cx);
    let action = match word {
        Do::Connect => Some(Action::Connect {
            fleets: read_op_fleets(reader, scene, cx),
        }),
        Do::Provision => Some(Action::Provision {
            fleets: read_op_fleets(reader, scene, cx),
        }),
        Do::Disconnect => Some(Action::Disconnect {
            fleets: read_op_fleets(reader, scene, cx),
        }),
        Do::Churn => Some(Action::Churn {
            fleets: read_op_fleets(reader, scene, cx),
            away: reader
                .duration("away", cx)
                .map_or(Duration::from_secs(10), |at| at.value),
        }),
        Do::Publish => Some(Action::Publish {
            fleets: read_op_fleets(reader, scene, cx),
            body: reader.size("body", cx).map_or(Size(256), |at| at.value),
        }),
        Do::Request => read_request(reader, scene, cx).map(Action::Request),
        Do::Fault => read_fault(reader, scene, cx).map(Action::Fault),
    };
    let action = action?;
    let pace = match pace.ok()? {
        Some(pace) => pace,
        None => default_pace(word, reader, cx)?,
    };
    check_pace(&action, &pace, reader, scene, cx);
    Some(Op {
        name: called,
        action,
        pace,
        location: cx.locate(reader.place()),
    })
}

fn default_pace(word: Do, reader: &Reader<'_>, cx: &mut Context) -> Option<Pace> {
    match word {
        Do::Connect | Do::Provision | Do::Disconnect | Do::Fault => Some(Pace::AtOnce),
        Do::Request => Some(Pace::Every {
            every: Duration::from_secs(1),
            count: Some(1),
        }),
        Do::Publish | Do::Churn => {
            let rate = match word {
                Do::Publish => "1/30s per node",
                _ => "50/s",
            };
            let message = format!(
                "do = \"{word}\" needs a pace; write pace = {{ model = \"open\", \
                 kind = \"poisson\", rate = \"{rate}\" }}"
            );
            cx.mistake(reader.place(), message);
            None
        }
    }
}

fn check_pace(
    action: &Action,
    pace: &Pace,
    reader: &Reader<'_>,
    scene: &Scene<'_>,
    cx: &mut Context,
) {
    let place = reader
        .item("pace")
        .map_or(reader.place(), |item| item.place);
    let members = |fleet: &&Fleet| action.fleets().contains(&fleet.name);
    let nodes: u64 = scene
        .fleets
        .iter()
        .filter(members)
        .map(|fleet| fleet.nodes)
        .sum();
    if action.once_per_node() {
        if let Some(count) = pace.count().filter(|count| *count < nodes) {
            let message = format!(
                "this pace ends after {} starts, and {} nodes have to start; write a longer one",
                grouped(count),
                grouped(nodes)
            );
            cx.mistake(place, message);
        }
        if pace.is_per_node() {
            cx.mistake(
                place,
                "a rate per node is for what nodes do again and again; write a rate for all together",
            );
        }
    }
    if matches!(action, Action::Request(_)) && pace.is_per_node() {
        cx.mistake(
            place,
            "nodes send no requests; write a rate without \"per node\"",
        );
    }
    if matches!(action, Action::Churn { .. }) && (!pace.is_open() || pace.is_per_node()) {
        let message = "nodes leave by the clock; write an open pace for all of them together";
        cx.mistake(place, message);
    }
    if matches!(action, Action::Publish { .. }) && !pace.is_open() {
        cx.mistake(place, "events go by the clock; write an open pace");
    }
}

fn read_op_fleets(reader: &Reader<'_>, scene: &Scene<'_>, cx: &mut Context) -> Vec<String> {
    let pattern = reader.text("fleet", cx);
    let wanted = pattern.as_ref().map_or("*", |at| at.value.as_str());
    let names = scene.fleets.iter().map(|fleet| fleet.name.as_str());
    let matching: Vec<String> = names
        .clone()
        .filter(|name| matches_pattern(wanted, name))
        .map(str::to_owned)
        .collect();
    if let (Some(at), true) = (&pattern, matching.is_empty()) {
        let near = suggestion(wanted, "fleets", names.collect::<Vec<_>>());
        cx.mistake(at.place, format!("fleet `{wanted}` is not defined{near}"));
    }
    matching
}
