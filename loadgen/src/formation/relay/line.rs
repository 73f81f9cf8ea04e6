//! One link between two brokers: what is done to it now, and what has crossed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::Instant;

use crate::scenario::BrokerLink;

/// What a link does to what crosses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Open,
    /// It takes its time, in each direction.
    Slow {
        /// Added on the way.
        latency: Duration,
        /// Bytes a second, all connections of the link together; as many as come when `None`.
        bandwidth: Option<u64>,
    },
    /// Connections are closed, new ones at once.
    Reset,
    /// Nothing crosses, and nobody is told: connections stay, and what is sent waits.
    Silent,
}

impl Condition {
    /// Whether connections are closed.
    pub(super) fn is_cut(self) -> bool {
        self == Self::Reset
    }

    /// How many bytes go onto it at once: a narrow link gets them in small parts, so that they
    /// arrive evenly.
    pub(super) fn at_once(self) -> usize {
        const TIMES_A_SECOND: u64 = 20;
        match self {
            Self::Slow {
                bandwidth: Some(bandwidth),
                ..
            } => usize::try_from(bandwidth / TIMES_A_SECOND).unwrap_or(usize::MAX),
            _ => usize::MAX,
        }
        .max(512)
    }
}

/// A link that is led through a relay.
#[derive(Debug)]
pub struct Line {
    link: BrokerLink,
    condition: watch::Sender<Condition>,
    there: Lane,
    back: Lane,
    connections: AtomicU64,
    connected: AtomicU64,
    refused: AtomicU64,
    /// Held by the fault that has it in its hands.
    fault: Mutex<()>,
}

/// A relayed link and what went over it, as the manifest has it. Brokers of a region share what they
/// dial, so of gateways only the sum over all between two regions is that of the regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineSeen {
    /// The link.
    #[serde(flatten)]
    pub link: BrokerLink,
    /// Connections that stand.
    #[serde(skip)]
    pub connections: u64,
    /// Connections that were carried, all together.
    pub connected: u64,
    /// Connections that were closed at once, as the link was cut.
    pub refused: u64,
    /// Bytes from the first broker to the second.
    pub bytes_there: u64,
    /// Bytes from the second to the first.
    pub bytes_back: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Lane {
    bytes: AtomicU64,
    /// When everything that was let onto it has crossed.
    free_at: std::sync::Mutex<Instant>,
}

/// A link as seen by one of the two that may dial it.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) line: Arc<Line>,
    /// Whether it is the second broker that dials.
    pub(super) back: bool,
}

impl Side {
    /// The direction of what the dialling side sends, or of what it gets.
    pub(super) fn lane(&self, sent: bool) -> &Lane {
        match sent == self.back {
            true => &self.line.back,
            false => &self.line.there,
        }
    }
}

impl Line {
    pub(super) fn new(link: BrokerLink) -> Self {
        let lane = || Lane {
            bytes: AtomicU64::new(0),
            free_at: std::sync::Mutex::new(Instant::now()),
        };
        Self {
            link,
            condition: watch::Sender::new(Condition::Open),
            there: lane(),
            back: lane(),
            connections: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            fault: Mutex::new(()),
        }
    }

    /// Which one it is.
    pub fn link(&self) -> &BrokerLink {
        &self.link
    }

    /// Takes it for a fault; waits while another has it.
    pub async fn hold(&self) -> MutexGuard<'_, ()> {
        self.fault.lock().await
    }

    /// Lets it be so from now on.
    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    /// What has crossed it so far.
    pub fn seen(&self) -> LineSeen {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LineSeen {
            link: self.link.clone(),
            connections: of(&self.connections),
            connected: of(&self.connected),
            refused: of(&self.refused),
            bytes_there: of(&self.there.bytes),
            bytes_back: of(&self.back.bytes),
        }
    }

    /// How it is as soon as anything is heard over it.
    pub(super) async fn heard(&self) -> Condition {
        let mut condition = self.condition.subscribe();
        let heard = condition.wait_for(|now| *now != Condition::Silent).await;
        // It is told for as long as the line is there.
        heard.map_or(Condition::Reset, |now| *now)
    }

    /// Waits until connections are closed.
    pub(super) async fn closed(&self) {
        let mut condition = self.condition.subscribe();
        let _ = condition.wait_for(|now| now.is_cut()).await;
    }

    /// The delay of what is sent now.
    pub(super) fn latency(&self) -> Duration {
        match *self.condition.borrow() {
            Condition::Slow { latency, .. } => latency,
            _ => Duration::ZERO,
        }
    }

    /// Counts a connection for as long as the answer is kept.
    pub(super) fn opened(&self) -> impl Drop + '_ {
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Counted(&self.connections)
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counted<'a>(&'a AtomicU64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    /// Counts what has crossed.
    pub(super) fn crossed(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// When `bytes` that are let onto it now have crossed, behind all that were before.
    pub(super) fn let_on(&self, bytes: usize, condition: Condition) -> Option<Instant> {
        let Condition::Slow {
            bandwidth: Some(bandwidth),
            ..
        } = condition
        else {
            return None;
        };
        let takes = Duration::from_secs_f64(bytes as f64 / bandwidth.max(1) as f64);
        let mut free_at = self
            .free_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *free_at = (*free_at).max(Instant::now()) + takes;
        Some(*free_at)
    }
}
