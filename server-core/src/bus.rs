//! The one seam through which everything touches the network.
//!
//! A [`Dialer`] opens a [`Link`]: a [`Bus`] to publish and subscribe on, and one merged, bounded
//! [`Inbound`] stream that carries messages and connection changes alike, so that a node or a client
//! needs a single task per connection. [`nats`] speaks to real brokers by their own client library,
//! [`swarm`] does so for thousands of connections in one process, [`memory`] joins parties inside one
//! process; all pass the same conformance tests.

mod dial;
mod reconnect;

pub mod memory;
pub mod nats;
pub mod swarm;

pub use dial::{Dial, DialLimit, DialProgress, DialStep, Took};
pub use reconnect::{Delays, Reconnect};

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt};

/// Opens connections. One per kind of network, shared by everything that dials.
#[async_trait]
pub trait Dialer: Send + Sync {
    /// Connects, retrying by [`Dial::reconnect`] until it succeeds or [`Dial::give_up_after`] attempts
    /// have failed. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`BusError::Address`] and [`BusError::Tls`] at once, since waiting cannot help;
    /// [`BusError::GaveUp`] once the attempts are used up.
    async fn dial(&self, dial: Dial) -> Result<Link, BusError>;
}

/// One open connection.
pub struct Link {
    /// The sending half and the subscriptions; shared freely.
    pub bus: Arc<dyn Bus>,
    /// Everything that arrives; exactly one reader.
    pub inbound: Inbound,
}

/// The sending half of a connection.
///
/// Order is kept: what is published after a subscription was made reaches the broker after it, so
/// whoever answers the publication finds the subscription in place.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Hands one message to the network. Fire and forget: success means it was queued.
    ///
    /// # Errors
    /// [`BusError::Subject`] for a subject nobody may publish to, [`BusError::TooLarge`] beyond the
    /// broker's limit, [`BusError::Disconnected`] while there is no connection, [`BusError::Closed`].
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError>;

    /// Subscribes; messages appear on the link's [`Inbound`]. Members of one `queue` share messages.
    ///
    /// # Errors
    /// [`BusError::Subject`] or [`BusError::Closed`].
    async fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<SubscriptionId, BusError>;

    /// Ends a subscription; what already arrived may still be read. Unknown ids are ignored.
    fn unsubscribe(&self, id: SubscriptionId);

    /// Returns once everything queued so far has left this process.
    ///
    /// # Errors
    /// [`BusError::Disconnected`] or [`BusError::Closed`] when it cannot.
    async fn flush(&self) -> Result<(), BusError>;

    /// Sends what is queued, then ends the connection. The inbound stream yields
    /// [`Incoming::Closed`]; closing twice is harmless.
    async fn close(&self);

    /// The broker's address as it was dialled, without any password: the text used in hop traces.
    /// `unknown` while there is no connection.
    fn server(&self) -> String;

    /// Counters since the link was opened.
    fn stats(&self) -> BusStats;
}

/// Names a subscription on its own bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub(crate) u64);

/// One message as delivered. The network's own reply subject is deliberately absent: replies go
/// where the transport header says, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The subject it was published to.
    pub subject: String,
    /// The exact bytes.
    pub payload: Bytes,
}

/// What a connection tells its one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A message on one of the subscriptions.
    Message(Message),
    /// The connection is (again) established; subscriptions have been restored.
    Connected {
        /// The broker's address as dialled.
        server: String,
    },
    /// The connection was lost; it is being re-established.
    Disconnected,
    /// This reader was too slow and the bounded queue overflowed.
    Slow {
        /// Messages lost since the last such report.
        dropped: u64,
    },
    /// The connection is over and will not come back.
    Closed,
}

/// The merged stream of one connection: messages of all subscriptions and connection changes.
pub struct Inbound {
    stream: Pin<Box<dyn Stream<Item = Incoming> + Send>>,
    ended: bool,
}

impl Inbound {
    /// Wraps a transport's stream. It ends with its last item or with [`Incoming::Closed`].
    pub fn new(stream: impl Stream<Item = Incoming> + Send + 'static) -> Self {
        Self {
            stream: Box::pin(stream),
            ended: false,
        }
    }

    /// The next item; [`Incoming::Closed`] forever once the connection is over. Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        if self.ended {
            return Incoming::Closed;
        }
        match self.stream.next().await {
            Some(Incoming::Closed) | None => {
                self.ended = true;
                Incoming::Closed
            }
            Some(item) => item,
        }
    }
}

