//! The run as JSON, one object a line: for programs.
//!
//! `type` says which object it is: `progress` once a second, `phase` when one changes, `fault` when
//! one falls and when its targets are up again, `log` for each log line, `end` as the last one. Durations are microseconds and carry `_us`.

use serde::Serialize;

use super::panes::header::stage_word;
use crate::measure::{
    AssertView, BrokerView, FaultView, FleetView, GeneratorHealth, LogLine, OpView, PhaseProgress,
    PhaseView, RunState, WorkerView,
};

/// Turns states into objects; remembers what it has already told.
#[derive(Debug, Default)]
pub(super) struct Objects {
    phases: Vec<PhaseProgress>,
    /// For each fault whether its end was told.
    faults: Vec<bool>,
    log_total: u64,
    told_us: Option<u64>,
}

/// Between two objects of progress, µs.
const EVERY_US: u64 = 1_000_000;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Object<'a> {
    Progress(Progress<'a>),
    Phase {
        at_us: u64,
        #[serde(flatten)]
        phase: &'a PhaseView,
    },
    Fault {
        /// `fell` or `up`.
        state: &'static str,
        #[serde(flatten)]
        fault: &'a FaultView,
    },
    Log {
        #[serde(flatten)]
        line: &'a LogLine,
    },
    End(Progress<'a>),
}

#[derive(Serialize)]
struct Progress<'a> {
    run: &'a str,
    scenario: &'a str,
    at_us: u64,
    expected_us: Option<u64>,
    stage: &'static str,
    doing: &'a str,
    phase: Option<&'a str>,
    nodes: u64,
    up: u64,
    fleets: &'a [FleetView],
    steps: std::collections::BTreeMap<&'a str, u64>,
    rates: std::collections::BTreeMap<&'a str, f64>,
    ops: &'a [OpView],
    brokers: &'a [BrokerView],
    faults: &'a [FaultView],
    workers: &'a [WorkerView],
    generator: &'a GeneratorHealth,
    asserts: &'a [AssertView],
}

impl<'a> Progress<'a> {
    fn of(state: &'a RunState) -> Self {
        let (up, nodes) = state.nodes_up();
        Self {
            run: &state.run,
            scenario: &state.scenario,
            at_us: state.elapsed_us,
            expected_us: state.expected_us,
            stage: stage_word(state.stage),
            doing: &state.doing,
            phase: state.current_phase().map(|(_, phase)| phase.name.as_str()),
            nodes,
            up,
            fleets: &state.fleets,
            steps: state
                .steps
                .iter()
                .map(|(step, n)| (step.as_str(), *n))
                .collect(),
            rates: state
                .rates
                .iter()
                .map(|rate| (rate.name.as_str(), rate.now))
                .collect(),
            ops: &state.ops,
            brokers: &state.brokers,
            faults: &state.faults,
            workers: &state.workers,
            generator: &state.health,
            asserts: &state.asserts,
        }
    }
}

impl Objects {
    /// What is new in `state`, as lines.
    pub(super) fn next(&mut self, state: &RunState) -> Vec<String> {
        let mut objects = Vec::new();
        let fresh = state.log_total.saturating_sub(self.log_total);
        self.log_total = state.log_total;
        let fresh = usize::try_from(fresh)
            .unwrap_or(usize::MAX)
            .min(state.log.len());
        objects.extend(
            state.log[state.log.len() - fresh..]
                .iter()
                .map(|line| Object::Log { line }),
        );

        self.phases
            .resize(state.phases.len(), PhaseProgress::Queued);
        for (told, phase) in self.phases.iter_mut().zip(&state.phases) {
            if std::mem::replace(told, phase.state) != phase.state {
                objects.push(Object::Phase {
                    at_us: state.elapsed_us,
                    phase,
                });
            }
        }
        for (number, fault) in state.faults.iter().enumerate() {
            if number == self.faults.len() {
                self.faults.push(false);
                let state = "fell";
                objects.push(Object::Fault { state, fault });
            }
            if let (Some(_), Some(told @ false)) = (fault.up_us, self.faults.get_mut(number)) {
                *told = true;
                objects.push(Object::Fault { state: "up", fault });
            }
        }
        if self
            .told_us
            .is_none_or(|told| state.elapsed_us >= told + EVERY_US)
        {
            self.told_us = Some(state.elapsed_us);
            objects.push(Object::Progress(Progress::of(state)));
        }
        objects.iter().map(line).collect()
    }

    /// The last object.
    pub(super) fn end(state: &RunState) -> String {
        line(&Object::End(Progress::of(state)))
    }
}

fn line(object: &Object<'_>) -> String {
    // Strings and numbers only: a map with other keys would be the one thing that can fail.
    serde_json::to_string(object).unwrap_or_else(|error| {
        let text = format!("progress could not be written: {error}");
        serde_json::json!({ "type": "log", "level": "error", "text": text }).to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    fn types(lines: &[String]) -> Vec<String> {
        let parse = |line: &String| -> serde_json::Value { serde_json::from_str(line).unwrap() };
        lines
            .iter()
            .map(|line| parse(line)["type"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_line_is_one_object_and_nothing_is_told_twice() {
        let mut objects = Objects::default();
        let state = sample::enrolling();
        let first = objects.next(&state);
        assert_eq!(types(&first), ["log", "log", "phase", "phase", "progress"]);
        assert!(first.iter().all(|line| !line.contains('\n')));
        assert_eq!(objects.next(&state), Vec::<String>::new());

        let mut later = state.clone();
        later.elapsed_us += EVERY_US;
        assert_eq!(types(&objects.next(&later)), ["progress"]);
    }

    #[test]
    fn progress_carries_the_figures() {
        let last: serde_json::Value =
            serde_json::from_str(&Objects::end(&sample::enrolling())).unwrap();
        assert_eq!(last["type"], "end");
        assert_eq!(last["phase"], "enrol");
        assert_eq!(last["up"], 540);
        assert_eq!(last["nodes"], 1000);
        assert_eq!(last["steps"]["csr"], 31);
        assert_eq!(last["generator"]["state"], "healthy");
    }
}
