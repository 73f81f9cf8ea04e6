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
//!
//! What a transaction decides is in the audit log ([`crate::audit`]) before the
//! transaction is committed. Where the log cannot be written, nothing is decided.

mod apply;
mod order;
mod record;
mod standing;
mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::audit::{self, Audit};

pub use order::{Order, Reprovision, Ruling, Verb};
pub use record::{
    Act, Applied, Ask, Change, Enrolment, Entry, Evidence, Issuance, KeyRecord, Setback, Source,
    What,
};
pub use standing::Pause;
pub use store::{Counters, LedgerError, Store};
pub(crate) use writer::LONGEST_US;
pub use writer::{Committed, Observer};

use writer::{Job, Work, Writer};

/// Changes waiting for the writer; beyond it whoever changes waits.
const WAITING_CHANGES: usize = 8_192;

/// What the ledger holds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether an enrolled node may be enrolled once more.
    pub reprovision: Reprovision,
    /// How its audit log is kept.
    pub audit: audit::Settings,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            reprovision: Reprovision::WithApproval,
            audit: audit::Settings::default(),
        }
    }
}

/// A handle on the open ledger of the running service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    store: Arc<Store>,
    jobs: mpsc::Sender<Job>,
}

impl Ledger {
    /// Opens the ledger in `dir`, making it when there is none, and starts its
    /// writer. `observer` sees every batch after it is durable.
    ///
    /// # Errors
    /// The folder cannot be used, or another process has the ledger open.
    pub fn open(dir: &Path, rules: Rules, observer: impl Observer) -> Result<Self, LedgerError> {
        let store = Arc::new(Store::create(dir)?);
        let (jobs, waiting) = mpsc::channel(WAITING_CHANGES);
        let audit = Audit::new(audit::folder_in(dir), store.anchor()?, rules.audit);
        let writer = Writer {
            store: Arc::clone(&store),
            reprovision: rules.reprovision,
            audit,
            observer,
        };
        writer::start(writer, waiting)?;
        Ok(Self { store, jobs })
    }

    /// Whether something could be decided now: proves that ledger and audit log can
    /// be written, and signs what is new in the log when that is due.
    ///
    /// # Errors
    /// They cannot be written.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        self.wait_for(Work::Probe).await.map(drop)
    }

    /// Applies a change and returns once it is durable.
    ///
    /// # Errors
    /// The change could not be written; it did not happen.
    pub async fn commit(&self, change: Change) -> Result<Applied, LedgerError> {
        self.wait_for(Work::Change(change)).await
    }

    /// Has no new node taken up from now on, or (`on` is false) has them taken up
    /// again; returns once that is durable.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn set_pause(&self, on: bool, pause: Pause) -> Result<(), LedgerError> {
        self.wait_for(Work::Pause { on, pause }).await.map(drop)
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
