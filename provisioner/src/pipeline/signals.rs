//! Who waits for an event of which node.
//!
//! Events and replies settle a step together and come in either order, so a
//! step registers before it asks, and an event that comes in between is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use server_core::words::Identity;
use tokio::sync::watch;

/// What was seen of one node since somebody began to wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// It took a configuration.
    pub(crate) provisioned: bool,
    /// It stops or restarts.
    pub(crate) shutdown: bool,
    /// It started on the production network.
    pub(crate) started: bool,
    /// It announced itself on the provisioning network again.
    pub(crate) returned: bool,
}

type Waiting = HashMap<Identity, watch::Sender<Seen>>;

/// The nodes somebody waits for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals(Arc<Mutex<Waiting>>);

/// Waits for one node; the wait ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    signals: Signals,
    identity: Identity,
    seen: watch::Receiver<Seen>,
}

impl Signals {
    /// Begins to wait for a node.
    pub(crate) fn watch(&self, identity: &Identity) -> Watch {
        let (sender, seen) = watch::channel(Seen::default());
        self.locked().insert(identity.clone(), sender);
        Watch {
            signals: self.clone(),
            identity: identity.clone(),
            seen,
        }
    }

    /// Tells whoever waits for the node; says whether anybody does.
    pub(crate) fn tell(&self, identity: &Identity, what: impl FnOnce(&mut Seen)) -> bool {
        match self.locked().get(identity) {
            Some(sender) => {
                sender.send_modify(what);
                true
            }
            None => false,
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// Forgets what was seen: what counts is what comes after a request.
    pub(crate) fn reset(&self) {
        self.signals
            .tell(&self.identity, |seen| *seen = Seen::default());
    }

    /// It announced itself where it was not: that event said nothing about it.
    pub(crate) fn forget_return(&self) {
        self.signals
            .tell(&self.identity, |seen| seen.returned = false);
    }

    /// Returns once something of interest was seen.
    pub(crate) async fn until(&mut self, wanted: impl FnMut(&Seen) -> bool) -> Seen {
        let seen = self.seen.wait_for(wanted).await.map(|seen| *seen);
        match seen {
            Ok(seen) => seen,
            // The sender lives as long as this.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signals.locked().remove(&self.identity);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn what_comes_before_the_wait_is_kept_and_after_it_nobody_listens() {
        let signals = Signals::default();
        let identity = Identity::parse("n1").unwrap();
        assert!(!signals.tell(&identity, |s| s.shutdown = true));
        let mut watch = signals.watch(&identity);
        assert!(signals.tell(&identity, |s| s.shutdown = true));
        assert!(watch.until(|s| s.shutdown).await.shutdown);
        watch.reset();
        assert_eq!(watch.seen(), Seen::default());
        drop(watch);
        assert!(!signals.tell(&identity, |s| s.shutdown = true));
    }
}
