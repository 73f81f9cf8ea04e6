//! What every phase does, and about how long it takes.

use std::time::Duration;

use serde::Serialize;

use super::costs::{CONNECTS_PER_S, ENROLMENTS_PER_S, REPLIES_PER_S, RESTARTING};
use super::describe;
use crate::measure::micros;
use crate::pace::Pace;
use crate::scenario::{Action, FaultOf, FaultOp, Moment, Op, Phase, Reached, Scenario, Target};

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedPhase {
    /// Name.
    pub name: String,
    /// What happens, in words.
    pub what: String,
    /// What ends it, in words.
    pub until: String,
    /// About how long it takes, µs; `None` when that cannot be foreseen.
    pub expected_us: Option<u64>,
    /// Its operations.
    pub ops: Vec<PlannedOp>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedOp {
    /// Name.
    pub name: String,
    /// What happens, in words.
    pub what: String,
    /// How many starts; `None` when the end of the phase ends it.
    pub count: Option<u64>,
    /// Highest rate of starts, per second; `None` when the target sets the pace.
    pub peak_per_s: Option<f64>,
    /// About how long it takes, µs.
    pub expected_us: Option<u64>,
}

pub(super) fn phases(scenario: &Scenario) -> Vec<PlannedPhase> {
    scenario
        .phases
        .iter()
        .map(|phase| plan_phase(scenario, phase))
        .collect()
}

fn plan_phase(scenario: &Scenario, phase: &Phase) -> PlannedPhase {
    let ops: Vec<PlannedOp> = phase
        .ops
        .iter()
        .map(|op| plan_op(scenario, phase, op))
        .collect();
    let longest = ops.iter().filter_map(|op| op.expected_us).max();
    let settle = phase
        .until
        .as_ref()
        .map_or(Duration::ZERO, |until| until.settle);
    let expected_us = match phase.duration {
        Some(duration) => Some(micros(duration)),
        None => longest.map(|us| us + micros(settle)),
    };
    let mut what: Vec<String> = ops.iter().map(|op| op.what.clone()).collect();
    if !phase.keep.is_empty() {
        what.push(format!("{} goes on underneath", phase.keep.join(", ")));
    }
    PlannedPhase {
        name: phase.name.clone(),
        what: what.join("; "),
        until: describe::until(phase),
        expected_us,
        ops,
    }
}

fn plan_op(scenario: &Scenario, phase: &Phase, op: &Op) -> PlannedOp {
    let nodes = members(scenario, &op.action);
    let count = match &op.action {
        Action::Request(_) | Action::Publish { .. } | Action::Churn { .. } => op.pace.count(),
        Action::Fault(_) => Some(1),
        _ => Some(nodes),
    };
    let peak_per_s = match &op.action {
        Action::Fault(_) => None,
        _ => op.pace.peak_per_s(nodes),
    };
    let expected = expected(scenario, phase, op, nodes);
    PlannedOp {
        name: op.name.clone(),
        what: describe::operation(op, nodes),
        count,
        peak_per_s,
        expected_us: expected.map(micros),
    }
}

/// Nodes that take part in an operation: those that do it, or those that are asked.
fn members(scenario: &Scenario, action: &Action) -> u64 {
    let of_fleets = |names: &[String]| -> u64 {
        let fleets = scenario.fleets.iter();
        fleets
            .filter(|fleet| names.contains(&fleet.name))
            .map(|fleet| fleet.nodes)
            .sum()
    };
    match action {
        Action::Request(request) => match &request.to {
            Target::All => {
                let fleets = scenario.fleets.iter();
                let asked = fleets.filter(|fleet| fleet.ends_in_production());
                asked.map(|fleet| fleet.nodes).sum()
            }
            Target::Random(n) => *n,
            Target::Fleet(name) => of_fleets(std::slice::from_ref(name)),
        },
        Action::Fault(_) => 0,
        action => of_fleets(action.fleets()),
    }
}

fn expected(scenario: &Scenario, phase: &Phase, op: &Op, nodes: u64) -> Option<Duration> {
    let last_start = |count: u64| op.pace.expected_start(count.saturating_sub(1), nodes);
    let at_rate = |per_s: f64| Duration::from_secs_f64(nodes as f64 / per_s);
    match &op.action {
        Action::Connect { .. } | Action::Disconnect { .. } => {
            let paced = last_start(nodes).unwrap_or_default();
            Some(paced.max(at_rate(CONNECTS_PER_S)))
        }
        Action::Provision { .. } => {
            let paced = last_start(nodes).unwrap_or_default();
            Some(paced.max(at_rate(ENROLMENTS_PER_S)) + RESTARTING)
        }
        Action::Request(request) => {
            let round = at_rate(REPLIES_PER_S).min(request.collect);
            let rounds = op.pace.count()?;
            match op.pace {
                Pace::InFlight { limit, .. } => {
                    let turns = rounds.div_ceil(limit.max(1));
                    Some(round * u32::try_from(turns).unwrap_or(u32::MAX))
                }
                _ => Some(last_start(rounds)? + round),
            }
        }
        Action::Publish { .. } => last_start(op.pace.count()?),
        Action::Churn { away, .. } => Some(last_start(op.pace.count()?)? + *away),
        Action::Fault(fault) => Some(fault_time(scenario, phase, fault)),
    }
}

/// From the phase's beginning until what the fault disturbed is back.
fn fault_time(scenario: &Scenario, phase: &Phase, fault: &FaultOp) -> Duration {
    let falls = match &fault.at {
        Moment::After(after) => *after,
        Moment::Progress { percent, .. } => {
            let provision = phase
                .ops
                .iter()
                .find(|op| matches!(op.action, Action::Provision { .. }));
            let nodes = provision.map_or(0, |op| members(scenario, &op.action));
            Duration::from_secs_f64(nodes as f64 * percent / 100.0 / ENROLMENTS_PER_S)
        }
    };
    let reconnect = match (fault.of, &phase.until) {
        (FaultOf::Brokers, Some(until))
            if until.every == Reached::Connected && fault.link.is_none() =>
        {
            scenario
                .fleets
                .iter()
                .map(|fleet| fleet.reconnect.min + fleet.reconnect.spread)
                .max()
                .unwrap_or_default()
        }
        _ => Duration::ZERO,
    };
    falls + fault.down.unwrap_or_default() + reconnect
}
