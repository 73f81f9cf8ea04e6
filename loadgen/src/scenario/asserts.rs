//! Reads `[[assert]]`: what must hold.

use std::time::Duration;

use super::mistake::suggestion;
use super::model::{Abort, Assert};
use super::phases::Names;
use super::read::{Context, Reader};
use super::words::AssertLevel;
use crate::assert::{Domain, Expression, Scope, resolve};
use crate::units::show_duration;

pub(super) fn read_asserts(reader: &Reader<'_>, names: &[Names], cx: &mut Context) -> Vec<Assert> {
    let readers = reader.sections("assert", cx);
    // Where operations could not be read, expressions would be told wrong for want of them.
    if names.is_empty() || names.iter().any(|phase| !phase.complete) {
        return Vec::new();
    }
    let ops = operations(names);
    readers
        .iter()
        .filter_map(|reader| read_assert(reader, names, &ops, cx))
        .collect()
}

/// Every operation by the phase it runs in, those kept from earlier phases included.
fn operations(names: &[Names]) -> Vec<(String, String, &'static str)> {
    let mut ops = Vec::new();
    for phase in names {
        let kept = names
            .iter()
            .filter(|other| phase.keep.contains(&other.phase));
        for (op, word) in phase.ops.iter().chain(kept.flat_map(|other| &other.ops)) {
            ops.push((phase.phase.clone(), op.clone(), *word));
        }
    }
    ops
}

fn read_assert(
    reader: &Reader<'_>,
    phases: &[Names],
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
    if let Some(at) = &phase
        && !phases.iter().any(|known| known.phase == at.value)
    {
        let names: Vec<&str> = phases.iter().map(|names| names.phase.as_str()).collect();
        let near = suggestion(&at.value, "phases", names);
        cx.mistake(
            at.place,
            format!("phase `{}` is not defined{near}", at.value),
        );
        return None;
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
    if let (Some(abort), false) = (&abort, that.is_empty()) {
        check_abort(reader, abort, level, (&scope, phases), &that, cx);
    }
    let uses_baseline = that.iter().any(Expression::compares);
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

/// An `abort` that could never come to pass was meant otherwise.
fn check_abort(
    reader: &Reader<'_>,
    abort: &Abort,
    level: AssertLevel,
    (scope, phases): (&Scope, &[Names]),
    that: &[Expression],
    cx: &mut Context,
) {
    let place = reader.place_of("abort");
    if level == AssertLevel::Warn {
        let message = "a breach of level = \"warn\" is told and no more; leave abort or level out";
        cx.mistake(place, message);
    }
    let late = that
        .iter()
        .find(|that| that.metric.metric.domain == Domain::Memory);
    if let Some(expression) = late {
        let message = format!(
            "\"{}\" is known when the run is over, which is too late for abort; move it to an \
             assert without",
            expression.text
        );
        cx.mistake(place, message);
    }
    let own = phases
        .iter()
        .find(|names| Some(&names.phase) == scope.phase.as_ref());
    if let Some(length) = own.and_then(|names| names.duration)
        && abort.grace.saturating_add(abort.lasting) >= length
    {
        let message = format!(
            "abort could never end this phase, which is over after {}; write a grace and a lasting \
             that are shorter together",
            show_duration(length)
        );
        cx.mistake(place, message);
    }
}
