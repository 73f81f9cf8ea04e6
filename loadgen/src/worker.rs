//! A worker: hosts nodes, lets them do what the phase says, and tells what it counted.
//!
//! ```text
//! ToWorker ──► Worker ──► Swarm (nodes) ──► Cell (how far each is) ──► Recorder
//!                 └─────► Ops (paced) ────────────────────────────────────┘
//!                                                Snapshot, Progress ──► FromWorker
//! ```

pub mod asking;
pub mod cell;
pub mod churn;
pub mod clock;
pub mod guarded;
pub mod health;
pub mod life;
pub mod ops;
pub mod paced;
pub mod publish;
pub mod rounds;
pub mod standing;
pub mod swarm;

use std::sync::Arc;
use std::time::Duration;

use server_core::client::Client;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::measure::{OpKey, Recorder, RenewalTime, Snapshot, micros};
use crate::message::{Assignment, FromWorker, ToWorker, WorkerProgress};
use crate::scenario::{Action, Manage, Op, Phase};
use crate::view::Logs;

use cell::Book;
use clock::RunClock;
use health::{HealthProbe, Judging};
use ops::{CurrentKey, OpContext, Way, run_node_op};
use publish::{Arrivals, subject_of};
use rounds::{Asking, Audience, run_request_op};
use swarm::Swarm;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// How often everything counted is handed over.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

/// Log lines that one snapshot carries.
const LOG_LINES: usize = 100;

/// Where a worker's messages go.
pub type Outbox = mpsc::Sender<FromWorker>;

/// Runs one worker until it is drained or the coordinator is gone.
pub async fn run(mut inbox: mpsc::Receiver<ToWorker>, outbox: Outbox, clock: RunClock, logs: Logs) {
    let orders = loop {
        match inbox.recv().await {
            Some(ToWorker::Assign(orders)) => break orders,
            Some(_) => {}
            None => return,
        }
    };
    let made = match orders.work_out(clock) {
        Ok(assignment) => Worker::new(assignment, outbox.clone(), logs).await,
        Err(why) => Err(why),
    };
    let mut worker = match made {
        Ok(worker) => worker,
        Err(why) => {
            tracing::error!("{why}");
            // Without a coordinator there is nobody left to tell.
            let _ = outbox.send(FromWorker::Failed { why }).await;
            return;
        }
    };
    worker.serve(&mut inbox).await;
    worker.leave().await;
}

struct Worker {
    assignment: Assignment,
    swarm: Arc<Swarm>,
    client: Option<Client>,
    asking: Option<Asking>,
    arrivals: Option<Arc<Arrivals>>,
    running: Vec<Running>,
    phase: Option<usize>,
    health: HealthProbe,
    judging: Judging,
    shutdown: CancellationToken,
    outbox: Outbox,
    logs: Logs,
    seq: u64,
    last_snapshot: Instant,
    rounds: u64,
}

/// One operation under way.
struct Running {
    context: Arc<OpContext>,
    /// The phase that began it.
    origin: usize,
    /// Whether it comes to an end by itself.
    finite: bool,
    task: JoinHandle<()>,
}

impl Worker {
    async fn new(assignment: Assignment, outbox: Outbox, logs: Logs) -> Result<Self, String> {
        let fleets = assignment.plan.scenario.fleets.iter();
        let names = fleets.map(|fleet| fleet.name.clone());
        let provisioner = &assignment.plan.scenario.provisioner;
        let renewal_time = provisioner.renewed_after().map(|begin| RenewalTime {
            begin,
            end: provisioner.validity,
        });
        let book = Book::new(assignment.clock, names)
            .arrival_confirms(provisioner.manage == Manage::External)
            .renewed_at(renewal_time);
        let book = Arc::new(book);
        let ops = || {
            let phases = assignment.plan.scenario.phases.iter();
            phases.flat_map(|phase| &phase.ops)
        };
        let asks =
            assignment.worker == 0 && ops().any(|op| matches!(op.action, Action::Request(_)));
        let publishes = ops().any(|op| matches!(op.action, Action::Publish { .. }));
        let client = match asks || publishes {
            true => Some(asking::asking_client(&assignment).await?),
            false => None,
        };
        let arrivals = match (&client, publishes) {
            (Some(client), true) => {
                let subject = subject_of(&assignment.access.run, assignment.worker);
                Some(Arrivals::listen(client, &subject, Arc::clone(&book)).await?)
            }
            _ => None,
        };
        let asking = client.clone().filter(|_| asks).map(|client| Asking {
            client,
            audience: Arc::new(Audience::of(&assignment.plan)),
            warmup: 0,
            judging: Judging::default(),
        });
        let orders = assignment.clone();
        // Thousands of certificates take seconds, in which the coordinator must hear from us.
        let laying = tokio::task::spawn_blocking(move || Swarm::lay_out(&orders, book));
        let laid = laying.await.map_err(|error| error.to_string())?;
        let swarm = laid.map_err(|error| error.to_string())?;
        let shutdown = CancellationToken::new();
        let judging = Judging::default();
        Ok(Self {
            swarm: Arc::new(swarm),
            client,
            asking,
            arrivals,
            running: Vec::new(),
            phase: None,
            health: HealthProbe::start(judging.clone(), shutdown.clone()),
            judging,
            shutdown,
            outbox,
            logs,
            seq: 0,
            last_snapshot: Instant::now(),
            rounds: 0,
            assignment,
        })
    }

