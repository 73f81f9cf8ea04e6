//! One enrolment as the bucket holds it, and what a change makes of it: pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::apply::{apply, key_of};
use super::super::record::{Act, Applied, Change, Enrolment, Entry, KeyRecord};
use super::super::renewal::Policy;
use super::super::revocation::{self, Revocation};
use super::super::store::{state_counter, step_counter, target_counter};
use super::super::writer::Committed;
use crate::judge::CsrReply;
use crate::step::State;

/// Entries of the history that a value keeps; older ones are only counted.
const HISTORY: usize = 60;
/// Keys that can be used again beside those in use; of older ones only that they were signed for
/// is kept, and a node that comes with one has to make another.
const FORMER_KEYS: usize = 8;
/// Bytes these may have together. A broker takes a value of 1 MiB, and what hooks have nodes
/// configured with may be 256 KiB for each key.
const FORMER_BYTES: usize = 128 << 10;

/// How long a revoked certificate is kept beyond its end: longer than any list is good.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 90);

/// Everything about one enrolment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Value {
    /// Who wrote this value, so that a write whose acknowledgement was lost is recognised.
    pub(super) stamp: Stamp,
    /// The member that works on it, or did last.
    pub(super) holder: Option<String>,
    /// The summary.
    pub(super) enrolment: Enrolment,
    /// Its public keys by the SHA-256 of their SPKI.
    pub(super) keys: BTreeMap<String, KeyRecord>,
    /// The end of its history.
    pub(super) entries: Vec<Entry>,
    /// Counters of what is no longer in `entries` and `keys`.
    pub(super) older: BTreeMap<String, u64>,
    /// Its certificates that may no longer be accepted, by serial number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) revoked: BTreeMap<String, Revocation>,
    /// Somebody had it forgotten: only what was signed for its keys stays known.
    #[serde(default)]
    pub(super) forgotten: bool,
}

/// One write of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// The member.
    pub(super) by: String,
    /// Which of its writes.
    pub(super) write: u64,
}

/// What an act needs of whoever does it.
enum Need {
    /// It becomes the holder, where no living member works on the node.
    Take,
    /// It has to be the holder.
    Hold,
    /// A decision about the node, whoever works on it.
    Nothing,
}

impl Value {
    pub(super) fn newcomer(at: Timestamp) -> Self {
        Self {
            stamp: Stamp::default(),
            holder: None,
            enrolment: Enrolment::newcomer(at),
            keys: BTreeMap::new(),
            entries: Vec::new(),
            older: BTreeMap::new(),
            revoked: BTreeMap::new(),
            forgotten: false,
        }
    }

    /// Whether somebody has to go on with it.
    pub(super) fn is_open(&self) -> bool {
        let state = self.enrolment.state;
        !self.forgotten && matches!(state, State::Queued | State::Working | State::Parked)
    }

    /// It has to be enrolled as if nothing was known of it.
    fn forget(&mut self) {
        self.count_entries(self.entries.len());
        self.keys.retain(|_, key| !key.asks.is_empty());
        self.holder = None;
        self.forgotten = true;
    }

    /// Nothing was ever signed for it: what is known of it is that it was a name, and that need not
    /// be known.
    pub(super) fn is_nothing(&self) -> bool {
        self.forgotten && self.keys.is_empty() && self.revoked.is_empty()
    }

    /// The same node when it is heard of again.
    fn begun_anew(self, at: Timestamp) -> Self {
        if self.is_nothing() {
            return Self::newcomer(at);
        }
        Self {
            keys: self.keys,
            older: self.older,
            revoked: self.revoked,
            ..Self::newcomer(at)
        }
    }

    /// Counts the first entries and lets go of them.
    fn count_entries(&mut self, surplus: usize) {
        for entry in self.entries.drain(..surplus) {
            if let Some(name) = entry.counter() {
                *self.older.entry(name).or_default() += 1;
            }
        }
    }

    /// The number of the first entry that is still here.
    pub(super) fn first_entry(&self) -> u64 {
        self.enrolment.next_entry - self.entries.len() as u64
    }

