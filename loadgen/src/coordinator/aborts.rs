//! What the conductor does about asserts that may end the run early.

use std::time::Duration;

use crate::assert::{AbortWatch, Domain, evaluate};
use crate::measure::{OpKey, PhaseProgress};
use crate::results::Ending;

use super::conduct::Conductor;

impl Conductor<'_> {
    /// Ends the run in order when an assert has been breached for as long as its `abort` lets it.
    pub(super) async fn watch_asserts(&mut self) {
        let plan = std::sync::Arc::clone(&self.drive.plan);
        let asserts = &plan.scenario.asserts;
        if AbortWatch::is_idle(asserts) || self.stopping || self.ending.is_some() {
            return;
        }
        self.bring_up_to_date(AbortWatch::watches(asserts, Domain::Provision));
        let (totals, baselines) = (&self.totals, self.drive.baselines);
        let mut aborts = std::mem::take(&mut self.aborts);
        let breach = aborts.look(
            asserts,
            self.drive.clock.now(),
            |phase| self.running_for(phase),
            |assert, that| evaluate(that, assert.level, totals, baselines.value(assert, that)),
        );
        self.aborts = aborts;
        if let Some(breach) = breach {
            tracing::error!("{breach}");
            self.fail(Ending::AbortedByAssert(Box::new(breach))).await;
        }
    }

    /// How long a phase has been running, or the run where none is named.
    fn running_for(&self, phase: Option<&str>) -> Option<Duration> {
        let index = match phase {
            Some(name) => {
                let index = self.phases.iter().position(|view| view.name == name)?;
                let view = self.phases.get(index)?;
                (view.state == PhaseProgress::Running).then_some(index)?
            }
            None => 0,
        };
        self.machine.phase()?;
        self.phases.get(index)?.started_us?;
        Some(self.elapsed_in(index))
    }

    /// What is otherwise worked out at the end of a phase, as of now: rates and enrolments.
    fn bring_up_to_date(&mut self, enrolments: bool) {
        let plan = std::sync::Arc::clone(&self.drive.plan);
        let now_us = self.drive.clock.now_us();
        for (phase, view) in plan.scenario.phases.iter().zip(&self.phases) {
            let running = view.state == PhaseProgress::Running;
            let Some(started_us) = view.started_us.filter(|at| running && *at < now_us) else {
                continue;
            };
            for op in &phase.ops {
                let key = OpKey::new(&phase.name, &op.name);
                self.totals.set_window(&key, started_us, now_us);
            }
        }
        // What came of fleets of which not all are to be confirmed is known at the end of a phase.
        if let (true, None, Some(status)) = (enrolments, &self.outcomes, self.status()) {
            self.totals.enrolment = Some(self.expected.enrolment(&status, &self.totals));
        }
    }
}
