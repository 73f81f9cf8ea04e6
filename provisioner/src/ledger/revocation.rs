//! Certificates that may no longer be accepted: which of a node's there are, and which were
//! revoked, when and why (RFC 5280 §5.3.1).
//!
//! A record carries the certificates that are good for its node. What is decided about the node
//! takes them from there; what was revoked is kept on its own, and outlives the node's record.

use jiff::Timestamp;
use redb::{ReadableDatabase as _, ReadableTable as _};
use serde::{Deserialize, Serialize};

use super::issuance::Issuance;
use super::order::{Order, Verb};
use super::record::{Enrolment, KeyRecord};
use super::store::{LedgerError, REVOKED, SERVICE, Store};
use crate::step::words;

/// Name under which the number of the last list is kept.
const LIST: &str = "revocation-list";
/// Name of the counter of revoked certificates.
pub(super) const COUNTER: &str = "revoked";
/// Certificates of one node that are known to be good. Whoever has more asks for keys it never
/// uses, and the oldest of those go first.
const HELD: usize = 32;

words! {
    /// Why a certificate was revoked.
    Reason {
        /// No reason is given.
        Unspecified = "unspecified",
        /// Somebody else may have its private key.
        KeyCompromise = "key-compromise",
        /// Its node is somebody else's now.
        AffiliationChanged = "affiliation-changed",
        /// Its node has another one.
        Superseded = "superseded",
        /// Its node is at the end of its life.
        CessationOfOperation = "cessation-of-operation",
        /// Its node may not do what the certificate allows.
        PrivilegeWithdrawn = "privilege-withdrawn",
    }
}

/// A certificate that is good for its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// SHA-256 of the public key's SPKI, hex.
    pub key: String,
    /// Its serial number, hex.
    pub serial: String,
    /// End of its life.
    pub not_after: Option<Timestamp>,
}

/// A certificate that may no longer be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose it was.
    pub identity: String,
    /// SHA-256 of the public key's SPKI, hex.
    pub key: String,
    /// Its serial number, hex.
    pub serial: String,
    /// End of its life.
    pub not_after: Option<Timestamp>,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

impl Revocation {
    /// Whether it was over by then even if it had not been revoked.
    #[must_use]
    pub fn is_past(&self, time: Timestamp) -> bool {
        self.not_after.is_some_and(|end| end < time)
    }
}

/// The last list that was made: the next one has a higher number (RFC 5280 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListNumber {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
}

impl ListNumber {
    /// The number after the last one. It is never below the seconds since 1970, so that it
    /// rises too where the ledger was lost.
    #[must_use]
    pub fn after(last: Option<Self>, at: Timestamp) -> Self {
        let next = last.map_or(0, |last| last.number.saturating_add(1));
        let time = u64::try_from(at.as_second()).unwrap_or(0);
        let number = next.max(time);
        Self { number, at }
    }
}

impl Order {
    /// Why the node's certificates are revoked by this order; `None` where they live on.
    pub(super) fn revokes(&self) -> Option<Reason> {
        match self.verb {
            Verb::Decommission => Some(self.revoke.unwrap_or(Reason::CessationOfOperation)),
            Verb::Ban => Some(self.revoke.unwrap_or(Reason::PrivilegeWithdrawn)),
            Verb::Evict | Verb::Purge => self.revoke,
            _ => None,
        }
    }
}

impl Enrolment {
    /// Takes a certificate down as good; what it gives up for that is returned.
    pub(super) fn hold(&mut self, identity: &str, held: Held, at: Timestamp) -> Vec<Revocation> {
        self.certificates.retain(|known| {
            known.serial != held.serial && known.not_after.is_none_or(|end| end >= at)
        });
        self.certificates.push(held);
        let surplus = self.certificates.len().saturating_sub(HELD);
        let in_use = [self.key.clone(), self.enrolled_key.clone()];
        let mut taken = 0;
        self.revoke(identity, Reason::Superseded, at, |held| {
            let free = !in_use.iter().flatten().any(|key| *key == held.key);
            let goes = free && taken < surplus;
            taken += usize::from(goes);
            goes
        })
    }

    /// Takes a server token down. No list names it, so what counts is when the last one ends.
    pub(super) fn hold_token(&mut self, issuance: &Issuance) {
        self.server_token_until = self.server_token_until.max(issuance.not_after);
    }

    /// Until when brokers may let somebody in by a server token of this node, where they still may.
    #[must_use]
    pub fn server_token_left(&self, now: Timestamp) -> Option<Timestamp> {
        self.server_token_until.filter(|end| *end > now)
    }

    /// The serial number of the newest certificate for the key it is enrolled with.
    pub(super) fn current(&self) -> Option<String> {
        let key = self.enrolled_key.as_ref()?;
        let held = self.certificates.iter().rev();
        held.into_iter()
            .find(|held| held.key == *key)
            .map(|held| held.serial.clone())
    }

