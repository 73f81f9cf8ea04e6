//! The one writer: as many changes as are waiting go into one transaction.
//!
//! While the disk is busy with one batch the next one gathers, so the cost of a
//! flush is shared by everything that happened meanwhile and no change waits
//! longer than two flushes and a few milliseconds.

mod batch;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::apply::{Outcome, placed};
use super::record::{Applied, Change};
use super::renewal::Policy;
use super::revocation::Revocation;
use super::standing::Pause;
use super::store::{LedgerError, Store};
use crate::audit::{self, Anchor, Audit, Event};
use crate::code::Code;
use crate::step::{State, Step};
use batch::Batch;
pub(super) use batch::{HISTORY, micros};

/// Changes in one transaction.
const BATCH: usize = 2_048;
/// How long a batch waits for company: far below what a node takes to answer.
const GATHER: Duration = Duration::from_millis(4);
/// The same while many nodes are enrolled at once: fewer flushes, for a wait that is lost in theirs.
const GATHER_MANY: Duration = Duration::from_millis(25);
/// Changes in the batch before that make many.
const MANY: usize = 24;
/// Longest duration a step is timed with, microseconds.
pub(crate) const LONGEST_US: u64 = 3_600_000_000;

pub(super) type Done = oneshot::Sender<Result<Applied, LedgerError>>;

/// Something on its way to the disk.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) done: Option<Done>,
}

/// What is to be written.
#[derive(Debug)]
pub(super) enum Work {
    /// A transition of one enrolment.
    Change(Change),
    /// No new node is taken up, or they are again.
    Pause { on: bool, pause: Pause },
    /// A number for a list of revoked certificates, which is made now and good until then.
    Number { at: Timestamp, until: Timestamp },
    /// Nothing; only whether it could be.
    Probe,
}

/// A change that is durable, as metrics and logs want to know it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The node.
    pub identity: String,
    /// A step that was completed.
    pub completed: Option<(Step, Option<u64>)>,
    /// A setback, or a decision of a person that has a code.
    pub setback: Option<(Step, State, Code)>,
    /// The target it was placed at with a new certificate.
    pub placed: Option<String>,
    /// Certificates that may no longer be accepted.
    pub revoked: Vec<Revocation>,
}

impl Committed {
    /// What a change did that left the node in this state.
    pub(super) fn of(change: &Change, state: State, outcome: &Outcome) -> Self {
        let told = outcome.entry.as_ref();
        let setback = told.and_then(|entry| Some((entry.step, state, entry.code()?)));
        Self {
            identity: change.identity.clone(),
            completed: outcome.completed,
            setback,
            placed: placed(&change.act, outcome),
            revoked: outcome.revoked.clone(),
        }
    }

    /// Nothing but revocations.
    pub(super) fn withheld(identity: &str, revoked: &[Revocation]) -> Self {
        Self {
            identity: identity.to_owned(),
            completed: None,
            setback: None,
            placed: None,
            revoked: revoked.to_vec(),
        }
    }
}

/// Watches the writer.
pub trait Observer: Send + 'static {
    /// A batch became durable.
    fn committed(&self, batch: &[Committed]);

    /// A batch could not be written, and nothing of it happened.
    fn failed(&self, _error: &LedgerError) {}
}

impl<F: Fn(&[Committed]) + Send + 'static> Observer for F {
    fn committed(&self, batch: &[Committed]) {
        self(batch);
    }
}

/// Everything the writer needs beside the changes.
pub(super) struct Writer<O> {
    pub(super) store: Arc<Store>,
    pub(super) policy: Policy,
    pub(super) audit: Audit,
    pub(super) observer: O,
}

/// Starts the thread. It ends when every sender is gone, or the file can no longer be written.
pub(super) fn start(
    mut writer: Writer<impl Observer>,
    waiting: mpsc::Receiver<Job>,
) -> Result<(), LedgerError> {
    let store = Arc::clone(&writer.store);
    let spawned = thread::Builder::new()
        .name("ledger".to_owned())
        .spawn(move || {
            writer.run(waiting);
            writer.audit.close();
        });
    spawned.map(drop).map_err(store.failed::<std::io::Error>())
}

