//! What a change did, for whoever writes it down.

use jiff::Timestamp;

use super::super::order::Ruling;
use super::super::record::{Applied, Entry, What};
use super::super::revocation::Revocation;
use crate::step::Step;

/// The outcome of one change on the records it touches.
#[derive(Debug)]
pub(in crate::ledger) struct Outcome {
    pub(in crate::ledger) applied: Applied,
    /// To be written, unless the change was refused.
    pub(in crate::ledger) entry: Option<Entry>,
    /// A step that was completed, with its duration in microseconds where the
    /// ledger knows when it began.
    pub(in crate::ledger) completed: Option<(Step, Option<u64>)>,
    /// The key record changed.
    pub(in crate::ledger) key_changed: bool,
    /// A certificate that was not known before.
    pub(in crate::ledger) new_certificate: bool,
    /// The key's second certificate.
    pub(in crate::ledger) signed_twice: bool,
    /// Everything known of the identity is to be forgotten.
    pub(in crate::ledger) forget: bool,
    /// Certificates that may no longer be accepted.
    pub(in crate::ledger) revoked: Vec<Revocation>,
}

impl Outcome {
    pub(in crate::ledger) fn refused(applied: Applied) -> Self {
        Self {
            applied,
            entry: None,
            completed: None,
            key_changed: false,
            new_certificate: false,
            signed_twice: false,
            forget: false,
            revoked: Vec::new(),
        }
    }

    /// It happened, and the history tells it.
    pub(in crate::ledger) fn told(at: Timestamp, step: Step, what: What) -> Self {
        Self {
            entry: Some(Entry {
                at,
                step,
                took_us: None,
                what,
            }),
            ..Self::refused(Applied::Done)
        }
    }

    /// What an order did.
    pub(in crate::ledger) fn ordered(ruling: Ruling, entry: Entry, forget: bool) -> Self {
        Self {
            entry: Some(entry),
            forget,
            ..Self::refused(Applied::Ordered(ruling))
        }
    }

    /// Whether the record of the key is to be written too.
    pub(in crate::ledger) fn with_key(self, key_changed: bool) -> Self {
        Self {
            key_changed,
            ..self
        }
    }
}
