//! Drives the machine: performs its effects on workers and site, and tells it what happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::assert::judge_all;
use crate::formation::monitor::Monitor;
use crate::guard::RunMark;
use crate::measure::{
    BrokerSample, BrokerView, FleetView, LogLine, OpKey, PhaseProgress, PhaseView, RunState, Stage,
    Totals, WorkerHealth,
};
use crate::message::{Access, Assignment, FromWorker, ToWorker, WorkerProgress};
use crate::plan::Plan;
use crate::provisioner::{Provisioner, Status};
use crate::results::Ending;
use crate::site::Site;
use crate::view::Logs;
use crate::worker::clock::RunClock;

use super::board::{Board, Known, note};
use super::faults::{FaultEnd, Faults, Means};
use super::ledger::{self, Expected};
use super::machine::{Effect, Input, Machine, PhaseEnd, PhaseRules};
use super::usage::UsageWatch;
use super::watch::{BrokerSeen, brokers, ledger as watch_ledger};

/// How often the machine is told how far things are, and a picture is drawn.
const TICK: Duration = Duration::from_millis(100);
/// How long nodes may take to go in order at the end.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);
/// Dials a worker has under way at once.
const DIALS: usize = 64;
/// Messages of all workers that may wait for the coordinator.
const INBOX: usize = 1_024;

/// Takes note of what happens during a run, as it happens.
pub trait Chronicle: Send {
    /// A worker's numbers, taken while `phase` was running.
    fn snapshot(&mut self, phase: &str, snapshot: &crate::measure::Snapshot);
    /// What a broker said of itself.
    fn broker(&mut self, at_us: u64, phase: &str, name: &str, sample: &BrokerSample);
    /// Log lines.
    fn log(&mut self, lines: &[LogLine]);
}

/// What a run is driven with.
pub struct Drive<'a> {
    /// Identifier of the run.
    pub run: &'a str,
    /// The plan.
    pub plan: Arc<Plan>,
    /// How many workers.
    pub workers: u32,
    /// Brokers and provisioners.
    pub site: &'a mut Site,
    /// Marks what faults start again.
    pub mark: RunMark,
    /// The time of the run.
    pub clock: RunClock,
    /// Asks for the end of the run.
    pub stop: CancellationToken,
    /// Where pictures go.
    pub states: &'a watch::Sender<Arc<RunState>>,
    /// The log of this process.
    pub logs: &'a Logs,
    /// Who takes note.
    pub chronicle: &'a mut dyn Chronicle,
    /// Hold after the last phase until asked to stop.
    pub hold: Option<Hold<'a>>,
}

/// What to do once everything is up, for `loadgen up`.
pub struct Hold<'a> {
    /// Called once, when the last phase is over.
    pub up: &'a mut (dyn FnMut(&Totals) + Send),
    /// How long to hold; until asked to stop when `None`.
    pub within: Option<Duration>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Driven {
    /// How it ended.
    pub ending: Ending,
    /// Everything measured.
    pub totals: Totals,
    /// What makes the measurement worthless.
    pub spoilt: Vec<String>,
    /// Two counts of the same thing that disagree.
    pub wrong: Vec<String>,
    /// Every phase as it ended.
    pub phases: Vec<PhaseView>,
    /// Every broker as it was seen last.
    pub brokers: Vec<BrokerView>,
    /// What every broker said of itself last.
    pub varz: BTreeMap<String, crate::formation::monitor::Varz>,
    /// Every worker's nodes and latest health.
    pub workers: BTreeMap<u32, (u64, WorkerHealth)>,
}

impl Driven {
    /// A run in which nothing came to be driven.
    pub fn nothing(ending: Ending) -> Self {
        Self {
            ending,
            totals: Totals::new(),
            spoilt: Vec::new(),
            wrong: Vec::new(),
            phases: Vec::new(),
            brokers: Vec::new(),
            varz: BTreeMap::new(),
            workers: BTreeMap::new(),
        }
    }
}

