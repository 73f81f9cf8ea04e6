//! The bucket as tables of the embedded ledger's form, so that reading is the same for both.

use std::collections::BTreeMap;
use std::path::Path;

use hdrhistogram::Histogram;
use redb::{Durability, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};

use super::super::record::What;
use super::super::standing::Pause;
use super::super::store::{
    COUNTERS, ENROLMENTS, ENTRIES, KEYS, LATENCIES, LedgerError, REVOKED, Store,
};
use super::super::writer::{HISTORY, LONGEST_US, micros};
use crate::audit::Anchor;
use crate::step::Step;

use super::bucket::{Broker, BucketError, News};
use super::turn::Current;
use super::value::Value;

/// The values themselves, with their revisions.
pub(super) const VALUES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("values");
/// News that may wait while a bucket is read.
const WAITING: usize = 4_096;

/// An empty replica in `dir`. It belongs to one service at a time.
pub(in crate::ledger) fn open(dir: &Path) -> Result<Store, LedgerError> {
    let embedded = Store::file_in(dir);
    if embedded.exists() {
        return Err(LedgerError::OtherKind(embedded));
    }
    let store = Store::replica(dir)?;
    let write = store.database.begin_write().map_err(store.failed())?;
    write.open_table(VALUES).map_err(store.failed())?;
    write.delete_table(VALUES).map_err(store.failed())?;
    write.open_table(VALUES).map_err(store.failed())?;
    write.commit().map_err(store.failed())?;
    Ok(store)
}

/// Reads a bucket when no member runs.
///
/// # Errors
/// The bucket is not there or cannot be reached.
pub async fn read(broker: &Broker) -> Result<Store, BucketError> {
    let failed = |says: String| BucketError::Bucket {
        bucket: broker.bucket.clone(),
        says,
    };
    let client = broker.connect().await?;
    let bucket = broker.open(&client, false).await?;
    let store = Store::in_memory(&broker.bucket).map_err(|error| failed(error.to_string()))?;
    let (news, mut told) = tokio::sync::mpsc::channel(WAITING);
    let following = tokio::spawn(bucket.follow(news));
    let (mut batch, mut current) = (Vec::new(), false);
    while !current {
        let mut some = Vec::new();
        if told.recv_many(&mut some, WAITING).await == 0 {
            return Err(failed("the connection was lost".to_owned()));
        }
        for news in some {
            match news {
                News::Node {
                    identity,
                    revision,
                    value,
                } => {
                    let value = serde_json::from_slice(&value);
                    let value = value.map_err(|error| failed(format!("{identity}: {error}")))?;
                    batch.push((identity, revision, value));
                }
                News::Current => current = true,
                News::Pause { pause } => {
                    set_pause(&store, &pause).map_err(|error| failed(error.to_string()))?;
                }
                News::Beat { .. } | News::Left { .. } => {}
            }
        }
        absorb(&store, &batch, None).map_err(|error| failed(error.to_string()))?;
        batch.clear();
    }
    following.abort();
    Ok(store)
}

/// Takes in whether the group is paused; says so.
pub(super) fn set_pause(store: &Store, told: &[u8]) -> Result<bool, LedgerError> {
    let pause: Option<Pause> = store.decode(told)?;
    let write = store.database.begin_write().map_err(store.failed())?;
    store.set_pause(&write, pause.as_ref())?;
    write.commit().map_err(store.failed())?;
    Ok(pause.is_some())
}

/// An enrolment as this replica has it.
pub(super) fn value(store: &Store, identity: &str) -> Result<Current, LedgerError> {
    let read = store.database.begin_read().map_err(store.failed())?;
    let table = read.open_table(VALUES).map_err(store.failed())?;
    let found = table.get(identity).map_err(store.failed())?;
    found
        .map(|row| {
            let (revision, bytes) = row.value();
            Ok((revision, store.decode(bytes)?))
        })
        .transpose()
}

/// Takes values in. They are durable in the bucket; what is lost here is read again there.
/// With them goes how far the member's own audit log is.
pub(super) fn absorb(
    store: &Store,
    batch: &[(String, u64, Value)],
    anchor: Option<&Anchor>,
) -> Result<(), LedgerError> {
    if batch.is_empty() && anchor.is_none() {
        return Ok(());
    }
    let mut write = store.database.begin_write().map_err(store.failed())?;
    write
        .set_durability(Durability::None)
        .map_err(store.failed())?;
    {
        let mut tables = Tables {
            store,
            values: write.open_table(VALUES).map_err(store.failed())?,
            enrolments: write.open_table(ENROLMENTS).map_err(store.failed())?,
            entries: write.open_table(ENTRIES).map_err(store.failed())?,
            keys: write.open_table(KEYS).map_err(store.failed())?,
            revoked: write.open_table(REVOKED).map_err(store.failed())?,
            counters: write.open_table(COUNTERS).map_err(store.failed())?,
            latencies: write.open_table(LATENCIES).map_err(store.failed())?,
            counted: BTreeMap::new(),
            timed: BTreeMap::new(),
            scale: Histogram::new_with_bounds(1, LONGEST_US, 3).map_err(store.failed())?,
        };
        for (identity, revision, value) in batch {
            tables.take(identity, *revision, value)?;
        }
        tables.finish()?;
    }
    if let Some(anchor) = anchor {
        store.set_anchor(&write, anchor)?;
    }
    write.commit().map_err(store.failed())
}

