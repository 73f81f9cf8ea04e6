//! What concerns the whole service and not one node: whether new nodes are taken
//! up, and how far the audit log goes.

use jiff::Timestamp;
use redb::{ReadableDatabase, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::store::{COUNTERS, LedgerError, SERVICE, Store, target_counter};
use crate::audit::Anchor;

const PAUSE: &str = "pause";
const AUDIT: &str = "audit";

/// No new node is taken up; those on their way are finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why, in that person's words; may be empty.
    pub why: String,
}

impl Store {
    /// The pause, if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pause(&self) -> Result<Option<Pause>, LedgerError> {
        self.standing(PAUSE)
    }

    /// The last line of the audit log that a transaction told.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn anchor(&self) -> Result<Option<Anchor>, LedgerError> {
        self.standing(AUDIT)
    }

    /// How many nodes are placed at a target.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn placed(&self, target: &str) -> Result<u64, LedgerError> {
        self.count(&target_counter(target))
    }

    /// One counter.
    pub(super) fn count(&self, name: &str) -> Result<u64, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(COUNTERS).map_err(self.failed())?;
        let found = table.get(name).map_err(self.failed())?;
        Ok(found.map_or(0, |count| count.value()))
    }

    pub(super) fn set_pause(
        &self,
        transaction: &WriteTransaction,
        pause: Option<&Pause>,
    ) -> Result<(), LedgerError> {
        self.set_standing(transaction, PAUSE, pause)
    }

    pub(super) fn set_anchor(
        &self,
        transaction: &WriteTransaction,
        anchor: &Anchor,
    ) -> Result<(), LedgerError> {
        self.set_standing(transaction, AUDIT, Some(anchor))
    }

    fn standing<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(SERVICE).map_err(self.failed())?;
        let found = table.get(name).map_err(self.failed())?;
        found.map(|bytes| self.decode(bytes.value())).transpose()
    }

    fn set_standing<T: Serialize>(
        &self,
        transaction: &WriteTransaction,
        name: &str,
        value: Option<&T>,
    ) -> Result<(), LedgerError> {
        let mut table = transaction.open_table(SERVICE).map_err(self.failed())?;
        match value {
            Some(value) => {
                let bytes = serde_json::to_vec(value).map_err(self.failed())?;
                table
                    .insert(name, bytes.as_slice())
                    .map_err(self.failed())?;
            }
            None => {
                table.remove(name).map_err(self.failed())?;
            }
        }
        Ok(())
    }
}