impl Drive<'_> {
    /// Runs everything from the first phase to the last node's end.
    pub async fn run(self) -> Driven {
        let (outbox, inbox) = mpsc::channel(INBOX);
        let mut tasks = Vec::new();
        let mut to_workers = Vec::new();
        for worker in 0..self.workers {
            let (sender, receiver) = mpsc::channel(16);
            tasks.push(tokio::spawn(crate::worker::run(receiver, outbox.clone())));
            to_workers.push(sender);
            let assignment = self.assignment(worker, self.site.access());
            let message = ToWorker::Assign(Box::new(assignment));
            // A worker that is gone already is told of by its closed inbox below.
            let _ = to_workers[worker as usize].send(message).await;
        }
        drop(outbox);
        let beside = CancellationToken::new();
        let mut conductor = Conductor::new(self, to_workers, &beside);
        conductor.conduct(inbox).await;
        beside.cancel();
        let driven = conductor.finish().await;
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a worker broke off");
            }
        }
        driven
    }

    fn assignment(&self, worker: u32, access: Access) -> Assignment {
        Assignment {
            worker,
            workers: self.workers,
            plan: Arc::clone(&self.plan),
            access,
            clock: self.clock,
            dials: DIALS,
        }
    }
}

struct Conductor<'a> {
    drive: Drive<'a>,
    machine: Machine,
    to_workers: Vec<mpsc::Sender<ToWorker>>,
    progress: BTreeMap<u32, WorkerProgress>,
    health: BTreeMap<u32, (u64, WorkerHealth)>,
    closed: u32,
    drained: u32,
    phases: Vec<PhaseView>,
    totals: Totals,
    board: Board,
    faults: Faults,
    means: Means,
    ledger: Option<watch::Receiver<Option<Arc<Status>>>>,
    closely: Arc<AtomicBool>,
    broker_looks: mpsc::Receiver<Vec<BrokerSeen>>,
    brokers: Vec<BrokerView>,
    varz: BTreeMap<String, crate::formation::monitor::Varz>,
    usage: UsageWatch,
    expected: Expected,
    ending: Option<Ending>,
    spoilt: Vec<String>,
    stage: Stage,
    doing: String,
    stopping: bool,
    holding_since: Option<Duration>,
    done: bool,
}

impl<'a> Conductor<'a> {
    fn new(
        drive: Drive<'a>,
        to_workers: Vec<mpsc::Sender<ToWorker>>,
        beside: &CancellationToken,
    ) -> Self {
        let scenario = &drive.plan.scenario;
        let rules = scenario.phases.iter().map(PhaseRules::from).collect();
        let closely = Arc::new(AtomicBool::new(false));
        let provisioners = names(&drive.site.provisioners);
        let ledger = drive
            .site
            .status_command()
            .map(|command| watch_ledger(command, Arc::clone(&closely), beside.clone()));
        let monitors: Vec<(String, Monitor)> = drive
            .site
            .formation
            .brokers()
            .iter()
            .map(|broker| (broker.name().to_owned(), broker.monitor()))
            .collect();
        let means = Means {
            provisioners,
            to_enrol: drive.plan.expected_confirmed,
            mark: drive.mark.clone(),
            clock: drive.clock,
        };
        Self {
            machine: Machine::new(drive.workers, rules),
            to_workers,
            progress: BTreeMap::new(),
            health: BTreeMap::new(),
            closed: 0,
            drained: 0,
            phases: phase_views(&drive.plan),
            totals: Totals::new(),
            board: Board::new(drive.run),
            faults: Faults::default(),
            means,
            ledger,
            closely,
            broker_looks: brokers(monitors, beside.clone()),
            brokers: broker_views(drive.site),
            varz: BTreeMap::new(),
            usage: UsageWatch::default(),
            expected: Expected::of(&drive.plan),
            ending: None,
            spoilt: Vec::new(),
            stage: Stage::Running,
            doing: String::new(),
            stopping: false,
            holding_since: None,
            done: false,
            drive,
        }
    }

