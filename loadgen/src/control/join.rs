//! A worker's end: joins a run, puts the clocks together, and works until it is sent home, the
//! coordinator is gone, or it is told to stop.

use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::envelope::{EnvelopeError, open};
use super::link::{Address, Heard, Link, LinkError};
use super::time::{Exchange, QUESTIONS, Start, start_of_run};
use super::words::{Down, Hello, Up};
use super::{BEAT_EVERY, SILENCE, subjects};
use crate::message::{FromWorker, ToWorker};
use crate::resources::raise_descriptor_limit;
use crate::view::Logs;
use crate::worker::clock::RunClock;

/// How often a worker says hello until it is answered.
const HELLO_EVERY: Duration = Duration::from_secs(1);
/// How long an answer is waited for before nobody is held to coordinate.
const WELCOME_WITHIN: Duration = Duration::from_secs(30);
/// How long an answer to a question for the time may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Messages that may wait for the worker, and for the control broker.
const QUEUE: usize = 64;
/// How long nodes may take to go when the worker leaves in a hurry.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Why a worker does not take part, or not to the end.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The control broker.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The coordinator is of another release.
    #[error("the coordinator cannot be joined: {0}")]
    Release(EnvelopeError),
    /// The coordinator does not want it.
    #[error("the run refused this worker: {0}")]
    Refused(String),
    /// Nobody answers.
    #[error(
        "nobody coordinates a run at {url}: no answer within {} s; start it first (loadgen run … \
         --remote-workers N)",
        WELCOME_WITHIN.as_secs()
    )]
    Nobody {
        /// The control broker.
        url: String,
    },
    /// The coordinator or the control broker went away.
    #[error("{0}; the nodes of this worker are ended")]
    Gone(String),
    /// The worker itself failed, and has told so.
    #[error("{0}")]
    Failed(String),
}

/// Who joins, and where.
#[derive(Debug)]
pub struct Invitation {
    /// The control broker.
    pub address: Address,
    /// Which local worker it is; `None` for one that was started by hand.
    pub seat: Option<u32>,
}

/// Takes part in a run until its end. Answers whether it was the end of the run; `stop` ends it
/// before.
///
/// # Errors
/// Why it could not take part, or not to the end.
pub async fn take_part(
    invitation: Invitation,
    stop: CancellationToken,
    logs: &Logs,
) -> Result<bool, JoinError> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let address = invitation.address;
    let name = format!("worker {id}");
    let link = Link::open(&address, &name, &[subjects::down(&id)]).await?;
    let mut member = Member {
        up: subjects::up(&id),
        link,
    };
    let joined = tokio::select! {
        joined = member.join(invitation.seat, &address.url) => joined?,
        () = stop.cancelled() => return Ok(false),
    };
    logs.count_from(joined.at);
    tracing::info!(uncertainty = ?joined.uncertainty, "the clocks are put together");
    let clock_uncertainty_ns = u64::try_from(joined.uncertainty.as_nanos()).unwrap_or(u64::MAX);
    let said = Up::Joined {
        clock_uncertainty_ns,
    };
    member.say(&said).await?;
    // What was said on the way in is in the log, and nothing for the coordinator's pane.
    logs.drain();
    member
        .work(RunClock::started_at(joined.at), stop, logs)
        .await
}

struct Member {
    up: String,
    link: Link,
}

impl Member {
    async fn join(&mut self, seat: Option<u32>, url: &str) -> Result<Start, JoinError> {
        let hello = Up::Hello(Hello {
            seat,
            host: host(),
            pid: std::process::id(),
            descriptors: raise_descriptor_limit(),
        });
        let welcomed = async {
            let mut hellos = interval(HELLO_EVERY);
            loop {
                tokio::select! {
                    _ = hellos.tick() => self.say(&hello).await?,
                    down = hear(&mut self.link) => match down? {
                        Down::Welcome { worker, run } => {
                            tracing::info!(worker, run, "takes part");
                            return Ok(());
                        }
                        Down::Refused { why } => return Err(JoinError::Refused(why)),
                        _ => {}
                    },
                }
            }
        };
        match timeout(WELCOME_WITHIN, welcomed).await {
            Ok(welcomed) => welcomed?,
            Err(_) => {
                let url = url.to_owned();
                return Err(JoinError::Nobody { url });
            }
        }
        self.put_clocks_together().await
    }