    /// Revokes the certificates that are meant and still alive.
    pub(super) fn revoke(
        &mut self,
        identity: &str,
        reason: Reason,
        at: Timestamp,
        mut meant: impl FnMut(&Held) -> bool,
    ) -> Vec<Revocation> {
        let held = std::mem::take(&mut self.certificates);
        let (gone, kept): (Vec<_>, Vec<_>) = held.into_iter().partition(|held| meant(held));
        self.certificates = kept;
        let alive = |held: &Held| held.not_after.is_none_or(|end| end >= at);
        let gone = gone.into_iter().filter(alive);
        gone.map(|held| Revocation {
            identity: identity.to_owned(),
            key: held.key,
            serial: held.serial,
            not_after: held.not_after,
            at,
            reason,
        })
        .collect()
    }

    /// Fills in what a record of an earlier version does not tell, from the keys it names.
    pub(super) fn recall<'k>(&mut self, keys: impl IntoIterator<Item = (&'k str, &'k KeyRecord)>) {
        if !self.certificates.is_empty() {
            return;
        }
        for (key, record) in keys {
            let issued = record.issuance.as_ref();
            // The serial numbers of such a key are those of tokens, which no list revokes.
            let of_tokens = record.csr.ed25519.is_some();
            if of_tokens || issued.is_some_and(Issuance::is_token) {
                if let Some(token) = issued {
                    self.hold_token(token);
                }
                continue;
            }
            let held = record.serials.iter().map(|serial| Held {
                key: key.to_owned(),
                serial: serial.clone(),
                not_after: issued.and_then(|issued| issued.not_after),
            });
            self.certificates.extend(held);
        }
    }

    /// The keys that [`Self::recall`] wants to see.
    pub(super) fn keys_to_recall(&self) -> Vec<String> {
        if !self.certificates.is_empty() {
            return Vec::new();
        }
        let keys = [&self.enrolled_key, &self.key];
        let mut keys: Vec<_> = keys.into_iter().flatten().cloned().collect();
        keys.dedup();
        keys
    }
}

impl Store {
    /// What is known of a certificate's revocation, if it was revoked.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn revocation(&self, serial: &str) -> Result<Option<Revocation>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(REVOKED).map_err(self.failed())?;
        let found = table.get(serial).map_err(self.failed())?;
        found.map(|bytes| self.decode(bytes.value())).transpose()
    }

    /// Every revoked certificate, by serial number.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn revocations(&self) -> Result<Vec<Revocation>, LedgerError> {
        let read = self.database.begin_read().map_err(self.failed())?;
        let table = read.open_table(REVOKED).map_err(self.failed())?;
        let rows = table.iter().map_err(self.failed())?;
        rows.map(|row| self.decode(row.map_err(self.failed())?.1.value()))
            .collect()
    }

    /// How many certificates were revoked so far.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn revoked(&self) -> Result<u64, LedgerError> {
        self.count(COUNTER)
    }

    /// Takes the next number for a list, within the transaction.
    pub(super) fn next_list(
        &self,
        transaction: &redb::WriteTransaction,
        at: Timestamp,
    ) -> Result<ListNumber, LedgerError> {
        let mut table = transaction.open_table(SERVICE).map_err(self.failed())?;
        let last = table.get(LIST).map_err(self.failed())?;
        let last = last.map(|bytes| self.decode(bytes.value())).transpose()?;
        let next = ListNumber::after(last, at);
        let bytes = serde_json::to_vec(&next).map_err(self.failed())?;
        table
            .insert(LIST, bytes.as_slice())
            .map_err(self.failed())?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    fn at(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + day))
    }

    fn held(key: u8, serial: u16, end: i64) -> Held {
        Held {
            key: format!("k{key}"),
            serial: format!("s{serial}"),
            not_after: Some(at(end)),
        }
    }

    proptest! {
        /// A certificate is good, revoked or expired, and never two of these.
        #[test]
        fn nothing_is_lost_between_good_and_revoked(
            steps in prop::collection::vec((0_u8..4, 0_i64..60, any::<bool>()), 1..120)
        ) {
            let mut node = Enrolment::newcomer(at(0));
            node.enrolled_key = Some("k0".to_owned());
            let mut revoked: Vec<Revocation> = Vec::new();
            for (day, (key, life, end_it)) in (0..).zip(&steps) {
                let serial = u16::try_from(day).unwrap();
                node.key = Some(format!("k{key}"));
                revoked.extend(node.hold("n1", held(*key, serial, day + life), at(day)));
                if *end_it {
                    let name = format!("k{key}");
                    revoked.extend(node.revoke("n1", Reason::Superseded, at(day), |h| h.key != name));
                }
                for serial in 0..=day {
                    let name = format!("s{serial}");
                    let good = node.certificates.iter().any(|h| h.serial == name);
                    let gone = revoked.iter().filter(|r| r.serial == name).count();
                    let life = steps[usize::try_from(serial).unwrap()].1;
                    prop_assert!(gone <= 1 && !(good && gone == 1));
                    prop_assert!(good || gone == 1 || serial + life < day, "{name} is lost");
                }
                prop_assert!(revoked.iter().all(|r| !r.is_past(r.at)));
            }
        }

        #[test]
        fn numbers_rise_whatever_the_clock_does(days in prop::collection::vec(-400_i64..400, 1..50)) {
            let mut last: Option<ListNumber> = None;
            for day in days {
                let next = ListNumber::after(last, at(day));
                prop_assert!(last.is_none_or(|last| last.number < next.number));
                last = Some(next);
            }
        }
    }
}
