//! What a worker knows of one node: how far it is, and which operations wait for it.

mod book;
mod links;
mod renewed;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use server_core::bus::Took;
use server_core::node::MemoryStorage;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::measure::{Counter, NodeState, OpKey, Series};

use super::guarded::Guarded;
use super::standing::Told;
use renewed::Renewed;

pub use book::Book;

/// An operation that was begun for a node and is to end when the node gets there.
#[derive(Debug)]
pub struct Pending {
    /// The operation, as measured.
    pub key: Arc<OpKey>,
    /// When it was meant to begin, since the run's start.
    pub intended: Duration,
    /// When it began.
    pub began: Duration,
    /// Its place under the limit of a closed pace; freed when it ends.
    pub place: Option<OwnedSemaphorePermit>,
    /// Whether it counts as an operation of its own, or is a part of one.
    pub counted: bool,
    /// Held for as long as it is under way; the operation sees when the last one is gone.
    pub open: Option<mpsc::Sender<()>>,
}

/// One node, as the process that hosts it sees it.
pub struct Cell {
    book: Arc<Book>,
    /// Its fleet's place in the scenario.
    fleet: usize,
    inner: Guarded<Inner>,
    disk: OnceLock<Arc<MemoryStorage>>,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Inner {
    state: NodeState,
    /// The node is, or was last, in production mode.
    production: bool,
    /// It has answered a discovery request on the production network.
    confirmed: bool,
    announced_at: Option<Duration>,
    connect: Option<Box<Pending>>,
    provision: Option<Box<Pending>>,
    leave: Option<Box<Pending>>,
    csrs: u32,
    renewed: Renewed,
    /// Connections lost since it was last up.
    drops: u32,
    /// When it lost one last.
    lost_at: Option<Duration>,
    /// It has reached another broker while its own, which announced its end, still serves.
    moving: bool,
    /// First connection to the production network: dials, and when it came up.
    first_dials: u32,
    first_dialled: Option<Duration>,
    first_up: Option<Duration>,
}

/// What the node told of itself; the meaning of a node event for the one who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It dials.
    Dialing,
    /// A dial has reached a broker.
    Dialled {
        /// What each layer took.
        took: Took,
    },
    /// A dial has reached nobody.
    DialFailed,
    /// It is connected and subscribed.
    Subscribed {
        /// On the production network; on the provisioning network otherwise.
        production: bool,
    },
    /// Its startup event is out.
    Announced {
        /// In production mode; in provisioning mode otherwise.
        production: bool,
    },
    /// It has made a key and a certificate request.
    CsrMade,
    /// It has been configured.
    Configured,
    /// It was told to restart.
    Restarting,
    /// It answered a discovery request.
    AnsweredDiscovery,
    /// It lost its connection.
    Disconnected,
    /// It has ended.
    Ended,
}

impl Cell {
    /// A node of the fleet at this place, which has not begun.
    pub fn new(book: Arc<Book>, fleet: usize, production: bool) -> Self {
        book.standing
            .with(|standing| standing.joined(fleet, NodeState::Waiting));
        Self {
            book,
            fleet,
            disk: OnceLock::new(),
            inner: Guarded::new(Inner {
                state: NodeState::Waiting,
                production,
                confirmed: false,
                announced_at: None,
                connect: None,
                provision: None,
                leave: None,
                csrs: 0,
                renewed: Renewed::default(),
                drops: 0,
                lost_at: None,
                moving: false,
                first_dials: 0,
                first_dialled: None,
                first_up: None,
            }),
        }
    }

