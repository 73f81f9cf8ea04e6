//! Reads arrival shapes: `[pace.NAME]` and the ones written in place.

use std::collections::BTreeMap;

use super::keys::PACE;
use super::mistake::suggestion;
use super::read::{Context, Reader};
use super::tree::Value;
use super::words::{Model, PaceKind};
use crate::pace::{Pace, RampStep};

/// Shapes by name; `None` for one that is there and wrong, which has been told already.
pub(super) type Paces = BTreeMap<String, (usize, Option<Pace>)>;

/// The keys each kind has beside `model` and `kind`; those it needs come first.
const KEYS: [(PaceKind, &str, &[&str]); 5] = [
    (PaceKind::Constant, "rate", &["rate", "count"]),
    (PaceKind::Every, "every", &["every", "count"]),
    (PaceKind::Ramp, "steps", &["steps"]),
    (PaceKind::Poisson, "rate", &["rate", "count"]),
    (PaceKind::InFlight, "limit", &["limit", "count"]),
];

pub(super) fn read_paces(reader: &Reader<'_>, cx: &mut Context) -> Paces {
    let Some(table) = reader.table("pace", cx) else {
        return Paces::new();
    };
    let mut paces = Paces::new();
    for entry in &table.entries {
        let line = cx.findings.line_of(entry.place);
        let pace = match &entry.item.value {
            Value::Table(table) => {
                let reader = Reader::new(&PACE, table, cx);
                read_pace(&reader, cx)
            }
            other => {
                let message = format!(
                    "pace.{} is {}; write it as [pace.{0}], a table",
                    entry.name,
                    other.what()
                );
                cx.mistake(entry.item.place, message);
                None
            }
        };
        paces.insert(entry.name.clone(), (line, pace));
    }
    paces
}

/// The pace of an operation, by name or written in place. `Err` when it is wrong, `Ok(None)` when
/// there is none.
pub(super) fn read_op_pace(
    reader: &Reader<'_>,
    paces: &Paces,
    cx: &mut Context,
) -> Result<Option<Pace>, ()> {
    let Some(item) = reader.item("pace") else {
        return Ok(None);
    };
    match &item.value {
        Value::Text(name) => match paces.get(name) {
            Some((_, pace)) => pace.clone().map(Some).ok_or(()),
            None => {
                cx.mistake(item.place, undefined(name, paces));
                Err(())
            }
        },
        Value::Table(table) => {
            let reader = Reader::new(&PACE, table, cx);
            read_pace(&reader, cx).map(Some).ok_or(())
        }
        _ => {
            let _: Option<()> = reader.refuse_type("pace", cx);
            Err(())
        }
    }
}

fn undefined(name: &str, paces: &Paces) -> String {
    let names: Vec<&str> = paces.keys().map(String::as_str).collect();
    match super::mistake::nearest(name, names.iter().copied()) {
        Some(near) => {
            let line = paces.get(near).map_or(0, |(line, _)| *line);
            format!("pace `{name}` is not defined; [pace.{near}] is (line {line})")
        }
        None if names.is_empty() => {
            format!("pace `{name}` is not defined; write a [pace.{name}]")
        }
        None => format!(
            "pace `{name}` is not defined{}",
            suggestion(name, "paces", names)
        ),
    }
}

fn read_pace(reader: &Reader<'_>, cx: &mut Context) -> Option<Pace> {
    let model = reader.choice::<Model>("model", cx);
    let kind = reader.choice::<PaceKind>("kind", cx)?;
    let right = match kind.value {
        PaceKind::InFlight => Model::Closed,
        _ => Model::Open,
    };
    if let Some(model) = model.filter(|model| model.value != right) {
        let message = format!(
            "kind = \"{}\" is {right}: {}; write model = \"{right}\"",
            kind.value,
            match right {
                Model::Open => "the clock sets its pace",
                Model::Closed => "the target sets its pace",
            }
        );
        cx.mistake(model.place, message);
    }
    let (_, needed, keys) = KEYS.iter().find(|(known, _, _)| *known == kind.value)?;
    for entry in reader.present() {
        let elsewhere = KEYS
            .iter()
            .any(|(_, _, keys)| keys.contains(&entry.name.as_str()));
        if elsewhere && !keys.contains(&entry.name.as_str()) {
            let message = format!(
                "`{}` means nothing for kind = \"{}\"; it has {}",
                entry.name,
                kind.value,
                keys.join(" and ")
            );
            cx.mistake(entry.place, message);
        }
    }
    if !reader.has(needed) {
        let example = PACE
            .keys
            .iter()
            .find(|key| key.name == *needed)?
            .kind
            .example();
        let message = format!(
            "kind = \"{}\" needs `{needed}`; write {needed} = {example}",
            kind.value
        );
        cx.mistake(kind.place, message);
        return None;
    }
    if reader.meant("count") {
        return None;
    }
    let count = reader.count("count", cx).map(|at| at.value);
    match kind.value {
        PaceKind::Constant | PaceKind::Poisson => {
            let rate = reader.rate("rate", cx)?;
            if rate.value.events <= 0.0 {
                cx.mistake(
                    rate.place,
                    "rate is 0: nothing would ever start; write more, as \"1/s\"",
                );
                return None;
            }
            let rate = rate.value;
            Some(match kind.value {
                PaceKind::Constant => Pace::Constant { rate, count },
                _ => Pace::Poisson { rate, count },
            })
        }
        PaceKind::Every => {
            let every = reader.duration("every", cx)?;
            if every.value.is_zero() {
                cx.mistake(every.place, "every is 0; write a time, as \"500ms\"");
                return None;
            }
            Some(Pace::Every {
                every: every.value,
                count,
            })
        }
        PaceKind::Ramp => read_ramp(reader, cx),
        PaceKind::InFlight => reader.count("limit", cx).map(|limit| Pace::InFlight {
            limit: limit.value,
            count,
        }),
    }
}

fn read_ramp(reader: &Reader<'_>, cx: &mut Context) -> Option<Pace> {
    let texts = reader.texts("steps", cx)?;
    let mut steps = Vec::with_capacity(texts.len());
    for text in &texts {
        match RampStep::parse(&text.value) {
            Ok(step) => steps.push(step),
            Err(why) => cx.mistake(text.place, format!("\"{}\" {why}", text.value)),
        }
    }
    let pace = Pace::Ramp { steps };
    if texts.is_empty() || pace.count() == Some(0) {
        cx.mistake(
            reader.place_of("steps"),
            "the ramp starts nothing; write steps = [\"0/s..200/s over 10s\", \"200/s for 5m\"]",
        );
        return None;
    }
    Some(pace)
}
