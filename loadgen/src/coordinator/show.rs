//! What the conductor shows while it goes on, and hands back at the end.

use std::sync::Arc;
use std::time::Duration;

use crate::assert::judge_all;
use crate::measure::{PhaseProgress, micros};
use crate::message::Tally;
use crate::provisioner::Status;
use crate::results::Ending;

use super::board::Known;
use super::conduct::Conductor;
use super::drive::Driven;
use super::ledger;
use super::machine::Progress;
use super::notes::note;
use super::views::fleet_views;

/// How often a picture is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

impl Conductor<'_> {
    pub(super) fn status(&self) -> Option<Arc<Status>> {
        self.ledger.as_ref()?.borrow().clone()
    }

    pub(super) fn elapsed_in(&self, index: usize) -> Duration {
        let started = self.phases.get(index).and_then(|view| view.started_us);
        let now = self.drive.clock.now();
        started.map_or(Duration::ZERO, |at| {
            now.saturating_sub(Duration::from_micros(at))
        })
    }

    pub(super) fn phase_name(&self) -> String {
        let phases = &self.drive.plan.scenario.phases;
        let begun = self
            .phases
            .iter()
            .rposition(|view| view.started_us.is_some());
        let phase = phases.get(begun.unwrap_or_default());
        phase.map_or(String::new(), |phase| phase.name.clone())
    }

    pub(super) fn show_phase(&mut self, index: usize, progress: &Progress) {
        let elapsed = self.elapsed_in(index);
        let of_phase = self
            .progress
            .values()
            .filter(|told| told.phase == Some(index));
        let rounds = of_phase.map(|told| told.rounds).sum();
        let note = note(&self.drive.plan, index, &self.totals, progress.confirmed);
        if let Some(view) = self.phases.get_mut(index)
            && view.state == PhaseProgress::Running
        {
            view.elapsed_us = micros(elapsed);
            view.note = note;
            ledger::show_progress(&self.drive.plan, index, view, progress, rounds);
        }
    }

    /// Draws a picture when it is time for one; answers whether it was.
    pub(super) fn draw_if_due(&mut self) -> bool {
        let now = self.drive.clock.now();
        let due = self
            .drawn_at
            .is_none_or(|at| now.saturating_sub(at) >= DRAW_EVERY);
        if due {
            self.draw();
        }
        due
    }

    /// Draws a picture now.
    pub(super) fn draw(&mut self) {
        self.drawn_at = Some(self.drive.clock.now());
        let lines = self.drive.logs.drain();
        self.drive.chronicle.log(&lines);
        self.board.log(lines);
        for index in 0..self.phases.len() {
            let ended = matches!(
                self.phases[index].state,
                PhaseProgress::Ok | PhaseProgress::Failed
            );
            if ended {
                let confirmed = self.totals.enrolment.as_ref().map_or(0, |e| e.confirmed);
                self.phases[index].note = note(&self.drive.plan, index, &self.totals, confirmed);
            }
        }
        self.totals.follow_storms();
        let scenario = &self.drive.plan.scenario;
        let judged = judge_all(&scenario.asserts, &self.totals, self.drive.baselines);
        let status = self.status();
        let state = self.board.draw(Known {
            plan: &self.drive.plan,
            stage: self.stage,
            doing: &self.doing,
            elapsed_us: self.drive.clock.now_us(),
            phases: &self.phases,
            totals: &self.totals,
            fleets: fleet_views(self.progress.values()),
            status: status.as_deref(),
            brokers: &self.brokers,
            faults: &self.struck,
            workers: &self.workers,
            judged: &judged,
        });
        self.drive.states.send_replace(Arc::new(state));
    }

    pub(super) fn skip_rest(&mut self) {
        for view in &mut self.phases {
            if view.state == PhaseProgress::Queued {
                view.state = PhaseProgress::Skipped;
            }
        }
    }

    /// Puts everything together that is left when nothing runs any more.
    pub(super) async fn finish(mut self) -> Driven {
        let tallies = self.progress.values().map(|progress| progress.tally);
        let tally = tallies.fold(Tally::default(), Tally::plus);
        let ending = self.ending.take().unwrap_or(Ending::Complete);
        let complete = matches!(ending, Ending::Complete | Ending::PhaseFailed(_));
        // What a lost worker's nodes did last, nobody knows.
        let comparable = complete && self.roll.lost().is_empty();
        // While a fleet is held up, whoever uses it decides about its nodes.
        let ledger = self.drive.site.status_command().is_some() && self.drive.hold.is_none();
        let mut wrong = match (&self.totals.enrolment, comparable && ledger) {
            (Some(enrolment), true) => ledger::disagreements(enrolment, &tally),
            _ => Vec::new(),
        };
        if comparable {
            let hosted = self.workers.values().map(|seen| seen.nodes).sum();
            wrong.extend(ledger::missing_nodes(&self.drive.plan, hosted));
        }
        if tally.lost_replies > 0 {
            let lost = tally.lost_replies;
            self.spoilt
                .push(format!("{lost} replies were lost on our side"));
        }
        self.totals.connect = ledger::connect(&self.drive.plan, &tally);
        self.usage.settle(&mut self.totals);
        self.draw();
        let relayed = self.drive.site.formation.relayed().iter();
        Driven {
            relayed: relayed.map(|relayed| relayed.line.seen()).collect(),
            ending,
            totals: self.totals,
            spoilt: self.spoilt,
            wrong,
            phases: self.phases,
            brokers: self.brokers,
            varz: self
                .looks
                .into_iter()
                .map(|(name, look)| (name, look.varz))
                .collect(),
            workers: self.workers,
            members: self.members,
            lost: self.roll.lost().clone(),
        }
    }
}
