//! The end of a run: the last picture, the last words, the exit code.

use std::path::Path;

use crate::assert::AssertState;
use crate::coordinator::Driven;
use crate::exit::Exit;
use crate::measure::{Quantile, RunState, Stage, TargetState};
use crate::results::{Manifest, Outcome, Verdict, WorkerPlace};
use crate::view::{self, Mode};

use super::Options;

/// Brings the picture to how the run came out.
pub(super) fn finish_picture(state: &mut RunState, driven: &Driven, verdict: &Verdict) {
    state.stage = Stage::Done;
    state.doing = String::new();
    if !driven.phases.is_empty() {
        state.phases.clone_from(&driven.phases);
    }
    for (view, result) in state.asserts.iter_mut().zip(&verdict.asserts) {
        view.value = result.value.map(|_| result.shown.clone());
        view.state = match result.state {
            AssertState::Ok => TargetState::Ok,
            AssertState::Failed => TargetState::Failed,
            AssertState::Warned => TargetState::Warned,
            AssertState::Inconclusive => TargetState::Inconclusive,
        };
    }
}

/// Adds what only the end of a run knows.
pub(super) fn close_manifest(mut manifest: Manifest, driven: &Driven) -> Manifest {
    for (name, varz) in &driven.varz {
        let value = serde_json::to_value(varz).unwrap_or_default();
        manifest.brokers.insert(name.clone(), value);
    }
    manifest.relayed.clone_from(&driven.relayed);
    let members = driven.members.iter();
    manifest.placement = members
        .map(|(worker, member)| {
            let seen = driven.workers.get(worker).cloned().unwrap_or_default();
            WorkerPlace {
                worker: *worker,
                nodes: seen.nodes,
                cpu_s: seen.health.cpu_s,
                rss_bytes: seen.rss_bytes_most,
                descriptors_most: seen.descriptors_most,
                sched_lag_p99_us: seen.lag.quantile(Quantile::P99),
                member: member.clone(),
                lost: driven.lost.get(worker).cloned(),
            }
        })
        .collect();
    manifest
}

/// Tells people how the run came out.
pub(super) fn last_words(
    options: &Options,
    state: &RunState,
    verdict: &Verdict,
    folder: Option<&Path>,
) {
    for reason in &verdict.reasons {
        eprintln!("loadgen: {reason}");
    }
    let (mode, _) = options.progress.resolve();
    if folder.is_none() || mode == Mode::Json {
        return;
    }
    let outcome = verdict.outcome.headline().to_lowercase();
    let ending = view::Ending {
        outcome: &outcome,
        folder,
    };
    let words = view::summary(state, &ending);
    if options.quiet {
        print!(
            "{}",
            words
                .lines()
                .last()
                .map_or(String::new(), |line| format!("{line}\n"))
        );
    } else {
        print!("{words}");
    }
}

/// The exit code of a verdict.
pub(super) fn exit_of(verdict: &Verdict) -> Exit {
    match verdict.outcome {
        Outcome::Pass => Exit::Pass,
        Outcome::Fail => Exit::AssertFailed,
        Outcome::Invalid => Exit::Invalid,
        Outcome::Inconclusive => Exit::Inconclusive,
        Outcome::Aborted if verdict.exit_code == Exit::Interrupted.code() => Exit::Interrupted,
        Outcome::Aborted => Exit::Aborted,
        Outcome::Error if verdict.exit_code == Exit::Formation.code() => Exit::Formation,
        Outcome::Error => Exit::ToolError,
    }
}
