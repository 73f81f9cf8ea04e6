//! Who is dialled next, after which delay, and with whose permission.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{ReconnectToServer, Server};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::explain;
use crate::bus::{BusError, Delays, Dial, DialLimit, DialProgress, DialStep};

/// The dialling state of one connection, asked before every attempt of its life.
pub(super) struct Attempts {
    limit: DialLimit,
    progress: Option<Arc<dyn DialProgress>>,
    servers: Vec<String>,
    made: AtomicU64,
    /// The connection was closed: the client library would try to re-establish a lost one for ever.
    closed: CancellationToken,
    state: Mutex<State>,
}

struct State {
    delays: Delays,
    next: Next,
    turn: usize,
    server: String,
    /// The place under the dial limit, held from the start of an attempt to its outcome.
    place: Option<OwnedSemaphorePermit>,
}

/// What the next attempt follows.
enum Next {
    /// Nothing: it is the first and does not wait.
    First,
    /// The loss of a connection.
    AfterLoss,
    /// An attempt that failed.
    AfterFailure,
}

impl Attempts {
    pub(super) fn new(dial: &Dial, limit: DialLimit) -> Arc<Self> {
        let mut delays = dial.reconnect.delays();
        let turn = dial.start(&mut delays);
        Arc::new(Self {
            limit,
            progress: dial.progress.clone(),
            servers: dial.servers.clone(),
            made: AtomicU64::new(0),
            closed: CancellationToken::new(),
            state: Mutex::new(State {
                delays,
                next: Next::First,
                turn,
                server: "unknown".to_owned(),
                place: None,
            }),
        })
    }

    /// Called by the client library before each attempt: waits, takes a place, names the server.
    ///
    /// A closed connection gets no further server: the library's task is parked, since it offers no way
    /// to end one that is not connected.
    pub(super) async fn next(&self, pool: &[Server]) -> Option<ReconnectToServer> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => std::future::pending().await,
            next = self.choose(pool) => next,
        }
    }

    async fn choose(&self, pool: &[Server]) -> Option<ReconnectToServer> {
        let (delay, turn) = {
            let mut state = self.state();
            state.place = None;
            let brokers = pool.len();
            let delay = match std::mem::replace(&mut state.next, Next::AfterFailure) {
                Next::First => None,
                Next::AfterLoss => Some(state.delays.after_loss(brokers)),
                Next::AfterFailure => Some(state.delays.after_failure(brokers)),
            };
            let turn = state.turn;
            state.turn = turn.wrapping_add(1);
            (delay, turn)
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let place = self.limit.enter().await;
        let chosen = pool.get(turn % pool.len().max(1))?;
        let server = self
            .servers
            .get(turn % self.servers.len().max(1))
            .map_or_else(|| chosen.addr.host().to_owned(), |text| redact(text));
        self.made.fetch_add(1, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            progress.step(DialStep::Attempt { server: &server });
        }
        let mut state = self.state();
        state.place = place;
        state.server = server;
        Some(ReconnectToServer {
            addr: chosen.addr.clone(),
            delay: Some(std::time::Duration::ZERO),
        })
    }

    /// The attempt failed before there was a connection.
    pub(super) fn failed(&self, error: &async_nats::ConnectError) -> BusError {
        let mut state = self.state();
        state.place = None;
        explain(&state.server, error)
    }

    /// The connection is up: gives the place back and starts the delays afresh.
    pub(super) fn connected(&self) {
        let mut state = self.state();
        state.place = None;
        state.next = Next::AfterLoss;
    }

    /// No attempt is made any more.
    pub(super) fn close(&self) {
        self.closed.cancel();
        self.state().place = None;
    }

    pub(super) fn server(&self) -> String {
        self.state().server.clone()
    }

    pub(super) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address without user and password.
pub(in crate::bus) fn redact(server: &str) -> String {
    match server.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://{host}"),
            None => server.to_owned(),
        },
        None => server.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_never_reach_a_hop_trace() {
        assert_eq!(redact("tls://u:p@host:4222"), "tls://host:4222");
        assert_eq!(redact("nats://host:4222"), "nats://host:4222");
    }
}
