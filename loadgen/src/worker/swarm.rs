//! The nodes of one worker.

use std::sync::Arc;
use std::time::Duration;

use server_core::words::{Identity, IdentityError};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::measure::{Counter, OpKey};
use crate::message::Assignment;
use crate::plan::Plan;
use crate::scenario::Start;

use super::cell::{Book, Cell, Pending};
use super::guarded::Guarded;
use super::life::{Ground, Life, LifeError};
use super::publish::{Arrivals, PublishLine, event, subject_of};

/// The swarm cannot be laid out.
#[derive(Debug, Error)]
pub enum SwarmError {
    /// A fleet's name makes names that no node can have.
    #[error("fleet {fleet}: {source}")]
    Identity {
        /// The fleet.
        fleet: String,
        /// What is wrong.
        source: IdentityError,
    },
    /// What nodes share cannot be made.
    #[error(transparent)]
    Life(#[from] LifeError),
}

/// One node of the swarm.
#[derive(Debug)]
pub struct Member {
    /// Its number among all nodes of the scenario, from 0.
    pub number: u64,
    /// Its fleet's place in the scenario.
    pub fleet: usize,
    /// Its name.
    pub identity: Identity,
    /// What is known of it.
    pub cell: Arc<Cell>,
    run: Guarded<Run>,
}

#[derive(Debug, Default)]
enum Run {
    #[default]
    Waiting,
    Running {
        cancel: CancellationToken,
        announce: watch::Sender<bool>,
        publish: PublishLine,
    },
    Ended,
}

/// The nodes of one worker, running or not.
#[derive(Debug)]
pub struct Swarm {
    members: Vec<Member>,
    plan: Arc<Plan>,
    worker: u64,
    workers: u64,
    book: Arc<Book>,
    ground: Arc<Ground>,
    /// Where its nodes publish events.
    subject: Arc<str>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Swarm {
    /// Lays out the nodes that this worker hosts; none is started.
    ///
    /// # Errors
    /// When names or credentials of nodes cannot be made.
    pub fn lay_out(assignment: &Assignment, book: Arc<Book>) -> Result<Self, SwarmError> {
        let ground = Arc::new(Ground::new(assignment)?);
        let plan = &assignment.plan;
        let mut members = Vec::new();
        for number in plan.nodes_of_worker(assignment.worker, assignment.workers) {
            let Some(node) = plan.node(number) else { break };
            let fleet = plan.scenario.fleets.get(node.fleet);
            let identity = Identity::parse(&node.identity).map_err(|source| {
                let fleet = fleet.map(|fleet| fleet.name.clone());
                SwarmError::Identity {
                    fleet: fleet.unwrap_or_default(),
                    source,
                }
            })?;
            let production = fleet.is_some_and(|fleet| fleet.start == Start::Production);
            let cell = Arc::new(Cell::new(Arc::clone(&book), node.fleet, production));
            ground.prepare(&cell, &identity, number)?;
            members.push(Member {
                number,
                fleet: node.fleet,
                identity,
                cell,
                run: Guarded::default(),
            });
        }
        Ok(Self {
            members,
            plan: Arc::clone(plan),
            worker: u64::from(assignment.worker),
            workers: u64::from(assignment.workers.max(1)),
            book,
            ground,
            subject: subject_of(&assignment.access.run, assignment.worker).into(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        })
    }

    /// Where operations are counted.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The nodes of these fleets in the order an operation takes them, over all workers: `None`
    /// for one that another worker hosts.
    pub fn members_of(&self, fleets: &[String]) -> Vec<Option<usize>> {
        let order = self.plan.order(fleets);
        let own = |number: u64| number % self.workers == self.worker;
        let place = |number: u64| usize::try_from(number / self.workers).ok();
        order
            .into_iter()
            .map(|number| own(number).then(|| place(number)).flatten())
            .collect()
    }

    /// Opens a node's first connection; it announces nothing yet.
    pub fn connect(&self, member: usize, pending: Pending) {
        let Some(node) = self.members.get(member) else {
            return;
        };
        node.cell.connecting(pending);
        self.start(node, false);
    }

    /// Lets a node announce itself, starting it first where that has not happened.
    pub fn provision(&self, member: usize, mut pending: Pending) {
        let Some(node) = self.members.get(member) else {
            return;
        };
        let fleet = self.plan.scenario.fleets.get(node.fleet);
        if fleet.is_some_and(|fleet| fleet.expected_confirmed() == 0) {
            // Nobody waits for a confirmation that is not to come.
            (pending.place, pending.open) = (None, None);
        }
        node.cell.provisioning(pending);
        let running = node.run.with(|run| match run {
            Run::Running { announce, .. } => {
                announce.send_replace(true);
                true
            }
            Run::Waiting | Run::Ended => false,
        });
        if !running {
            self.start(node, true);
        }
    }

    /// Ends a node; `pending` lasts until it has ended. Answers whether it had announced itself,
    /// `None` when it does not run.
    pub fn disconnect(&self, member: usize, pending: Pending) -> Option<bool> {
        let node = self.members.get(member)?;
        let ended = node.run.with(|run| std::mem::replace(run, Run::Ended));
        let Run::Running {
            cancel, announce, ..
        } = ended
        else {
            return None;
        };
        node.cell.leaving(pending);
        cancel.cancel();
        Some(*announce.borrow())
    }

    /// Starts a node again that has ended.
    pub fn come_back(&self, member: usize, announce: bool, pending: Pending) {
        if let Some(node) = self.members.get(member) {
            node.cell.connecting(pending);
            self.start(node, announce);
        }
    }

    /// Lets a node publish an event of `size` bytes, whose arrival is counted by `arrivals`.
    pub fn publish(
        &self,
        member: usize,
        (key, size): (Arc<OpKey>, u64),
        arrivals: Option<Arc<Arrivals>>,
        open: mpsc::Sender<()>,
    ) {
        let Some(node) = self.members.get(member) else {
            return;
        };
        let line = node.run.with(|run| match run {
            Run::Running { publish, .. } => Some(publish.clone()),
            Run::Waiting | Run::Ended => None,
        });
        self.book.recorder.with(|recorder| {
            recorder.count(&key, Counter::Started, 1);
        });
        let book = Arc::clone(&self.book);
        let (subject, number) = (Arc::clone(&self.subject), node.number);
        self.tasks.spawn(async move {
            let now_us = book.clock.now_us();
            let heard = arrivals.as_ref().filter(|arrivals| arrivals.hears(now_us));
            if let Some(arrivals) = heard {
                arrivals.sent(&key, now_us);
            }
            let sent = match line {
                Some(line) => {
                    let payload = event(number, &key, (now_us, heard.is_none()), size);
                    line.publish(&subject, payload).await
                }
                None => Err("not-running"),
            };
            if let (Err(_), Some(arrivals)) = (&sent, heard) {
                arrivals.unsent(&key, now_us);
            }
            book.recorder.with(|recorder| match sent {
                Ok(()) => {
                    recorder.count(&key, Counter::Ok, 1);
                    recorder.count(&key, Counter::Unheard, u64::from(heard.is_none()));
                }
                Err(kind) => recorder.error(&key, kind),
            });
            drop(open);
        });
    }

    fn start(&self, node: &Member, announce_at_once: bool) {
        let cancel = self.shutdown.child_token();
        let (announce, when) = watch::channel(announce_at_once);
        let publish = PublishLine::default();
        node.run.with(|run| {
            *run = Run::Running {
                cancel: cancel.clone(),
                announce,
                publish: publish.clone(),
            };
        });
        let life = Life {
            ground: Arc::clone(&self.ground),
            identity: node.identity.clone(),
            number: node.number,
            cell: Arc::clone(&node.cell),
            announce: when,
            publish,
        };
        self.tasks.spawn(life.live(cancel));
    }

    /// Ends every node; waits for them no longer than `within`.
    pub async fn drain(&self, within: Duration) {
        self.shutdown.cancel();
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.tasks.len(),
                "nodes did not end in time; their connections are cut"
            );
        }
    }
}
