//! Asserts that end a run early: breached after their grace, for as long as they say.
//!
//! ```text
//! waiting ──grace over, breached──► breached since T ──lasting──► the run ends
//!    ▲                                   │ holds again, or nothing can be said
//!    └───────────────────────────────────┘
//! ```
//!
//! Time is a parameter. An assert of a phase is watched while that phase runs, one of the whole run
//! from the first phase to the last.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evaluate::{AssertState, Judged};
use super::expression::Expression;
use super::metrics::Domain;
use crate::measure::micros;
use crate::scenario::{Abort, Assert};
use crate::units::brief_duration;

/// Why an assert ended the run, in `verdict.json`. Durations are microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Breach {
    /// The phase the assert is about; the whole run when `None`.
    pub phase: Option<String>,
    /// The expression as written.
    pub that: String,
    /// The value that ended the run, in the metric's unit.
    pub value: f64,
    /// What it had to be compared with, in the metric's unit.
    pub limit: f64,
    /// The metric's unit, as in `asserts`.
    pub unit: String,
    /// The value for people.
    pub shown: String,
    /// The limit for people.
    pub limit_shown: String,
    /// Since when it had been breached without a break, µs from the run's start.
    pub since_us: u64,
    /// When it ended the run, µs from the run's start.
    pub at_us: u64,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (since, at) = (
            Duration::from_micros(self.since_us),
            Duration::from_micros(self.at_us),
        );
        write!(f, "{}", self.that)?;
        if let Some(phase) = &self.phase {
            write!(f, " (phase {phase})")?;
        }
        write!(
            f,
            " ended the run: it is {}, the limit is {}; breached since {} after the start, for {}",
            self.shown,
            self.limit_shown,
            brief_duration(since),
            brief_duration(at.saturating_sub(since))
        )
    }
}

/// How long one expression has been breached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fuse {
    since: Option<Duration>,
}

impl Fuse {
    /// Looks at it `now`, `elapsed` after what it is about began. Answers since when it has been
    /// breached once that is long enough.
    fn look(
        &mut self,
        abort: &Abort,
        now: Duration,
        elapsed: Duration,
        breached: bool,
    ) -> Option<Duration> {
        let counts = breached && elapsed >= abort.grace;
        self.since = counts.then(|| self.since.unwrap_or(now));
        self.since
            .filter(|since| now.saturating_sub(*since) >= abort.lasting)
    }
}

/// Every expression that may end a run early.
#[derive(Debug, Default)]
pub struct AbortWatch {
    /// One per expression, in the order of the scenario.
    fuses: Vec<Fuse>,
}

impl AbortWatch {
    /// Whether nothing is watched.
    pub fn is_idle(asserts: &[Assert]) -> bool {
        asserts.iter().all(|assert| assert.abort.is_none())
    }

    /// Whether anything that is watched is of a domain.
    pub fn watches(asserts: &[Assert], domain: Domain) -> bool {
        let mut watched = asserts.iter().filter(|assert| assert.abort.is_some());
        watched.any(|assert| {
            let mut metrics = assert.that.iter().map(|that| that.metric.metric);
            metrics.any(|metric| metric.domain == domain)
        })
    }

    /// Looks at everything that is watched. `elapsed` tells how long a phase (the run, for `None`)
    /// has been running, if it is; `judge` judges an expression on what is measured so far.
    pub fn look(
        &mut self,
        asserts: &[Assert],
        now: Duration,
        elapsed: impl Fn(Option<&str>) -> Option<Duration>,
        judge: impl Fn(&Assert, &Expression) -> Judged,
    ) -> Option<Breach> {
        let watched = asserts.iter().flat_map(|assert| {
            let abort = assert.abort.as_ref();
            abort.into_iter().flat_map(move |abort| {
                let each = assert.that.iter();
                each.map(move |expression| (assert, abort, expression))
            })
        });
        let mut first = None;
        for (place, (assert, abort, expression)) in watched.enumerate() {
            if self.fuses.len() <= place {
                self.fuses.push(Fuse::default());
            }
            let Some(fuse) = self.fuses.get_mut(place) else {
                continue;
            };
            let Some(elapsed) = elapsed(assert.phase.as_deref()) else {
                *fuse = Fuse::default();
                continue;
            };
            let judged = judge(assert, expression);
            let breached = judged.state == AssertState::Failed;
            if let Some(since) = fuse.look(abort, now, elapsed, breached) {
                first = first.or_else(|| breach(&judged, since, now));
            }
        }
        first
    }
}