    /// Its share in every counter of the ledger.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = self.older.clone();
        let mut count = |name: String, by: u64| *counts.entry(name).or_default() += by;
        for entry in &self.entries {
            if let Some(name) = entry.counter() {
                count(name, 1);
            }
        }
        for key in self.keys.values() {
            count("certificates".to_owned(), key.certificates() as u64);
            count(
                "keys_signed_twice".to_owned(),
                u64::from(key.is_signed_twice()),
            );
        }
        count(revocation::COUNTER.to_owned(), self.revoked.len() as u64);
        if self.forgotten {
            return counts;
        }
        if let Some(target) = &self.enrolment.target {
            count(target_counter(target), 1);
        }
        let (state, step) = (self.enrolment.state, self.enrolment.step);
        count(state_counter(state), 1);
        if matches!(state, State::Queued | State::Working) {
            count(step_counter(step), 1);
        }
        counts
    }

    /// Takes down what may no longer be accepted, and lets go of what has expired since so long
    /// that no list holds it.
    fn revoke(&mut self, revoked: &[Revocation], at: Timestamp) {
        for revocation in revoked {
            let serial = revocation.serial.clone();
            self.revoked.insert(serial, revocation.clone());
        }
        let kept = self.revoked.len();
        let gone = at.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        self.revoked.retain(|_, revoked| !revoked.is_past(gone));
        let gone = (kept - self.revoked.len()) as u64;
        if gone > 0 {
            *self
                .older
                .entry(revocation::COUNTER.to_owned())
                .or_default() += gone;
        }
    }

    /// Lets go of what is too old to be carried along.
    fn trim(&mut self) {
        self.count_entries(self.entries.len().saturating_sub(HISTORY));
        let (key, enrolled) = (&self.enrolment.key, &self.enrolment.enrolled_key);
        let in_use = |name: &String| Some(name) == key.as_ref() || Some(name) == enrolled.as_ref();
        let former = self.keys.iter_mut().filter(|(name, _)| !in_use(name));
        let mut former: Vec<_> = former.map(|(_, record)| record).collect();
        former.sort_by_key(|record| Reverse(record.asks.last().map(|ask| ask.at)));
        let mut room = Some(FORMER_BYTES);
        for (number, record) in former.into_iter().enumerate() {
            let bytes = serde_json::to_vec(record).map_or(FORMER_BYTES, |bytes| bytes.len());
            room = room.and_then(|room| room.checked_sub(bytes));
            if number >= FORMER_KEYS || room.is_none() {
                retire(record);
            }
        }
    }
}

/// Leaves of a key of long ago what keeps it from being signed for once more.
fn retire(key: &mut KeyRecord) {
    key.csr = CsrReply::default();
    key.issuance = None;
    key.asks.drain(..key.asks.len().saturating_sub(1));
    for ask in &mut key.asks {
        (ask.prepared, ask.settled) = (None, false);
    }
}

/// Who changes a value, and by which terms.
pub(super) struct Terms<'a> {
    /// This member.
    pub(super) me: &'a str,
    /// Which others are alive.
    pub(super) alive: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether an enrolled node may be enrolled once more.
    pub(super) policy: Policy,
    /// Another identity that has the key which an authority ships with the certificate.
    pub(super) shipped_to: Option<&'a str>,
}

