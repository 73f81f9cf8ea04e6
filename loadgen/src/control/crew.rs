//! The coordinator's end: starts the local workers, gives everybody a seat, passes messages on, and
//! notices who is gone.

mod desk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::broker::{ControlBroker, ControlBrokerError};
use super::children::Children;
use super::envelope::open;
use super::link::{Address, Heard, Link, LinkError, of_coordinator};
use super::seats::Seats;
use super::subjects;
use super::words::Among;
use crate::guard::RunMark;
use crate::message::{FromWorker, ToWorker};
use crate::process::ProcessError;
use crate::worker::clock::RunClock;
use desk::Desk;

/// How long local workers may take to join.
pub const LOCAL_WITHIN: Duration = Duration::from_secs(20);
/// How long workers from elsewhere may take to join; somebody types a command there.
pub const REMOTE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// How long a worker may take from its orders until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long another coordinator on the same broker may take to say so.
const ANYBODY_WITHIN: Duration = Duration::from_millis(500);
/// Messages of all workers that may wait for the coordinator.
const EVENTS: usize = 1_024;
/// Messages of the coordinator that may wait to be sent.
const ORDERS: usize = 256;

/// The workers could not be set up.
#[derive(Debug, Error)]
pub enum CrewError {
    /// The control broker did not come up.
    #[error(transparent)]
    Broker(#[from] ControlBrokerError),
    /// It cannot be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A worker could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The folder for their logs cannot be made.
    #[error("the logs of the workers cannot be written to {folder}: {source}", folder = .folder.display())]
    Logs {
        /// The folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The control broker is in use.
    #[error(
        "run {run} is using the control broker {url}: wait for its end, or name another with \
         --control URL"
    )]
    InUse {
        /// The other run.
        run: String,
        /// The broker.
        url: String,
    },
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until everybody has joined.
    pub join: Duration,
    /// From a worker's orders until it is ready.
    pub ready: Duration,
    /// Without a word.
    pub silence: Duration,
}

impl Limits {
    /// The usual ones; `join` where somebody chose it.
    pub fn usual(join: Option<Duration>, remote: u32) -> Self {
        let usual = if remote > 0 {
            REMOTE_WITHIN
        } else {
            LOCAL_WITHIN
        };
        Self {
            join: join.unwrap_or(usual),
            ready: join.map_or(READY_WITHIN, |join| join.min(READY_WITHIN)),
            silence: super::SILENCE,
        }
    }
}

/// What a crew is made of.
#[derive(Debug)]
pub struct CrewPlan<'a> {
    /// Identifier of the run.
    pub run: &'a str,
    /// Workers in all.
    pub workers: u32,
    /// How many of them are not started by us.
    pub remote: u32,
    /// The control broker: one of ours, or somebody's.
    pub broker: Result<ControlBroker, Address>,
    /// The program that local workers run.
    pub program: &'a Path,
    /// Where their logs go.
    pub logs: &'a Path,
    /// Marks them as part of the run.
    pub mark: &'a RunMark,
    /// The time of the run.
    pub clock: RunClock,
    /// How long things may take.
    pub limits: Limits,
}

/// Who takes part, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The machine, by the first 12 digits of the SHA-256 of its name.
    pub host_hash: String,
    /// Its process id there.
    pub pid: u32,
    /// Whether loadgen started it.
    pub local: bool,
    /// The loadgen it is.
    pub release: String,
    /// Descriptors it may have open.
    pub descriptors: Option<u64>,
    /// How far its clock may be from the coordinator's, ns.
    pub clock_uncertainty_ns: u64,
}

/// What happens among the workers.
#[derive(Debug)]
pub enum CrewEvent {
    /// A worker has joined and waits for its orders.
    Joined {
        /// Its number.
        worker: u32,
        /// Who it is.
        member: Member,
    },
    /// A worker says something.
    Says {
        /// Its number.
        worker: u32,
        /// What.
        message: FromWorker,
    },
    /// A worker is gone.
    Lost {
        /// Its number.
        worker: u32,
        /// Which one it was, how it ended, and where to read on.
        why: String,
    },
    /// There is no crew to go on with.
    Failed {
        /// Why.
        why: String,
    },
}

enum Order {
    Tell(u32, Box<ToWorker>),
    Finish,
}

/// The workers of a run.
#[derive(Debug)]
pub struct Crew {
    orders: mpsc::Sender<Order>,
    events: mpsc::Receiver<CrewEvent>,
    task: JoinHandle<()>,
    invitation: Option<String>,
}