struct Tables<'t> {
    store: &'t Store,
    values: Table<'t, &'static str, (u64, &'static [u8])>,
    enrolments: Table<'t, &'static str, &'static [u8]>,
    entries: Table<'t, (&'static str, u64), &'static [u8]>,
    keys: Table<'t, &'static str, &'static [u8]>,
    revoked: Table<'t, &'static str, &'static [u8]>,
    counters: Table<'t, &'static str, u64>,
    latencies: Table<'t, (u8, u64), u64>,
    counted: BTreeMap<String, i64>,
    timed: BTreeMap<(u8, u64), u64>,
    scale: Histogram<u64>,
}

impl Tables<'_> {
    fn take(&mut self, identity: &str, revision: u64, value: &Value) -> Result<(), LedgerError> {
        let failed = self.store.failed();
        let before: Option<Value> = {
            let found = self.values.get(identity).map_err(self.store.failed())?;
            let found = found.map(|row| self.store.decode(row.value().1));
            found.transpose()?
        };
        if value.is_nothing() {
            self.values.remove(identity).map_err(&failed)?;
        } else {
            let bytes = self.encode(value)?;
            self.values
                .insert(identity, (revision, bytes.as_slice()))
                .map_err(&failed)?;
        }
        // Those of a forgotten node too: they are not signed for once more.
        for (name, record) in &value.keys {
            if before.as_ref().and_then(|before| before.keys.get(name)) != Some(record) {
                let bytes = self.encode(record)?;
                self.keys
                    .insert(name.as_str(), bytes.as_slice())
                    .map_err(&failed)?;
            }
        }
        let known = before.as_ref().map(|before| &before.revoked);
        for (serial, revocation) in &value.revoked {
            if known.and_then(|known| known.get(serial)) != Some(revocation) {
                let bytes = self.encode(revocation)?;
                self.revoked
                    .insert(serial.as_str(), bytes.as_slice())
                    .map_err(&failed)?;
            }
        }
        if value.forgotten {
            self.enrolments.remove(identity).map_err(&failed)?;
            let entries = (identity, 0)..=(identity, u64::MAX);
            let gone = self.entries.retain_in(entries, |_, _| false);
            gone.map_err(&failed)?;
            for name in before.iter().flat_map(|before| before.keys.keys()) {
                if !value.keys.contains_key(name) {
                    self.keys.remove(name.as_str()).map_err(&failed)?;
                }
            }
            if before.is_none() && value.is_nothing() {
                return Ok(());
            }
            return self.count(before.as_ref(), value);
        }
        let bytes = self.encode(&value.enrolment)?;
        self.enrolments
            .insert(identity, bytes.as_slice())
            .map_err(&failed)?;
        let seen = before
            .as_ref()
            .filter(|before| !before.forgotten)
            .map_or(0, |before| before.enrolment.next_entry);
        self.take_entries(identity, seen, value)?;
        self.count(before.as_ref(), value)
    }

    fn take_entries(
        &mut self,
        identity: &str,
        seen: u64,
        value: &Value,
    ) -> Result<(), LedgerError> {
        let numbered = (value.first_entry()..).zip(&value.entries);
        for (number, entry) in numbered.filter(|(number, _)| *number >= seen) {
            let bytes = self.encode(entry)?;
            self.entries
                .insert((identity, number), bytes.as_slice())
                .map_err(self.store.failed())?;
            if let Some(old) = number.checked_sub(HISTORY) {
                let old = (identity, old);
                self.entries.remove(old).map_err(self.store.failed())?;
            }
            let What::Done { .. } = &entry.what else {
                continue;
            };
            if entry.step == Step::Confirm {
                let last = micros(entry.at);
                self.mark("last_confirm_us", last, |found| last > found)?;
            }
            if let Some(took) = entry.took_us {
                let bucket = self.scale.highest_equivalent(took.clamp(1, LONGEST_US));
                *self.timed.entry((entry.step.index(), bucket)).or_default() += 1;
            }
        }
        Ok(())
    }

    fn count(&mut self, before: Option<&Value>, value: &Value) -> Result<(), LedgerError> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for (name, n) in value.counts() {
            *self.counted.entry(name).or_default() += signed(n);
        }
        for (name, n) in before.map(Value::counts).unwrap_or_default() {
            *self.counted.entry(name).or_default() -= signed(n);
        }
        let first = micros(value.enrolment.first_seen);
        self.mark("first_event_us", first, |found| first < found)?;
        Ok(())
    }

    fn mark(
        &mut self,
        name: &str,
        at: u64,
        better: impl Fn(u64) -> bool,
    ) -> Result<(), LedgerError> {
        let found = self.counters.get(name).map_err(self.store.failed())?;
        let found = found.map(|found| found.value());
        if found.is_none_or(better) {
            self.counters
                .insert(name, at)
                .map_err(self.store.failed())?;
        }
        Ok(())
    }

    /// Writes what was counted.
    fn finish(mut self) -> Result<(), LedgerError> {
        let failed = self.store.failed();
        for (name, by) in std::mem::take(&mut self.counted) {
            let found = self.counters.get(name.as_str()).map_err(&failed)?;
            let sum = found.map_or(0, |n| n.value()).saturating_add_signed(by);
            self.counters.insert(name.as_str(), sum).map_err(&failed)?;
        }
        for (bucket, by) in std::mem::take(&mut self.timed) {
            let found = self.latencies.get(bucket).map_err(&failed)?;
            let sum = found.map_or(0, |n| n.value()) + by;
            self.latencies.insert(bucket, sum).map_err(&failed)?;
        }
        Ok(())
    }

    fn encode<T: serde::Serialize>(&self, value: &T) -> Result<Vec<u8>, LedgerError> {
        serde_json::to_vec(value).map_err(self.store.failed())
    }
}