    async fn conduct(&mut self, mut inbox: mpsc::Receiver<(u32, FromWorker)>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !self.done {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some((worker, message)) => self.hear(worker, message).await,
                    None => {
                        self.fail(Ending::Failed("every worker is gone".to_owned())).await;
                        return;
                    }
                },
                Some(seen) = self.broker_looks.recv() => self.look(seen),
                end = self.faults.ended() => self.fault_ended(end).await,
                _ = ticks.tick() => self.tick().await,
                () = self.drive.stop.cancelled(), if !self.stopping => self.asked_to_stop().await,
            }
        }
    }

    async fn asked_to_stop(&mut self) {
        // Ending a fleet that is held up is how it is meant to end.
        if self.holding_since.is_none() {
            self.ending.get_or_insert(Ending::Interrupted);
        }
        self.stop().await;
    }

    async fn stop(&mut self) {
        self.stopping = true;
        self.doing = "taking everything down".to_owned();
        if self.holding_since.take().is_some() {
            return self.perform(Effect::Drain).await;
        }
        self.step(Input::Stop).await;
    }

    async fn fail(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
        if !self.stopping {
            self.stop().await;
        }
    }

    async fn hear(&mut self, worker: u32, message: FromWorker) {
        match message {
            FromWorker::Ready => self.step(Input::WorkerReady).await,
            FromWorker::Progress(progress) => {
                self.progress.insert(worker, progress);
            }
            FromWorker::Snapshot(snapshot) => {
                let phase = self.phase_name();
                let lost = self.totals.absorb(&phase, &snapshot);
                if lost > 0 {
                    let numbers = format!("{lost} snapshots of worker {worker} were lost");
                    self.spoilt.push(numbers);
                }
                self.usage.nodes(worker, &snapshot.health);
                let nodes = snapshot.fleets.iter().map(|fleet| fleet.total()).sum();
                self.health.insert(worker, (nodes, snapshot.health.clone()));
                self.drive.chronicle.snapshot(&phase, &snapshot);
            }
            FromWorker::Closed { .. } => {
                self.closed += 1;
                if self.closed == self.drive.workers {
                    self.closed = 0;
                    self.step(Input::Closed).await;
                }
            }
            FromWorker::Drained => {
                self.drained += 1;
                if self.drained == self.drive.workers {
                    self.step(Input::Drained).await;
                    self.done = true;
                }
            }
            FromWorker::Failed { why } => {
                self.fail(Ending::Failed(format!("worker {worker}: {why}")))
                    .await;
                // It hosts nothing any more, so there is nothing to wait for.
                self.drained += 1;
                self.done = self.drained == self.drive.workers;
            }
        }
    }

    async fn fault_ended(&mut self, end: FaultEnd) {
        tracing::info!(
            fault = %end.record.kind,
            target = %end.record.target,
            happened = end.record.happened,
            note = %end.record.note,
            "a fault is over"
        );
        self.totals.faults.push(end.record);
        if let Some(why) = end.fatal {
            self.fail(Ending::FormationFailed(why)).await;
        }
    }

    fn look(&mut self, seen: Vec<BrokerSeen>) {
        let (phase, at_us) = (self.phase_name(), self.drive.clock.now_us());
        for seen in seen {
            let view = self.brokers.iter_mut().find(|view| view.name == seen.name);
            let Some(view) = view else { continue };
            let Some(varz) = seen.varz else {
                view.state = "down".to_owned();
                continue;
            };
            let before = self.varz.get(&seen.name);
            ledger::show_broker(view, &varz, before);
            let sample = BrokerSample {
                connections: Some(varz.connections),
                subscriptions: Some(varz.subscriptions),
                mem_bytes: Some(varz.mem),
                slow_consumers: Some(varz.slow_consumers),
                cpu_pct: Some(varz.cpu),
            };
            self.totals.absorb_broker(&phase, &seen.name, &sample);
            self.drive
                .chronicle
                .broker(at_us, &phase, &seen.name, &sample);
            self.varz.insert(seen.name, varz);
        }
        let pids = self.drive.site.pids();
        self.usage.beside(&pids, &self.varz);
    }

    async fn tick(&mut self) {
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
            let progress = self.expected.progress(
                index,
                self.progress.values(),
                status.as_deref(),
                self.faults.open(),
            );
            self.show_phase(index, &progress);
            self.step(Input::Progress(progress)).await;
        }
        self.draw();
    }

    async fn step(&mut self, input: Input) {
        let now = self.drive.clock.now();
        if let Some(effect) = self.machine.step(now, input) {
            Box::pin(self.perform(effect)).await;
        }
    }

    async fn perform(&mut self, effect: Effect) {
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
        if let Some(view) = self.phases.get_mut(index) {
            view.state = PhaseProgress::Running;
            view.started_us = Some(self.drive.clock.now_us());
        }
        self.faults.begin(phase);
        self.tell(|| ToWorker::Begin { phase: index }).await;
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
            level: crate::measure::Level::Info,
            text,
        };
        self.drive.chronicle.log(&[line]);
    }

    async fn tell(&self, message: impl Fn() -> ToWorker) {
        for worker in &self.to_workers {
            // A worker that is gone has said why, or its task's end will.
            let _ = worker.send(message()).await;
        }
    }

    /// Asks the ledger itself, so that what is told of a phase is not half a second old.
    async fn read_ledger(&mut self) {
        let Some(command) = self.drive.site.status_command() else {
            return;
        };
        match command.ask().await {
            Ok(status) => {
                self.totals.enrolment = Some(self.expected.enrolment(&status, &self.totals))
            }
            Err(error) => tracing::warn!(%error, "the ledger could not be read"),
        }
    }

    fn status(&self) -> Option<Arc<Status>> {
        self.ledger.as_ref()?.borrow().clone()
    }

    fn elapsed_in(&self, index: usize) -> Duration {
        let started = self.phases.get(index).and_then(|view| view.started_us);
        let now = self.drive.clock.now();
        started.map_or(Duration::ZERO, |at| {
            now.saturating_sub(Duration::from_micros(at))
        })
    }

    fn phase_name(&self) -> String {
        let phases = &self.drive.plan.scenario.phases;
        let begun = self
            .phases
            .iter()
            .rposition(|view| view.started_us.is_some());
        let phase = phases.get(begun.unwrap_or_default());
        phase.map_or(String::new(), |phase| phase.name.clone())
    }

    fn show_phase(&mut self, index: usize, progress: &super::machine::Progress) {
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
            view.elapsed_us = crate::measure::micros(elapsed);
            view.note = note;
            ledger::show_progress(&self.drive.plan, index, view, progress, rounds);
        }
    }

    fn draw(&mut self) {
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
        let scenario = &self.drive.plan.scenario;
        let judged = judge_all(&scenario.asserts, &self.totals, |_, _| None);
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
            workers: &self.health,
            judged: &judged,
        });
        self.drive.states.send_replace(Arc::new(state));
    }

    fn skip_rest(&mut self) {
        for view in &mut self.phases {
            if view.state == PhaseProgress::Queued {
                view.state = PhaseProgress::Skipped;
            }
        }
    }

    async fn finish(mut self) -> Driven {
        let tallies = self.progress.values().map(|progress| progress.tally);
        let tally = tallies.fold(
            crate::message::Tally::default(),
            crate::message::Tally::plus,
        );
        let ending = self.ending.take().unwrap_or(Ending::Complete);
        let complete = matches!(ending, Ending::Complete | Ending::PhaseFailed(_));
        let wrong = match (&self.totals.enrolment, complete) {
            (Some(enrolment), true) => ledger::disagreements(enrolment, &tally),
            _ => Vec::new(),
        };
        if tally.lost_replies > 0 {
            let lost = tally.lost_replies;
            self.spoilt
                .push(format!("{lost} replies were lost on our side"));
        }
        self.totals.connect = ledger::connect(&self.drive.plan, &tally);
        self.usage.settle(&mut self.totals);
        self.draw();
        Driven {
            ending,
            totals: self.totals,
            spoilt: self.spoilt,
            wrong,
            phases: self.phases,
            brokers: self.brokers,
            varz: self.varz,
            workers: self.health,
        }
    }
}