    /// What it has on its disk: made by `make` when it starts for the first time, and kept when it
    /// leaves and comes back.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn disk<E>(
        &self,
        make: impl FnOnce() -> Result<MemoryStorage, E>,
    ) -> Result<Arc<MemoryStorage>, E> {
        if let Some(disk) = self.disk.get() {
            return Ok(Arc::clone(disk));
        }
        let made = Arc::new(make()?);
        Ok(Arc::clone(self.disk.get_or_init(|| made)))
    }

    /// Does something to what is known of the node, and brings the sum over all nodes up to date.
    fn change(&self, work: impl FnOnce(&mut Inner)) {
        self.inner.with(|inner| {
            let before = inner.told();
            work(inner);
            let after = inner.told();
            if before != after {
                self.book
                    .standing
                    .with(|standing| standing.changed(self.fleet, before, after));
            }
        });
    }

    /// A connect operation has begun for it.
    pub fn connecting(&self, pending: Pending) {
        self.begin(&pending);
        self.inner
            .with(|inner| inner.connect = Some(Box::new(pending)));
    }

    /// A provision operation has begun for it.
    pub fn provisioning(&self, pending: Pending) {
        self.begin(&pending);
        self.inner
            .with(|inner| inner.provision = Some(Box::new(pending)));
    }

    /// A disconnect operation has begun for it.
    pub fn leaving(&self, pending: Pending) {
        self.begin(&pending);
        self.inner
            .with(|inner| inner.leave = Some(Box::new(pending)));
    }

    fn begin(&self, pending: &Pending) {
        if !pending.counted {
            return;
        }
        self.book.recorder.with(|recorder| {
            recorder.count(&pending.key, Counter::Started, 1);
        });
    }

    /// Takes note of what the node told.
    pub fn saw(&self, seen: Seen) {
        let now = self.book.clock.now();
        self.change(|inner| match seen {
            Seen::Dialing => self.dialing(inner, now),
            Seen::Dialled { took } => self.dialled(inner, took),
            Seen::DialFailed if inner.has_been_up() => self.book.link(now, |tick| tick.failed += 1),
            Seen::DialFailed => {}
            Seen::Subscribed { production } => self.subscribed(inner, production, now),
            Seen::Announced { production } => announced(inner, production, now),
            Seen::CsrMade => {
                inner.csrs += 1;
                inner.renewed.requested(now);
                inner.state = NodeState::Csr;
            }
            Seen::Configured => {
                inner.renewed.configured();
                inner.state = NodeState::Configured;
            }
            Seen::Restarting => self.restarting(inner, now),
            Seen::AnsweredDiscovery => self.answered(inner, now),
            Seen::Disconnected => self.disconnected(inner, now),
            Seen::Ended => self.ended(inner, now),
        });
    }

    /// An operation that waits for this node has failed for good.
    pub fn failed(&self, kind: &str) {
        self.change(|inner| {
            let waiting = [inner.connect.take(), inner.provision.take()];
            for pending in waiting.into_iter().flatten() {
                self.book
                    .recorder
                    .with(|recorder| recorder.error(&pending.key, kind));
            }
            inner.state = NodeState::Stopped;
        });
    }

    fn subscribed(&self, inner: &mut Inner, production: bool, now: Duration) {
        inner.production = production;
        self.back(inner, now);
        if production {
            inner.first_up.get_or_insert(now);
        }
        if inner.confirmed && !production {
            self.asked_back(inner, now);
        }
        let confirmed = inner.confirmed && !inner.renewed.is_away();
        inner.state = match (production, confirmed) {
            (false, _) => NodeState::Joined,
            (true, false) => NodeState::Connected,
            (true, true) => NodeState::Confirmed,
        };
        if let Some(pending) = inner.connect.take() {
            self.succeed(&pending, pending.began, now);
        }
        if self.book.arrival_confirms {
            self.answered(inner, now);
        }
    }

    fn restarting(&self, inner: &mut Inner, now: Duration) {
        inner.state = NodeState::Restarting;
        inner.renewed.restarting(inner.production, now);
        inner.production = true;
        if let (Some(pending), Some(announced)) = (&inner.provision, inner.announced_at) {
            let took = now.saturating_sub(announced);
            self.book
                .recorder
                .with(|recorder| recorder.time(&pending.key, Series::ToRestart, took));
        }
    }

    fn answered(&self, inner: &mut Inner, now: Duration) {
        if inner.state != NodeState::Connected {
            return;
        }
        inner.state = NodeState::Confirmed;
        inner.confirmed = true;
        self.came_back(inner, now);
        if let Some(pending) = inner.provision.take() {
            self.succeed(&pending, inner.announced_at.unwrap_or(pending.began), now);
        }
    }

    fn ended(&self, inner: &mut Inner, now: Duration) {
        (inner.drops, inner.moving) = (0, false);
        inner.state = NodeState::Stopped;
        if let Some(pending) = inner.leave.take() {
            self.succeed(&pending, pending.began, now);
        }
        // Places under a limit must not be held by the dead.
        inner.connect = None;
        inner.provision = None;
    }

    fn succeed(&self, pending: &Pending, began: Duration, now: Duration) {
        if !pending.counted {
            return;
        }
        self.book.recorder.with(|recorder| {
            recorder.count(&pending.key, Counter::Ok, 1);
            let intended = now.saturating_sub(pending.intended);
            recorder.time(&pending.key, Series::Intended, intended);
            recorder.time(&pending.key, Series::Actual, now.saturating_sub(began));
        });
    }
}

impl Inner {
    fn told(&self) -> Told {
        Told {
            state: self.state,
            csrs: self.csrs,
            confirmed: self.confirmed,
            renewed: self.renewed.times > 0,
            first_dials: self.first_dials,
            first_dialled: self.first_dialled,
            first_up: self.first_up,
        }
    }
}