    async fn serve(&mut self, inbox: &mut mpsc::Receiver<ToWorker>) {
        self.send(FromWorker::Ready).await;
        let mut progress = interval(PROGRESS_EVERY);
        progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut snapshots = interval(SNAPSHOT_EVERY);
        snapshots.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(ToWorker::Assign(_)) => {}
                    Some(ToWorker::Begin { phase, at_us }) => self.begin(phase, at_us),
                    Some(ToWorker::End { phase, at_once }) => self.end(phase, at_once).await,
                    Some(ToWorker::Drain { within }) => {
                        self.swarm.drain(within).await;
                        self.hand_over().await;
                        self.send(FromWorker::Drained).await;
                        return;
                    }
                    None => return,
                },
                _ = progress.tick() => {
                    let progress = self.progress();
                    self.send(FromWorker::Progress(progress)).await;
                }
                _ = snapshots.tick() => self.hand_over().await,
            }
        }
    }

    fn begin(&mut self, index: usize, at_us: u64) {
        let plan = Arc::clone(&self.assignment.plan);
        let Some(phase) = plan.scenario.phases.get(index) else {
            return;
        };
        self.phase = Some(index);
        self.rounds = 0;
        for running in &self.running {
            running.context.key.set_phase(&phase.name);
        }
        for (number, op) in phase.ops.iter().enumerate() {
            self.begin_op((index, number), at_us, phase, op);
        }
    }

    fn begin_op(&mut self, place: (usize, usize), at_us: u64, phase: &Phase, op: &Op) {
        let (index, number) = place;
        let begun = Duration::from_micros(at_us);
        let context = Arc::new(OpContext {
            op: op.clone(),
            key: CurrentKey::new(OpKey::new(&phase.name, &op.name)),
            way: Way::default(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            begun,
            clock: self.assignment.clock,
            seed: self.assignment.plan.op_seed(index, number),
            swarm: Arc::clone(&self.swarm),
            arrivals: self.arrivals.clone(),
        });
        let open = op.pace.is_open().then(|| self.judging.open());
        let enrols = matches!(op.action, Action::Provision { .. });
        let going = (open, enrols.then(|| self.judging.busy()));
        let task = match (&op.action, &self.asking) {
            (Action::Fault(_), _) | (Action::Request(_), None) => return,
            (Action::Request(_), Some(asking)) => {
                let warmup = phase.warmup;
                let asking = Asking {
                    warmup,
                    judging: self.judging.clone(),
                    ..asking.clone()
                };
                let run = run_request_op(Arc::clone(&context), asking);
                let begins = context.clock.instant(begun);
                tokio::spawn(async move {
                    tokio::time::sleep_until(begins).await;
                    run.await;
                    drop(going);
                })
            }
            _ => {
                let run = run_node_op(Arc::clone(&context));
                let begins = context.clock.instant(begun);
                tokio::spawn(async move {
                    tokio::time::sleep_until(begins).await;
                    run.await;
                    drop(going);
                })
            }
        };
        self.running.push(Running {
            finite: op.action.once_per_node() || op.pace.count().is_some(),
            context,
            origin: index,
            task,
        });
    }

    /// Ends what the next phase does not keep, and hands over the last numbers.
    async fn end(&mut self, index: usize, at_once: bool) {
        let phases = &self.assignment.plan.scenario.phases;
        let next = (!at_once).then(|| phases.get(index + 1)).flatten();
        let origin = |running: &Running| phases.get(running.origin).map(|phase| &phase.name);
        let keeps = |running: &Running| {
            next.zip(origin(running))
                .is_some_and(|(next, origin)| next.keep.contains(origin))
        };
        let (kept, ending): (Vec<_>, Vec<_>) = self.running.drain(..).partition(keeps);
        self.running = kept;
        for running in &ending {
            running.context.stop.cancel();
            // Only requests have something worth waiting for: replies to what was asked.
            if at_once || !matches!(running.context.op.action, Action::Request(_)) {
                running.context.abandon.cancel();
            }
        }
        for running in ending {
            if let Err(error) = running.task.await {
                tracing::error!(op = %running.context.key.get(), %error, "an operation broke off");
            }
        }
        self.hand_over().await;
        self.send(FromWorker::Closed { phase: index }).await;
    }

    fn progress(&self) -> WorkerProgress {
        let own = |running: &&Running| running.finite && Some(running.origin) == self.phase;
        let mut finite = self.running.iter().filter(own);
        WorkerProgress {
            phase: self.phase,
            fleets: self.swarm.book().fleets(),
            tally: self.swarm.book().tally(),
            issued: finite.clone().all(|running| running.context.way.issued()),
            done: finite.all(|running| running.context.way.done()),
            rounds: self.rounds,
        }
    }

    async fn hand_over(&mut self) {
        let now = Instant::now();
        let ops = self.swarm.book().recorder.with(Recorder::take);
        self.rounds += ops.values().map(|op| op.rounds.len() as u64).sum::<u64>();
        let snapshot = Snapshot {
            worker: self.assignment.worker,
            seq: self.seq,
            at_us: self.assignment.clock.now_us(),
            span_us: micros(now.duration_since(self.last_snapshot)),
            ops,
            links: self.swarm.book().take_links(),
            renewals: self.swarm.book().take_renewals(),
            fleets: self.swarm.book().fleets(),
            health: self.health.take(),
            log: self.logs.drain_some(LOG_LINES),
        };
        self.seq += 1;
        self.last_snapshot = now;
        self.send(FromWorker::Snapshot(Box::new(snapshot))).await;
    }

    async fn send(&self, message: FromWorker) {
        // A coordinator that is gone closes the inbox too, which ends the worker.
        let _ = self.outbox.send(message).await;
    }

    async fn leave(self) {
        for running in &self.running {
            running.context.stop.cancel();
            running.context.abandon.cancel();
        }
        self.swarm.drain(Duration::from_secs(1)).await;
        if let Some(client) = self.client {
            client.close().await;
        }
        self.shutdown.cancel();
    }
}
