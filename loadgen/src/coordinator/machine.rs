//! The coordinator as a pure machine: what is known goes in, what is to be done comes out.
//!
//! ```text
//! gather ──► phase 1 ──► closing ──► phase 2 ──► … ──► drain ──► done
//!    │           │ timeout, stop        │                ▲
//!    └───────────┴──────────────────────┴────────────────┘
//! ```
//!
//! Time is a parameter: microseconds do not pass in here, they are told.

use std::time::Duration;

use crate::scenario::{Phase, Reached};

/// When a phase is over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PhaseRules {
    /// The barrier; the phase's finite operations must be done as well.
    pub until: Option<Until>,
    /// A fixed length; ends the phase whatever its operations do.
    pub duration: Option<Duration>,
    /// Longer than this, and the phase has failed.
    pub timeout: Option<Duration>,
}

impl From<&Phase> for PhaseRules {
    fn from(phase: &Phase) -> Self {
        Self {
            until: phase.until.as_ref().map(|until| Until {
                goal: until.every,
                ratio: until.ratio,
                settle: until.settle,
            }),
            duration: phase.duration,
            timeout: phase.timeout,
        }
    }
}

/// A barrier: so many nodes have come so far, and stayed there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Until {
    /// How far.
    pub goal: Reached,
    /// Share of the nodes that are expected to get there, 0 to 1.
    pub ratio: f64,
    /// How long it must hold.
    pub settle: Duration,
}

/// How far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nodes that are expected to be connected.
    pub expect_connected: u64,
    /// Nodes that are.
    pub connected: u64,
    /// Nodes that are expected to be confirmed.
    pub expect_confirmed: u64,
    /// Nodes that are, by the ledger and by our own count.
    pub confirmed: u64,
    /// Nodes that are expected to come to some outcome of their enrolment.
    pub expect_settled: u64,
    /// Nodes that have come to the one that is right for them.
    pub settled: u64,
    /// Nodes whose certificates were renewed.
    pub renewed: u64,
    /// Whether every finite operation of the phase has started all it has to.
    pub ops_issued: bool,
    /// Whether every finite operation of the phase has run to its end.
    pub ops_done: bool,
    /// Whether a fault of the phase is due at a time still to come, or under way.
    pub faults_open: bool,
}

impl Progress {
    fn reached(&self, until: &Until) -> bool {
        let enough = |now: u64, expected: u64| now as f64 >= until.ratio * expected as f64;
        let confirmed = || enough(self.confirmed, self.expect_confirmed);
        match until.goal {
            Reached::Connected => enough(self.connected, self.expect_connected),
            Reached::Confirmed => confirmed(),
            Reached::Settled => enough(self.settled, self.expect_settled) && confirmed(),
            Reached::Renewed => enough(self.renewed, self.expect_confirmed),
        }
    }
}

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A worker has joined and holds its assignment.
    WorkerReady,
    /// Things are so far now; told several times a second.
    Progress(Progress),
    /// Every worker has handed over the last numbers of the phase that ended.
    Closed,
    /// Every node has ended.
    Drained,
    /// Go no further.
    Stop,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Begin this phase.
    Begin(usize),
    /// End this phase, and collect its last numbers.
    End(usize, PhaseEnd),
    /// End every node.
    Drain,
    /// Nothing is left to do.
    Finish,
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseEnd {
    /// As it should.
    Complete,
    /// It took longer than its timeout.
    TimedOut,
    /// The run was stopped during it.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Gather {
        missing: u32,
    },
    Phase {
        index: usize,
        since: Duration,
        reached_at: Option<Duration>,
    },
    Closing {
        index: usize,
        end: PhaseEnd,
    },
    Drain,
    Done,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Machine {
    phases: Vec<PhaseRules>,
    lead: Duration,
    stage: Stage,
}

impl Machine {
    /// A machine that waits for `workers` and then goes through `phases`. Each begins `lead` after
    /// it is told to, so that all workers have heard of it by then.
    pub fn new(workers: u32, phases: Vec<PhaseRules>, lead: Duration) -> Self {
        Self {
            phases,
            lead,
            stage: Stage::Gather { missing: workers },
        }
    }

