//! Lifecycle events: what a node tells the world about itself, in one closed enum.
//!
//! An event is only a hint. It carries no authority: anyone who may publish can claim any identity.

use serde::{Deserialize, Serialize};

use crate::wire::{Limits, to_go_json};
use crate::words::{Identity, UnixTime, subject};

const PROTOCOL: &str = "io.choria.lifecycle.v1.";
const SOURCE: &str = "io.choria.lifecycle";
/// Longest id, version or other word of an event, bytes.
const MAX_WORD: usize = 256;

/// One lifecycle event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// A version 4 UUID. Not unique in practice: a Choria server repeats its alive event, id and all.
    pub id: String,
    /// The node that speaks, or is claimed to.
    pub identity: Identity,
    /// Which part of it: [`SERVER`], [`PROVISION_MODE_SERVER`], or another program's word.
    pub component: String,
    /// Seconds since the Unix epoch, by the sender's clock. Alive events may repeat their first one.
    pub timestamp: i64,
    /// What happened.
    pub kind: EventKind,
}

/// Component of a node on the production network.
pub const SERVER: &str = "server";
/// Component of a node in provisioning mode.
pub const PROVISION_MODE_SERVER: &str = "provision_mode_server";

/// Every lifecycle event there is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The node is subscribed and answers.
    Startup {
        /// Software version.
        version: String,
    },
    /// The node is about to stop or restart.
    Shutdown,
    /// The node still lives; sent at long intervals.
    Alive {
        /// Software version.
        version: String,
    },
    /// The node took a configuration.
    Provisioned,
    /// The node replaced its own software.
    Upgraded {
        /// Version it ran before.
        version: String,
        /// Version it runs after its restart.
        new_version: String,
    },
    /// A slot of a governor was taken or left.
    Governor {
        /// The governor's name.
        governor: String,
        /// The slot.
        sequence: u64,
        /// `enter`, `exit`, `timeouts` or `eviction`.
        event_type: String,
    },
}

/// How an event is wrapped on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CloudEvents 1.0 structured JSON, as servers send.
    CloudEvents,
    /// The bare event, as governors and older tools send.
    Bare,
}

/// Why bytes are no lifecycle event. [`EventError::code`] is stable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EventError {
    /// Larger than allowed.
    #[error("the event has {size} bytes, more than {limit}")]
    Size {
        /// Bytes received.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not JSON, or not of an event's shape.
    #[error("the event is not valid: {0}")]
    Shape(String),
    /// JSON, but not a lifecycle event, or of a type nobody knows.
    #[error("{0:?} is not a known lifecycle event type")]
    Type(String),
    /// The identity could be no node's.
    #[error("the event's identity is refused: {0}")]
    Identity(String),
    /// The component could be no subject's last word.
    #[error("the event's component {0:?} is refused")]
    Component(String),
}

impl EventError {
    /// A stable word for logs and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "event.size",
            Self::Shape(_) => "event.shape",
            Self::Type(_) => "event.type",
            Self::Identity(_) => "event.identity",
            Self::Component(_) => "event.component",
        }
    }
}

impl EventKind {
    /// The type's word in subjects and protocol ids.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Startup { .. } => "startup",
            Self::Shutdown => "shutdown",
            Self::Alive { .. } => "alive",
            Self::Provisioned => "provisioned",
            Self::Upgraded { .. } => "upgraded",
            Self::Governor { .. } => "governor",
        }
    }
}

impl Event {
    /// An event of now.
    #[must_use]
    pub fn new(identity: Identity, component: &str, kind: EventKind, now: UnixTime) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            identity,
            component: component.to_owned(),
            timestamp: now.secs(),
            kind,
        }
    }

    /// `choria.lifecycle.event.<type>.<component>`.
    #[must_use]
    pub fn subject(&self) -> String {
        subject::lifecycle(self.kind.name(), &self.component)
    }

    /// Reads either format, telling them apart by content as receivers do.
    ///
    /// # Errors
    /// [`EventError`], naming what is wrong.
    pub fn parse(payload: &[u8], limits: &Limits) -> Result<Self, EventError> {
        if payload.len() > limits.max_payload {
            return Err(EventError::Size {
                size: payload.len(),
                limit: limits.max_payload,
            });
        }
        let shape = |error: serde_json::Error| EventError::Shape(error.to_string());
        let probe: Probe<'_> = serde_json::from_slice(payload).map_err(shape)?;
        let bare: Bare = match (probe.specversion.as_deref(), probe.source.as_deref()) {
            (Some("1.0"), Some(SOURCE)) => {
                serde_json::from_slice::<Wrapped<Bare>>(payload)
                    .map_err(shape)?
                    .data
            }
            _ => match probe.protocol {
                Some(protocol) if protocol.starts_with(SOURCE) => {
                    serde_json::from_slice(payload).map_err(shape)?
                }
                other => return Err(EventError::Type(short(other.as_deref().unwrap_or("")))),
            },
        };
        bare.check()
    }

    /// The bytes to publish: compact JSON in the order the original writes.
    ///
    /// # Errors
    /// Only when the event cannot be serialised, which no event built here is.
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, EventError> {
        let bare = Bare::of(self);
        let encoded = match format {
            Format::Bare => to_go_json(&bare),
            Format::CloudEvents => to_go_json(&Wrapped {
                specversion: "1.0".to_owned(),
                id: bare.id.clone(),
                source: SOURCE.to_owned(),
                kind: bare.protocol.clone(),
                subject: self.identity.to_string(),
                datacontenttype: "application/json".to_owned(),
                time: UnixTime::from_secs(self.timestamp).rfc3339(),
                data: bare,
            }),
        };
        encoded.map_err(|error| EventError::Shape(error.to_string()))
    }
}

