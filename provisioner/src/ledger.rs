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
//!
//! The file of the embedded ledger belongs to one service. Several services share a bucket
//! instead (`shared`): the same changes, applied by the same function, written with a revision
//! that only one of them can have. A [`Ledger`] is used the same way in both cases.

mod apply;
mod glance;
mod issuance;
mod mend;
mod order;
mod record;
mod renewal;
mod revocation;
mod shared;
mod standing;
mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::audit::{self, Audit};

pub use issuance::{Issuance, SealedKey};
pub use order::{Order, Reprovision, Ruling, Verb};
pub use record::{
    Act, Applied, Ask, Change, Enrolment, Entry, Evidence, KeyRecord, Presented, Setback, Source,
    TokenUse, What,
};
pub(crate) use renewal::Holding;
pub use renewal::{LEFT, Lapse, Policy, Renewal, SPREAD, Terms as RenewalTerms, Turn};
pub use revocation::{Held, ListNumber, Reason, Revocation};
pub use shared::{Broker, BucketError, Duty, Group, JetStream, Pair, read as read_bucket};
pub use standing::Pause;
pub use store::{Counters, LedgerError, Store};
pub(crate) use writer::LONGEST_US;
pub use writer::{Committed, Observer};

use server_core::words::Seed;
use writer::{Job, Work, Writer};

/// Changes waiting for the writer; beyond it whoever changes waits.
const WAITING_CHANGES: usize = 8_192;

/// What the ledger holds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether an enrolled node may be enrolled once more, and when it is renewed.
    pub policy: Policy,
    /// How its audit log is kept.
    pub audit: audit::Settings,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Reprovision::Approval.into(),
            audit: audit::Settings::default(),
        }
    }
}

/// A handle on the open ledger of the running service; cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    store: Arc<Store>,
    jobs: mpsc::Sender<Job>,
    group: Option<Arc<Group>>,
}

/// A shared ledger whose bucket is not there yet. Changes wait until it is joined.
#[derive(Debug)]
pub struct Joining {
    store: Arc<Store>,
    rules: Rules,
    audit: Audit,
    group: Arc<Group>,
    waiting: mpsc::Receiver<Job>,
}

impl Joining {
    /// Takes the bucket in and begins to write to it; returns once everything that is in it
    /// can be read. `able` says whether this member can enrol, `observer` sees every change
    /// of this member after it is durable.
    ///
    /// # Errors
    /// The bucket is lost again, or holds what this version does not understand.
    pub async fn join(
        self,
        bucket: JetStream,
        able: impl Fn() -> bool + Send + Sync + 'static,
        observer: impl Observer,
        seed: Seed,
    ) -> Result<(), LedgerError> {
        let with = shared::With {
            store: self.store,
            group: self.group,
            policy: self.rules.policy,
            audit: self.audit,
            able: Arc::new(able),
            observer: Box::new(observer),
            seed,
        };
        shared::start(with, bucket, self.waiting).await
    }
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
            policy: rules.policy,
            audit,
            observer,
        };
        writer::start(writer, waiting)?;
        Ok(Self {
            store,
            jobs,
            group: None,
        })
    }

    /// A ledger shared with others, as the member `me`; `dir` has the replica. Nothing is in
    /// it and nothing is written before [`Joining::join`].
    ///
    /// # Errors
    /// The folder cannot be used, another process uses it, or it has an embedded ledger.
    pub fn shared(
        dir: &Path,
        me: &str,
        pair: Pair,
        rules: Rules,
    ) -> Result<(Self, Joining), LedgerError> {
        let store = Arc::new(shared::open_replica(dir)?);
        let (jobs, waiting) = mpsc::channel(WAITING_CHANGES);
        let group = Arc::new(Group::new(me, pair));
        let joining = Joining {
            audit: Audit::new(audit::folder_in(dir), store.anchor()?, rules.audit),
            store: Arc::clone(&store),
            rules,
            group: Arc::clone(&group),
            waiting,
        };
        let group = Some(group);
        Ok((Self { store, jobs, group }, joining))
    }

    /// The others, where the ledger is shared.
    #[must_use]
    pub fn group(&self) -> Option<&Arc<Group>> {
        self.group.as_ref()
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

    /// Takes the number of a list of revoked certificates that is made now and good `until`
    /// then; durable, so that no later list has it.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn list_number(
        &self,
        at: Timestamp,
        until: Timestamp,
    ) -> Result<ListNumber, LedgerError> {
        match self.wait_for(Work::Number { at, until }).await? {
            Applied::Numbered(number) => Ok(number),
            _ => Err(LedgerError::Closed),
        }
    }

    /// Applies a change without waiting for the disk. It is durable when any
    /// later change is.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn note(&self, change: Change) -> Result<(), LedgerError> {
        self.send(Work::Change(change), None).await
    }

    /// Returns when the writer has ended: its file cannot be written and has to be opened anew.
    pub async fn ended(&self) {
        self.jobs.closed().await;
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
