//! How protocol 1 writes messages.
//!
//! Field order is that of the original, so what is written here equals what it would write, byte for byte.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::Layer;
use super::json::{decode_base64, encode_base64, object, optional_object, read, to_go_text};
use super::{
    Envelope, Filter, Headers, Limits, Protocol, Reply, Request, RequestSigner, WireError,
    agent_payload, to_go_json,
};
use crate::words::UnixTime;

const TRANSPORT: &str = "choria:transport:1";
const SECURE_REQUEST: &str = "choria:secure:request:1";
const SECURE_REPLY: &str = "choria:secure:reply:1";
const REQUEST: &str = "choria:request:1";
const REPLY: &str = "choria:reply:1";

/// Seconds below which the original refuses a ttl.
const MIN_TTL_SECS: u64 = 30;
/// Characters of a request id.
const REQUEST_ID_CHARS: usize = 32;

#[derive(Serialize, Deserialize)]
struct Transport<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(default, deserialize_with = "optional_object")]
    headers: Option<Cow<'a, Headers>>,
}

#[derive(Serialize, Deserialize)]
struct SecureRequest<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
    #[serde(borrow)]
    pubcert: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct SecureReply<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    hash: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct RequestMessage<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "object")]
    envelope: RequestEnvelope<'a>,
}

#[derive(Serialize, Deserialize)]
struct RequestEnvelope<'a> {
    #[serde(borrow)]
    requestid: Cow<'a, str>,
    #[serde(borrow)]
    senderid: Cow<'a, str>,
    #[serde(borrow)]
    callerid: Cow<'a, str>,
    #[serde(borrow)]
    collective: Cow<'a, str>,
    #[serde(borrow)]
    agent: Cow<'a, str>,
    ttl: u64,
    time: i64,
    #[serde(deserialize_with = "object")]
    filter: Cow<'a, Filter>,
}

#[derive(Serialize, Deserialize)]
struct ReplyMessage<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "object")]
    envelope: ReplyEnvelope<'a>,
}

#[derive(Serialize, Deserialize)]
struct ReplyEnvelope<'a> {
    #[serde(borrow)]
    requestid: Cow<'a, str>,
    #[serde(borrow)]
    senderid: Cow<'a, str>,
    #[serde(borrow)]
    agent: Cow<'a, str>,
    time: i64,
}

/// A request as received: its form is checked, its signature is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The version it came in.
    pub protocol: Protocol,
    /// The exact text that was signed.
    pub message: String,
    /// The signature as received: base64, or a literal word when unsigned.
    pub signature: String,
    /// Protocol 1: PEM text of the signer's certificate and perhaps intermediates, or a literal word when unsigned.
    /// Protocol 2: the caller's token.
    pub pubcert: String,
    /// Protocol 2: the token of whoever signed for the caller; empty where the caller did.
    pub delegator: String,
    pub(super) max_filter_entries: usize,
    pub(super) max_depth: usize,
}

impl SignedRequest {
    /// Reads the request inside, which nobody vouches for yet.
    ///
    /// # Errors
    /// When the text breaks a rule of the request's form.
    pub fn request(&self) -> Result<Request, WireError> {
        if self.protocol == Protocol::V2 {
            return super::v2::read_request(self);
        }
        let message: RequestMessage<'_> =
            read(Layer::Request, self.message.as_bytes(), self.max_depth)?;
        check_protocol(Layer::Request, REQUEST, &message.protocol)?;
        check_request(&message)?;
        let RequestEnvelope { filter, .. } = &message.envelope;
        filter.check(self.max_filter_entries)?;
        let envelope = message.envelope;
        Ok(Request {
            id: envelope.requestid.into_owned(),
            sender: envelope.senderid.into_owned(),
            caller: envelope.callerid.into_owned(),
            collective: envelope.collective.into_owned(),
            agent: envelope.agent.into_owned(),
            ttl_secs: envelope.ttl,
            time: UnixTime::from_secs(envelope.time),
            filter: envelope.filter.into_owned(),
            payload: agent_payload(message.message.into_owned()),
        })
    }
}

/// Signs and writes a request.
///
/// # Errors
/// When a field breaks the form of requests, the payload is not text, or the signer refuses.
pub(super) fn encode_request(
    request: &Request,
    signer: &dyn RequestSigner,
    headers: &Headers,
) -> Result<Bytes, WireError> {
    let message = RequestMessage {
        protocol: REQUEST.into(),
        message: text(&request.payload)?.into(),
        envelope: RequestEnvelope {
            requestid: (&request.id).into(),
            senderid: (&request.sender).into(),
            callerid: (&request.caller).into(),
            collective: (&request.collective).into(),
            agent: (&request.agent).into(),
            ttl: request.ttl_secs,
            time: request.time.secs(),
            filter: Cow::Borrowed(&request.filter),
        },
    };
    check_request(&message)?;
    request.filter.check(usize::MAX)?;
    let message = to_go_text(Layer::Request, &message)?;
    let signed = signer.sign(message.as_bytes())?;
    let secure = SecureRequest {
        protocol: SECURE_REQUEST.into(),
        message: message.into(),
        signature: signed.signature.into(),
        pubcert: (&*signed.pubcert).into(),
    };
    encode_transport(&secure, headers)
}

/// Writes a reply with its hash.
///
/// # Errors
/// When the payload is not text.
pub(super) fn encode_reply(reply: &Reply, headers: &Headers) -> Result<Bytes, WireError> {
    let message = ReplyMessage {
        protocol: REPLY.into(),
        message: text(&reply.payload)?.into(),
        envelope: ReplyEnvelope {
            requestid: (&reply.request_id).into(),
            senderid: (&reply.sender).into(),
            agent: (&reply.agent).into(),
            time: reply.time.secs(),
        },
    };
    let message = to_go_text(Layer::Reply, &message)?;
    let secure = SecureReply {
        protocol: SECURE_REPLY.into(),
        hash: hash(&message).into(),
        message: message.into(),
    };
    encode_transport(&secure, headers)
}