impl<O: Observer> Writer<O> {
    fn run(&mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(BATCH);
        let mut pause = GATHER;
        while waiting.blocking_recv_many(&mut jobs, BATCH) > 0 {
            gather(&mut waiting, &mut jobs, pause);
            pause = if jobs.len() < MANY {
                GATHER
            } else {
                GATHER_MANY
            };
            match self.write(&jobs) {
                Ok((applied, committed)) => {
                    self.observer.committed(&committed);
                    for (job, applied) in jobs.drain(..).zip(applied) {
                        answer(job.done, Ok(applied));
                    }
                }
                Err(error) => {
                    tracing::error!(
                        code = %error.code(), %error, changes = jobs.len(),
                        "the ledger cannot be written"
                    );
                    self.observer.failed(&error);
                    for job in jobs.drain(..) {
                        answer(job.done, Err(error.clone()));
                    }
                    if matches!(error, LedgerError::File { .. }) && !self.is_writable() {
                        tracing::error!("the ledger has to be opened anew: the service ends");
                        return;
                    }
                }
            }
        }
    }

    /// Whether the store writes on. After an error of its file it refuses everything until it
    /// is opened again.
    fn is_writable(&self) -> bool {
        let empty = self.store.database.begin_write();
        empty.is_ok_and(|transaction| transaction.commit().is_ok())
    }

    /// Applies the jobs in order, in one durable transaction, told in the audit log
    /// beforehand.
    fn write(&mut self, jobs: &[Job]) -> Result<(Vec<Applied>, Vec<Committed>), LedgerError> {
        let store = Arc::clone(&self.store);
        // No quick repair: it would open a ledger after a kill in half the time, and unverified. What is
        // damaged must be noticed.
        let transaction = store.database.begin_write().map_err(store.failed())?;
        let mut batch = Batch::new(&store, &transaction, self.policy)?;
        let mut applied = Vec::with_capacity(jobs.len());
        let mut committed = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut change = None;
            applied.push(match &job.work {
                Work::Change(wanted) => {
                    let (result, seen) = batch.change(wanted)?;
                    change = seen;
                    result
                }
                Work::Number { at, .. } => batch.number(*at)?,
                Work::Pause { on, pause } => {
                    store.set_pause(&transaction, on.then_some(pause))?;
                    Applied::Done
                }
                Work::Probe => Applied::Done,
            });
            committed.push(change);
        }
        batch.finish()?;
        let anchor = self.tell(jobs, &applied, &committed)?;
        let done = match &anchor {
            Some(anchor) => store.set_anchor(&transaction, anchor),
            None => Ok(()),
        };
        let done = done.and_then(|()| transaction.commit().map_err(store.failed()));
        match (&done, anchor) {
            (Ok(()), Some(anchor)) => self.audit.known(anchor),
            (Ok(()), None) => {}
            (Err(_), _) => self.audit.void(),
        }
        done.map(|()| (applied, committed.into_iter().flatten().collect()))
    }

    /// Tells the audit log what is about to be committed.
    fn tell(
        &mut self,
        jobs: &[Job],
        applied: &[Applied],
        committed: &[Option<Committed>],
    ) -> Result<Option<Anchor>, LedgerError> {
        // What is not told fills the disk as well.
        self.audit.check_room()?;
        let mut events = Vec::new();
        for ((job, applied), seen) in jobs.iter().zip(applied).zip(committed) {
            match &job.work {
                Work::Change(change) => {
                    let told = audit::events(change, applied, seen.as_ref());
                    events.extend(told.map(|event| (change.at, event)));
                }
                Work::Pause { on, pause } => {
                    events.push((pause.since, Event::pause(*on, pause)));
                }
                Work::Number { at, until } => {
                    events.extend(Event::listed(applied, *until).map(|event| (*at, event)));
                }
                Work::Probe => {}
            }
        }
        let probed = || jobs.iter().any(|job| matches!(job.work, Work::Probe));
        if events.is_empty() && !probed() {
            return Ok(None);
        }
        Ok(Some(self.audit.append(&events)?))
    }
}

/// Waits a moment for more to come, so that a slow trickle of changes shares
/// its flushes too.
fn gather(waiting: &mut mpsc::Receiver<Job>, jobs: &mut Vec<Job>, pause: Duration) {
    if jobs.len() < BATCH {
        thread::sleep(pause);
    }
    while jobs.len() < BATCH
        && let Ok(job) = waiting.try_recv()
    {
        jobs.push(job);
    }
}

pub(super) fn answer(done: Option<Done>, result: Result<Applied, LedgerError>) {
    // Whoever asked may be gone by now, and the change stands all the same.
    if let Some(done) = done {
        let _ = done.send(result);
    }
}
