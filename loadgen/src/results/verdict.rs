//! How a run came out, and why.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assert::{AssertState, BaselineValue, Breach, Judged};
use crate::exit::Exit;
use crate::measure::{Hist, Quantile, Totals, micros};
use crate::scenario::Limits;

/// How a run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every assert held.
    Pass,
    /// An assert failed, or a phase did not get where it was to go.
    Fail,
    /// Ended before its end, by an assert or by hand.
    Aborted,
    /// The measurement is worthless: a limit was breached, or a fault missed.
    Invalid,
    /// Too little was measured to judge an assert.
    Inconclusive,
    /// The tool or the formation failed.
    Error,
}

impl Outcome {
    /// The word for it in capitals, as it stands on top of a summary.
    pub fn headline(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Aborted => "ABORTED",
            Self::Invalid => "INVALID",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Error => "ERROR",
        }
    }
}

/// How the running of it ended, asserts aside.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Every phase ran to its end.
    Complete,
    /// A phase did not reach its condition in time; says which and how far it got.
    PhaseFailed(String),
    /// An assert ended it early; says which.
    AbortedByAssert(Box<Breach>),
    /// ctrl-c, SIGTERM or `q`.
    Interrupted,
    /// The brokers or provisioners did not come up, or ended unasked.
    FormationFailed(String),
    /// Anything else that went wrong with us.
    Failed(String),
}

/// `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Version of this file.
    pub schema: u32,
    /// How the run came out.
    pub outcome: Outcome,
    /// The exit code it gives.
    pub exit_code: u8,
    /// Why it is not a pass, in words; empty for a pass.
    pub reasons: Vec<String>,
    /// What failed, told where the run is worthless as well: targets that were missed, phases that
    /// were not done, counts that disagree.
    #[serde(default)]
    pub failed: Vec<String>,
    /// The assert that ended it early.
    #[serde(default)]
    pub aborted_by: Option<Breach>,
    /// Every assert.
    pub asserts: Vec<AssertResult>,
    /// Every limit that was set.
    pub limits: Vec<LimitResult>,
}

/// One assert in `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AssertResult {
    /// The phase it is about; `null` for the whole run.
    pub phase: Option<String>,
    /// The expression as written.
    pub that: String,
    /// The value, in `unit`; `null` when it was not measured or the sample is too small.
    pub value: Option<f64>,
    /// `us`, `per_s`, `bytes`, `pct`, `ratio` or `count`.
    pub unit: String,
    /// The value for people, with its unit.
    pub shown: String,
    /// Samples behind the value.
    pub samples: u64,
    /// How it came out.
    pub state: AssertState,
    /// What the value is compared with, in its unit; `null` without the value of a baseline.
    #[serde(default)]
    pub limit: Option<f64>,
    /// The value of the baseline run, where it is compared with one.
    #[serde(default)]
    pub baseline: Option<BaselineValue>,
}

impl AssertResult {
    /// The value for people, beside that of the baseline where there is one.
    pub fn shown_with_baseline(&self) -> String {
        match &self.baseline {
            Some(baseline) => format!("{} (baseline {})", self.shown, baseline.shown),
            None => self.shown.clone(),
        }
    }

    /// Why it failed.
    fn reason(&self) -> String {
        let (that, shown) = (&self.that, &self.shown);
        match &self.baseline {
            Some(BaselineValue {
                run, shown: theirs, ..
            }) => format!("{that}: it is {shown}, and {theirs} in the baseline {run}"),
            None => format!("{that}: it is {shown}"),
        }
    }
}

impl From<&Judged> for AssertResult {
    fn from(judged: &Judged) -> Self {
        Self {
            phase: judged.phase.clone(),
            that: judged.that.clone(),
            value: judged.measured.value,
            unit: judged.metric.metric.unit.word().to_owned(),
            shown: judged.shown(),
            samples: judged.measured.samples,
            state: judged.state,
            limit: judged.limit,
            baseline: judged.baseline.clone(),
        }
    }
}

/// One limit in `verdict.json`. Durations are microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitResult {
    /// Its name in the scenario.
    pub name: String,
    /// The limit.
    pub limit: f64,
    /// The worst value seen; `null` when nothing was judged.
    pub worst: Option<f64>,
    /// Whether it was breached.
    pub broken: bool,
}