fn encode_transport<T: Serialize>(secure: &T, headers: &Headers) -> Result<Bytes, WireError> {
    let secure = to_go_json(secure).map_err(|error| WireError::json(Layer::Secure, &error))?;
    let transport = Transport {
        protocol: TRANSPORT.into(),
        data: encode_base64(&secure).into(),
        headers: Some(Cow::Borrowed(headers)),
    };
    let transport =
        to_go_json(&transport).map_err(|error| WireError::json(Layer::Transport, &error))?;
    Ok(transport.into())
}

/// Reads a request down to what was signed; [`crate::trust::Verifier`] judges the signature.
///
/// # Errors
/// When a layer is not of its form or beyond the limits.
pub(super) fn decode_request(
    payload: &[u8],
    limits: &Limits,
) -> Result<Envelope<SignedRequest>, WireError> {
    let (headers, data) = decode_transport(payload, limits)?;
    let secure: SecureRequest<'_> = read(Layer::Secure, &data, limits.max_depth)?;
    check_protocol(Layer::Secure, SECURE_REQUEST, &secure.protocol)?;
    for (field, value) in [
        ("message", &secure.message),
        ("signature", &secure.signature),
        ("pubcert", &secure.pubcert),
    ] {
        not_empty(Layer::Secure, field, value)?;
    }
    Ok(Envelope {
        protocol: Protocol::V1,
        headers,
        body: SignedRequest {
            protocol: Protocol::V1,
            delegator: String::new(),
            message: secure.message.into_owned(),
            signature: secure.signature.into_owned(),
            pubcert: secure.pubcert.into_owned(),
            max_filter_entries: limits.max_filter_entries,
            max_depth: limits.max_depth,
        },
    })
}

/// Reads a reply and checks its hash. Replies of protocol 1 are not signed.
///
/// # Errors
/// When a layer is not of its form or beyond the limits, or the hash is wrong.
pub(super) fn decode_reply(payload: &[u8], limits: &Limits) -> Result<Envelope<Reply>, WireError> {
    let (headers, data) = decode_transport(payload, limits)?;
    let secure: SecureReply<'_> = read(Layer::Secure, &data, limits.max_depth)?;
    check_protocol(Layer::Secure, SECURE_REPLY, &secure.protocol)?;
    if secure.hash != hash(&secure.message) {
        return Err(WireError::Hash);
    }
    let reply: ReplyMessage<'_> = read(Layer::Reply, secure.message.as_bytes(), limits.max_depth)?;
    check_protocol(Layer::Reply, REPLY, &reply.protocol)?;
    let envelope = reply.envelope;
    Ok(Envelope {
        protocol: Protocol::V1,
        headers,
        body: Reply {
            request_id: envelope.requestid.into_owned(),
            sender: envelope.senderid.into_owned(),
            agent: envelope.agent.into_owned(),
            time: UnixTime::from_secs(envelope.time),
            payload: reply.message.into_owned().into(),
        },
    })
}

fn decode_transport(payload: &[u8], limits: &Limits) -> Result<(Headers, Vec<u8>), WireError> {
    if payload.len() > limits.max_payload {
        return Err(WireError::TooLarge {
            size: payload.len(),
            limit: limits.max_payload,
        });
    }
    let transport: Transport<'_> = read(Layer::Transport, payload, limits.max_depth)?;
    check_protocol(Layer::Transport, TRANSPORT, &transport.protocol)?;
    let headers = transport.headers.map(Cow::into_owned).unwrap_or_default();
    if headers.seen_by.len() > limits.max_hops {
        return Err(WireError::TooMany {
            layer: Layer::Transport,
            what: "hops",
            limit: limits.max_hops,
        });
    }
    let data = decode_base64(transport.data.as_bytes()).ok_or(WireError::Base64 {
        layer: Layer::Transport,
        field: "data",
    })?;
    Ok((headers, data))
}

fn check_request(message: &RequestMessage<'_>) -> Result<(), WireError> {
    let envelope = &message.envelope;
    for (field, value) in [
        ("message", &message.message),
        ("callerid", &envelope.callerid),
        ("collective", &envelope.collective),
        ("agent", &envelope.agent),
    ] {
        not_empty(Layer::Request, field, value)?;
    }
    let broken = |field, rule| {
        Err(WireError::Field {
            layer: Layer::Request,
            field,
            rule,
        })
    };
    if envelope.requestid.chars().count() != REQUEST_ID_CHARS {
        return broken("requestid", "it must have exactly 32 characters");
    }
    if envelope.ttl < MIN_TTL_SECS {
        return broken("ttl", "it must be at least 30 seconds");
    }
    Ok(())
}

pub(super) fn check_protocol(
    layer: Layer,
    wanted: &'static str,
    found: &str,
) -> Result<(), WireError> {
    if found == wanted {
        return Ok(());
    }
    Err(WireError::Protocol {
        layer,
        wanted,
        found: found.chars().take(64).collect(),
    })
}

pub(super) fn not_empty(layer: Layer, field: &'static str, value: &str) -> Result<(), WireError> {
    if value.is_empty() {
        return Err(WireError::Field {
            layer,
            field,
            rule: "it must not be empty",
        });
    }
    Ok(())
}

pub(super) fn hash(message: &str) -> String {
    encode_base64(digest(&SHA256, message.as_bytes()).as_ref())
}

fn text(payload: &Bytes) -> Result<&str, WireError> {
    std::str::from_utf8(payload).map_err(|_| WireError::NotText)
}
