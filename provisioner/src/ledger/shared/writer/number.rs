//! Numbers for lists of revoked certificates: each is one member's only, and higher than all
//! before it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::super::record::Applied;
use super::super::super::revocation::ListNumber;
use super::super::super::store::LedgerError;
use super::super::super::writer::{Done, answer};
use super::super::bucket::{LIST, Shelf, ShelfError};
use super::Writer;
use crate::audit::Event;

/// How long a number may be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl Writer {
    /// Tells the audit log that a list is made, and takes its number from the bucket.
    pub(super) fn number(&mut self, at: Timestamp, until: Timestamp, done: Option<Done>) {
        let event = Event::Listed {
            number: None,
            until,
        };
        let told = self
            .tell(&[(at, event)])
            .and_then(|anchor| self.absorb(&[], Some(&anchor)));
        self.observe(&told, &[]);
        if let Err(error) = told {
            return answer(done, Err(error));
        }
        let shelf = Arc::clone(&self.hands.shelf);
        tokio::spawn(async move {
            let taken = tokio::time::timeout(PATIENCE, take(shelf.as_ref(), at)).await;
            let late = LedgerError::Bucket(format!("no number for a list within {PATIENCE:?}"));
            let taken = taken.unwrap_or(Err(late));
            answer(done, taken.map(Applied::Numbered));
        });
    }
}

/// Takes the next number; whoever else takes one at the same time gets another.
async fn take(shelf: &dyn Shelf, at: Timestamp) -> Result<ListNumber, LedgerError> {
    let bucket = |says: String| LedgerError::Bucket(says);
    loop {
        let (revision, last) = match shelf.read(LIST).await {
            Ok(None) => (0, None),
            Ok(Some((revision, bytes))) => {
                let last = serde_json::from_slice(&bytes);
                let last = last.map_err(|error| bucket(format!("{LIST}: {error}")))?;
                (revision, Some(last))
            }
            Err(ShelfError::Conflict) => continue,
            Err(ShelfError::Unknown(says)) => return Err(bucket(says)),
        };
        let next = ListNumber::after(last, at);
        let bytes = serde_json::to_vec(&next).map_err(|error| bucket(error.to_string()))?;
        match shelf.write(LIST, bytes.into(), revision).await {
            Ok(_) => return Ok(next),
            Err(ShelfError::Conflict) => {}
            // Perhaps it was stored: then that number is nobody's.
            Err(ShelfError::Unknown(says)) => return Err(bucket(says)),
        }
    }
}