/// Just enough to tell the two formats apart.
#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow, default)]
    specversion: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    source: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    protocol: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct Wrapped<T> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    datacontenttype: String,
    #[serde(default)]
    time: String,
    data: T,
}

#[derive(Serialize, Deserialize)]
struct Bare {
    protocol: String,
    id: String,
    identity: String,
    component: String,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    governor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
}

impl Bare {
    fn of(event: &Event) -> Self {
        let mut bare = Self {
            protocol: format!("{PROTOCOL}{}", event.kind.name()),
            id: event.id.clone(),
            identity: event.identity.to_string(),
            component: event.component.clone(),
            timestamp: event.timestamp,
            version: None,
            new_version: None,
            governor: None,
            sequence: None,
            event_type: None,
        };
        match &event.kind {
            EventKind::Startup { version } | EventKind::Alive { version } => {
                bare.version = Some(version.clone());
            }
            EventKind::Shutdown | EventKind::Provisioned => {}
            EventKind::Upgraded {
                version,
                new_version,
            } => {
                bare.version = Some(version.clone());
                bare.new_version = Some(new_version.clone());
            }
            EventKind::Governor {
                governor,
                sequence,
                event_type,
            } => {
                bare.governor = Some(governor.clone());
                bare.sequence = Some(*sequence);
                bare.event_type = Some(event_type.clone());
            }
        }
        bare
    }

    fn check(self) -> Result<Event, EventError> {
        let identity = Identity::parse(&self.identity)
            .map_err(|error| EventError::Identity(error.to_string()))?;
        if !subject::is_publishable(&self.component) {
            return Err(EventError::Component(short(&self.component)));
        }
        let id = word("id", self.id)?;
        let version = word("version", self.version.unwrap_or_default())?;
        let kind = match self.protocol.strip_prefix(PROTOCOL) {
            Some("startup") => EventKind::Startup { version },
            Some("shutdown") => EventKind::Shutdown,
            Some("alive") => EventKind::Alive { version },
            Some("provisioned") => EventKind::Provisioned,
            Some("upgraded") => EventKind::Upgraded {
                version,
                new_version: word("new_version", self.new_version.unwrap_or_default())?,
            },
            Some("governor") => EventKind::Governor {
                governor: word("governor", self.governor.unwrap_or_default())?,
                sequence: self.sequence.unwrap_or_default(),
                event_type: word("event_type", self.event_type.unwrap_or_default())?,
            },
            _ => return Err(EventError::Type(short(&self.protocol))),
        };
        Ok(Event {
            id,
            identity,
            component: self.component,
            timestamp: self.timestamp,
            kind,
        })
    }
}

/// A member that is remembered and shown to people as it is.
fn word(name: &str, text: String) -> Result<String, EventError> {
    if text.len() > MAX_WORD {
        let size = text.len();
        let says = format!("its {name} has {size} bytes, more than {MAX_WORD}");
        return Err(EventError::Shape(says));
    }
    if text.contains(char::is_control) {
        let says = format!("its {name} has control characters");
        return Err(EventError::Shape(says));
    }
    Ok(text)
}

/// Text from the network, cut for an error message.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn parsed(id: &str, version: &str) -> Result<Event, EventError> {
        let identity = Identity::parse("n1.example.net").unwrap();
        let kind = EventKind::Startup {
            version: version.to_owned(),
        };
        let mut event = Event::new(identity, SERVER, kind, UnixTime::from_secs(0));
        event.id = id.to_owned();
        let bytes = event.encode(Format::CloudEvents).unwrap();
        Event::parse(&bytes, &Limits::default())
    }

    /// Both are remembered, and shown to people as they are.
    #[test]
    fn an_id_or_version_is_short_and_plain() {
        let long = "x".repeat(257);
        assert!(parsed(&long[1..], &long[1..]).is_ok());
        for (id, version) in [
            (long.as_str(), "1"),
            ("id", long.as_str()),
            ("id", "1\u{1b}[2J"),
            ("id\n", "1"),
        ] {
            let refused = parsed(id, version).unwrap_err();
            assert_eq!(refused.code(), "event.shape", "{refused}");
        }
    }
}