    /// Whether workers are still waited for.
    pub fn gathers(&self) -> bool {
        matches!(self.stage, Stage::Gather { .. })
    }

    /// The phase that is running or being closed.
    pub fn phase(&self) -> Option<usize> {
        match self.stage {
            Stage::Phase { index, .. } | Stage::Closing { index, .. } => Some(index),
            _ => None,
        }
    }

    /// Takes one input at `now` (since the start of the run) and says what is to be done.
    pub fn step(&mut self, now: Duration, input: Input) -> Option<Effect> {
        match (self.stage, input) {
            (Stage::Gather { missing }, Input::WorkerReady) if missing > 1 => {
                self.stage = Stage::Gather {
                    missing: missing - 1,
                };
                None
            }
            (Stage::Gather { .. }, Input::WorkerReady) => Some(self.begin(0, now)),
            (Stage::Phase { index, .. }, Input::Progress(progress)) => {
                self.judge(index, now, &progress)
            }
            (Stage::Phase { index, .. }, Input::Stop) => Some(self.end(index, PhaseEnd::Stopped)),
            (Stage::Closing { index, end }, Input::Closed) => Some(match end {
                PhaseEnd::Complete => self.begin(index + 1, now),
                PhaseEnd::TimedOut | PhaseEnd::Stopped => self.drain(),
            }),
            (Stage::Closing { index, .. }, Input::Stop) => {
                self.stage = Stage::Closing {
                    index,
                    end: PhaseEnd::Stopped,
                };
                None
            }
            (Stage::Gather { .. }, Input::Stop) => Some(self.drain()),
            (Stage::Drain, Input::Drained) => {
                self.stage = Stage::Done;
                Some(Effect::Finish)
            }
            _ => None,
        }
    }

    fn judge(&mut self, index: usize, now: Duration, progress: &Progress) -> Option<Effect> {
        let Stage::Phase {
            since, reached_at, ..
        } = self.stage
        else {
            return None;
        };
        let rules = self.phases.get(index)?;
        let elapsed = now.saturating_sub(since);
        let held_since = match &rules.until {
            Some(until) if progress.reached(until) => Some(reached_at.unwrap_or(now)),
            _ => None,
        };
        self.stage = Stage::Phase {
            index,
            since,
            reached_at: held_since,
        };
        let settled = match (&rules.until, held_since) {
            (Some(until), Some(at)) => now.saturating_sub(at) >= until.settle,
            (Some(_), None) => false,
            (None, _) => true,
        };
        // A barrier says how many nodes are enough, so the last ones are not waited for.
        let over = match (rules.duration, &rules.until) {
            (Some(duration), _) => elapsed >= duration,
            (None, Some(_)) => settled && progress.ops_issued && !progress.faults_open,
            (None, None) => progress.ops_done && !progress.faults_open,
        };
        if over {
            return Some(self.end(index, PhaseEnd::Complete));
        }
        let late = rules.timeout.is_some_and(|timeout| elapsed >= timeout);
        late.then(|| self.end(index, PhaseEnd::TimedOut))
    }

    fn begin(&mut self, index: usize, now: Duration) -> Effect {
        if index >= self.phases.len() {
            return self.drain();
        }
        self.stage = Stage::Phase {
            index,
            since: now.saturating_add(self.lead),
            reached_at: None,
        };
        Effect::Begin(index)
    }

    fn end(&mut self, index: usize, end: PhaseEnd) -> Effect {
        self.stage = Stage::Closing { index, end };
        Effect::End(index, end)
    }