fn breach(judged: &Judged, since: Duration, now: Duration) -> Option<Breach> {
    let unit = judged.metric.metric.unit;
    let (value, limit) = (judged.measured.value?, judged.limit?);
    Some(Breach {
        phase: judged.phase.clone(),
        that: judged.that.clone(),
        value,
        limit,
        unit: unit.word().to_owned(),
        shown: unit.show(value),
        limit_shown: unit.show(limit),
        since_us: micros(since),
        at_us: micros(now),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::cell::Cell;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::assert::evaluate::evaluate;
    use crate::measure::{Counter, OpKey, OpTotal, Totals};
    use crate::scenario::{AssertLevel, parse};

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn abort(grace: f64, lasting: f64) -> Abort {
        Abort {
            grace: s(grace),
            lasting: s(lasting),
        }
    }

    #[test]
    fn a_breach_counts_after_the_grace_and_must_last() {
        let (abort, mut fuse) = (abort(30.0, 20.0), Fuse::default());
        let mut at = |now: f64, breached| fuse.look(&abort, s(100.0 + now), s(now), breached);
        assert_eq!(at(0.0, true), None);
        assert_eq!(at(29.9, true), None, "the grace is not over");
        assert_eq!(at(30.0, true), None);
        assert_eq!(at(49.9, true), None, "20 s since the end of the grace");
        assert_eq!(at(49.95, false), None, "a break begins it anew");
        assert_eq!(at(50.0, true), None);
        assert_eq!(at(69.9, true), None);
        assert_eq!(at(70.0, true), Some(s(150.0)));
    }

    #[test]
    fn without_grace_and_lasting_the_first_breach_ends_the_run() {
        let (abort, mut fuse) = (abort(0.0, 0.0), Fuse::default());
        assert_eq!(fuse.look(&abort, s(1.0), s(0.0), false), None);
        assert_eq!(fuse.look(&abort, s(1.1), s(0.1), true), Some(s(1.1)));
    }

    proptest! {
        /// Against the rule itself, looked up in the whole history: every look since `since` was a
        /// breach after the grace, the one before it was not, and it lasted.
        #[test]
        fn it_ends_exactly_when_the_rule_says(
            steps in proptest::collection::vec((1_u64..5_000, any::<bool>()), 1..60),
            grace in 0_u64..20_000,
            lasting in 0_u64..20_000,
        ) {
            let ms = Duration::from_millis;
            let abort = Abort { grace: ms(grace), lasting: ms(lasting) };
            let mut fuse = Fuse::default();
            let (mut now, mut history) = (0, Vec::new());
            for (step, breached) in steps {
                now += step;
                history.push((now, breached));
                let counted = history.iter().rev().take_while(|(at, bad)| *bad && *at >= grace);
                let since = counted.last().map(|(at, _)| *at);
                let expected = since.filter(|since| now - since >= lasting).map(ms);
                prop_assert_eq!(fuse.look(&abort, ms(now), ms(now), breached), expected);
            }
        }
    }

    const WATCHED: &str = r#"
[[assert]]
phase = "ask"
that  = ["ping.missing == 0", "ping.rounds >= 1"]
abort = { lasting = "2s" }
"#;

    fn totals(missing: u64) -> Totals {
        let mut op = OpTotal::default();
        op.counters.add(Counter::Started, 3);
        op.counters.add(Counter::Expected, 30);
        op.counters.add(Counter::Missing, missing);
        let mut totals = Totals::new();
        totals.ops.insert(OpKey::new("ask", "ping"), op);
        totals
    }

    #[test]
    fn it_is_watched_while_its_phase_runs_and_says_what_was_wrong_since_when() {
        let text = include_str!("../../tests/data/ask.toml");
        let scenario = parse(Path::new("ask.toml"), &format!("{text}{WATCHED}"), &[]).unwrap();
        let mut watch = AbortWatch::default();
        let (missing, runs) = (Cell::new(4), Cell::new(true));
        let mut look = |now: f64| {
            let totals = totals(missing.get());
            watch.look(
                &scenario.asserts,
                s(now),
                |phase| (phase == Some("ask") && runs.get()).then(|| s(now - 10.0)),
                |assert, that| {
                    assert_eq!(assert.level, AssertLevel::Fail);
                    evaluate(that, assert.level, &totals, None)
                },
            )
        };
        assert_eq!(look(11.0), None);
        runs.set(false);
        assert_eq!(look(14.0), None, "the phase does not run");
        runs.set(true);
        assert_eq!(look(15.0), None, "and what was before does not count");
        missing.set(5);
        let breach = look(17.5).unwrap();
        assert_eq!((breach.value, breach.limit), (5.0, 0.0));
        assert_eq!(
            breach.to_string(),
            "ping.missing == 0 (phase ask) ended the run: it is 5, the limit is 0; breached since \
             15s after the start, for 2.5s"
        );
    }
}
