//! What keeps the service from taking up new nodes; those on their way are finished.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Reasons to take up nobody.
#[derive(Debug)]
pub(crate) struct Holds {
    /// An operator said so.
    paused: AtomicBool,
    /// Another service leads.
    standby: watch::Sender<bool>,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            paused: AtomicBool::new(false),
            standby: watch::Sender::new(false),
        }
    }
}

impl Holds {
    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self.is_paused() || self.stands_by()
    }

    /// Whether an operator said so.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Whether another service leads: nodes that are heard of are that one's.
    pub(crate) fn stands_by(&self) -> bool {
        *self.standby.borrow()
    }

    /// An operator says so, or no longer; returns what was said before.
    pub(crate) fn pause(&self, paused: bool) -> bool {
        self.paused.swap(paused, Ordering::Relaxed)
    }

    /// Another service leads, or no longer.
    pub(crate) fn stand_by(&self, standby: bool) {
        self.standby
            .send_if_modified(|now| std::mem::replace(now, standby) != standby);
    }

    /// Returns once this service leads.
    pub(crate) async fn lead(&self) {
        // The sender lives as long as this does.
        let _ = self.standby.subscribe().wait_for(|standby| !standby).await;
    }
}
