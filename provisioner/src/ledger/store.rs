//! The file behind the ledger: tables, and reading them beside the writer.
//!
//! redb keeps the file locked for one process. While a service runs, other
//! processes ask it over its socket (`control`); when none runs they
//! open the file themselves, with the same reading functions.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;

use super::mend::mend;
use super::record::{Enrolment, Entry, KeyRecord};
use crate::audit::AuditError;
use crate::code::Code;
use crate::step::{State, Step};

/// Version of what the tables hold.
const FORMAT: u64 = 1;
/// Name of the file of a replica.
const REPLICA: &str = "replica.redb";
/// Memory for pages kept in the cache.
const CACHE_BYTES: usize = 64 << 20;

pub(super) const ENROLMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("enrolments");
pub(super) const ENTRIES: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("entries");
pub(super) const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
/// Serial numbers of certificates → the key each was issued for.
pub(super) const SERIALS: TableDefinition<'_, &str, &str> = TableDefinition::new("serials");
/// Who used a token that is for a number of nodes: (token, identity) → when, microseconds since 1970.
pub(super) const TOKENS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("tokens");
/// Revoked certificates by serial number.
pub(super) const REVOKED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("revoked");
/// Counters by name: `state.parked`, `code.rpc.timeout`, `certificates`, ….
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// What concerns the whole service, by name: `pause`.
pub(super) const SERVICE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("service");
/// One histogram a step: (step, microseconds rounded to a bucket) → how often.
pub(super) const LATENCIES: TableDefinition<'_, (u8, u64), u64> = TableDefinition::new("latencies");

/// Why the ledger cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// Another process has it open.
    #[error(
        "{} is in use by another process, most likely a service of this folder; stop that one first",
        .0.display()
    )]
    InUse(PathBuf),
    /// There is none yet.
    #[error("{} is not there: no service has run with this configuration yet", .0.display())]
    Missing(PathBuf),
    /// It was written by a later version.
    #[error(
        "{} has format {found}, and this version knows {FORMAT}: a later version wrote it; run that",
        file.display()
    )]
    Format {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The folder or file cannot be used.
    #[error("{}: {says}", file.display())]
    File {
        /// The file or folder.
        file: PathBuf,
        /// What the system or the store said.
        says: String,
    },
    /// The audit log cannot be written, so nothing is decided.
    #[error("the audit log: {0}")]
    Audit(#[from] AuditError),
    /// The folder has a ledger of the other kind.
    #[error(
        "{} holds the enrolments of [ledger] kind = \"embedded\", which a shared ledger would not \
         know; go on with that kind, or move the file away to begin anew",
        .0.display()
    )]
    OtherKind(PathBuf),
    /// The bucket of a shared ledger cannot be used now.
    #[error("the bucket of the shared ledger: {0}")]
    Bucket(String),
    /// The writer has ended after an error it could not go on from.
    #[error("the ledger is closed: it could not be written any more; start the service again")]
    Closed,
}

impl LedgerError {
    /// The code nodes are put off with.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Audit(_) => Code::AuditUnavailable,
            Self::Bucket(_) => Code::BrokerDown,
            _ => Code::LedgerUnavailable,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    pub(super) database: Database,
}

/// All counters of the ledger.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// The counter of that name, 0 when it was never counted.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The counters whose name starts so, without that start.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        self.0
            .iter()
            .filter_map(move |(name, n)| Some((name.strip_prefix(prefix)?, *n)))
    }
}

impl Store {
    /// Where the file lies in the state folder.
    #[must_use]
    pub fn file_in(dir: &Path) -> PathBuf {
        dir.join("ledger.redb")
    }

    /// Opens the ledger for a service, making folder (0700) and file (0600).
    ///
    /// # Errors
    /// The folder cannot be made, or another process has the ledger open.
    pub fn create(dir: &Path) -> Result<Self, LedgerError> {
        let file = Self::file_in(dir);
        mend(&file, &crate::audit::folder_in(dir))?;
        let store = Self::make(dir, file)?;
        store.prepare()?;
        Ok(store)
    }

    /// The replica of a shared ledger, empty.
    pub(super) fn replica(dir: &Path) -> Result<Self, LedgerError> {
        let store = Self::make(dir, dir.join(REPLICA))?;
        let write = store.database.begin_write().map_err(store.failed())?;
        write.delete_table(ENROLMENTS).map_err(store.failed())?;
        write.delete_table(ENTRIES).map_err(store.failed())?;
        write.delete_table(KEYS).map_err(store.failed())?;
        write.delete_table(SERIALS).map_err(store.failed())?;
        write.delete_table(REVOKED).map_err(store.failed())?;
        write.delete_table(COUNTERS).map_err(store.failed())?;
        write.delete_table(LATENCIES).map_err(store.failed())?;
        store.set_pause(&write, None)?;
        write.commit().map_err(store.failed())?;
        store.prepare()?;
        Ok(store)
    }

    /// The replica a member of a group has left behind: for its own affairs only, since the
    /// bucket knows better about nodes.
    ///
    /// # Errors
    /// There is none, or it is in use.
    pub fn open_replica(dir: &Path) -> Result<Self, LedgerError> {
        Self::open_file(dir.join(REPLICA))
    }

    /// An empty ledger that is gone with the process.
    pub(super) fn in_memory(name: &str) -> Result<Self, LedgerError> {
        Self::on_backend(name, redb::backends::InMemoryBackend::new())
    }

    pub(super) fn on_backend(
        name: &str,
        backend: impl redb::StorageBackend,
    ) -> Result<Self, LedgerError> {
        let file = PathBuf::from(name);
        let database = Database::builder()
            .create_with_backend(backend)
            .map_err(|error| opening(&file, &error))?;
        let store = Self { file, database };
        store.prepare()?;
        Ok(store)
    }

