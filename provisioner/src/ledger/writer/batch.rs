//! One transaction: changes applied to its tables, and what is counted with them.

mod unique;

use std::collections::{BTreeMap, HashMap};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use redb::{ReadableTable, Table, WriteTransaction};
use serde::Serialize;

use super::super::apply::{Outcome, apply, key_of};
use super::super::record::{Act, Applied, Change, Enrolment, Entry, KeyRecord};
use super::super::renewal::Policy;
use super::super::revocation::{self, Revocation};
use super::super::store::{
    COUNTERS, ENROLMENTS, ENTRIES, KEYS, LATENCIES, LedgerError, REVOKED, SERIALS, Store, TOKENS,
    state_counter, step_counter, target_counter,
};
use super::{Committed, LONGEST_US};
use crate::step::{State, Step};

/// Entries kept for one identity; the oldest go first.
pub(in crate::ledger) const HISTORY: u64 = 200;

/// Where an enrolment stands.
type Place = (State, Step);

/// The tables of one transaction, and what was read or counted in it.
pub(super) struct Batch<'t> {
    store: &'t Store,
    transaction: &'t WriteTransaction,
    policy: Policy,
    enrolments: Table<'t, &'static str, &'static [u8]>,
    entries: Table<'t, (&'static str, u64), &'static [u8]>,
    keys: Table<'t, &'static str, &'static [u8]>,
    serials: Table<'t, &'static str, &'static str>,
    revoked: Table<'t, &'static str, &'static [u8]>,
    tokens: Table<'t, (&'static str, &'static str), u64>,
    counters: Table<'t, &'static str, u64>,
    latencies: Table<'t, (u8, u64), u64>,
    read: HashMap<String, (Enrolment, Option<Place>)>,
    counted: BTreeMap<String, i64>,
    timed: BTreeMap<(u8, u64), u64>,
    scale: Histogram<u64>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(
        store: &'t Store,
        transaction: &'t WriteTransaction,
        policy: Policy,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            store,
            transaction,
            policy,
            enrolments: transaction.open_table(ENROLMENTS).map_err(store.failed())?,
            entries: transaction.open_table(ENTRIES).map_err(store.failed())?,
            keys: transaction.open_table(KEYS).map_err(store.failed())?,
            serials: transaction.open_table(SERIALS).map_err(store.failed())?,
            revoked: transaction.open_table(REVOKED).map_err(store.failed())?,
            tokens: transaction.open_table(TOKENS).map_err(store.failed())?,
            counters: transaction.open_table(COUNTERS).map_err(store.failed())?,
            latencies: transaction.open_table(LATENCIES).map_err(store.failed())?,
            read: HashMap::new(),
            counted: BTreeMap::new(),
            timed: BTreeMap::new(),
            scale: Histogram::new_with_bounds(1, LONGEST_US, 3).map_err(store.failed())?,
        })
    }

    pub(super) fn change(
        &mut self,
        change: &Change,
    ) -> Result<(Applied, Option<Committed>), LedgerError> {
        if !self.serial_is_new(&change.act)? {
            return Ok((Applied::SerialUsed, None));
        }
        let token = match &change.act {
            Act::Requested { presented, .. } => presented.token.as_ref(),
            _ => None,
        };
        if let Some(other) = token
            .map(|token| self.used_up(token, &change.identity))
            .transpose()?
            .flatten()
        {
            return Ok((Applied::TokenHeldBy(other), None));
        }
        let (mut enrolment, before) = self.enrolment(change)?;
        let key_name = key_of(&change.act);
        let mut key = key_name.map(|name| self.key(name)).transpose()?.flatten();
        if matches!(change.act, Act::Ordered(_) | Act::Requested { .. }) {
            let mut keys = Vec::new();
            for name in enrolment.keys_to_recall() {
                keys.extend(self.key(&name)?.map(|record| (name, record)));
            }
            enrolment.recall(keys.iter().map(|(name, record)| (name.as_str(), record)));
        }
        let target = enrolment.target.clone();
        let shipped_to = self.shipped_to(change)?;
        let outcome = apply(
            change,
            &mut enrolment,
            &mut key,
            shipped_to.as_deref(),
            self.policy,
        );
        if let Some(token) = token.filter(|_| outcome.applied == Applied::Done) {
            let (place, at) = (
                (token.id.as_str(), change.identity.as_str()),
                micros(change.at),
            );
            self.tokens.insert(place, at).map_err(self.store.failed())?;
        }
        self.revoke(&outcome.revoked)?;
        let now = enrolment.target.as_ref().filter(|_| !outcome.forget);
        self.count_target(target.as_ref(), now);
        if outcome.forget {
            self.forget(&change.identity, &enrolment, before)?;
            let committed = Committed::of(change, enrolment.state, &outcome);
            self.count_entry(outcome.entry.as_ref());
            return Ok((outcome.applied, Some(committed)));
        }
        if let (Some(name), Some(record), true) = (key_name, &key, outcome.key_changed) {
            let bytes = self.encode(record)?;
            self.keys
                .insert(name, bytes.as_slice())
                .map_err(self.store.failed())?;
            self.keep_shipped(change)?;
        }
        self.count_certificates(&outcome);
        let Some(entry) = &outcome.entry else {
            self.read
                .insert(change.identity.clone(), (enrolment, before));
            let committed = (!outcome.revoked.is_empty())
                .then(|| Committed::withheld(&change.identity, &outcome.revoked));
            return Ok((outcome.applied, committed));
        };

        let number = enrolment.next_entry;
        enrolment.next_entry += 1;
        let bytes = self.encode(entry)?;
        let at = (change.identity.as_str(), number);
        self.entries
            .insert(at, bytes.as_slice())
            .map_err(self.store.failed())?;
        if let Some(old) = number.checked_sub(HISTORY) {
            let old = (change.identity.as_str(), old);
            self.entries.remove(old).map_err(self.store.failed())?;
        }

        let now = (enrolment.state, enrolment.step);
        self.read
            .insert(change.identity.clone(), (enrolment, before));
        self.count_change(change, &outcome, before, now)?;
        let committed = Committed::of(change, now.0, &outcome);
        Ok((outcome.applied, Some(committed)))
    }

    fn count_change(
        &mut self,
        change: &Change,
        outcome: &Outcome,
        before: Option<Place>,
        now: Place,
    ) -> Result<(), LedgerError> {
        if before != Some(now) {
            self.count_place(now, 1);
            if let Some(before) = before {
                self.count_place(before, -1);
            }
            if let Some((_, seen)) = self.read.get_mut(&change.identity) {
                *seen = Some(now);
            }
        }
        self.count_entry(outcome.entry.as_ref());
        if let Some((step, took_us)) = outcome.completed {
            if let Some(took) = took_us {
                let bucket = self.scale.highest_equivalent(took.clamp(1, LONGEST_US));
                *self.timed.entry((step.index(), bucket)).or_default() += 1;
            }
            self.mark_time(step, change)?;
        }
        Ok(())
    }

    fn count_entry(&mut self, entry: Option<&Entry>) {
        if let Some(name) = entry.and_then(Entry::counter) {
            self.count(name, 1);
        }
    }

    fn count_certificates(&mut self, outcome: &Outcome) {
        if outcome.new_certificate {
            self.count("certificates".to_owned(), 1);
        }
        if outcome.signed_twice {
            self.count("keys_signed_twice".to_owned(), 1);
        }
    }

    /// Counts the nodes at a target.
    fn count_target(&mut self, before: Option<&String>, now: Option<&String>) {
        if before != now {
            for (target, by) in [(before, -1), (now, 1)] {
                if let Some(target) = target {
                    self.count(target_counter(target), by);
                }
            }
        }
    }

    /// Takes down what may no longer be accepted.
    fn revoke(&mut self, revoked: &[Revocation]) -> Result<(), LedgerError> {
        for revocation in revoked {
            let bytes = self.encode(revocation)?;
            self.revoked
                .insert(revocation.serial.as_str(), bytes.as_slice())
                .map_err(self.store.failed())?;
            self.count(revocation::COUNTER.to_owned(), 1);
        }
        Ok(())
    }

    /// Takes the next number for a list of revoked certificates.
    pub(super) fn number(&self, at: Timestamp) -> Result<Applied, LedgerError> {
        let number = self.store.next_list(self.transaction, at)?;
        Ok(Applied::Numbered(number))
    }

    /// Removes what is known of an identity. What was signed for its keys stays
    /// known: no key is signed for twice, no serial number given out twice.
    fn forget(
        &mut self,
        identity: &str,
        enrolment: &Enrolment,
        before: Option<Place>,
    ) -> Result<(), LedgerError> {
        let failed = self.store.failed();
        self.enrolments.remove(identity).map_err(&failed)?;
        let entries = (identity, 0)..=(identity, u64::MAX);
        self.entries
            .retain_in(entries, |_, _| false)
            .map_err(&failed)?;
        if let Some(name) = &enrolment.key
            && self
                .key(name)?
                .is_some_and(|key| key.asks.is_empty() && !key.shipped)
        {
            self.keys.remove(name.as_str()).map_err(&failed)?;
        }
        if let Some(before) = before {
            self.count_place(before, -1);
        }
        Ok(())
    }

    /// Counts a state, and the step of those that are on their way.
    fn count_place(&mut self, (state, step): Place, by: i64) {
        self.count(state_counter(state), by);
        if matches!(state, State::Queued | State::Working) {
            self.count(step_counter(step), by);
        }
    }

    /// First arrival and last confirmation, microseconds since 1970.
    fn mark_time(&mut self, step: Step, change: &Change) -> Result<(), LedgerError> {
        let at = micros(change.at);
        let (name, overwrite) = match step {
            Step::Arrive => ("first_event_us", false),
            Step::Confirm => ("last_confirm_us", true),
            _ => return Ok(()),
        };
        let known = self
            .counters
            .get(name)
            .map_err(self.store.failed())?
            .is_some();
        if overwrite || !known {
            self.counters
                .insert(name, at)
                .map_err(self.store.failed())?;
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) fn finish(mut self) -> Result<(), LedgerError> {
        for (identity, (enrolment, place)) in std::mem::take(&mut self.read) {
            // Nothing became of what would have been its first change.
            if place.is_none() {
                continue;
            }
            let bytes = self.encode(&enrolment)?;
            self.enrolments
                .insert(identity.as_str(), bytes.as_slice())
                .map_err(self.store.failed())?;
        }
        for (name, by) in &self.counted {
            let found = self
                .counters
                .get(name.as_str())
                .map_err(self.store.failed())?;
            let sum = found.map_or(0, |n| n.value()).saturating_add_signed(*by);
            self.counters
                .insert(name.as_str(), sum)
                .map_err(self.store.failed())?;
        }
        for (bucket, by) in &self.timed {
            let found = self.latencies.get(bucket).map_err(self.store.failed())?;
            let sum = found.map_or(0, |n| n.value()) + by;
            self.latencies
                .insert(bucket, sum)
                .map_err(self.store.failed())?;
        }
        Ok(())
    }

    fn enrolment(&mut self, change: &Change) -> Result<(Enrolment, Option<Place>), LedgerError> {
        if let Some(read) = self.read.remove(&change.identity) {
            return Ok(read);
        }
        let found = self
            .enrolments
            .get(change.identity.as_str())
            .map_err(self.store.failed())?;
        match found {
            Some(bytes) => {
                let enrolment: Enrolment = self.store.decode(bytes.value())?;
                let place = (enrolment.state, enrolment.step);
                Ok((enrolment, Some(place)))
            }
            None => Ok((Enrolment::newcomer(change.at), None)),
        }
    }

    fn key(&self, name: &str) -> Result<Option<KeyRecord>, LedgerError> {
        let found = self.keys.get(name).map_err(self.store.failed())?;
        found
            .map(|bytes| self.store.decode(bytes.value()))
            .transpose()
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, LedgerError> {
        serde_json::to_vec(value).map_err(self.store.failed())
    }

    fn count(&mut self, name: String, by: i64) {
        *self.counted.entry(name).or_default() += by;
    }
}

/// Microseconds since 1970.
pub(in crate::ledger) fn micros(at: Timestamp) -> u64 {
    u64::try_from(at.as_microsecond()).unwrap_or(0)
}
