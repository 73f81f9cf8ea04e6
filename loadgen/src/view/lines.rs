//! The run as lines of `key=value` words, for a log, a pipe or a small terminal.
//!
//! One line a second while phases run, one when a phase changes, one for each log line. The words
//! keep their names and order; a value with spaces is quoted.

use std::collections::BTreeMap;

use super::format::{UNKNOWN, known, rate, span};
use super::panes::header::stage_word;
use crate::measure::{GeneratorHealth, Level, LogLine, NodeState, PhaseProgress, RunState, Stage};

/// Turns states into lines; remembers what it has already told.
#[derive(Debug, Default)]
pub(super) struct Lines {
    stage: Option<Stage>,
    doing: String,
    phases: BTreeMap<String, PhaseProgress>,
    /// For each fault whether its end was told.
    faults: Vec<bool>,
    log_total: u64,
    told_us: Option<u64>,
    told: String,
}

/// Between two lines of progress, µs.
const EVERY_US: u64 = 1_000_000;

impl Lines {
    /// What is new in `state`, as lines.
    pub(super) fn next(&mut self, state: &RunState) -> Vec<String> {
        let at = time(state.elapsed_us);
        let mut lines: Vec<String> = self.new_log(state).iter().map(log).collect();

        if self.stage != Some(state.stage) || self.doing != state.doing {
            (self.stage, self.doing) = (Some(state.stage), state.doing.clone());
            let mut line = format!("{at} stage={}", stage_word(state.stage));
            if !state.doing.is_empty() {
                line.push_str(&format!(" doing={}", value(&state.doing)));
            }
            lines.push(line);
        }
        for phase in &state.phases {
            let before = self.phases.insert(phase.name.clone(), phase.state);
            if before == Some(phase.state) || phase.state == PhaseProgress::Queued {
                continue;
            }
            let word = match phase.state {
                PhaseProgress::Queued => "queued",
                PhaseProgress::Running => "running",
                PhaseProgress::Ok => "ok",
                PhaseProgress::Failed => "failed",
                PhaseProgress::Skipped => "skipped",
            };
            let mut line = format!("{at} phase={} state={word}", value(&phase.name));
            if matches!(phase.state, PhaseProgress::Ok | PhaseProgress::Failed) {
                line.push_str(&format!(" took={}", compact(phase.elapsed_us)));
                if !phase.note.is_empty() {
                    line.push_str(&format!(" note={}", value(&phase.note)));
                }
            }
            lines.push(line);
        }
        lines.extend(self.new_faults(state));
        let due = self
            .told_us
            .is_none_or(|told| state.elapsed_us >= told + EVERY_US);
        // A fleet that is held up for hours says something when nodes come or go.
        let nodes = format!("{:?}", state.nodes_up());
        let worth =
            state.stage == Stage::Running || (state.stage == Stage::Holding && nodes != self.told);
        if due && worth {
            self.told_us = Some(state.elapsed_us);
            lines.push(format!("{at} {}", words(state)));
            self.told = nodes;
        }
        lines
    }

    /// Faults that have fallen or come to their end since last time.
    fn new_faults(&mut self, state: &RunState) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, fault) in state.faults.iter().enumerate() {
            let words = |at: u64, state: &str| {
                let target = value(&fault.targets.join(","));
                format!(
                    "{} fault={} target={target} state={state}",
                    time(at),
                    fault.kind
                )
            };
            if number == self.faults.len() {
                self.faults.push(false);
                lines.push(words(fault.at_us, "fell"));
            }
            if let (Some(up), Some(told @ false)) = (fault.up_us, self.faults.get_mut(number)) {
                *told = true;
                let away = compact(up.saturating_sub(fault.at_us));
                lines.push(format!("{} away={away}", words(up, "up")));
            }
        }
        lines
    }

    /// The log lines that were not there last time; those that fell out in between are lost, and
    /// the whole log is in the run's folder.
    fn new_log<'a>(&mut self, state: &'a RunState) -> &'a [LogLine] {
        let fresh = state.log_total.saturating_sub(self.log_total);
        self.log_total = state.log_total;
        let fresh = usize::try_from(fresh)
            .unwrap_or(usize::MAX)
            .min(state.log.len());
        &state.log[state.log.len() - fresh..]
    }
}

/// Where the run is, on one line.
pub(super) fn progress(state: &RunState) -> String {
    format!("{} {}", time(state.elapsed_us), words(state))
}

fn words(state: &RunState) -> String {
    let mut words = Vec::new();
    match state.current_phase() {
        Some((_, phase)) => {
            words.push(format!("phase={}", value(&phase.name)));
            if phase.of > 0 && phase.unit != "µs" {
                words.push(format!("done={}/{}", phase.done, phase.of));
            }
        }
        None => words.push(format!("stage={}", stage_word(state.stage))),
    }
    let (up, total) = state.nodes_up();
    words.push(format!("up={up}/{total}"));
    let confirmed: u64 = state
        .fleets
        .iter()
        .map(|fleet| fleet.of(NodeState::Confirmed))
        .sum();
    words.push(format!("confirmed={confirmed}"));
    let steps: Vec<String> = state
        .steps
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(step, n)| format!("{step}:{n}"))
        .collect();
    if !steps.is_empty() {
        words.push(format!("steps={}", steps.join(",")));
    }
    for moving in state.rates.iter().filter(|moving| moving.now > 0.0) {
        words.push(format!(
            "{}_per_s={}",
            moving.name,
            rate(moving.now).replace(',', "")
        ));
    }
    words.push(format!(
        "errors={}",
        state.ops.iter().map(|op| op.errors).sum::<u64>()
    ));
    words.push(format!(
        "late={}",
        state.ops.iter().map(|op| op.late).sum::<u64>()
    ));
    let cpu = state
        .workers
        .iter()
        .filter_map(|worker| worker.cpu_pct)
        .reduce(f64::max);
    words.push(format!("cpu={}", known(cpu, |cpu| format!("{cpu:.0}%"))));
    let lag = state
        .workers
        .iter()
        .filter_map(|worker| worker.sched_lag_p99_us)
        .max();
    words.push(format!("lag_p99={}", known(lag, compact)));
    words.push(match &state.health {
        GeneratorHealth::Unknown => format!("generator={UNKNOWN}"),
        GeneratorHealth::Healthy => "generator=healthy".to_owned(),
        GeneratorHealth::Limited(why) => format!("generator=limited why={}", value(why)),
    });
    words.join(" ")
}

fn log(line: &LogLine) -> String {
    let level = match line.level {
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    format!(
        "{} log={level} text={}",
        time(line.at_us),
        value(&line.text)
    )
}

fn time(us: u64) -> String {
    format!("t={}.{}s", us / 1_000_000, us / 100_000 % 10)
}

/// A duration as one word: `41ms`, `2min12s`.
fn compact(us: u64) -> String {
    span(us).replace(' ', "")
}

/// A value as one word: quoted when it is empty or has anything in it that would end the word.
fn value(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let clean: String = text
        .chars()
        .map(|c| match c {
            '"' => '\'',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect();
    format!("\"{clean}\"")
}

#[cfg(test)]
#[path = "lines/tests.rs"]
mod tests;
