//! What becomes of a node's connection: its dials, its losses, its returns.

use std::time::Duration;

use server_core::bus::Took;

use super::{Cell, Inner};
use crate::measure::{Counter, Links, NodeState, Series, micros};

impl Cell {
    pub(super) fn dialing(&self, inner: &mut Inner, now: Duration) {
        if inner.has_been_up() {
            self.book.link(now, |tick| tick.attempts += 1);
        }
        if inner.is_linked() {
            // Towards another broker, as its own has announced its end.
            return;
        }
        if inner.production && inner.first_up.is_none() {
            inner.first_dials += 1;
            inner.first_dialled.get_or_insert(now);
        }
        if let Some(pending) = inner.connect.as_ref().or(inner.provision.as_ref()) {
            self.book.recorder.with(|recorder| {
                recorder.count(&pending.key, Counter::Attempts, 1);
            });
        }
        inner.state = match (inner.drops > 0, inner.production) {
            (true, _) => NodeState::Down,
            (false, true) => NodeState::Connecting,
            (false, false) => NodeState::Joining,
        };
    }

    pub(super) fn dialled(&self, inner: &mut Inner, took: Took) {
        inner.moving = inner.is_linked();
        let first = inner.production && inner.first_up.is_none();
        let pending = inner.connect.as_ref().or(inner.provision.as_ref());
        let Some(pending) = pending.filter(|_| first) else {
            return;
        };
        self.book.recorder.with(|recorder| {
            recorder.time(&pending.key, Series::Tcp, took.tcp);
            recorder.time(&pending.key, Series::Nats, took.nats);
            if let Some(tls) = took.tls {
                recorder.time(&pending.key, Series::Tls, tls);
            }
        });
    }

    pub(super) fn disconnected(&self, inner: &mut Inner, now: Duration) {
        // A node that restarts or leaves closes its connection itself.
        let itself = matches!(inner.state, NodeState::Restarting | NodeState::Stopped);
        if itself || inner.leave.is_some() {
            return;
        }
        let before = inner.lost_at.replace(now);
        let moved = std::mem::take(&mut inner.moving);
        self.book.link(now, |tick| {
            tick.lost += 1;
            tick.moved += u64::from(moved);
            if let Some(before) = before {
                *tick.again.entry(Links::tick(micros(before))).or_default() += 1;
            }
        });
        inner.drops += 1;
        inner.state = NodeState::Down;
    }

    /// It is connected, for the first time or again.
    pub(super) fn back(&self, inner: &mut Inner, now: Duration) {
        if std::mem::take(&mut inner.drops) > 0 {
            self.book.link(now, |tick| {
                tick.back += 1;
                tick.last_back_us = Some(micros(now));
            });
        }
        inner.moving = false;
    }
}

impl Inner {
    /// Whether it has a connection now, as far as it has told.
    pub(super) fn is_linked(&self) -> bool {
        matches!(
            self.state,
            NodeState::Joined
                | NodeState::Arrived
                | NodeState::Csr
                | NodeState::Configured
                | NodeState::Connected
                | NodeState::Confirmed
        )
    }

    /// Whether what it dials for is a connection that it had.
    pub(super) fn has_been_up(&self) -> bool {
        self.drops > 0 || self.is_linked()
    }
}