    fn drain(&mut self) -> Effect {
        self.stage = Stage::Drain;
        Effect::Drain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn confirmed(ratio: f64, settle: f64) -> PhaseRules {
        PhaseRules {
            until: Some(Until {
                goal: Reached::Confirmed,
                ratio,
                settle: at(settle),
            }),
            duration: None,
            timeout: Some(at(60.0)),
        }
    }

    fn progress(confirmed: u64) -> Input {
        Input::Progress(Progress {
            expect_confirmed: 1000,
            confirmed,
            ops_issued: true,
            ..Progress::default()
        })
    }

    fn started(rules: PhaseRules) -> Machine {
        let mut machine = Machine::new(1, vec![rules, PhaseRules::default()], Duration::ZERO);
        assert_eq!(
            machine.step(at(0.0), Input::WorkerReady),
            Some(Effect::Begin(0))
        );
        machine
    }

    #[test]
    fn a_barrier_must_hold_for_as_long_as_it_settles() {
        let mut machine = started(confirmed(1.0, 5.0));
        assert_eq!(machine.step(at(1.0), progress(1000)), None);
        assert_eq!(machine.step(at(4.0), progress(999)), None);
        assert_eq!(machine.step(at(5.0), progress(1000)), None);
        assert_eq!(machine.step(at(9.9), progress(1000)), None);
        let end = machine.step(at(10.0), progress(1000));
        assert_eq!(end, Some(Effect::End(0, PhaseEnd::Complete)));
        assert_eq!(
            machine.step(at(10.1), Input::Closed),
            Some(Effect::Begin(1))
        );
    }

    #[test]
    fn a_phase_waits_for_its_operations_and_faults() {
        let mut machine = started(confirmed(0.5, 0.0));
        let waiting = |ops_issued, faults_open| {
            Input::Progress(Progress {
                expect_confirmed: 10,
                confirmed: 5,
                ops_issued,
                faults_open,
                ..Progress::default()
            })
        };
        assert_eq!(machine.step(at(1.0), waiting(false, false)), None);
        assert_eq!(machine.step(at(1.0), waiting(true, true)), None);
        let end = machine.step(at(1.0), waiting(true, false));
        assert_eq!(end, Some(Effect::End(0, PhaseEnd::Complete)));
    }

    #[test]
    fn a_phase_that_takes_too_long_ends_the_run() {
        let mut machine = started(confirmed(1.0, 0.0));
        assert_eq!(machine.step(at(59.9), progress(1)), None);
        let end = machine.step(at(60.0), progress(1));
        assert_eq!(end, Some(Effect::End(0, PhaseEnd::TimedOut)));
        assert_eq!(machine.step(at(60.1), Input::Closed), Some(Effect::Drain));
        assert_eq!(machine.step(at(61.0), Input::Drained), Some(Effect::Finish));
    }

    #[test]
    fn a_fixed_length_ends_a_phase_whatever_runs() {
        let mut machine = started(PhaseRules {
            duration: Some(at(3.0)),
            ..PhaseRules::default()
        });
        let busy = Input::Progress(Progress::default());
        assert_eq!(machine.step(at(2.9), busy), None);
        let end = machine.step(at(3.0), busy);
        assert_eq!(end, Some(Effect::End(0, PhaseEnd::Complete)));
    }

    #[test]
    fn the_machine_gathers_every_worker_first() {
        let mut machine = Machine::new(2, vec![PhaseRules::default()], Duration::ZERO);
        assert_eq!(machine.step(at(0.0), Input::WorkerReady), None);
        assert_eq!(
            machine.step(at(0.1), Input::WorkerReady),
            Some(Effect::Begin(0))
        );
    }

    proptest! {
        /// Whatever is told in whatever order, a stopped run gets to its end: nodes are always
        /// drained, exactly once, and nothing is begun after the stop.
        #[test]
        fn a_stop_always_leads_to_the_end(inputs in proptest::collection::vec(0_u8..5, 0..40), stop_at in 0_usize..40) {
            let mut machine = Machine::new(
                1,
                vec![confirmed(1.0, 0.0), confirmed(1.0, 1.0)],
                Duration::ZERO,
            );
            let mut effects = Vec::new();
            for (i, input) in inputs.iter().enumerate().take(stop_at) {
                let input = match input {
                    0 => Input::WorkerReady,
                    1 => progress(1000),
                    2 => progress(3),
                    3 => Input::Closed,
                    _ => Input::Drained,
                };
                effects.extend(machine.step(at(i as f64), input));
            }
            let before = effects.len();
            for input in [Input::Stop, Input::Closed, Input::Drained] {
                effects.extend(machine.step(at(99.0), input));
            }
            prop_assert_eq!(effects.last(), Some(&Effect::Finish));
            prop_assert_eq!(effects.iter().filter(|e| **e == Effect::Drain).count(), 1);
            prop_assert!(!effects[before..].iter().any(|e| matches!(e, Effect::Begin(_))));
        }
    }
}