/// Counters of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Messages received.
    pub in_msgs: u64,
    /// Messages sent.
    pub out_msgs: u64,
    /// Payload bytes received.
    pub in_bytes: u64,
    /// Payload bytes sent.
    pub out_bytes: u64,
    /// Times the connection was re-established after a loss.
    pub reconnects: u64,
    /// Dials tried, the successful ones included.
    pub attempts: u64,
    /// Messages lost because the reader was too slow.
    pub dropped: u64,
}

/// Why the network could not do what was asked. [`BusError::code`] is stable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// The configured address is not one.
    #[error("broker address {server:?} is not usable: {why}")]
    Address {
        /// The address as configured.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection could be made.
    #[error("broker {server} cannot be reached: {why}")]
    Unreachable {
        /// The address dialled.
        server: String,
        /// The operating system's or the protocol's reason.
        why: String,
    },
    /// The broker does not let us in.
    #[error(
        "broker {server} refused the connection: {why} (check the user, password, token or certificate)"
    )]
    Refused {
        /// The address dialled.
        server: String,
        /// The broker's words.
        why: String,
    },
    /// TLS is asked for and cannot be set up, or the handshake failed.
    #[error("TLS with broker {server} failed: {why}")]
    Tls {
        /// The address dialled.
        server: String,
        /// The reason.
        why: String,
    },
    /// The allowed number of attempts is used up.
    #[error("gave up after {attempts} attempts; the last one: {last}")]
    GaveUp {
        /// How many were made.
        attempts: u32,
        /// Why the last one failed.
        last: Box<BusError>,
    },
    /// There is no connection at the moment; it is being re-established.
    #[error("not connected to a broker at the moment")]
    Disconnected,
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
    /// Nobody may publish or subscribe to this.
    #[error("{0:?} is not a usable subject")]
    Subject(String),
    /// The broker would close the connection over a message of this size.
    #[error("a message of {size} bytes is larger than the broker's limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The broker's limit in bytes.
        limit: usize,
    },
    /// The queue towards the broker stayed full for this long.
    #[error("the broker did not take a message within {0:?}")]
    Stalled(Duration),
}

impl BusError {
    /// A stable word for logs and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "bus.address",
            Self::Unreachable { .. } => "bus.unreachable",
            Self::Refused { .. } => "bus.refused",
            Self::Tls { .. } => "bus.tls",
            Self::GaveUp { .. } => "bus.gave_up",
            Self::Disconnected => "bus.disconnected",
            Self::Closed => "bus.closed",
            Self::Subject(_) => "bus.subject",
            Self::TooLarge { .. } => "bus.too_large",
            Self::Stalled(_) => "bus.stalled",
        }
    }
}

/// Whether a subject may be subscribed to: like a publishable one, with `*` and a final `>` allowed.
pub(crate) fn is_subscribable(subject: &str) -> bool {
    let mut rest = subject.split('.').peekable();
    let mut sound = !subject.is_empty() && subject.len() <= 255;
    while let Some(token) = rest.next() {
        sound &= match token {
            "" => false,
            ">" => rest.peek().is_none(),
            "*" => true,
            word => word
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>'),
        };
    }
    sound
}

/// NATS matching: `*` is one token, a final `>` is one or more.
pub(crate) fn subject_matches(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for expected in pattern.split('.') {
        match (expected, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (word, Some(token)) if word == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::{is_subscribable, subject_matches};

    #[test]
    fn wildcards_match_as_in_a_broker() {
        assert!(subject_matches("a.*.c", "a.b.c"));
        assert!(subject_matches("a.>", "a.b.c"));
        assert!(!subject_matches("a.>", "a"));
        assert!(!subject_matches("a.*", "a.b.c"));
        assert!(!subject_matches("a.b.c", "a.b"));
        assert!(subject_matches(">", "a"));
    }

    #[test]
    fn only_whole_wildcards_are_subscribed_to() {
        for good in ["a", "a.*", "a.>", ">", "*.b.>"] {
            assert!(is_subscribable(good), "{good:?}");
        }
        for bad in ["", "a..b", "a.>.b", "a b", "a*", "a.b>", ".", "a."] {
            assert!(!is_subscribable(bad), "{bad:?}");
        }
    }
}
