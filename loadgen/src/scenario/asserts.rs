//! Reads `[[assert]]`: what must hold.

use std::time::Duration;

use super::mistake::suggestion;
use super::model::{Abort, Assert, Phase};
use super::read::{Context, Reader};
use super::words::AssertLevel;
use crate::assert::{Scope, Target, resolve};

pub(super) fn read_asserts(reader: &Reader<'_>, phases: &[Phase], cx: &mut Context) -> Vec<Assert> {
    let readers = reader.sections("assert", cx);
    // Where no phase could be read, every expression would be told wrong for want of it.
    if phases.is_empty() {
        return Vec::new();
    }
    let ops = operations(phases);
    readers
        .iter()
        .filter_map(|reader| read_assert(reader, phases, &ops, cx))
        .collect()
}

/// Every operation by the phase it runs in, those kept from earlier phases included.
fn operations(phases: &[Phase]) -> Vec<(String, String, &'static str)> {
    let mut ops = Vec::new();
    for phase in phases {
        let kept = phases
            .iter()
            .filter(|other| phase.keep.contains(&other.name));
        for op in phase.ops.iter().chain(kept.flat_map(|other| &other.ops)) {
            ops.push((phase.name.clone(), op.name.clone(), op.action.word()));
        }
    }
    ops
}

fn read_assert(
    reader: &Reader<'_>,
    phases: &[Phase],
    ops: &[(String, String, &'static str)],
    cx: &mut Context,
) -> Option<Assert> {
    let phase = reader.text("phase", cx);
    let level = reader
        .choice("level", cx)
        .map_or(AssertLevel::Fail, |at| at.value);
    let baseline = reader.text("baseline", cx);
    let abort = reader.section("abort", cx).map(|reader| Abort {
        grace: reader
            .duration("grace", cx)
            .map_or(Duration::ZERO, |at| at.value),
        lasting: reader
            .duration("lasting", cx)
            .map_or(Duration::ZERO, |at| at.value),
    });
    let texts = reader.texts("that", cx);
    if let Some(at) = &phase {
        if !phases.iter().any(|known| known.name == at.value) {
            let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
            let near = suggestion(&at.value, "phases", names);
            cx.mistake(
                at.place,
                format!("phase `{}` is not defined{near}", at.value),
            );
            return None;
        }
    }
    let scope = Scope {
        ops: ops.to_vec(),
        phase: phase.map(|at| at.value),
        has_baseline: baseline.is_some(),
    };
    let mut that = Vec::new();
    for text in texts? {
        match resolve(&text.value, &scope) {
            Ok(expression) => that.push(expression),
            Err(why) => cx.mistake(text.place, format!("\"{}\": {why}", text.value)),
        }
    }
    if that.is_empty() && !reader.has("that") {
        return None;
    }
    let uses_baseline = that
        .iter()
        .any(|expression| matches!(expression.target, Target::Baseline(_)));
    if baseline.is_some() && !uses_baseline && !that.is_empty() {
        cx.mistake(
            reader.place_of("baseline"),
            "no expression compares with `baseline`; write one, as \
             \"ping.last_reply.max <= baseline * 1.15\"",
        );
    }
    Some(Assert {
        phase: scope.phase,
        level,
        that,
        baseline: baseline.map(|at| at.value),
        abort,
        location: cx.locate(reader.place()),
    })
}
