//! Sorts what arrives on a client's connection to whoever listens for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;

use super::Connection;
use crate::bus::{Inbound, Incoming, Message, subject_matches as matches};

/// A message with the moment it was taken off the connection.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    pub(super) at: Instant,
}

/// Who listens. Exact subjects are looked up; patterns, of which a client has a few, are tried in turn.
#[derive(Default)]
pub(super) struct Dispatch {
    listeners: Mutex<Listeners>,
    /// Messages for nobody: they came after their listener had gone.
    stray: AtomicU64,
    next: AtomicU64,
}

#[derive(Default)]
struct Listeners {
    exact: HashMap<String, Vec<Listener>>,
    patterns: Vec<(String, Listener)>,
}

struct Listener {
    id: u64,
    sender: Sender<Arrived>,
    dropped: Arc<AtomicU64>,
}

/// The receiving end of a listener.
pub(super) struct Listening {
    pub(super) id: u64,
    pub(super) subject: String,
    pub(super) receiver: Receiver<Arrived>,
    pub(super) dropped: Arc<AtomicU64>,
}

impl Dispatch {
    pub(super) fn add(&self, subject: &str, capacity: usize) -> Listening {
        let (sender, receiver) = channel(capacity.max(1));
        let dropped = Arc::new(AtomicU64::new(0));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let listener = Listener {
            id,
            sender,
            dropped: Arc::clone(&dropped),
        };
        let mut listeners = self.lock();
        if is_pattern(subject) {
            listeners.patterns.push((subject.to_owned(), listener));
        } else {
            let same = listeners.exact.entry(subject.to_owned()).or_default();
            same.push(listener);
        }
        Listening {
            id,
            subject: subject.to_owned(),
            receiver,
            dropped,
        }
    }

    pub(super) fn remove(&self, subject: &str, id: u64) {
        let mut listeners = self.lock();
        if is_pattern(subject) {
            listeners.patterns.retain(|(_, one)| one.id != id);
        } else if let Some(same) = listeners.exact.get_mut(subject) {
            same.retain(|one| one.id != id);
            if same.is_empty() {
                listeners.exact.remove(subject);
            }
        }
    }

    fn deliver(&self, message: Message) {
        let arrived = Arrived {
            subject: message.subject,
            payload: message.payload,
            at: Instant::now(),
        };
        let listeners = self.lock();
        let exact = listeners.exact.get(&arrived.subject).into_iter().flatten();
        let patterns = listeners
            .patterns
            .iter()
            .filter(|(pattern, _)| matches(pattern, &arrived.subject))
            .map(|(_, listener)| listener);
        let mut heard = false;
        for listener in exact.chain(patterns) {
            heard = true;
            // A listener that does not keep up loses messages; it must not hold up the others.
            if listener.sender.try_send(arrived.clone()).is_err() {
                listener.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        if !heard {
            self.stray.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The connection overflowed: somebody lost messages, and nobody knows who.
    fn overflowed(&self, count: u64) {
        let listeners = self.lock();
        let exact = listeners.exact.values().flatten();
        for listener in exact.chain(listeners.patterns.iter().map(|(_, one)| one)) {
            listener.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn end(&self) {
        *self.lock() = Listeners::default();
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the connection is over.
pub(super) async fn run(
    mut inbound: Inbound,
    dispatch: Arc<Dispatch>,
    changes: watch::Sender<Connection>,
) {
    let mut count = 1;
    loop {
        match inbound.next().await {
            Incoming::Message(message) => dispatch.deliver(message),
            Incoming::Connected { server } => {
                count += 1;
                let _ = changes.send(Connection::Up { server, count });
            }
            Incoming::Disconnected => {
                let _ = changes.send(Connection::Down);
            }
            Incoming::Slow { dropped } => {
                tracing::warn!(dropped, "replies were lost: this client is too slow");
                dispatch.overflowed(dropped);
            }
            Incoming::Closed => {
                let _ = changes.send(Connection::Closed);
                dispatch.end();
                return;
            }
        }
    }
}

fn is_pattern(subject: &str) -> bool {
    subject.split('.').any(|token| matches!(token, "*" | ">"))
}
