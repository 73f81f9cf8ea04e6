//! Events that nodes publish, and their arrival as the same process sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use server_core::bus::Bus;
use server_core::client::Client;

use crate::measure::{Counter, OpKey, Series};

use super::cell::Book;
use super::guarded::Guarded;

/// Events that may wait for the listener; beyond it they count as lost, as they do for any slow
/// subscriber.
const LISTENER_QUEUE: usize = 65_536;

/// The connection of a running node, for what is published in its name.
#[derive(Clone, Default)]
pub struct PublishLine(Arc<Guarded<Option<Arc<dyn Bus>>>>);

impl std::fmt::Debug for PublishLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishLine").finish_non_exhaustive()
    }
}

impl PublishLine {
    /// The node has this connection now.
    pub fn connected(&self, bus: Arc<dyn Bus>) {
        self.0.with(|line| *line = Some(bus));
    }

    /// Publishes bytes in the node's name.
    ///
    /// # Errors
    /// A stable word for the reason.
    pub async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), &'static str> {
        let bus = self.0.with(|line| line.clone()).ok_or("not-connected")?;
        let sent = bus.publish(subject, payload).await;
        sent.map_err(|error| error.code())
    }
}

/// What an event says of itself. Times are on the clock of the process that sent it, which is the
/// one that receives it.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    node: u64,
    op: OpKey,
    sent_us: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pad: String,
}

/// Where the events of one worker's nodes are published.
pub fn subject_of(run: &str, worker: u32) -> String {
    format!("loadgen.event.{run}.{worker}")
}

/// The event of a node, `size` bytes long, or as long as its stamp where that is longer.
pub fn event(node: u64, op: &OpKey, sent_us: u64, size: u64) -> Bytes {
    let mut stamp = Stamp {
        node,
        op: op.clone(),
        sent_us,
        pad: String::new(),
    };
    let bare = serde_json::to_vec(&stamp).unwrap_or_default();
    // With its comma, quotes, colon and name, an empty pad would be nine bytes.
    let missing = usize::try_from(size)
        .unwrap_or_default()
        .saturating_sub(bare.len() + 9);
    if missing == 0 {
        return bare.into();
    }
    stamp.pad = "x".repeat(missing);
    serde_json::to_vec(&stamp).unwrap_or_default().into()
}

/// Counts what was sent and what arrived, by operation and phase.
#[derive(Debug)]
pub struct Arrivals {
    counts: Guarded<BTreeMap<OpKey, Count>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    sent: u64,
    arrived: u64,
    told_lost: u64,
}

impl Arrivals {
    /// Listens on `subject` until the connection is over.
    ///
    /// # Errors
    /// When the subscription cannot be made.
    pub async fn listen(
        client: &Client,
        subject: &str,
        book: Arc<Book>,
    ) -> Result<Arc<Self>, String> {
        let watch = client.watch(subject, LISTENER_QUEUE).await;
        let mut watch = watch.map_err(|error| error.to_string())?;
        client.flush().await.map_err(|error| error.to_string())?;
        let arrivals = Arc::new(Self {
            counts: Guarded::default(),
        });
        let counting = Arc::clone(&arrivals);
        tokio::spawn(async move {
            while let Some(event) = watch.next().await {
                let Ok(stamp) = serde_json::from_slice::<Stamp>(&event.payload) else {
                    continue;
                };
                let took = book.clock.micros_of(event.at).saturating_sub(stamp.sent_us);
                book.recorder.with(|recorder| {
                    recorder.time(&stamp.op, Series::EndToEnd, Duration::from_micros(took));
                });
                counting.count(&stamp.op, |count| count.arrived += 1);
            }
        });
        Ok(arrivals)
    }

    /// An event is about to be sent.
    pub fn sent(&self, key: &OpKey) {
        self.count(key, |count| count.sent += 1);
    }

    fn count(&self, key: &OpKey, work: impl FnOnce(&mut Count)) {
        self.counts.with(|counts| match counts.get_mut(key) {
            Some(count) => work(count),
            None => work(counts.entry(key.clone()).or_default()),
        });
    }

    fn outstanding(&self) -> u64 {
        self.counts.with(|counts| {
            let each = counts.values();
            each.map(|count| count.sent.saturating_sub(count.arrived))
                .sum()
        })
    }

    /// Waits until everything sent has arrived, no longer than `within`, and records what is lost.
    pub async fn settle(&self, within: Duration, book: &Book) {
        const LOOK: Duration = Duration::from_millis(20);
        let deadline = tokio::time::Instant::now() + within;
        while self.outstanding() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
        }
        self.counts.with(|counts| {
            for (key, count) in counts {
                let lost = count.sent.saturating_sub(count.arrived);
                let new = lost.saturating_sub(count.told_lost);
                count.told_lost = lost.max(count.told_lost);
                book.recorder
                    .with(|recorder| recorder.count(key, Counter::Lost, new));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_event_has_the_size_that_was_asked_for() {
        let key = OpKey::new("steady", "event");
        for size in [256, 1_000, 90] {
            let bytes = event(49_999, &key, 123_456_789, size);
            assert_eq!(bytes.len() as u64, size);
            let stamp: Stamp = serde_json::from_slice(&bytes).unwrap();
            assert_eq!((stamp.node, stamp.sent_us), (49_999, 123_456_789));
        }
        let smallest = event(1, &key, 1, 1);
        assert!(serde_json::from_slice::<Stamp>(&smallest).is_ok());
    }
}