fn announced(inner: &mut Inner, production: bool, now: Duration) {
    if production {
        return;
    }
    inner.announced_at = Some(now);
    inner.state = NodeState::Arrived;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::measure::Recorder;
    use crate::worker::clock::RunClock;

    fn cell() -> (Arc<Book>, Cell, Arc<OpKey>) {
        let book = Arc::new(Book::new(
            RunClock::start(),
            ["nodes".to_owned()].into_iter(),
        ));
        let cell = Cell::new(Arc::clone(&book), 0, false);
        (book, cell, Arc::new(OpKey::new("enrol", "enrol")))
    }

    fn pending(key: &Arc<OpKey>) -> Pending {
        Pending {
            key: Arc::clone(key),
            intended: Duration::ZERO,
            began: Duration::ZERO,
            place: None,
            counted: true,
            open: None,
        }
    }

    #[test]
    fn a_node_is_followed_from_its_first_dial_to_its_confirmation() {
        let (book, cell, key) = cell();
        cell.provisioning(pending(&key));
        let way = [
            (Seen::Dialing, NodeState::Joining),
            (Seen::Subscribed { production: false }, NodeState::Joined),
            (Seen::Announced { production: false }, NodeState::Arrived),
            // The provisioner's first question; not the answer that confirms.
            (Seen::AnsweredDiscovery, NodeState::Arrived),
            (Seen::CsrMade, NodeState::Csr),
            (Seen::Configured, NodeState::Configured),
            (Seen::Restarting, NodeState::Restarting),
            (Seen::Disconnected, NodeState::Restarting),
            (Seen::Dialing, NodeState::Connecting),
            (Seen::Subscribed { production: true }, NodeState::Connected),
            (Seen::Announced { production: true }, NodeState::Connected),
            (Seen::AnsweredDiscovery, NodeState::Confirmed),
            (Seen::Disconnected, NodeState::Down),
            (Seen::Dialing, NodeState::Down),
            (Seen::Subscribed { production: true }, NodeState::Confirmed),
            (Seen::Ended, NodeState::Stopped),
        ];
        for (seen, state) in way {
            cell.saw(seen);
            assert_eq!(book.fleets()[0].of(state), 1, "after {seen:?}");
        }
        let op = book.recorder.with(Recorder::take).remove(&key).unwrap();
        assert_eq!(op.counters.of(Counter::Started), 1);
        assert_eq!(op.counters.of(Counter::Ok), 1);
        assert_eq!(op.counters.of(Counter::Attempts), 2);
        for series in [Series::Intended, Series::Actual, Series::ToRestart] {
            assert_eq!(op.series.get(&series).unwrap().count(), 1, "{series:?}");
        }
        let told = book.tally();
        assert_eq!((told.csrs, told.first_dials, told.confirmed), (1, 1, 1));
        assert_eq!((told.renewed, book.take_renewals()), (0, None));
    }

    #[test]
    fn a_node_that_is_asked_back_is_renewed_once_it_answers_again() {
        let (book, cell, key) = cell();
        cell.provisioning(pending(&key));
        let enrolled = [
            Seen::Subscribed { production: false },
            Seen::CsrMade,
            Seen::Configured,
            Seen::Restarting,
            Seen::Subscribed { production: true },
            Seen::AnsweredDiscovery,
        ];
        enrolled.into_iter().for_each(|seen| cell.saw(seen));
        assert_eq!(book.take_renewals(), None);
        let way = [
            (Seen::Restarting, NodeState::Restarting),
            (Seen::Disconnected, NodeState::Restarting),
            (Seen::Subscribed { production: false }, NodeState::Joined),
            (Seen::AnsweredDiscovery, NodeState::Joined),
            (Seen::CsrMade, NodeState::Csr),
            (Seen::Configured, NodeState::Configured),
            (Seen::Restarting, NodeState::Restarting),
            (Seen::Subscribed { production: true }, NodeState::Connected),
        ];
        for (seen, state) in way {
            cell.saw(seen);
            assert_eq!(book.fleets()[0].of(state), 1, "after {seen:?}");
        }
        assert_eq!(book.tally().renewed, 0);
        cell.saw(Seen::AnsweredDiscovery);
        cell.saw(Seen::AnsweredDiscovery);
        let told = book.tally();
        assert_eq!((told.csrs, told.confirmed, told.renewed), (2, 1, 1));
        let renewals = book.take_renewals().unwrap();
        assert_eq!((renewals.left, renewals.back, renewals.nodes), (1, 1, 1));
        assert_eq!(renewals.away.count(), 1);
    }

    #[test]
    fn a_place_under_a_limit_is_freed_by_success_and_by_failure() {
        let limit = Arc::new(tokio::sync::Semaphore::new(1));
        let (_, cell, key) = cell();
        let held = |cell: &Cell| {
            let place = Arc::clone(&limit).try_acquire_owned().unwrap();
            cell.connecting(Pending {
                place: Some(place),
                ..pending(&key)
            });
        };
        held(&cell);
        cell.saw(Seen::Subscribed { production: false });
        held(&cell);
        cell.failed("tls");
        assert_eq!(limit.available_permits(), 1);
    }
}
