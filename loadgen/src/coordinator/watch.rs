//! Looks at what runs beside the workers: the provisioner's ledger and the brokers' counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::formation::monitor::Monitor;
use crate::provisioner::{NodeReport, Status, StatusCommand};

use super::views::Look;

/// How often the ledger is looked at.
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// How often while a fault waits for a progress.
const STATUS_EVERY_CLOSELY: Duration = Duration::from_millis(25);
/// How often brokers are asked for their counters.
const SCRAPE_EVERY: Duration = Duration::from_secs(2);

/// Tells the latest status of a provisioner, more often while `closely` is set.
pub fn ledger(
    command: StatusCommand,
    closely: Arc<AtomicBool>,
    stop: CancellationToken,
) -> watch::Receiver<Option<Arc<Status>>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let asked = tokio::select! {
                asked = command.ask() => asked,
                () = stop.cancelled() => return,
            };
            match asked {
                Ok(status) => {
                    sender.send_replace(Some(Arc::new(status)));
                }
                // Between a kill and the restart the ledger may be held by nobody for an instant.
                Err(error) => tracing::debug!(%error, "no status"),
            }
            let pause = match closely.load(Ordering::Relaxed) {
                true => STATUS_EVERY_CLOSELY,
                false => STATUS_EVERY,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    });
    receiver
}

/// Tells what a provisioner says of every node, while `wanted` is set.
pub fn nodes(
    command: StatusCommand,
    wanted: Arc<AtomicBool>,
    stop: CancellationToken,
) -> watch::Receiver<Arc<Vec<NodeReport>>> {
    let (sender, receiver) = watch::channel(Arc::default());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(STATUS_EVERY) => {}
                () = stop.cancelled() => return,
            }
            if !wanted.load(Ordering::Relaxed) {
                continue;
            }
            match command.nodes().await {
                Ok(nodes) => {
                    sender.send_replace(Arc::new(nodes));
                }
                Err(error) => tracing::debug!(%error, "no word of nodes"),
            }
        }
    });
    receiver
}

/// What one broker said of itself; nothing while it is away.
#[derive(Clone, Debug)]
pub(super) struct BrokerSeen {
    /// The broker's name.
    pub name: String,
    /// Its counters, and when they were told.
    pub look: Option<Look>,
}

/// Asks every broker for its counters, over and over.
pub(super) fn brokers(
    monitors: Vec<(String, Monitor)>,
    stop: CancellationToken,
) -> mpsc::Receiver<Vec<BrokerSeen>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(SCRAPE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let asking = monitors.iter().map(|(name, monitor)| async move {
                BrokerSeen {
                    name: name.clone(),
                    look: monitor.varz().await.ok().map(|varz| Look {
                        at: Instant::now(),
                        varz,
                    }),
                }
            });
            let seen = futures::future::join_all(asking).await;
            if sender.send(seen).await.is_err() {
                return;
            }
        }
    });
    receiver
}