    fn make(dir: &Path, file: PathBuf) -> Result<Self, LedgerError> {
        let at = |file: &Path| {
            let file = file.to_path_buf();
            move |error: std::io::Error| LedgerError::File {
                says: error.to_string(),
                file,
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(at(dir))?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&file)
            .map_err(|error| opening(&file, &error))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(at(&file))?;
        Ok(Self { file, database })
    }

    /// Opens an existing ledger for reading after its service stopped. A ledger
    /// left by a killed service is repaired first.
    ///
    /// # Errors
    /// No ledger, or one that is in use.
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        Self::open_file(Self::file_in(dir))
    }

    fn open_file(file: PathBuf) -> Result<Self, LedgerError> {
        if !file.exists() {
            return Err(LedgerError::Missing(file));
        }
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .open(&file)
            .map_err(|error| opening(&file, &error))?;
        let store = Self { file, database };
        store.prepare()?;
        Ok(store)
    }

    /// The record of one identity.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn enrolment(&self, identity: &str) -> Result<Option<Enrolment>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(ENROLMENTS).map_err(self.failed())?;
        let found = table.get(identity).map_err(self.failed())?;
        found.map(|bytes| self.decode(bytes.value())).transpose()
    }

    /// Every identity with its record, in alphabetical order, as long as `visit`
    /// wants more.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn each(&self, mut visit: impl FnMut(&str, Enrolment) -> bool) -> Result<(), LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(ENROLMENTS).map_err(self.failed())?;
        for row in table.iter().map_err(self.failed())? {
            let (identity, bytes) = row.map_err(self.failed())?;
            if !visit(identity.value(), self.decode(bytes.value())?) {
                break;
            }
        }
        Ok(())
    }

    /// Every identity, in alphabetical order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn each_name(&self, mut visit: impl FnMut(&str)) -> Result<(), LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(ENROLMENTS).map_err(self.failed())?;
        for row in table.iter().map_err(self.failed())? {
            visit(row.map_err(self.failed())?.0.value());
        }
        Ok(())
    }

    /// The history of one identity, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entries(&self, identity: &str) -> Result<Vec<Entry>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(ENTRIES).map_err(self.failed())?;
        let range = (identity, 0)..=(identity, u64::MAX);
        let rows = table.range(range).map_err(self.failed())?;
        rows.map(|row| self.decode(row.map_err(self.failed())?.1.value()))
            .collect()
    }

    /// The record of one key.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn key(&self, key: &str) -> Result<Option<KeyRecord>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(KEYS).map_err(self.failed())?;
        let found = table.get(key).map_err(self.failed())?;
        found.map(|bytes| self.decode(bytes.value())).transpose()
    }

    /// Every counter.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn counters(&self) -> Result<Counters, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(COUNTERS).map_err(self.failed())?;
        let mut counters = BTreeMap::new();
        for row in table.iter().map_err(self.failed())? {
            let (name, count) = row.map_err(self.failed())?;
            counters.insert(name.value().to_owned(), count.value());
        }
        Ok(Counters(counters))
    }

    /// How long a step took: (microseconds rounded to a bucket, how often).
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn latencies(&self, step: Step) -> Result<Vec<(u64, u64)>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(LATENCIES).map_err(self.failed())?;
        let range = (step.index(), 0)..=(step.index(), u64::MAX);
        let rows = table.range(range).map_err(self.failed())?;
        rows.map(|row| {
            let (key, count) = row.map_err(self.failed())?;
            Ok((key.value().1, count.value()))
        })
        .collect()
    }

    /// Makes every table, so that reading never meets a missing one, and checks
    /// the format.
    fn prepare(&self) -> Result<(), LedgerError> {
        let write = self.database.begin_write().map_err(self.failed())?;
        {
            write.open_table(ENROLMENTS).map_err(self.failed())?;
            write.open_table(ENTRIES).map_err(self.failed())?;
            write.open_table(KEYS).map_err(self.failed())?;
            write.open_table(SERIALS).map_err(self.failed())?;
            write.open_table(REVOKED).map_err(self.failed())?;
            write.open_table(TOKENS).map_err(self.failed())?;
            write.open_table(LATENCIES).map_err(self.failed())?;
            write.open_table(SERVICE).map_err(self.failed())?;
            let mut counters = write.open_table(COUNTERS).map_err(self.failed())?;
            let found = counters.get("format").map_err(self.failed())?;
            let found = found.map(|n| n.value());
            match found {
                Some(FORMAT) => {}
                Some(found) => {
                    let file = self.file.clone();
                    return Err(LedgerError::Format { file, found });
                }
                None => {
                    counters.insert("format", FORMAT).map_err(self.failed())?;
                }
            }
        }
        write.commit().map_err(self.failed())
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, LedgerError> {
        serde_json::from_slice(bytes).map_err(self.failed())
    }

    /// Turns an error of the store into ours, naming the file.
    pub(super) fn failed<E: std::fmt::Display>(&self) -> impl Fn(E) -> LedgerError + '_ {
        |error| LedgerError::File {
            file: self.file.clone(),
            says: error.to_string(),
        }
    }
}

/// Name of the counter of a state.
pub(super) fn state_counter(state: State) -> String {
    format!("state.{state}")
}

/// Name of the counter of nodes at a target.
pub(super) fn target_counter(target: &str) -> String {
    format!("target.{target}")
}

/// Name of the counter of those that are in a step now.
pub(super) fn step_counter(step: Step) -> String {
    format!("at.{step}")
}

fn opening(file: &Path, error: &DatabaseError) -> LedgerError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => LedgerError::InUse(file.to_path_buf()),
        other => LedgerError::File {
            file: file.to_path_buf(),
            says: other.to_string(),
        },
    }
}
