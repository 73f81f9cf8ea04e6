//! What faults did, and what the fleet made of it, looked up for an expression.

use super::evaluate::{Measured, gauge, known, ratio};
use super::metrics::MetricId;
use crate::measure::{Gauge, OpKey, OpTotal, Storm, Totals};

/// From the return of the last broker to the first whole round sent after it.
pub(super) fn first_ok_after_up(totals: &Totals, key: &OpKey, op: &OpTotal) -> Measured {
    let storms = totals
        .storms
        .iter()
        .filter(|storm| storm.phase == key.phase);
    let returns = storms.filter_map(|storm| Some(storm.at_us + storm.down_us?));
    let Some(up_us) = returns.max() else {
        return Measured::default();
    };
    let after = op.rounds.iter().filter(|round| round.sent_us >= up_us);
    let samples = after.clone().count() as u64;
    let whole = after
        .filter(|round| round.missing == 0 && round.expected > 0 && !round.interrupted)
        .filter_map(|round| Some(round.sent_us + round.last_us? - up_us))
        .min();
    known(whole.map(|us| us as f64), samples)
}

pub(super) fn fault(totals: &Totals, id: &MetricId) -> Measured {
    let Some(key) = &id.op else {
        return Measured::default();
    };
    let mine: Vec<_> = totals
        .faults
        .iter()
        .filter(|fault| fault.phase == key.phase && fault.op == key.op)
        .collect();
    let samples = mine.len() as u64;
    let happened = mine.iter().filter(|fault| fault.happened).count() as u64;
    match id.metric.name {
        _ if mine.is_empty() => Measured::default(),
        "happened" => known(Some(happened as f64), samples),
        "missed" => known(Some((samples - happened) as f64), samples),
        "down" => longest_of(mine.iter().map(|fault| fault.down_us), samples),
        "relink" => longest_of(mine.iter().map(|fault| fault.relinked_us), samples),
        _ => Measured::default(),
    }
}

fn longest_of(times: impl Iterator<Item = Option<u64>>, samples: u64) -> Measured {
    known(times.flatten().max().map(|us| us as f64), samples)
}

pub(super) fn reconnect(
    totals: &Totals,
    id: &MetricId,
    in_phase: impl Fn(&str) -> bool,
) -> Measured {
    let storms: Vec<_> = totals
        .storms
        .iter()
        .filter(|storm| in_phase(&storm.phase))
        .collect();
    let affected: u64 = storms.iter().map(|storm| storm.affected).sum();
    let back: u64 = storms.iter().map(|storm| storm.back).sum();
    if storms.is_empty() {
        return Measured::default();
    }
    match id.metric.name {
        "time_to_all" => longest(&storms, |storm| storm.time_to_all_us),
        "fall_to_all" => longest(&storms, |storm| storm.fall_to_all_us),
        "first_back_after_up" => longest(&storms, |storm| storm.first_back_after_up_us),
        "affected" => known(Some(affected as f64), storms.len() as u64),
        "back" => known(Some(back as f64), affected),
        "back_ratio" => ratio(back, affected),
        "attempts" => {
            let attempts: u64 = storms.iter().map(|storm| storm.attempts).sum();
            known(Some(attempts as f64), affected)
        }
        "failed" => {
            let failed: u64 = storms.iter().map(|storm| storm.failed).sum();
            known(Some(failed as f64), affected)
        }
        "moved" => {
            let moved: u64 = storms.iter().map(|storm| storm.moved).sum();
            known(Some(moved as f64), affected)
        }
        "attempts_per_node" => {
            let mut each = Gauge::default();
            for storm in &storms {
                each.record(storm.attempts_per_node());
            }
            gauge(&each, id.stat)
        }
        _ => Measured::default(),
    }
}

/// The longest time of storms that took nodes away. One that is not over makes it unknown.
fn longest(storms: &[&Storm], time: impl Fn(&Storm) -> Option<u64>) -> Measured {
    let real = storms.iter().filter(|storm| storm.affected > 0);
    let affected = real.clone().map(|storm| storm.affected).sum();
    let times: Option<Vec<u64>> = real.map(|storm| time(storm)).collect();
    let longest = times.and_then(|times| times.into_iter().max());
    known(longest.map(|us| us as f64), affected)
}
