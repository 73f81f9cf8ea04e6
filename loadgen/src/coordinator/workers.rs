//! What the conductor hears from its workers, and does about those that are gone.

use crate::control::crew::CrewEvent;
use crate::measure::{Hist, PhaseProgress, Snapshot, Stage, WorkerHealth};
use crate::message::{DIALS, FromWorker, Orders, ToWorker};
use crate::results::Ending;
use crate::scenario::Action;

use super::conduct::Conductor;
use super::machine::Input;

/// What is known of one worker.
#[derive(Clone, Debug, Default)]
pub struct WorkerSeen {
    /// Nodes it hosts.
    pub nodes: u64,
    /// How it was at its latest snapshot.
    pub health: WorkerHealth,
    /// How late its timers fired since the start.
    pub lag: Hist,
    /// Most descriptors it had open.
    pub descriptors_most: Option<u64>,
    /// Most memory it had, bytes.
    pub rss_bytes_most: Option<u64>,
}

impl WorkerSeen {
    fn see(&mut self, snapshot: &Snapshot) {
        let health = &snapshot.health;
        self.nodes = snapshot.fleets.iter().map(|fleet| fleet.total()).sum();
        self.lag.merge(&health.sched_lag);
        self.lag.merge(&health.sched_lag_unjudged);
        self.descriptors_most = self.descriptors_most.max(health.descriptors);
        self.rss_bytes_most = self.rss_bytes_most.max(health.rss_bytes);
        self.health = health.clone();
    }
}

impl Conductor<'_> {
    pub(super) async fn hear(&mut self, event: Option<CrewEvent>) {
        match event {
            Some(CrewEvent::Joined { worker, member }) => {
                tracing::debug!(worker, pid = member.pid, "a worker has joined");
                self.members.insert(worker, member);
                let orders = ToWorker::Assign(Box::new(self.orders(worker)));
                self.drive.crew.tell(worker, orders).await;
            }
            Some(CrewEvent::Says { worker, message }) => self.hear_worker(worker, message).await,
            Some(CrewEvent::Lost { worker, why }) => self.lose(worker, why).await,
            Some(CrewEvent::Failed { why }) => self.lose_all(why),
            None => self.lose_all("every worker is gone".to_owned()),
        }
    }

    fn orders(&self, worker: u32) -> Orders {
        let (workers, plan) = (self.drive.workers, &self.drive.plan);
        Orders {
            worker,
            workers,
            scenario: plan.scenario.text(),
            plan_sha256: plan.sha256(),
            access: self.drive.site.access(),
            dials: DIALS.div_ceil(workers.max(1)) as usize,
        }
    }

    async fn hear_worker(&mut self, worker: u32, message: FromWorker) {
        match message {
            FromWorker::Ready => {
                self.roll.ready(worker);
                self.step(Input::WorkerReady).await;
            }
            FromWorker::Progress(progress) => {
                // What was still under way from a worker that is gone is not counted.
                if !self.roll.lost().contains_key(&worker) {
                    self.progress.insert(worker, progress);
                }
            }
            FromWorker::Snapshot(snapshot) => self.take(worker, *snapshot),
            FromWorker::Closed { .. } => {
                self.roll.close(worker);
                self.close_if_all_have().await;
            }
            FromWorker::Drained => {
                self.roll.drain(worker);
                if self.roll.all_drained() {
                    self.step(Input::Drained).await;
                    self.done = true;
                }
            }
            FromWorker::Failed { why } => {
                let why = format!("worker {worker}: {why}");
                self.lose(worker, why).await;
            }
        }
    }

    fn take(&mut self, worker: u32, mut snapshot: Snapshot) {
        let phase = self.phase_name();
        let lost = self.totals.absorb(&phase, &snapshot);
        if lost > 0 {
            self.spoilt
                .push(format!("{lost} snapshots of worker {worker} were lost"));
        }
        if self.drive.workers > 1 {
            for line in &mut snapshot.log {
                line.text = format!("worker {worker}: {}", line.text);
            }
        }
        self.usage.nodes(worker, &snapshot.health);
        self.workers.entry(worker).or_default().see(&snapshot);
        self.drive.chronicle.snapshot(&phase, &snapshot);
        self.board.log(snapshot.log);
    }

    async fn close_if_all_have(&mut self) {
        if self.roll.take_closed() {
            self.step(Input::Closed).await;
        }
    }

    /// Goes on without a worker where the scenario says so and the others can; ends the run
    /// otherwise.
    async fn lose(&mut self, worker: u32, why: String) {
        self.roll.lose(worker, &why);
        let may_lose = self.drive.plan.scenario.generator.may_lose as usize;
        let asks = worker == 0 && self.asks();
        let too_many = self.roll.lost().len() > may_lose || self.roll.is_empty();
        if self.machine.gathers() || too_many || asks {
            let why = match asks && !too_many {
                true => format!("{why}; it was the one that asks the fleet"),
                false => why,
            };
            self.fail(Ending::Failed(why)).await;
        } else {
            tracing::error!("the run goes on without a worker, as may_lose says: {why}");
            self.expected
                .lose(&self.drive.plan, worker, self.drive.workers);
            self.progress.remove(&worker);
        }
        // It may have been the last one that was waited for.
        self.close_if_all_have().await;
        let draining = self.stopping || self.stage == Stage::Stopping;
        if draining && self.roll.all_drained() {
            self.done = true;
        }
    }

    fn asks(&self) -> bool {
        let mut ops = self.drive.plan.scenario.phases.iter().flat_map(|p| &p.ops);
        ops.any(|op| matches!(op.action, Action::Request(_)))
    }

    /// Nobody can be told anything any more, or not everybody came: there is nothing to wait for.
    fn lose_all(&mut self, why: String) {
        self.ending.get_or_insert(Ending::Failed(why));
        self.stopping = true;
        for view in &mut self.phases {
            if view.state == PhaseProgress::Running {
                view.state = PhaseProgress::Failed;
            }
        }
        self.skip_rest();
        self.done = true;
    }
}
