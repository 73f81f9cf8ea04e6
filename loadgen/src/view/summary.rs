//! The last words of a run: what happened, on as many lines as there were phases.

use std::fmt::Write as _;
use std::path::Path;

use super::format::{count, span};
use crate::measure::{BrokerView, GeneratorHealth, PhaseProgress, RunState, TargetState};

/// How a run ended, as far as the last words tell it.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// The outcome as `verdict.json` says it: `pass`, `fail`, `invalid`, …
    pub outcome: &'a str,
    /// The run's folder, where one was written.
    pub folder: Option<&'a Path>,
}

/// The summary, as `make demo` ends with it: brokers, one line a phase, the generator, asserts
/// that did not hold, and the outcome.
pub fn summary(state: &RunState, ending: &Ending<'_>) -> String {
    let mut text = format!(
        "{}: {} nodes, {} brokers\n",
        state.scenario,
        count(state.nodes_up().1),
        state.brokers.len()
    );
    let phases = state.phases.iter().map(|phase| phase.name.len());
    let brokers = state.brokers.iter().map(|broker| broker.name.len());
    let name_width = phases.chain(brokers).chain([12]).max().unwrap_or(12);
    let mut line = |name: &str, words: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<name_width$}  {}", words.trim_end());
    };
    for broker in &state.brokers {
        line(&broker.name, &broker_words(broker));
    }
    for phase in &state.phases {
        let words = match phase.state {
            PhaseProgress::Queued | PhaseProgress::Skipped => "not reached".to_owned(),
            PhaseProgress::Running => {
                format!("ended after {}  {}", span(phase.elapsed_us), phase.note)
            }
            PhaseProgress::Failed => {
                format!("FAILED after {}  {}", span(phase.elapsed_us), phase.note)
            }
            PhaseProgress::Ok => format!("{:<9} {}", span(phase.elapsed_us), phase.note),
        };
        line(&phase.name, &words);
    }
    line("generator", &generator(state));
    for assert in &state.asserts {
        let word = match assert.state {
            TargetState::Failed => "FAILED",
            TargetState::Warned => "WARNING",
            TargetState::Inconclusive => "TOO FEW",
            _ => continue,
        };
        let value = assert.value.as_deref().unwrap_or("not measured");
        line(
            word,
            &format!("{}: {} (was {value})", assert.phase, assert.that),
        );
    }
    let held = state
        .asserts
        .iter()
        .filter(|assert| assert.state == TargetState::Ok)
        .count();
    let _ = write!(
        text,
        "{}  {held} of {} asserts",
        ending.outcome.to_uppercase(),
        state.asserts.len()
    );
    if let Some(folder) = ending.folder {
        let _ = write!(
            text,
            "  {}/",
            folder.display().to_string().trim_end_matches('/')
        );
    }
    text.push('\n');
    text
}

fn broker_words(broker: &BrokerView) -> String {
    let words = broker.address.clone();
    match broker.state.as_str() {
        "up" | "ended" | "" => words,
        other => format!("{words}  {other}"),
    }
}

fn generator(state: &RunState) -> String {
    let mut words = match &state.health {
        GeneratorHealth::Unknown => "not judged".to_owned(),
        GeneratorHealth::Healthy => "healthy".to_owned(),
        GeneratorHealth::Limited(why) => format!("LIMITED, {why}"),
    };
    let mut figures = Vec::new();
    let lag = state
        .workers
        .iter()
        .filter_map(|worker| worker.sched_lag_p99_us)
        .max();
    if state.workers.len() > 1 {
        figures.push(format!("{} workers", state.workers.len()));
    }
    if let Some(lag) = lag {
        figures.push(format!("lag p99 {}", span(lag)));
    }
    figures.push(format!(
        "{} late",
        count(state.ops.iter().map(|op| op.late).sum())
    ));
    let fullest = state.workers.iter().max_by_key(|worker| worker.descriptors);
    if let Some((open, limit)) =
        fullest.and_then(|worker| worker.descriptors.zip(worker.descriptors_limit))
    {
        figures.push(format!("{} of {} descriptors", count(open), count(limit)));
    }
    let _ = write!(words, ": {}", figures.join(", "));
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn a_newcomer_reads_what_happened() {
        let text = summary(
            &sample::pinging(),
            &Ending {
                outcome: "pass",
                folder: Some(Path::new("results/runs/20261122-1403-quickstart-7c1e")),
            },
        );
        insta::assert_snapshot!(text, @r"
        quickstart: 1,000 nodes, 2 brokers
          provisioning  tls://127.0.0.1:41224
          hub           tls://127.0.0.1:41224
          connect       400 ms    1000/1000
          enrol         4.9 s     1000/1000
          ping-all      ended after 1.1 s  0 missing
          echo-256      not reached
          generator     healthy: lag p99 0.4 ms, 0 late, 2,031 of 20,000 descriptors
          WARNING       enrol: enrol.errors == 0 (was 2)
        PASS  1 of 3 asserts  results/runs/20261122-1403-quickstart-7c1e/
        ");
    }
}
