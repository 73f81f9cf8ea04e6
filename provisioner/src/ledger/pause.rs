//! Whether new nodes are taken up, kept across restarts.

use jiff::Timestamp;
use redb::{ReadableDatabase, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::store::{LedgerError, SERVICE, Store};

const KEY: &str = "pause";

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
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(SERVICE).map_err(self.failed())?;
        let found = table.get(KEY).map_err(self.failed())?;
        found.map(|bytes| self.decode(bytes.value())).transpose()
    }

    pub(super) fn set_pause(
        &self,
        transaction: &WriteTransaction,
        pause: Option<&Pause>,
    ) -> Result<(), LedgerError> {
        let mut table = transaction.open_table(SERVICE).map_err(self.failed())?;
        match pause {
            Some(pause) => {
                let bytes = serde_json::to_vec(pause).map_err(self.failed())?;
                table.insert(KEY, bytes.as_slice()).map_err(self.failed())?;
            }
            None => {
                table.remove(KEY).map_err(self.failed())?;
            }
        }
        Ok(())
    }
}