/// Applies a change.
pub(super) fn change(
    value: &mut Option<Value>,
    change: &Change,
    terms: &Terms<'_>,
) -> (Applied, Option<Committed>) {
    if let Some(refused) = overtaken(value.as_ref(), &change.act, terms.me) {
        return (refused, None);
    }
    let need = need(&change.act);
    if let Some(other) = refusing(value.as_ref(), &need, terms) {
        return (Applied::HeldBy(other), None);
    }
    let mut next = match value.clone() {
        None => Value::newcomer(change.at),
        Some(found) if found.forgotten => found.begun_anew(change.at),
        Some(found) => found,
    };
    let name = key_of(&change.act);
    let mut key = name.and_then(|name| next.keys.get(name).cloned());
    if matches!(change.act, Act::Ordered(_) | Act::Requested { .. }) {
        let keys = next.enrolment.keys_to_recall();
        let keys = keys.iter().filter_map(|name| next.keys.get_key_value(name));
        next.enrolment
            .recall(keys.map(|(name, record)| (name.as_str(), record)));
    }
    let outcome = apply(
        change,
        &mut next.enrolment,
        &mut key,
        terms.shipped_to,
        terms.policy,
    );
    let withheld = (!outcome.revoked.is_empty())
        .then(|| Committed::withheld(&change.identity, &outcome.revoked));
    let Some(entry) = outcome.entry.clone() else {
        // Of a node that was forgotten meanwhile the key is known still.
        if let (Some(name), Some(record), true) = (name, key, outcome.key_changed)
            && let Some(found) = value
        {
            found.keys.insert(name.to_owned(), record);
            found.revoke(&outcome.revoked, change.at);
        }
        return (outcome.applied, withheld);
    };
    next.entries.push(entry);
    next.enrolment.next_entry += 1;
    if let (Some(name), Some(record), true) = (name, key, outcome.key_changed) {
        next.keys.insert(name.to_owned(), record);
    }
    // What a person wants tried now is tried by whoever was told.
    let to_try = matches!(change.act, Act::Ordered(_)) && next.enrolment.state == State::Queued;
    if to_try || matches!(need, Need::Take | Need::Hold) {
        next.holder = Some(terms.me.to_owned());
    }
    next.revoke(&outcome.revoked, change.at);
    next.trim();
    if outcome.forget {
        next.forget();
    }
    let committed = Committed::of(change, next.enrolment.state, &outcome);
    *value = Some(next);
    (outcome.applied, Some(committed))
}

/// Whether what this member is about to do was done by another meanwhile: two may find a member dead
/// at the same time, and one that did not hear of the bucket for a while knows what is old.
fn overtaken(value: Option<&Value>, act: &Act, me: &str) -> Option<Applied> {
    let value = value?;
    let state = value.enrolment.state;
    match act {
        Act::TakenOver { .. } if !value.is_open() => Some(Applied::NotNow(state)),
        Act::TakenOver { from, .. } => {
            let holder = value.holder.as_ref()?;
            (holder != from && holder != me).then(|| Applied::HeldBy(holder.clone()))
        }
        // It has waited since before the node was enrolled.
        Act::Taken { since } if state == State::Confirmed && *since <= value.enrolment.since => {
            Some(Applied::NotNow(state))
        }
        _ => None,
    }
}

fn need(act: &Act) -> Need {
    match act {
        Act::Arrived { .. }
        | Act::Taken { .. }
        | Act::TakenOver { .. }
        | Act::RenewalAsked { .. }
        | Act::RenewalLapsed(_) => Need::Take,
        Act::SetBack(setback) if setback.state == State::Quarantined => Need::Nothing,
        Act::Ordered(_) => Need::Nothing,
        Act::Inspected { .. }
        | Act::Requested { .. }
        | Act::Asked { .. }
        | Act::Declined { .. }
        | Act::Signed { .. }
        | Act::Configured { .. }
        | Act::Restarted { .. }
        | Act::Confirmed { .. }
        | Act::StillEnrolled
        | Act::SetBack(_) => Need::Hold,
    }
}

/// Who stands against the change, if anybody does.
fn refusing(value: Option<&Value>, need: &Need, terms: &Terms<'_>) -> Option<String> {
    let holder = value.and_then(|value| value.holder.as_deref());
    match (need, holder) {
        (Need::Nothing, _) => None,
        (_, Some(holder)) if holder == terms.me => None,
        (Need::Take, None) => None,
        (Need::Take, Some(other)) => {
            // What only waits may be taken from a living member; what is worked on may not.
            let working = value.is_some_and(|value| value.enrolment.state == State::Working);
            (working && (terms.alive)(other)).then(|| other.to_owned())
        }
        // A flow that is no longer the holder's, or of an enrolment nobody began.
        (Need::Hold, Some(other)) => Some(other.to_owned()),
        (Need::Hold, None) => None,
    }
}
