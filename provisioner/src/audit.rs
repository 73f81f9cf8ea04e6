//! The audit log: what was decided, asked, signed and delivered, by whom, in files
//! that are only ever appended to and in which nothing can be changed unseen.
//!
//! One JSON object a line. Each holds the SHA-256 of the line before it
//! (`prev`) and, last, its own (`hash`), which is taken over the bytes of the
//! line without that last member; so any program that can hash can follow the
//! chain. Every so often a line is a checkpoint: an Ed25519 signature over its
//! number and the hash before it. Whoever changes, cuts, swaps or removes
//! something before a checkpoint would have to sign it anew.
//!
//! What comes after the last checkpoint is held by the ledger, which records the
//! number and hash of the last line with every transaction. Lines are on disk
//! before the transaction they tell of: no audit, no issuance
//! (`audit.unavailable`). After a kill the log may be ahead of the ledger by one
//! batch; the line `opened` that follows says where the ledger stood.

mod event;
mod follow;
mod key;
mod line;
mod log;
mod tail;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use event::{Event, events};
pub(crate) use follow::{Follower, Line};
pub(crate) use line::read_any as read_any_line;
pub(crate) use log::Audit;
pub use verify::{Finding, Verdict, verify};

/// How the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that must be free on the disk for anything to be decided.
    pub reserve: u64,
    /// Longest time until what is new is signed.
    pub checkpoint: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reserve: 64 << 20,
            checkpoint: Duration::from_secs(60),
        }
    }
}

/// Number and hash of a line: everything up to it is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The number.
    pub seq: u64,
    /// SHA-256, hexadecimal.
    pub hash: String,
}

/// Why nothing can be appended, or the log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {says}", file.display())]
pub struct AuditError {
    /// The file or folder.
    pub file: PathBuf,
    /// What is wrong and what to do.
    pub says: String,
}

impl AuditError {
    pub(crate) fn new(file: &Path, says: impl ToString) -> Self {
        Self {
            file: file.to_path_buf(),
            says: says.to_string(),
        }
    }
}

/// The folder of the log in a state folder.
#[must_use]
pub fn folder_in(state_dir: &Path) -> PathBuf {
    state_dir.join("audit")
}

/// The files of a log, oldest first.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let failed = |error: std::io::Error| AuditError::new(dir, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The file whose first line has this number.
fn segment(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.jsonl"))
}

#[cfg(test)]
mod tests;
