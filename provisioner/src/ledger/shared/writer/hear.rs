//! What is heard of the bucket: enrolments of other members, and the members themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::super::super::store::LedgerError;
use super::super::bucket::{News, member_key};
use super::super::replica;
use super::super::roll::Beat;
use super::super::value::Value;
use super::Writer;

impl Writer {
    /// Takes in what is heard of the bucket; true once everything that was there is known.
    /// Cancel-safe.
    pub(super) async fn hear_some(
        &mut self,
        told: &mut mpsc::Receiver<News>,
    ) -> Result<bool, LedgerError> {
        let Some(first) = told.recv().await else {
            return Err(LedgerError::Closed);
        };
        let mut batch: HashMap<String, (u64, Value)> = HashMap::new();
        let mut current = self.hear(first, &mut batch);
        while let Ok(news) = told.try_recv() {
            current |= self.hear(news, &mut batch);
        }
        let batch: Vec<_> = batch
            .into_iter()
            .map(|(id, (rev, value))| (id, rev, value))
            .collect();
        replica::absorb(&self.store, &batch, None)?;
        Ok(current)
    }

    fn hear(&mut self, news: News, batch: &mut HashMap<String, (u64, Value)>) -> bool {
        let group = &self.hands.group;
        match news {
            News::Current => return true,
            News::Node {
                identity,
                revision,
                value,
            } => {
                let known = group.revision(&identity);
                if known.is_some_and(|known| known >= revision) {
                    group.has_heard(revision);
                    return false;
                }
                match serde_json::from_slice::<Value>(&value) {
                    Ok(value) => {
                        self.resolve(&identity, Some(&value.stamp));
                        let group = &self.hands.group;
                        group.learn(&identity, revision, &value);
                        group.has_heard(revision);
                        self.hot.remove(&identity);
                        batch.insert(identity, (revision, value));
                    }
                    Err(error) => tracing::error!(
                        node = identity, %error,
                        "an enrolment in the shared ledger is not understood; is every provisioner of the same version?"
                    ),
                }
            }
            News::Beat { member, beat } => {
                let Ok(beat) = serde_json::from_slice::<Beat>(&beat) else {
                    tracing::warn!(member, "a member's beat is not understood");
                    return false;
                };
                let new = !group.is_alive(&member);
                let dead = group.roll().beat(&member, beat, Instant::now());
                if new {
                    tracing::info!(member, "shares the ledger");
                }
                for member in dead {
                    tracing::warn!(member, "is dead; what it held is taken over");
                    self.bury(&member);
                }
            }
            News::Pause { pause } => match replica::set_pause(&self.store, &pause) {
                Ok(paused) => group.pause(paused),
                Err(error) => tracing::error!(%error, "a pause is not understood"),
            },
            News::Left { member } => {
                if member == group.me() {
                    tracing::warn!("the others took this service for dead");
                } else if group.roll().left(&member) {
                    tracing::info!(member, "shares the ledger no longer");
                    group.one_is_gone();
                }
            }
        }
        false
    }

    fn bury(&self, member: &str) {
        self.hands.group.one_is_gone();
        let (shelf, key) = (Arc::clone(&self.hands.shelf), member_key(member));
        tokio::spawn(async move { shelf.remove(&key).await });
    }
}