    async fn put_clocks_together(&mut self) -> Result<Start, JoinError> {
        let silent = || JoinError::Gone("the coordinator does not tell the time".to_owned());
        let mut exchanges = Vec::new();
        for question in 0..QUESTIONS {
            let asked = Instant::now();
            self.say(&Up::AskTime { question }).await?;
            let answered = timeout(ANSWER_WITHIN, self.answer_to(question));
            let (answered, elapsed) = answered.await.map_err(|_| silent())??;
            exchanges.push(Exchange {
                asked,
                answered,
                elapsed,
            });
        }
        start_of_run(&exchanges).ok_or_else(silent)
    }

    async fn answer_to(&mut self, wanted: u32) -> Result<(Instant, Duration), JoinError> {
        loop {
            if let Down::Time {
                question,
                elapsed_ns,
            } = hear(&mut self.link).await?
                && question == wanted
            {
                return Ok((Instant::now(), Duration::from_nanos(elapsed_ns)));
            }
        }
    }

    async fn work(
        mut self,
        clock: RunClock,
        stop: CancellationToken,
        logs: &Logs,
    ) -> Result<bool, JoinError> {
        let (orders, inbox) = mpsc::channel(QUEUE);
        let (outbox, mut said) = mpsc::channel(QUEUE);
        let worker = crate::worker::run(inbox, outbox, clock, logs.clone());
        let mut worker = tokio::spawn(Box::pin(worker));
        let passed = self.pass_on(orders, &mut said, stop).await;
        // Its orders have ended: it ends its nodes and leaves. What it still says is not wanted.
        drop(said);
        match timeout(LEAVE_WITHIN, &mut worker).await {
            Ok(Err(error)) => tracing::error!(%error, "the worker broke off"),
            Ok(Ok(())) => {}
            Err(_) => {
                tracing::warn!("nodes did not end in time; their connections are cut");
                worker.abort();
            }
        }
        self.link.close().await;
        passed
    }

    /// Passes on what is said in both directions, until there is no more of it.
    async fn pass_on(
        &mut self,
        orders: mpsc::Sender<ToWorker>,
        said: &mut mpsc::Receiver<FromWorker>,
        stop: CancellationToken,
    ) -> Result<bool, JoinError> {
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut missed = 0;
        let (mut failed, mut drained) = (None, false);
        loop {
            tokio::select! {
                down = hear(&mut self.link) => {
                    missed = 0;
                    // Once its nodes have ended nobody has to be there any more.
                    if down.is_err() && drained {
                        return Ok(true);
                    }
                    match down? {
                        Down::Work(message) => {
                            // A worker that has ended says why below.
                            if let Err(TrySendError::Full(_)) = orders.try_send(*message) {
                                let why = format!("{QUEUE} orders wait to be followed");
                                return Err(JoinError::Gone(why));
                            }
                        }
                        Down::Dismissed => {
                            let why = "it was sent home".to_owned();
                            // Whoever has heard it may take the broker down at once.
                            if self.say(&Up::Leaves { why }).await.is_ok() {
                                let _ = self.link.speaker().flush().await;
                            }
                            return Ok(true);
                        }
                        _ => {}
                    }
                }
                message = said.recv() => match message {
                    Some(message) => {
                        if let FromWorker::Failed { why } = &message {
                            failed = Some(why.clone());
                        }
                        drained |= matches!(message, FromWorker::Drained);
                        self.say(&Up::Says(Box::new(message))).await?;
                    }
                    None => {
                        self.link.speaker().flush().await?;
                        return failed.map_or(Ok(true), |why| Err(JoinError::Failed(why)));
                    }
                },
                _ = beats.tick() => {
                    missed += 1;
                    let silent = BEAT_EVERY.saturating_mul(missed);
                    if silent > SILENCE {
                        let seconds = silent.as_secs();
                        let why = format!("the coordinator has said nothing for {seconds} s");
                        return Err(JoinError::Gone(why));
                    }
                    self.say(&Up::Beat).await?;
                }
                () = stop.cancelled() => {
                    let why = "it was asked to end".to_owned();
                    self.say(&Up::Leaves { why }).await?;
                    self.link.speaker().flush().await?;
                    return Ok(false);
                }
            }
        }
    }

    async fn say(&self, message: &Up) -> Result<(), JoinError> {
        let said = self.link.speaker().say(&self.up, message).await;
        said.map_err(|error| JoinError::Gone(error.to_string()))
    }
}

async fn hear(link: &mut Link) -> Result<Down, JoinError> {
    match link.hear().await {
        Heard::Message(message) => open(&message.payload).map_err(JoinError::Release),
        Heard::Lost(why) => Err(JoinError::Gone(why)),
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or("unknown".to_owned(), |name| name.trim().to_owned())
}
