//! A glance at a record: what is asked before every message to a node, without reading all of it.

use redb::ReadableDatabase as _;
use serde::Deserialize;

use super::store::{ENROLMENTS, LedgerError, Store};
use crate::step::State;

#[derive(Deserialize)]
struct Stands {
    state: State,
}

impl Store {
    /// The state of one identity.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn state(&self, identity: &str) -> Result<Option<State>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(ENROLMENTS).map_err(self.failed())?;
        let found = table.get(identity).map_err(self.failed())?;
        let stands: Option<Stands> = found.map(|bytes| self.decode(bytes.value())).transpose()?;
        Ok(stands.map(|stands| stands.state))
    }
}