impl Crew {
    /// Starts the local workers and opens the door for the others.
    ///
    /// # Errors
    /// When the control broker cannot be used or a process cannot be started.
    pub async fn start(plan: CrewPlan<'_>) -> Result<Self, CrewError> {
        let address = match &plan.broker {
            Ok(broker) => broker.address(),
            Err(address) => address.clone(),
        };
        let mut link = Link::open(&address, "coordinator", &of_coordinator()).await?;
        if plan.broker.is_err() {
            make_sure_to_be_alone(&mut link, plan.run, &address.url).await?;
        }
        let logs = |source| CrewError::Logs {
            folder: plan.logs.to_owned(),
            source,
        };
        std::fs::create_dir_all(plan.logs).map_err(logs)?;
        let local = plan.workers.saturating_sub(plan.remote);
        let children = Children::start(local, plan.program, &address, plan.logs, plan.mark)?;
        let invitation = (plan.remote > 0).then(|| invitation(&plan));
        let (orders, told) = mpsc::channel(ORDERS);
        let (heard, events) = mpsc::channel(EVENTS);
        let desk = Desk {
            run: plan.run.to_owned(),
            seats: Seats::new(plan.workers, plan.remote),
            link: Some(link),
            broker: plan.broker.ok(),
            children,
            leaving: Vec::new(),
            clock: plan.clock,
            limits: plan.limits,
            invitation: invitation.clone(),
            since: plan.clock.now(),
            strangers: Vec::new(),
            complete: false,
            events: heard,
        };
        Ok(Self {
            orders,
            events,
            task: tokio::spawn(desk.run(told)),
            invitation,
        })
    }

    /// The command that workers from elsewhere are started with, where some are waited for.
    pub fn invitation(&self) -> Option<&str> {
        self.invitation.as_deref()
    }

    /// What happens next; `None` when nothing will.
    pub async fn next(&mut self) -> Option<CrewEvent> {
        self.events.recv().await
    }

    /// Says something to a worker. One that is gone does not hear it, and is told of as lost.
    pub async fn tell(&self, worker: u32, message: ToWorker) {
        let order = Order::Tell(worker, Box::new(message));
        // Without a desk the run has failed already, by a panic that its task reports.
        let _ = self.orders.send(order).await;
    }

    /// Sends everybody home and waits until the local ones are gone.
    /// Doing so twice is harmless.
    pub async fn finish(&mut self) {
        if self.task.is_finished() {
            return;
        }
        let _ = self.orders.send(Order::Finish).await;
        // What is still said is heard by nobody, and must not keep the desk from its end.
        while self.events.recv().await.is_some() {}
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the crew's desk broke off");
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The command to type elsewhere. A token of our own goes with the run and may be shown; one that
/// was given is somebody's secret.
fn invitation(plan: &CrewPlan<'_>) -> String {
    let address = match &plan.broker {
        Ok(broker) => broker.address_from_elsewhere(),
        Err(address) => address.clone(),
    };
    let token = match (&plan.broker, address.token) {
        (_, None) => String::new(),
        (Ok(_), Some(token)) => format!(" --token {token}"),
        (Err(_), Some(_)) => format!(" --token ${}", super::TOKEN),
    };
    format!("loadgen worker --join {}{token}", address.url)
}

/// Two coordinators on one broker would hear each other's workers.
async fn make_sure_to_be_alone(link: &mut Link, run: &str, url: &str) -> Result<(), CrewError> {
    let asked = Among::Anybody {
        run: run.to_owned(),
    };
    let subject = subjects::coordinators();
    link.speaker().say(&subject, &asked).await?;
    let other = async {
        loop {
            let Heard::Message(message) = link.hear().await else {
                return None;
            };
            if message.subject != subject {
                continue;
            }
            match open(&message.payload) {
                Ok(Among::Me { run: other }) if other != run => return Some(other),
                // Both ask at the same time: the first by name stays.
                Ok(Among::Anybody { run: other }) if *other < *run => return Some(other),
                _ => {}
            }
        }
    };
    match tokio::time::timeout(ANYBODY_WITHIN, other).await {
        Ok(Some(other)) => Err(CrewError::InUse {
            run: other,
            url: url.to_owned(),
        }),
        Ok(None) | Err(_) => Ok(()),
    }
}
