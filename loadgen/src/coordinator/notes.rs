//! A phase's latest figures, for people.

use crate::measure::{Counter, Hist, OpKey, OpTotal, Quantile, Series, Totals};
use crate::plan::Plan;
use crate::scenario::Action;
use crate::units::{brief_duration, grouped};

/// A phase's latest figures in a few words.
pub(super) fn note(plan: &Plan, phase: usize, totals: &Totals, confirmed: u64) -> String {
    let Some(phase) = plan.scenario.phases.get(phase) else {
        return String::new();
    };
    let mut notes = Vec::new();
    for op in &phase.ops {
        let Some(total) = totals.ops.get(&OpKey::new(&phase.name, &op.name)) else {
            continue;
        };
        let of = |counter| total.counters.of(counter);
        match &op.action {
            Action::Connect { .. } => {
                let (ok, started) = (of(Counter::Ok), of(Counter::Started));
                notes.push(format!("{}/{}", grouped(ok), grouped(started)));
            }
            Action::Provision { .. } => notes.push(provision_note(plan, total, confirmed)),
            Action::Request(_) => notes.push(request_note(total)),
            Action::Publish { .. } => notes.push(format!(
                "{} sent, {} lost",
                grouped(of(Counter::Started)),
                grouped(of(Counter::Lost))
            )),
            Action::Churn { .. } => notes.push(format!(
                "{} left, {} came back",
                grouped(of(Counter::Left)),
                grouped(of(Counter::Ok))
            )),
            Action::Disconnect { .. } => {
                notes.push(format!("{} closed", grouped(of(Counter::Ok))));
            }
            Action::Fault(_) => {}
        }
    }
    let faults = totals
        .faults
        .iter()
        .filter(|fault| fault.phase == phase.name);
    notes.extend(faults.map(|fault| {
        let verb = if fault.happened { "" } else { " MISSED" };
        let note = match fault.note.as_str() {
            "" => String::new(),
            note => format!(": {note}"),
        };
        format!("{} {}{verb}{note}", fault.kind, fault.target)
    }));
    notes.join("  ")
}

fn provision_note(plan: &Plan, total: &OpTotal, confirmed: u64) -> String {
    let expected = plan.expected_confirmed;
    let mut note = format!("{}/{}", grouped(confirmed), grouped(expected));
    for (series, words) in [
        (Series::ToRestart, "to restart"),
        (Series::Actual, "to confirmed"),
    ] {
        let Some(hist) = total.series.get(&series) else {
            continue;
        };
        let quantiles = p50_p99(hist);
        if !quantiles.is_empty() {
            note.push_str(&format!("  {words}{quantiles}"));
        }
    }
    note
}

fn request_note(total: &OpTotal) -> String {
    let of = |counter| total.counters.of(counter);
    let rounds = of(Counter::Started);
    let each = of(Counter::Expected)
        .checked_div(rounds)
        .unwrap_or_default();
    let mut note = format!(
        "{rounds} × {}  {} missing, {} duplicates",
        grouped(each),
        grouped(of(Counter::Missing)),
        grouped(of(Counter::Duplicate))
    );
    if let Some(last) = total.series.get(&Series::LastReply) {
        let max = last.max().map(std::time::Duration::from_micros);
        let max = max.map_or(String::new(), |max| format!(" max {}", brief_duration(max)));
        note.push_str(&format!(", last reply{}{max}", p50_p99(last)));
    }
    note
}

fn p50_p99(hist: &Hist) -> String {
    let mut text = String::new();
    for (name, quantile) in [("p50", Quantile::P50), ("p99", Quantile::P99)] {
        if let Some(us) = hist.quantile(quantile) {
            let value = brief_duration(std::time::Duration::from_micros(us));
            text.push_str(&format!(" {name} {value}"));
        }
    }
    text
}