/// Judges the limits that are set. Lag and CPU count while an open-paced operation was running.
pub fn judge_limits(limits: &Limits, totals: &Totals, elapsed: Duration) -> Vec<LimitResult> {
    let all = totals.generator_over(|_| true);
    let as_us = |limit: Duration| micros(limit) as f64;
    let rows = [
        (
            "wall_time",
            limits.wall_time.map(as_us),
            Some(micros(elapsed) as f64),
        ),
        ("gen_cpu_pct", limits.gen_cpu_pct, all.cpu_pct.max()),
        (
            "gen_sched_lag_p99",
            limits.gen_sched_lag_p99.map(as_us),
            limits
                .gen_sched_lag_p99
                .and_then(|limit| worst_lag(&all.sched_lag, limit)),
        ),
        ("fd_use_pct", limits.fd_use_pct, all.fd_use_pct.max()),
        (
            "late_sends_pct",
            limits.late_sends_pct,
            all.late_sends_pct(),
        ),
    ];
    rows.into_iter()
        .filter_map(|(name, limit, worst)| {
            let limit = limit?;
            Some(LimitResult {
                name: name.to_owned(),
                limit,
                worst,
                broken: worst.is_some_and(|worst| worst > limit),
            })
        })
        .collect()
}

/// The 99th percentile; of a sample too small for one, the largest value where that is within the
/// limit, which settles it.
fn worst_lag(lag: &Hist, limit: Duration) -> Option<f64> {
    let settled = || lag.max().filter(|max| *max <= micros(limit));
    let worst = lag.quantile(Quantile::P99).or_else(settled);
    worst.map(|us| us as f64)
}

impl Verdict {
    /// Puts together how a run ended, what its asserts and limits say, and what else made it
    /// worthless (`spoilt`: lost numbers, say) or wrong (`wrong`: two counts that disagree).
    ///
    /// Where several things are so, the outcome is the first of: error, aborted, invalid, fail,
    /// inconclusive, pass. A worthless measurement cannot fail a target.
    pub fn decide(
        ending: &Ending,
        judged: &[Judged],
        limits: Vec<LimitResult>,
        totals: &Totals,
        spoilt: Vec<String>,
        wrong: Vec<String>,
    ) -> Self {
        let asserts: Vec<AssertResult> = judged.iter().map(AssertResult::from).collect();
        let in_state = |state| asserts.iter().filter(move |assert| assert.state == state);
        let mut invalid = spoilt;
        invalid.extend(limits.iter().filter(|limit| limit.broken).map(broken_limit));
        invalid.extend(
            totals
                .faults
                .iter()
                .filter(|fault| !fault.happened)
                .map(|fault| {
                    format!(
                        "the fault {} {} did not fall where it was meant to: {}",
                        fault.kind, fault.target, fault.note
                    )
                }),
        );
        let mut failed = wrong;
        if let Ending::PhaseFailed(why) = ending {
            failed.push(why.clone());
        }
        failed.extend(in_state(AssertState::Failed).map(AssertResult::reason));
        let unclear: Vec<String> = in_state(AssertState::Inconclusive)
            .map(|assert| {
                format!(
                    "{}: {} samples are too few to say",
                    assert.that, assert.samples
                )
            })
            .collect();
        let (outcome, exit, reasons) = match ending {
            Ending::Failed(why) => (Outcome::Error, Exit::ToolError, vec![why.clone()]),
            Ending::FormationFailed(why) => (Outcome::Error, Exit::Formation, vec![why.clone()]),
            Ending::Interrupted => (
                Outcome::Aborted,
                Exit::Interrupted,
                vec!["interrupted".to_owned()],
            ),
            Ending::AbortedByAssert(breach) => {
                (Outcome::Aborted, Exit::Aborted, vec![breach.to_string()])
            }
            _ if !invalid.is_empty() => {
                invalid.extend(failed.iter().cloned());
                (Outcome::Invalid, Exit::Invalid, invalid)
            }
            _ if !failed.is_empty() => (Outcome::Fail, Exit::AssertFailed, failed.clone()),
            _ if !unclear.is_empty() => (Outcome::Inconclusive, Exit::Inconclusive, unclear),
            _ => (Outcome::Pass, Exit::Pass, Vec::new()),
        };
        Self {
            schema: 1,
            outcome,
            exit_code: exit.code(),
            reasons,
            failed,
            aborted_by: match ending {
                Ending::AbortedByAssert(breach) => Some((**breach).clone()),
                _ => None,
            },
            asserts,
            limits,
        }
    }

    /// How many asserts held, of how many.
    pub fn held(&self) -> (usize, usize) {
        let held = self
            .asserts
            .iter()
            .filter(|assert| assert.state == AssertState::Ok);
        (held.count(), self.asserts.len())
    }
}

fn broken_limit(limit: &LimitResult) -> String {
    let timed = matches!(limit.name.as_str(), "wall_time" | "gen_sched_lag_p99");
    let show = |value: f64| {
        if timed {
            crate::assert::Unit::Duration.show(value)
        } else {
            crate::assert::Unit::Percent.show(value)
        }
    };
    let worst = limit.worst.map_or("-".to_owned(), show);
    format!(
        "limit {}: {worst}, at most {}",
        limit.name,
        show(limit.limit)
    )
}
