//! What becomes of a node that is asked back to have its certificate renewed.

use std::time::Duration;

use super::{Cell, Inner};

/// A node's certificates, as far as it has told of them. Times are since the run's start.
#[derive(Debug, Default)]
pub(super) struct Renewed {
    /// The request that is not answered yet, or the last one.
    requested: Option<Duration>,
    /// The request that its certificate is for.
    certified: Option<Duration>,
    /// When it was told to restart while in production.
    restarted: Option<Duration>,
    /// It has left production.
    away: Option<Away>,
    /// How often it came back, configured anew.
    pub(super) times: u32,
}

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Duration,
    /// The request that the certificate before is for.
    certified: Option<Duration>,
    /// It has been configured since.
    configured: bool,
}

impl Renewed {
    pub(super) fn requested(&mut self, now: Duration) {
        self.requested = Some(now);
    }

    pub(super) fn configured(&mut self) {
        self.certified = self.requested;
        if let Some(away) = &mut self.away {
            away.configured = true;
        }
    }

    pub(super) fn restarting(&mut self, from_production: bool, now: Duration) {
        self.restarted = from_production.then_some(now);
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }
}

impl Cell {
    /// An enrolled node is on the provisioning network again.
    pub(super) fn asked_back(&self, inner: &mut Inner, now: Duration) {
        let renewed = &mut inner.renewed;
        if renewed.is_away() {
            return;
        }
        let since = renewed.restarted.unwrap_or(now);
        let certified = renewed.certified;
        renewed.away = Some(Away {
            since,
            certified,
            configured: false,
        });
        let age = certified.map(|at| since.saturating_sub(at));
        let time = self.book.renewal_time;
        self.book.renewals.with(|all| all.left(age, time));
    }

    /// A node answers on the production network: renewed, where it was configured while away.
    pub(super) fn came_back(&self, inner: &mut Inner, now: Duration) {
        let renewed = &mut inner.renewed;
        let Some(away) = renewed.away.take().filter(|away| away.configured) else {
            return;
        };
        let first = renewed.times == 0;
        renewed.times += 1;
        let age = away.certified.map(|at| now.saturating_sub(at));
        let time = self.book.renewal_time;
        let away = now.saturating_sub(away.since);
        let all = &self.book.renewals;
        all.with(|all| all.back(first, away, age, time));
    }
}
