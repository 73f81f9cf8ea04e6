//! One connection to the control broker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use server_core::bus::nats::NatsDialer;
use server_core::bus::{
    Bus, BusError, Dial, DialLimit, Dialer as _, Inbound, Incoming, Message, Reconnect,
};
use server_core::trust::tls;
use thiserror::Error;

use super::envelope::{EnvelopeError, seal};
use super::subjects;

/// Messages that may wait unread; a thousand workers say a dozen a second.
const QUEUE: usize = 16_384;
/// Attempts to connect before giving up.
const ATTEMPTS: u32 = 5;
const ATTEMPT_WITHIN: Duration = Duration::from_secs(5);

/// The control broker cannot be used. Every message says what to do.
#[derive(Debug, Error)]
pub enum LinkError {
    /// It does not take the token.
    #[error(
        "the control broker {url} refused the token: give the one that the run shows (--token T, or \
         in the environment as {token})",
        token = super::TOKEN
    )]
    Token {
        /// Its address.
        url: String,
    },
    /// It cannot be reached.
    #[error("the control broker {url} cannot be reached: {why}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        why: String,
    },
    /// The file of trusted certificates cannot be used.
    #[error("--control-ca {path}: {why}", path = .path.display())]
    Trust {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A message could not be sent.
    #[error("the control broker took no message: {0}")]
    Send(#[from] BusError),
    /// A message could not be written.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

/// Where the control broker is and how to get in.
#[derive(Clone)]
pub struct Address {
    /// `nats://host:port` or `tls://host:port`.
    pub url: String,
    /// Its token.
    pub token: Option<String>,
    /// The file of certificates to trust, for `tls://`.
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// What comes in.
#[derive(Debug)]
pub enum Heard {
    /// A message.
    Message(Message),
    /// The connection is lost, or messages were: nothing can be relied on any more.
    Lost(String),
}

/// An open connection.
pub struct Link {
    speaker: Speaker,
    inbound: Inbound,
}

/// The sending half of a connection.
#[derive(Clone)]
pub struct Speaker(Arc<dyn Bus>);

impl Link {
    /// Connects and subscribes.
    ///
    /// # Errors
    /// When the broker cannot be reached or does not let us in.
    pub async fn open(
        address: &Address,
        name: &str,
        subscribe: &[String],
    ) -> Result<Self, LinkError> {
        let mut dial = Dial::new(vec![address.url.clone()], name);
        dial.token = address.token.clone();
        dial.capacity = QUEUE;
        dial.connect_timeout = ATTEMPT_WITHIN;
        dial.give_up_after = Some(ATTEMPTS);
        let (first, last) = (Duration::from_millis(100), Duration::from_secs(2));
        dial.reconnect = Reconnect::jitter(0, first, last, first);
        if let Some(path) = &address.ca {
            let trusted = std::fs::read_to_string(path).map_err(|error| error.to_string());
            let settings = trusted
                .and_then(|pem| tls::server_verified(&pem).map_err(|error| error.to_string()));
            dial.tls = Some(settings.map_err(|why| LinkError::Trust {
                path: path.clone(),
                why,
            })?);
        }
        let link = NatsDialer::new(DialLimit::new(1)).dial(dial).await;
        let link = link.map_err(|error| refusal(&address.url, &error))?;
        for subject in subscribe {
            link.bus.subscribe(subject, None).await?;
        }
        link.bus.flush().await?;
        Ok(Self {
            speaker: Speaker(link.bus),
            inbound: link.inbound,
        })
    }

    /// The sending half.
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Listens to one more subject.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn listen(&self, subject: &str) -> Result<(), LinkError> {
        self.speaker.0.subscribe(subject, None).await?;
        Ok(self.speaker.0.flush().await?)
    }

    /// What comes in next.
    pub async fn hear(&mut self) -> Heard {
        loop {
            match self.inbound.next().await {
                Incoming::Message(message) => return Heard::Message(message),
                Incoming::Connected { .. } => {}
                Incoming::Disconnected | Incoming::Closed => {
                    return Heard::Lost("the connection to the control broker is lost".to_owned());
                }
                Incoming::Slow { dropped } => {
                    return Heard::Lost(format!("{dropped} control messages were lost"));
                }
            }
        }
    }

    /// Sends what is queued and closes.
    pub async fn close(self) {
        self.speaker.0.close().await;
    }
}

impl Speaker {
    /// Says something.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn say<M: Serialize>(&self, subject: &str, message: &M) -> Result<(), LinkError> {
        self.send(subject, seal(message)?).await
    }

    /// Says something that is wrapped already.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn send(&self, subject: &str, sealed: Bytes) -> Result<(), LinkError> {
        Ok(self.0.publish(subject, sealed).await?)
    }

    /// Returns once everything said has left.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn flush(&self) -> Result<(), LinkError> {
        Ok(self.0.flush().await?)
    }
}

/// The subjects a coordinator listens to.
pub fn of_coordinator() -> Vec<String> {
    vec![subjects::up_all(), subjects::coordinators()]
}

fn refusal(url: &str, error: &BusError) -> LinkError {
    let last = match error {
        BusError::GaveUp { last, .. } => last,
        other => other,
    };
    match last {
        BusError::Refused { .. } => LinkError::Token {
            url: url.to_owned(),
        },
        BusError::Unreachable { why, .. } => LinkError::Unreachable {
            url: url.to_owned(),
            why: why.clone(),
        },
        other => LinkError::Unreachable {
            url: url.to_owned(),
            why: other.to_string(),
        },
    }
}
