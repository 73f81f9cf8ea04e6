//! What every step works with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use server_core::words::{Clock, Identity};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Stop;
use super::admission::Gate;
use super::ask::Asker;
use super::holds::Holds;
use super::place::Places as PromisedPlaces;
use super::queue::Queue;
use super::signals::Signals;
use crate::config::{CaKind, Limits};
use crate::ledger::{Act, Applied, Change, Enrolment, KeyRecord, Ledger, LedgerError};
use crate::site::Site;
use crate::step::State;

/// The bounds of what goes on at once, one a stage.
#[derive(Debug)]
pub(crate) struct Places {
    /// Nodes being asked whether they are there.
    pub(crate) probes: Arc<Semaphore>,
    /// Nodes being enrolled.
    pub(crate) nodes: Arc<Semaphore>,
    /// Questions to the hook or signatures of the built-in authority.
    pub(crate) signing: Arc<Semaphore>,
    /// Nodes awaited on the production network.
    pub(crate) confirm: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(limits: &Limits, kind: &CaKind) -> Self {
        let places = |n| Arc::new(Semaphore::new(n));
        Self {
            probes: places(limits.probes),
            nodes: places(limits.nodes),
            signing: places(kind.at_once(limits)),
            confirm: places(limits.confirm),
        }
    }
}

/// What every step works with; shared by all enrolments.
pub(crate) struct Context {
    pub(crate) site: Arc<Site>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Mutex<ChaCha8Rng>,
    /// Asks on the network of nodes without credentials.
    pub(crate) provisioning: Arc<Asker>,
    /// Asks on the network of enrolled nodes.
    pub(crate) production: Arc<Asker>,
    pub(crate) places: Places,
    /// Places at targets that are promised.
    pub(crate) placed: PromisedPlaces,
    pub(crate) signals: Signals,
    pub(crate) queue: Arc<Mutex<Queue>>,
    /// The queue changed, or a place became free.
    pub(crate) queued: Arc<Notify>,
    /// Lets nodes in as places are expected for them.
    pub(crate) gate: Gate,
    /// What keeps new nodes from being taken up.
    pub(crate) holds: Arc<Holds>,
    /// Where a test wants an enrolment to stand still, and for how long.
    pub(crate) hold: Option<(String, Duration)>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        now(self.clock.as_ref())
    }

    /// Writes a change and returns once it is durable. Stops where it was decided
    /// meanwhile that the node does not go on.
    pub(crate) async fn commit(&self, node: &Identity, act: Act) -> Result<Applied, Stop> {
        match self.ledger.commit(self.change(node.as_str(), act)).await? {
            Applied::NotNow(state) => Err(Stop::Held(state)),
            Applied::HeldBy(member) => Err(Stop::Lost(member)),
            applied => Ok(applied),
        }
    }

    /// Makes a node this service's own where it was a member's that is gone, and stops where
    /// it is a living member's. Nothing to do for a ledger of one.
    pub(crate) async fn take_over(&self, node: &Identity) -> Result<(), Stop> {
        let Some(group) = self.ledger.group() else {
            return Ok(());
        };
        if let Some(member) = group.held_by_other(node.as_str()) {
            return Err(Stop::Lost(member));
        }
        if let Some(from) = group.orphaned_by(node.as_str()) {
            let certificate = self.certificate(node)?;
            self.commit(node, Act::TakenOver { from, certificate })
                .await?;
        }
        Ok(())
    }

    /// Key and serial number of the certificate a node is to be sent, where one exists.
    fn certificate(&self, node: &Identity) -> Result<Option<(String, String)>, Stop> {
        let Some(key) = self.enrolment(node)?.and_then(|known| known.key) else {
            return Ok(None);
        };
        let issued = self.key(&key)?.and_then(|record| record.issuance);
        Ok(issued.map(|issuance| (key, issuance.serial)))
    }

    /// Writes a change as often as it takes until it is durable, pausing while the ledger
    /// cannot be written.
    pub(crate) async fn insist(&self, node: &str, act: Act) -> Result<Applied, Stop> {
        let change = self.change(node, act);
        loop {
            match self.ledger.commit(change.clone()).await {
                Ok(Applied::NotNow(state)) => return Err(Stop::Held(state)),
                Ok(Applied::HeldBy(member)) => return Err(Stop::Lost(member)),
                Ok(applied) => return Ok(applied),
                Err(LedgerError::Closed) => return Err(Stop::Ended),
                Err(error) => {
                    tracing::error!(node, %error, code = %error.code(), "not recorded yet");
                    tokio::time::sleep(self.site.config.retry.first).await;
                }
            }
        }
    }

    /// Stops where another member took the node over meanwhile, or it was decided that it does
    /// not go on; asked before anything leaves for it.
    pub(crate) fn still_on(&self, node: &Identity) -> Result<(), Stop> {
        let group = self.ledger.group();
        if let Some(member) = group.and_then(|group| group.held_by_other(node.as_str())) {
            return Err(Stop::Lost(member));
        }
        match self.ledger.store().state(node.as_str())? {
            Some(State::Working) => Ok(()),
            Some(state) => Err(Stop::Held(state)),
            // It was refused, and then forgotten.
            None => Err(Stop::Held(State::Refused)),
        }
    }

    /// Writes a change without waiting for the disk.
    pub(crate) async fn note(&self, node: &Identity, act: Act) -> Result<(), Stop> {
        Ok(self.ledger.note(self.change(node.as_str(), act)).await?)
    }

    pub(crate) fn enrolment(&self, node: &Identity) -> Result<Option<Enrolment>, Stop> {
        Ok(self.ledger.store().enrolment(node.as_str())?)
    }

    pub(crate) fn key(&self, key: &str) -> Result<Option<KeyRecord>, Stop> {
        Ok(self.ledger.store().key(key)?)
    }

    pub(crate) async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Stop> {
        Arc::clone(of)
            .acquire_owned()
            .await
            .map_err(|_| Stop::Ended)
    }

    pub(crate) fn with_rng<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn with_queue<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        act(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stands still where a test wants it to be killed.
    pub(crate) async fn hold_at(&self, place: &str) {
        if let Some((_, time)) = self.hold.as_ref().filter(|(at, _)| at == place) {
            tokio::time::sleep(*time).await;
        }
    }

    fn change(&self, node: &str, act: Act) -> Change {
        Change {
            identity: node.to_owned(),
            at: self.now(),
            act,
        }
    }
}

/// The time of a clock as the ledger writes it.
pub(crate) fn now(clock: &dyn Clock) -> Timestamp {
    Timestamp::from_nanosecond(clock.unix().nanos()).unwrap_or(Timestamp::UNIX_EPOCH)
}
