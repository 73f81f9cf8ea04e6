//! Faults: when each is due, doing it, and whether it fell where it was meant to.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::guard::RunMark;
use crate::measure::{FaultRecord, micros};
use crate::provisioner::{Provisioner, Status};
use crate::scenario::{Action, FaultKind, FaultOp, Moment, Phase};
use crate::worker::clock::RunClock;

/// What a fault came to, and what else went wrong with it.
#[derive(Debug)]
pub struct FaultEnd {
    /// What is told of it.
    pub record: FaultRecord,
    /// The target did not come back.
    pub fatal: Option<String>,
}

/// The faults of the running phase.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Vec<Waiting>,
    under_way: JoinSet<FaultEnd>,
}

#[derive(Debug)]
struct Waiting {
    phase: String,
    op: String,
    fault: FaultOp,
}

/// What faults are done with.
#[derive(Clone, Debug)]
pub struct Means {
    /// The provisioners by name.
    pub provisioners: Vec<(String, Arc<Mutex<Provisioner>>)>,
    /// Nodes that are to be enrolled and confirmed.
    pub to_enrol: u64,
    /// Marks what is started again.
    pub mark: RunMark,
    /// The time of the run.
    pub clock: RunClock,
}

impl Faults {
    /// The faults that a phase asks for.
    pub fn begin(&mut self, phase: &Phase) {
        for op in &phase.ops {
            if let Action::Fault(fault) = &op.action {
                self.waiting.push(Waiting {
                    phase: phase.name.clone(),
                    op: op.name.clone(),
                    fault: fault.clone(),
                });
            }
        }
    }

    /// Whether a fault is due at a time still to come, or under way. One that waits for a progress
    /// does not hold the phase up: what it waits for may never come.
    pub fn open(&self) -> bool {
        let timed = |waiting: &Waiting| matches!(waiting.fault.at, Moment::After(_));
        !self.under_way.is_empty() || self.waiting.iter().any(timed)
    }

    /// Whether the progress of enrolments must be looked at closely.
    pub fn watch_progress(&self) -> bool {
        let progress = |waiting: &Waiting| matches!(waiting.fault.at, Moment::Progress { .. });
        self.waiting.iter().any(progress)
    }

    /// Does what is due, `elapsed` after the phase began.
    pub fn fire(&mut self, elapsed: Duration, status: Option<&Status>, means: &Means) {
        let due = |waiting: &mut Waiting| match &waiting.fault.at {
            Moment::After(at) => elapsed >= *at,
            Moment::Progress { step, percent } => status.is_some_and(|status| {
                let done = status.completed(step.step()) as f64;
                done >= percent / 100.0 * means.to_enrol as f64
            }),
        };
        for waiting in self.waiting.extract_if(.., due) {
            for target in &waiting.fault.targets {
                let record = FaultRecord {
                    phase: waiting.phase.clone(),
                    op: waiting.op.clone(),
                    kind: waiting.fault.kind.word().to_owned(),
                    target: target.clone(),
                    ..FaultRecord::default()
                };
                let fault = waiting.fault.clone();
                self.under_way.spawn(disturb(record, fault, means.clone()));
            }
        }
    }

    /// The next fault that has come to its end; waits for ever when none is under way.
    pub async fn ended(&mut self) -> FaultEnd {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(end)) => return end,
                Some(Err(error)) => tracing::error!(%error, "a fault broke off"),
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// What never came to pass, as the phase is over; faults under way go on.
    pub fn missed(&mut self) -> Vec<FaultRecord> {
        let missed = self.waiting.drain(..).map(|waiting| FaultRecord {
            kind: waiting.fault.kind.word().to_owned(),
            target: waiting.fault.target.clone(),
            note: match &waiting.fault.at {
                Moment::After(at) => format!("the phase was over before {at:?}"),
                Moment::Progress { step, percent } => {
                    format!("the phase was over before {percent} % were {}", word(*step))
                }
            },
            phase: waiting.phase,
            op: waiting.op,
            ..FaultRecord::default()
        });
        missed.collect()
    }
}

fn word(step: crate::scenario::ProgressStep) -> &'static str {
    let all = crate::scenario::ProgressStep::ALL;
    let found = all.iter().find(|(own, ..)| *own == step);
    found.map_or("", |(_, word, _)| word)
}

async fn disturb(mut record: FaultRecord, fault: FaultOp, means: Means) -> FaultEnd {
    let found = means
        .provisioners
        .iter()
        .find(|(name, _)| *name == record.target);
    let Some((_, provisioner)) = found else {
        record.note = format!("there is no provisioner {}", record.target);
        return FaultEnd {
            record,
            fatal: None,
        };
    };
    let mut provisioner = provisioner.lock().await;
    let at = means.clock.now();
    record.at_us = Some(micros(at));
    match fault.kind {
        FaultKind::Restart => provisioner.stop().await,
        _ => provisioner.kill().await,
    }
    // The ledger stands still now: what it says is how far things were when the fault fell.
    match provisioner.status().ask().await {
        Ok(status) => judge(&mut record, &status, means.to_enrol),
        Err(error) => record.note = format!("how far things were is unknown: {error}"),
    }
    let Some(down) = fault.down else {
        return FaultEnd {
            record,
            fatal: None,
        };
    };
    tokio::time::sleep_until(means.clock.instant(at.saturating_add(down))).await;
    let back = match provisioner.launch(&means.mark) {
        Ok(()) => provisioner.wait_ready().await,
        Err(error) => Err(error),
    };
    record.down_us = Some(micros(means.clock.now().saturating_sub(at)));
    FaultEnd {
        record,
        fatal: back.err().map(|error| error.to_string()),
    }
}

/// A fault fell where it was meant to when it left something undone: a kill after the last
/// `configure` disturbs nobody.
fn judge(record: &mut FaultRecord, status: &Status, to_enrol: u64) {
    let configured = status.completed("configure");
    let signed = status.completed("sign");
    record.happened = configured < to_enrol;
    record.note = format!("{signed} signed and {configured} configured of {to_enrol}");
    if !record.happened {
        record.note.push_str(": nothing was left to disturb");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn status(signed: u64, configured: u64) -> Status {
        serde_json::from_value(serde_json::json!({
            "service": "stopped", "confirmed": 0, "certificates_issued": signed,
            "keys_signed_twice": 0,
            "steps": { "sign": { "count": signed }, "configure": { "count": configured } },
        }))
        .unwrap()
    }

    #[test]
    fn a_kill_after_the_last_configure_missed() {
        let mut record = FaultRecord::default();
        judge(&mut record, &status(400, 300), 1_000);
        assert!(record.happened);
        assert_eq!(record.note, "400 signed and 300 configured of 1000");
        judge(&mut record, &status(1_000, 1_000), 1_000);
        assert!(!record.happened, "{}", record.note);
    }
}
