//! What the conductor does about the machine's effects: phases begun and ended, nodes drained.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::measure::{Level, LogLine, OpKey, PhaseProgress, Stage, micros};
use crate::message::ToWorker;
use crate::results::Ending;
use crate::scenario::Reached;

use super::conduct::{Conductor, LEAD};
use super::ledger;
use super::machine::{Effect, Input, PhaseEnd, Progress};

/// How long nodes may take to go in order at the end.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

impl Conductor<'_> {
    /// Looks after everything that is due, several times a second.
    pub(super) async fn tick(&mut self) {
        if let Some(ending) = self.drive.site.unasked_end() {
            self.fail(Ending::FormationFailed(ending)).await;
        }
        let now = self.drive.clock.now();
        let limit = self.drive.plan.scenario.limits.wall_time;
        if self.holding_since.is_none() && limit.is_some_and(|limit| now > limit) && !self.stopping
        {
            // The limit itself says that the run is worthless.
            tracing::error!("the run takes longer than limits.wall_time allows");
            self.ending.get_or_insert(Ending::Complete);
            self.stop().await;
        }
        if let (Some(hold), Some(since)) = (&self.drive.hold, self.holding_since)
            && hold
                .within
                .is_some_and(|within| now >= since.saturating_add(within))
        {
            self.stop().await;
        }
        if let Some(index) = self.machine.phase() {
            let elapsed = self.elapsed_in(index);
            let status = self.status();
            self.faults.fire(elapsed, status.as_deref(), &self.means);
            self.closely
                .store(self.faults.watch_progress(), Ordering::Relaxed);
            let mut progress = self.expected.progress(
                index,
                self.progress.values(),
                status.as_deref(),
                self.faults.open(),
            );
            self.settle(index, &mut progress);
            self.show_phase(index, &progress);
            self.step(Input::Progress(progress)).await;
        }
        if self.draw_if_due() {
            self.watch_asserts().await;
        }
    }

    /// Tells the machine, and does what it says.
    pub(super) async fn step(&mut self, input: Input) {
        let now = self.drive.clock.now();
        if let Some(effect) = self.machine.step(now, input) {
            Box::pin(self.perform(effect)).await;
        }
    }

    pub(super) async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Begin(index) => self.begin(index).await,
            Effect::End(index, end) => self.end(index, end).await,
            Effect::Drain => {
                if self.drive.hold.is_some() && !self.stopping && self.ending.is_none() {
                    self.hold();
                    return;
                }
                self.stage = Stage::Stopping;
                self.skip_rest();
                self.read_ledger().await;
                let within = DRAIN_WITHIN;
                self.tell(|| ToWorker::Drain { within }).await;
                // With nobody there, nobody answers.
                self.done |= self.roll.is_empty();
            }
            Effect::Finish => self.done = true,
        }
    }

    fn hold(&mut self) {
        self.stage = Stage::Holding;
        self.holding_since = Some(self.drive.clock.now());
        self.draw();
        if let Some(hold) = &mut self.drive.hold {
            (hold.up)(&self.totals);
        }
    }

    async fn begin(&mut self, index: usize) {
        let plan = Arc::clone(&self.drive.plan);
        let Some(phase) = plan.scenario.phases.get(index) else {
            return;
        };
        self.note(format!("phase {} begins", phase.name));
        let at_us = micros(self.drive.clock.now() + LEAD);
        self.doing.clear();
        if let Some(view) = self.phases.get_mut(index) {
            view.state = PhaseProgress::Running;
            view.started_us = Some(at_us);
        }
        self.faults.begin(phase);
        self.tell(|| ToWorker::Begin {
            phase: index,
            at_us,
        })
        .await;
    }

    async fn end(&mut self, index: usize, end: PhaseEnd) {
        let plan = Arc::clone(&self.drive.plan);
        let Some(phase) = plan.scenario.phases.get(index) else {
            return;
        };
        for missed in self.faults.missed() {
            tracing::warn!(target = %missed.target, note = %missed.note, "a fault missed");
            self.totals.faults.push(missed);
        }
        self.note(format!("phase {} ends: {end:?}", phase.name));
        self.read_ledger().await;
        let now_us = self.drive.clock.now_us();
        for fall in &mut self.totals.falls {
            if fall.phase == phase.name {
                fall.phase_end_us = Some(now_us);
            }
        }
        let mut started_us = now_us;
        if let Some(view) = self.phases.get_mut(index) {
            started_us = view.started_us.unwrap_or(now_us);
            view.elapsed_us = now_us.saturating_sub(started_us);
            view.state = match end {
                PhaseEnd::Complete => PhaseProgress::Ok,
                PhaseEnd::TimedOut | PhaseEnd::Stopped => PhaseProgress::Failed,
            };
            if end == PhaseEnd::TimedOut {
                let (done, of) = (view.done, view.of);
                let why = format!(
                    "phase {} timed out at {done} of {of} {}",
                    phase.name, view.unit
                );
                self.ending.get_or_insert(Ending::PhaseFailed(why));
            }
        }
        for op in &phase.ops {
            let key = OpKey::new(&phase.name, &op.name);
            self.totals.set_window(&key, started_us, now_us);
        }
        let at_once = end == PhaseEnd::Stopped;
        self.tell(|| ToWorker::End {
            phase: index,
            at_once,
        })
        .await;
    }

    /// Writes down what views tell in their own way.
    fn note(&mut self, text: String) {
        tracing::debug!("{text}");
        let line = LogLine {
            at_us: self.drive.clock.now_us(),
            level: Level::Info,
            text,
        };
        self.drive.chronicle.log(&[line]);
    }

    async fn tell(&self, message: impl Fn() -> ToWorker) {
        for worker in self.roll.live() {
            self.drive.crew.tell(worker, message()).await;
        }
    }

    /// How many nodes have come to what is expected of them, where a phase waits for that.
    fn settle(&mut self, index: usize, progress: &mut Progress) {
        let phase = self.drive.plan.scenario.phases.get(index);
        let until = phase.and_then(|phase| phase.until.as_ref());
        let waits = until.is_some_and(|until| until.every == Reached::Settled);
        self.settling.store(waits, Ordering::Relaxed);
        if !waits {
            return;
        }
        let has_joined = |fleet| self.expected.has_joined(index, fleet);
        (progress.settled, progress.expect_settled) = match (&self.outcomes, &self.nodes) {
            (Some(outcomes), Some(nodes)) => outcomes.settled(&nodes.borrow(), has_joined),
            // All are to be confirmed.
            _ => (progress.confirmed, progress.expect_confirmed),
        };
    }

    /// Asks the ledger itself, so that what is told of a phase is not half a second old.
    async fn read_ledger(&mut self) {
        let Some(command) = self.drive.site.status_command() else {
            return self.read_nodes();
        };
        let mut enrolment = match command.ask().await {
            Ok(status) => self.expected.enrolment(&status, &self.totals),
            Err(error) => return tracing::warn!(%error, "the ledger could not be read"),
        };
        if let Some(outcomes) = &self.outcomes {
            match command.nodes().await {
                Ok(nodes) => enrolment.outcomes = outcomes.judge(&nodes),
                Err(error) => tracing::warn!(%error, "the ledger's nodes could not be read"),
            }
        }
        self.totals.enrolment = Some(enrolment);
    }

    /// Without a ledger of ours to ask, our nodes tell what they have seen.
    fn read_nodes(&mut self) {
        let workers = self.progress.values();
        let Some(mut enrolment) = self.expected.enrolment_seen(workers, &self.totals) else {
            return;
        };
        if let Some(outcomes) = &self.outcomes {
            let workers = || self.progress.values();
            enrolment.outcomes = outcomes.seen(|fleet| ledger::arrived(fleet, workers()));
        }
        self.totals.enrolment = Some(enrolment);
    }
}
