//! What the nodes of a worker have in common: where they are counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::measure::{FleetCounts, LinkTick, Links, Recorder, RenewalTime, Renewals, micros};
use crate::message::Tally;
use crate::worker::clock::RunClock;
use crate::worker::guarded::Guarded;
use crate::worker::standing::Standing;

/// Everything the cells of a swarm share.
#[derive(Debug)]
pub struct Book {
    /// Where operations are counted.
    pub recorder: Guarded<Recorder>,
    /// The time of the run.
    pub clock: RunClock,
    lost_replies: AtomicU64,
    links: Guarded<Links>,
    pub(super) renewals: Guarded<Renewals>,
    /// When certificates are renewed, where that is known.
    pub(super) renewal_time: Option<RenewalTime>,
    pub(super) standing: Guarded<Standing>,
    /// Whether being on the production network is all that is known of an enrolment.
    pub(super) arrival_confirms: bool,
}

impl Book {
    /// An empty book for nodes of fleets with these names.
    pub fn new(clock: RunClock, fleets: impl Iterator<Item = String>) -> Self {
        Self {
            recorder: Guarded::default(),
            clock,
            lost_replies: AtomicU64::new(0),
            links: Guarded::default(),
            renewals: Guarded::default(),
            renewal_time: None,
            standing: Guarded::new(Standing::of(fleets)),
            arrival_confirms: false,
        }
    }

    /// Counts a node as enrolled as soon as it is on the production network: a provisioner of
    /// somebody else may never ask it for more.
    #[must_use]
    pub fn arrival_confirms(mut self, confirms: bool) -> Self {
        self.arrival_confirms = confirms;
        self
    }

    /// Tells renewals that come at their time from those that do not.
    #[must_use]
    pub fn renewed_at(mut self, time: Option<RenewalTime>) -> Self {
        self.renewal_time = time;
        self
    }

    /// Nodes by fleet and state.
    pub fn fleets(&self) -> Vec<FleetCounts> {
        self.standing.with(|standing| standing.fleets())
    }

    /// What else there is to tell of all nodes together.
    pub fn tally(&self) -> Tally {
        Tally {
            lost_replies: self.lost_replies.load(Ordering::Relaxed),
            ..self.standing.with(|standing| standing.tally())
        }
    }

    /// Takes what became of connections since the last call.
    pub fn take_links(&self) -> Links {
        self.links.with(std::mem::take)
    }

    /// Takes the renewals since the last call, if there were any.
    pub fn take_renewals(&self) -> Option<Renewals> {
        let renewals = &self.renewals;
        renewals.with(|all| (!all.is_empty()).then(|| std::mem::take(all)))
    }

    pub(super) fn link(&self, now: Duration, count: impl FnOnce(&mut LinkTick)) {
        self.links.with(|links| count(links.at(micros(now))));
    }

    /// Replies were lost on our side.
    pub fn lost_replies(&self, n: u64) {
        self.lost_replies.fetch_add(n, Ordering::Relaxed);
    }
}
