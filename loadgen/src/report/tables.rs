//! The tables of the page.

use serde::Serialize;

use super::cell::{
    Cell, code, count, fault, few, figure, known, nothing, percentile, percentiles, size, text,
};
use super::folder::PlanRead;
use crate::assert::{AssertState, Unit};
use crate::results::{EnrolmentSummary, FaultSummary, Latency, Summary, Verdict};
use crate::units::{Size, brief_duration, grouped};

/// A table. The first cell of each row is its heading.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) note: Option<String>,
}

impl Table {
    fn new(caption: &str, head: &[&'static str]) -> Self {
        Self {
            caption: caption.to_owned(),
            head: head.to_vec(),
            rows: Vec::new(),
            note: None,
        }
    }

    /// The table, unless it has no row.
    fn some(self) -> Option<Self> {
        (!self.rows.is_empty()).then_some(self)
    }
}

pub(super) fn asserts(verdict: &Verdict) -> Option<Table> {
    let mut table = Table::new(
        "Asserts",
        &["assert", "result", "phase", "value", "samples"],
    );
    for assert in &verdict.asserts {
        let (word, kind) = match assert.state {
            AssertState::Ok => ("✓ held", "good"),
            AssertState::Failed => ("✕ failed", "bad"),
            AssertState::Warned => ("! warning", "warn"),
            AssertState::Inconclusive => ("? unclear", "few"),
        };
        let value = match assert.value {
            Some(_) => figure(assert.shown_with_baseline()),
            None if assert.samples > 0 => few(),
            None => nothing(),
        };
        table.rows.push(vec![
            code(&assert.that),
            Cell {
                text: word.to_owned(),
                kind,
            },
            text(assert.phase.as_deref().unwrap_or("whole run")),
            value,
            count(Some(assert.samples)),
        ]);
    }
    table.some()
}

pub(super) fn limits(verdict: &Verdict) -> Option<Table> {
    let mut table = Table::new("Limits", &["limit", "result", "worst", "at most"]);
    for limit in &verdict.limits {
        let timed = matches!(limit.name.as_str(), "wall_time" | "gen_sched_lag_p99");
        let unit = if timed { Unit::Duration } else { Unit::Percent };
        let (word, kind) = match (limit.broken, limit.worst) {
            (true, _) => ("✕ breached", "bad"),
            (false, Some(_)) => ("✓ kept", "good"),
            (false, None) => ("? not judged", "few"),
        };
        table.rows.push(vec![
            code(&limit.name),
            Cell {
                text: word.to_owned(),
                kind,
            },
            limit
                .worst
                .map_or_else(nothing, |worst| figure(unit.show(worst))),
            figure(unit.show(limit.limit)),
        ]);
    }
    table.some()
}

pub(super) fn phases(plan: &PlanRead) -> Option<Table> {
    let mut table = Table::new("What the phases do", &["phase", "what", "until"]);
    for phase in &plan.phases {
        let row = vec![text(&phase.name), text(&phase.what), text(&phase.until)];
        table.rows.push(row);
    }
    table.some()
}

pub(super) fn operations(summary: &Summary) -> Option<Table> {
    let head = [
        "operation",
        "started",
        "errors",
        "late",
        "a second",
        "p50",
        "p90",
        "p99",
        "max",
    ];
    let mut table = Table::new("Operations", &head);
    for (key, op) in &summary.ops {
        let rate = op.rate_per_s.map(|rate| Unit::Rate.show(rate));
        let mut row = vec![
            text(key),
            count(Some(op.count)),
            fault(op.errors),
            count(Some(op.late)),
            rate.map_or_else(nothing, figure),
        ];
        row.extend(percentiles(&op.latency_us.intended));
        table.rows.push(row);
    }
    table.note = Some("Latencies count from the intended start of each operation.".to_owned());
    table.some()
}

pub(super) fn rounds(summary: &Summary) -> Option<Table> {
    let head = [
        "fan-out",
        "rounds",
        "expected",
        "missing",
        "duplicate",
        "late",
        "failed",
        "first p50",
        "last p50",
        "last max",
    ];
    let mut table = Table::new("Rounds", &head);
    for (key, of) in &summary.rounds {
        let median = |value: Option<u64>, max: Option<u64>| {
            let of = Latency {
                max,
                ..Latency::default()
            };
            percentile(value, &of)
        };
        table.rows.push(vec![
            text(key),
            count(Some(of.rounds)),
            count(Some(of.expected)),
            fault(of.missing),
            fault(of.duplicate),
            fault(of.late),
            fault(of.failed),
            median(of.first_us.p50, of.first_us.max),
            median(of.last_us.p50, of.last_us.max),
            known(of.last_us.max),
        ]);
    }
    let left_out: u64 = summary.rounds.values().map(|of| of.interrupted).sum();
    table.note = (left_out > 0).then(|| {
        format!("{left_out} more rounds are left out: loadgen's own connection was lost in them.")
    });
    table.some()
}

pub(super) fn faults(summary: &Summary) -> Option<Table> {
    let noted = |of: &FaultSummary| !of.happened || !of.note.is_empty();
    let columns = if summary.faults.iter().any(noted) {
        5
    } else {
        4
    };
    let head = &["fault", "phase", "at", "away", "what was seen"][..columns];
    let mut table = Table::new("Faults", head);
    for of in &summary.faults {
        let missed = if of.happened { "" } else { "It missed. " };
        let relinked = of.relinked_us.map(std::time::Duration::from_micros);
        let relinked =
            relinked.map(|time| format!("; linked again {} later", brief_duration(time)));
        let mut row = vec![
            text(format!("{} {}", of.kind, of.target)),
            text(&of.phase),
            known(of.at_us),
            known(of.down_us),
            Cell {
                text: format!("{missed}{}{}", of.note, relinked.unwrap_or_default()),
                kind: if of.happened { "" } else { "bad" },
            },
        ];
        row.truncate(columns);
        table.rows.push(row);
    }
    table.some()
}

pub(super) fn storms(summary: &Summary) -> Option<Table> {
    let head = [
        "storm",
        "affected",
        "back",
        "half back",
        "90 %",
        "99 %",
        "all back",
        "after the brokers",
        "dials a node",
        "failed dials",
    ];
    let mut table = Table::new("What the fleet made of it", &head);
    for of in &summary.storms {
        let dials = of.attempts_per_node.map(|n| figure(format!("{n:.2}")));
        table.rows.push(vec![
            text(format!(
                "{}: {} {}",
                of.phase,
                of.kind,
                of.targets.join(", ")
            )),
            count(Some(of.affected)),
            count(Some(of.back)),
            known(of.back_us.p50),
            known(of.back_us.p90),
            known(of.back_us.p99),
            known(of.fall_to_all_us),
            known(of.time_to_all_us),
            dials.unwrap_or_else(nothing),
            count(of.failed),
        ]);
    }
    let note =
        "Times count from the fault, those after the brokers from the return of the last one.";
    table.note = Some(note.to_owned());
    table.some()
}

pub(super) fn enrolment(enrolment: &EnrolmentSummary) -> Option<Table> {
    let mut table = Table::new(
        "Steps of enrolment",
        &["step", "count", "p50", "p90", "p99", "max"],
    );
    let mut row = |name: &str, n: Option<u64>, of: &Latency| {
        let mut cells = vec![text(name), count(n)];
        cells.extend(percentiles(of));
        table.rows.push(cells);
    };
    for (name, step) in &enrolment.steps.0 {
        row(name, Some(step.count), &step.latency_us);
    }
    if let Some(of) = &enrolment.to_restart_us {
        row("event → restart request", None, of);
    }
    if let Some(of) = &enrolment.to_confirmed_us {
        row("event → confirmed", None, of);
    }
    let setbacks: Vec<String> = enrolment
        .errors
        .iter()
        .map(|(code, n)| format!("{code} {}", grouped(*n)))
        .collect();
    table.note = (!setbacks.is_empty()).then(|| format!("Setbacks: {}.", setbacks.join(", ")));
    table.some()
}

pub(super) fn outcomes(enrolment: &EnrolmentSummary) -> Option<Table> {
    let head = ["fleet", "nodes", "should be", "are", "what came of them"];
    let mut table = Table::new("What came of each fleet", &head);
    for of in &enrolment.outcomes {
        let found = of.found.iter();
        let found: Vec<String> = found.map(|(what, n)| format!("{n} {what}")).collect();
        table.rows.push(vec![
            text(&of.fleet),
            count(Some(of.nodes)),
            text(of.expected()),
            Cell {
                text: grouped(of.as_expected),
                kind: if of.unexpected() > 0 {
                    "num bad"
                } else {
                    "num"
                },
            },
            text(found.join(", ")),
        ]);
    }
    table.some()
}

pub(super) fn costs(summary: &Summary) -> Option<Table> {
    let (memory, cpu) = (&summary.memory, &summary.cpu_s);
    let seconds = |s: Option<f64>| s.map_or_else(nothing, |s| figure(format!("{s:.1} s")));
    let mut table = Table::new("Memory and CPU", &["of", "memory", "each", "CPU time"]);
    let each = |bytes: Option<u64>, of: &str| match bytes {
        Some(bytes) => figure(format!("{} {of}", Size(bytes).brief())),
        None => nothing(),
    };
    let rows = [
        vec![
            text("nodes"),
            size(memory.nodes_rss_bytes),
            each(memory.rss_bytes_per_node, "a node"),
            seconds(cpu.nodes),
        ],
        vec![
            text("brokers"),
            size(memory.brokers_rss_bytes),
            each(memory.broker_rss_bytes_per_connection, "a connection"),
            seconds(cpu.brokers),
        ],
        vec![
            text("provisioners"),
            size(memory.provisioners_rss_bytes),
            nothing(),
            seconds(cpu.provisioners),
        ],
    ];
    let measured = |row: &Vec<Cell>| row[1..].iter().any(|cell| *cell != nothing());
    table.rows = rows.into_iter().filter(measured).collect();
    table.some()
}

pub(super) fn generator(summary: &Summary) -> Table {
    let of = &summary.generator;
    let percent = |n: Option<f64>| n.map_or_else(nothing, |n| figure(format!("{n:.1} %")));
    let mut table = Table::new("The generator itself", &["what", "worst"]);
    table.rows = vec![
        vec![
            text("CPU of the busiest worker, of one core"),
            percent(of.cpu_pct_max),
        ],
        vec![
            text("timers late, 99th percentile"),
            known(of.sched_lag_p99_us),
        ],
        vec![text("sends that were late"), percent(of.late_sends_pct)],
        vec![
            text("descriptors open in one worker"),
            count(of.descriptors_max),
        ],
    ];
    table
}
