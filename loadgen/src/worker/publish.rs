//! Events that nodes publish, and their arrival as the same process sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use server_core::bus::Bus;
use server_core::client::{Client, Connection};
use tokio::sync::watch;

use crate::measure::{Counter, OpKey, Series, micros};

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

/// For this long after our listener is back its brokers may still be learning of it.
const LISTENER_SETTLES: Duration = Duration::from_secs(1);
/// Events on their way this long before our listener's loss is noticed may have been meant for a
/// connection that was gone already, in ticks.
const NOTICED_WITHIN: u64 = 10;
/// Length of a tick of sending, µs.
const TICK_US: u64 = 100_000;

/// What an event says of itself. Times are on the clock of the process that sent it, which is the
/// one that receives it.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    node: u64,
    op: OpKey,
    sent_us: u64,
    /// Our listener was away: nothing is to be concluded from its arrival.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unheard: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pad: String,
}

/// Where the events of one worker's nodes are published.
pub fn subject_of(run: &str, worker: u32) -> String {
    format!("loadgen.event.{run}.{worker}")
}

/// The event of a node, `size` bytes long, or as long as its stamp where that is longer.
pub fn event(node: u64, op: &OpKey, (sent_us, unheard): (u64, bool), size: u64) -> Bytes {
    let mut stamp = Stamp {
        node,
        op: op.clone(),
        sent_us,
        unheard,
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
    /// Since when the listener is connected, µs from the run's start; the largest number while it
    /// is not.
    up_since_us: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Count {
    sent: u64,
    arrived: u64,
    told_lost: u64,
    /// What was sent lately and has arrived of it, by tick of sending.
    recent: BTreeMap<u64, (u64, u64)>,
}

impl Count {
    fn sent(&mut self, at_us: u64) {
        self.sent += 1;
        let tick = at_us / TICK_US;
        self.recent.entry(tick).or_default().0 += 1;
        while self.recent.len() as u64 > NOTICED_WITHIN {
            self.recent.pop_first();
        }
    }

    fn arrived(&mut self, sent_us: u64) {
        if let Some((sent, arrived)) = self.recent.get_mut(&(sent_us / TICK_US)) {
            if *arrived >= *sent {
                // Given up as unheard when the listener was lost.
                return;
            }
            *arrived += 1;
        }
        self.arrived += 1;
    }

    /// The listener is lost: of what is on its way just now nobody will know. How much that is.
    fn give_up(&mut self, now_us: u64) -> u64 {
        let mut unheard = 0;
        let since = (now_us / TICK_US).saturating_sub(NOTICED_WITHIN);
        for (sent, arrived) in self.recent.range_mut(since..).map(|(_, tick)| tick) {
            unheard += *sent - *arrived;
            *sent = *arrived;
        }
        self.sent -= unheard;
        unheard
    }
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
            up_since_us: AtomicU64::new(0),
        });
        tokio::spawn(follow(
            client.connection(),
            Arc::clone(&arrivals),
            Arc::clone(&book),
        ));
        let counting = Arc::clone(&arrivals);
        tokio::spawn(async move {
            while let Some(event) = watch.next().await {
                let Ok(stamp) = serde_json::from_slice::<Stamp>(&event.payload) else {
                    continue;
                };
                if stamp.unheard {
                    continue;
                }
                let took = book.clock.micros_of(event.at).saturating_sub(stamp.sent_us);
                book.recorder.with(|recorder| {
                    recorder.time(&stamp.op, Series::EndToEnd, Duration::from_micros(took));
                });
                counting.count(&stamp.op, |count| count.arrived(stamp.sent_us));
            }
        });
        Ok(arrivals)
    }

    /// Whether what is sent now will be heard when it arrives.
    pub fn hears(&self, now_us: u64) -> bool {
        let since = self.up_since_us.load(Ordering::Relaxed);
        since == 0 || now_us >= since.saturating_add(micros(LISTENER_SETTLES))
    }

    /// An event is about to be sent that will be heard.
    pub fn sent(&self, key: &OpKey, at_us: u64) {
        self.count(key, |count| count.sent(at_us));
    }

    /// It could not be sent after all.
    pub fn unsent(&self, key: &OpKey, at_us: u64) {
        self.count(key, |count| {
            count.sent = count.sent.saturating_sub(1);
            if let Some((sent, _)) = count.recent.get_mut(&(at_us / TICK_US)) {
                *sent = sent.saturating_sub(1);
            }
        });
    }

    fn give_up(&self, now_us: u64, book: &Book) {
        self.counts.with(|counts| {
            for (key, count) in counts {
                let unheard = count.give_up(now_us);
                book.recorder
                    .with(|recorder| recorder.count(key, Counter::Unheard, unheard));
            }
        });
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

/// Follows whether the listener is connected, until its connection is over.
async fn follow(
    mut connection: watch::Receiver<Connection>,
    arrivals: Arc<Arrivals>,
    book: Arc<Book>,
) {
    while connection.changed().await.is_ok() {
        let now_us = book.clock.now_us().max(1);
        let up = matches!(*connection.borrow_and_update(), Connection::Up { .. });
        let since = if up { now_us } else { u64::MAX };
        arrivals.up_since_us.store(since, Ordering::Relaxed);
        // It may be up again by the time the loss is looked at: it was lost all the same.
        arrivals.give_up(now_us, &book);
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
            let bytes = event(49_999, &key, (123_456_789, false), size);
            assert_eq!(bytes.len() as u64, size);
            let stamp: Stamp = serde_json::from_slice(&bytes).unwrap();
            assert_eq!((stamp.node, stamp.sent_us), (49_999, 123_456_789));
        }
        let smallest = event(1, &key, (1, false), 1);
        assert!(serde_json::from_slice::<Stamp>(&smallest).is_ok());
    }
}