fn names(provisioners: &[Arc<Mutex<Provisioner>>]) -> Vec<(String, Arc<Mutex<Provisioner>>)> {
    let named = provisioners.iter().filter_map(|provisioner| {
        let name = provisioner.try_lock().ok()?.name().to_owned();
        Some((name, Arc::clone(provisioner)))
    });
    named.collect()
}

fn phase_views(plan: &Plan) -> Vec<PhaseView> {
    let phases = plan.scenario.phases.iter().zip(&plan.phases);
    let views = phases.map(|(phase, planned)| PhaseView {
        name: phase.name.clone(),
        expected_us: planned.expected_us,
        ..PhaseView::default()
    });
    views.collect()
}

/// The brokers as they are when everything is ready.
pub fn broker_views(site: &Site) -> Vec<BrokerView> {
    let brokers = site.formation.brokers().iter();
    let views = brokers.map(|broker| BrokerView {
        name: broker.name().to_owned(),
        tier: broker.tier().to_owned(),
        address: broker.url(),
        state: "up".to_owned(),
        ..BrokerView::default()
    });
    views.collect()
}

fn fleet_views<'a>(progress: impl Iterator<Item = &'a WorkerProgress>) -> Vec<FleetView> {
    let mut views: Vec<FleetView> = Vec::new();
    for counts in progress.flat_map(|progress| &progress.fleets) {
        let found = views.iter().position(|view| view.name == counts.fleet);
        let place = found.unwrap_or_else(|| {
            views.push(FleetView {
                name: counts.fleet.clone(),
                ..FleetView::default()
            });
            views.len() - 1
        });
        if let Some(view) = views.get_mut(place) {
            view.total += counts.total();
            for (state, n) in &counts.nodes {
                *view.nodes.entry(*state).or_default() += n;
            }
        }
    }
    views
}
