//! The one writer: as many changes as are waiting go into one transaction.
//!
//! While the disk is busy with one batch the next one gathers, so the cost of a
//! flush is shared by everything that happened meanwhile and no change waits
//! longer than two flushes and a few milliseconds.

mod batch;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::order::Reprovision;
use super::pause::Pause;
use super::record::{Applied, Change};
use super::store::{LedgerError, Store};
use crate::code::Code;
use crate::step::{State, Step};
use batch::Batch;

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
    Pause(Option<Pause>),
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
}

/// Everything the writer needs beside the changes.
pub(super) struct Writer<O> {
    pub(super) store: Arc<Store>,
    pub(super) reprovision: Reprovision,
    /// Sees every batch after it is durable.
    pub(super) observe: O,
}

/// Starts the thread. It ends when every sender is gone.
pub(super) fn start<O: Fn(&[Committed]) + Send + 'static>(
    writer: Writer<O>,
    waiting: mpsc::Receiver<Job>,
) -> Result<(), LedgerError> {
    let store = Arc::clone(&writer.store);
    let spawned = thread::Builder::new()
        .name("ledger".to_owned())
        .spawn(move || writer.run(waiting));
    spawned.map(drop).map_err(store.failed::<std::io::Error>())
}

impl<O: Fn(&[Committed])> Writer<O> {
    fn run(self, mut waiting: mpsc::Receiver<Job>) {
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
                    (self.observe)(&committed);
                    for (job, applied) in jobs.drain(..).zip(applied) {
                        answer(job, Ok(applied));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, changes = jobs.len(), "the ledger cannot be written");
                    for job in jobs.drain(..) {
                        answer(job, Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Applies the jobs in order, in one durable transaction.
    fn write(&self, jobs: &[Job]) -> Result<(Vec<Applied>, Vec<Committed>), LedgerError> {
        let store = self.store.as_ref();
        let transaction = store.database.begin_write().map_err(store.failed())?;
        let mut batch = Batch::new(store, &transaction, self.reprovision)?;
        let mut applied = Vec::with_capacity(jobs.len());
        let mut committed = Vec::with_capacity(jobs.len());
        for job in jobs {
            match &job.work {
                Work::Change(change) => {
                    let (result, seen) = batch.change(change)?;
                    applied.push(result);
                    committed.extend(seen);
                }
                Work::Pause(pause) => {
                    store.set_pause(&transaction, pause.as_ref())?;
                    applied.push(Applied::Done);
                }
            }
        }
        batch.finish()?;
        transaction.commit().map_err(store.failed())?;
        Ok((applied, committed))
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

fn answer(job: Job, result: Result<Applied, LedgerError>) {
    // Whoever asked may be gone by now, and the change stands all the same.
    if let Some(done) = job.done {
        let _ = done.send(result);
    }
}
