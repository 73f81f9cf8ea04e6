//! Requests and replies, independent of how a protocol version writes them.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Filter;
use super::json::{decode_base64, optional_object};
use crate::words::UnixTime;

/// The version of the protocol a message came in; a reply is sent in the version of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Protocol 1: X.509 certificates and RSA signatures.
    V1,
    /// Protocol 2: tokens of an organization and Ed25519 signatures.
    V2,
}

/// One hop of a message: where it came from, who handled it, where it went. URLs are as dialled.
pub type Hop = [String; 3];

/// What travels beside a message, unsigned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// Where replies go. Only this counts; the reply subject of NATS does not.
    #[serde(rename = "reply-to", default, skip_serializing_if = "is_unset")]
    pub reply_to: Option<String>,
    /// The host that built the message.
    #[serde(rename = "mc_sender", default, skip_serializing_if = "is_unset")]
    pub sender: Option<String>,
    /// The way it took, oldest hop first.
    #[serde(rename = "seen-by", default, skip_serializing_if = "Vec::is_empty")]
    pub seen_by: Vec<Hop>,
    /// What a federation broker needs to bring the reply home.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_object"
    )]
    pub federation: Option<Federation>,
}

fn is_unset(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}

impl Headers {
    /// Headers of a message that this host sends through a server, with that hop recorded.
    ///
    /// `server` is the URL as dialled, without a password.
    #[must_use]
    pub fn from_here(sender: &str, server: &str, reply_to: Option<String>) -> Self {
        Self {
            reply_to,
            sender: Some(sender.to_owned()),
            seen_by: vec![[server.to_owned(), sender.to_owned(), server.to_owned()]],
            federation: None,
        }
    }

    /// Headers of the reply to a message with these headers: the federation part comes back unchanged.
    #[must_use]
    pub fn for_reply(&self, sender: &str, server: &str) -> Self {
        Self {
            federation: self.federation.clone(),
            ..Self::from_here(sender, server, None)
        }
    }
}

/// Federation part of the headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federation {
    /// The request this belongs to.
    #[serde(rename = "req", default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// The original reply subject.
    #[serde(rename = "reply-to", default, skip_serializing_if = "String::is_empty")]
    pub reply_to: String,
    /// The subjects to publish to on the other side.
    #[serde(rename = "target", default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// A message with what its transport carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<T> {
    /// The version it came in.
    pub protocol: Protocol,
    /// The transport's headers.
    pub headers: Headers,
    /// The message.
    pub body: T,
}

/// A request to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// 32 characters in protocol 1; see [`new_request_id`].
    pub id: String,
    /// Identity of the sending host; may be empty.
    pub sender: String,
    /// Caller id such as `choria=alice.mcollective`.
    pub caller: String,
    /// The collective it is for.
    pub collective: String,
    /// The agent it is for; the subject it came on does not matter.
    pub agent: String,
    /// How long it is valid, in seconds, at least 30 in protocol 1.
    pub ttl_secs: u64,
    /// When it was made; protocol 1 carries whole seconds.
    pub time: UnixTime,
    /// Which nodes should act.
    pub filter: Filter,
    /// What the agent gets. In received requests [`agent_payload`] was applied; requests are sent as this is.
    pub payload: Bytes,
}

/// A reply of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The id of the request.
    pub request_id: String,
    /// Identity of the node that replies.
    pub sender: String,
    /// The agent that replies.
    pub agent: String,
    /// When; protocol 1 carries whole seconds.
    pub time: UnixTime,
    /// What the agent says: the JSON of an RPC reply, or the word `pong`.
    pub payload: Bytes,
}

/// A new request id: a random UUID as 32 lower case hexadecimal digits.
#[must_use]
pub fn new_request_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// What an agent gets of a request's text: the text decoded when it happens to be standard base64, else the text.
///
/// Discovery requests are sent encoded (`cGluZw==` is `ping`), RPC requests are JSON and never valid base64.
#[must_use]
pub fn agent_payload(message: String) -> Bytes {
    match decode_base64(message.as_bytes()) {
        Some(decoded) => decoded.into(),
        None => message.into(),
    }
}

/// Whether a request made at `time` is valid at `now`: strictly within `ttl` of it, before or after.
#[must_use]
pub fn ttl_ok(time: UnixTime, ttl: Duration, now: UnixTime) -> bool {
    now.minus(ttl) < time && time < now.plus(ttl)
}

impl Request {
    /// How long it is valid.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_secs)
    }

    /// Whether it is neither too old nor from too far in the future.
    #[must_use]
    pub fn is_current(&self, now: UnixTime) -> bool {
        ttl_ok(self.time, self.ttl(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ttl_rule_is_strict_on_both_sides() {
        let time = UnixTime::from_secs(1_000);
        let ttl = Duration::from_secs(60);
        for (now_ms, want) in [
            (940_000, false),
            (940_001, true),
            (1_000_000, true),
            (1_059_999, true),
            (1_060_000, false),
        ] {
            let now = UnixTime::from_nanos(now_ms * 1_000_000);
            assert_eq!(ttl_ok(time, ttl, now), want, "{now_ms}");
        }
        assert!(ttl_ok(
            time,
            Duration::from_secs(u64::MAX),
            UnixTime::from_secs(i64::MAX)
        ));
    }

    #[test]
    fn payloads_are_decoded_when_they_happen_to_be_base64() {
        for (text, want) in [
            ("cGluZw==", &b"ping"[..]),
            ("ping", b"\xa6\x29\xe0"),
            ("ping ", b"ping "),
            ("cGluZw", b"cGluZw"),
            ("{\"agent\":\"rpcutil\"}", b"{\"agent\":\"rpcutil\"}"),
        ] {
            assert_eq!(agent_payload(text.to_owned()), want, "{text:?}");
        }
    }

    #[test]
    fn request_ids_have_32_hexadecimal_digits() {
        let id = new_request_id();
        assert_eq!(id.len(), 32);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
