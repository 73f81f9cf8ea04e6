//! The ledger: what was decided, signed, delivered and confirmed, on disk.
//!
//! Every transition of an enrolment is one [`Change`]. Changes are applied by one
//! writer thread, many to a transaction (`writer`), by a pure function
//! (`apply`) on the records (`record`); `store` is the file. Whoever
//! awaits [`Ledger::commit`] knows the change survives a kill at that instant.
//!
//! Two promises hang on the order of commits. Before an authority is asked to
//! sign, [`Act::Asked`] is committed with the bytes to be signed; before a
//! certificate leaves, [`Act::Signed`] is. So after a kill it is always known
//! whether an authority may have signed for a key, and no key is signed for
//! twice.

mod apply;
mod order;
mod pause;
mod record;
mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

pub use order::{Order, Reprovision, Ruling, Verb};
pub use pause::Pause;
pub use record::{
    Act, Applied, Ask, Change, Enrolment, Entry, Evidence, Issuance, KeyRecord, Setback, Source,
    What,
};
pub use store::{Counters, LedgerError, Store};
pub use writer::Committed;
pub(crate) use writer::LONGEST_US;

use writer::{Job, Work, Writer};

/// Changes waiting for the writer; beyond it whoever changes waits.
const WAITING_CHANGES: usize = 8_192;

/// A handle on the open ledger of the running service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    store: Arc<Store>,
    jobs: mpsc::Sender<Job>,
}

impl Ledger {
    /// Opens the ledger in `dir`, making it when there is none, and starts its
    /// writer. `reprovision` says whether enrolled nodes may be enrolled once
    /// more; `observe` sees every batch after it is durable.
    ///
    /// # Errors
    /// The folder cannot be used, or another process has the ledger open.
    pub fn open(
        dir: &Path,
        reprovision: Reprovision,
        observe: impl Fn(&[Committed]) + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let store = Arc::new(Store::create(dir)?);
        let (jobs, waiting) = mpsc::channel(WAITING_CHANGES);
        let writer = Writer {
            store: Arc::clone(&store),
            reprovision,
            observe,
        };
        writer::start(writer, waiting)?;
        Ok(Self { store, jobs })
    }

    /// Applies a change and returns once it is durable.
    ///
    /// # Errors
    /// The change could not be written; it did not happen.
    pub async fn commit(&self, change: Change) -> Result<Applied, LedgerError> {
        self.wait_for(Work::Change(change)).await
    }

    /// Has no new node taken up from now on, or has them taken up again; returns
    /// once that is durable.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn set_pause(&self, pause: Option<Pause>) -> Result<(), LedgerError> {
        self.wait_for(Work::Pause(pause)).await.map(drop)
    }

    /// Applies a change without waiting for the disk. It is durable when any
    /// later change is.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn note(&self, change: Change) -> Result<(), LedgerError> {
        self.send(Work::Change(change), None).await
    }

    /// For reading beside the writer.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    async fn wait_for(&self, work: Work) -> Result<Applied, LedgerError> {
        let (done, result) = tokio::sync::oneshot::channel();
        self.send(work, Some(done)).await?;
        result.await.map_err(|_| LedgerError::Closed)?
    }

    async fn send(&self, work: Work, done: Option<writer::Done>) -> Result<(), LedgerError> {
        let job = Job { work, done };
        self.jobs.send(job).await.map_err(|_| LedgerError::Closed)
    }
}

#[cfg(test)]
mod tests;
