//! All subscriptions and connection changes of one connection, merged into one stream.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_nats::{ClientError, Event, Subscriber};
use futures::stream::{AbortHandle, Abortable, SelectAll, Stream};
use futures::task::AtomicWaker;
use tokio::sync::mpsc::{Receiver, Sender};

use super::attempts::Attempts;
use crate::bus::{Incoming, Message, SubscriptionId};

/// A change of the connection, as the library's event task reports it.
pub(super) enum Change {
    Connected(String),
    Disconnected,
    Closed,
}

/// Shared between the bus, which adds subscriptions, and the one reader, which polls them.
#[derive(Default)]
pub(super) struct Subscriptions {
    added: Mutex<Vec<Abortable<Subscriber>>>,
    handles: Mutex<HashMap<SubscriptionId, AbortHandle>>,
    waker: AtomicWaker,
    dropped: AtomicU64,
    unreported: AtomicU64,
    closed: AtomicBool,
    /// Closed while there was no connection: the library will never say so itself.
    abandoned: AtomicBool,
}

impl Subscriptions {
    pub(super) fn add(&self, id: SubscriptionId, subscriber: Subscriber) {
        let (handle, registration) = AbortHandle::new_pair();
        lock(&self.handles).insert(id, handle);
        lock(&self.added).push(Abortable::new(subscriber, registration));
        self.waker.wake();
    }

    /// The aborted stream ends at its next poll; dropping its subscriber sends the UNSUB.
    pub(super) fn remove(&self, id: SubscriptionId) {
        if let Some(handle) = lock(&self.handles).remove(&id) {
            handle.abort();
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.close();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn slow(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.unreported.fetch_add(1, Ordering::Relaxed);
        self.waker.wake();
    }
}

/// Runs in the library's event task: waits for a place in the small change queue, so none is lost.
pub(super) async fn on_event(
    event: Event,
    attempts: &Attempts,
    subscriptions: &Subscriptions,
    changes: &Sender<Change>,
) {
    let change = match event {
        Event::Connected => {
            attempts.connected();
            Change::Connected(attempts.server())
        }
        Event::Disconnected => Change::Disconnected,
        Event::Closed | Event::ClientError(ClientError::MaxReconnects) => Change::Closed,
        Event::SlowConsumer(_) => return subscriptions.slow(),
        Event::ServerError(error) => {
            tracing::warn!(server = attempts.server(), %error, "the broker reports an error");
            return;
        }
        Event::LameDuckMode | Event::Draining | Event::ClientError(_) => return,
    };
    let _ = changes.send(change).await;
}

pub(super) struct NatsInbound {
    subscriptions: Arc<Subscriptions>,
    streams: SelectAll<Abortable<Subscriber>>,
    changes: Receiver<Change>,
    /// The first `Connected` is what made the link; its reader knows already.
    announced: bool,
}

impl NatsInbound {
    pub(super) fn new(subscriptions: Arc<Subscriptions>, changes: Receiver<Change>) -> Self {
        Self {
            subscriptions,
            streams: SelectAll::new(),
            changes,
            announced: false,
        }
    }
}

impl Stream for NatsInbound {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.subscriptions.waker.register(cx.waker());
        let added = std::mem::take(&mut *lock(&self.subscriptions.added));
        for stream in added {
            self.streams.push(stream);
        }
        while let Poll::Ready(change) = self.changes.poll_recv(cx) {
            match change {
                Some(Change::Connected(server)) => {
                    if std::mem::replace(&mut self.announced, true) {
                        return Poll::Ready(Some(Incoming::Connected { server }));
                    }
                }
                Some(Change::Disconnected) => return Poll::Ready(Some(Incoming::Disconnected)),
                Some(Change::Closed) | None => {
                    self.subscriptions.close();
                    return Poll::Ready(Some(Incoming::Closed));
                }
            }
        }
        if self.subscriptions.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(Some(Incoming::Closed));
        }
        let dropped = self.subscriptions.unreported.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            return Poll::Ready(Some(Incoming::Slow { dropped }));
        }
        match Pin::new(&mut self.streams).poll_next(cx) {
            Poll::Ready(Some(message)) => Poll::Ready(Some(Incoming::Message(Message {
                subject: message.subject.to_string(),
                payload: message.payload,
            }))),
            // No subscription at the moment; one may be added.
            Poll::Ready(None) => Poll::Pending,
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A poisoned lock cannot leave these plain maps inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
