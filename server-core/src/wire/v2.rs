//! How protocol 2 writes messages.
//!
//! Each layer is base64 inside the next; who sends is told by tokens instead of certificates. Field order is that of
//! the original, so what is written here equals what it would write, byte for byte.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::Layer;
use super::json::{decode_base64, encode_base64, object, optional_object, read, to_go_text};
use super::message::{Federation, Hop};
use super::v1::{check_protocol, hash, not_empty};
use super::{
    Envelope, Filter, Headers, Limits, Protocol, Reply, ReplySigner, Request, RequestSigner,
    SignedRequest, WireError, agent_payload, to_go_json,
};
use crate::words::UnixTime;

pub(super) const TRANSPORT: &str = "io.choria.protocol.v2.transport";
const SECURE_REQUEST: &str = "io.choria.protocol.v2.secure_request";
const SECURE_REPLY: &str = "io.choria.protocol.v2.secure_reply";
const REQUEST: &str = "io.choria.protocol.v2.request";
const REPLY: &str = "io.choria.protocol.v2.reply";

#[derive(Serialize, Deserialize)]
struct Transport<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(default, deserialize_with = "optional_object")]
    headers: Option<WrittenHeaders>,
}

/// [`Headers`] under the names of this version.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WrittenHeaders {
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<Hop>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "optional_object"
    )]
    federation: Option<WrittenFederation>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WrittenFederation {
    #[serde(skip_serializing_if = "String::is_empty")]
    request: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reply: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
}

impl From<&Headers> for WrittenHeaders {
    fn from(headers: &Headers) -> Self {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Self {
            reply: given(&headers.reply_to),
            sender: given(&headers.sender),
            trace: headers.seen_by.clone(),
            federation: headers.federation.clone().map(|part| WrittenFederation {
                request: part.request,
                reply: part.reply_to,
                targets: part.targets,
            }),
        }
    }
}

impl From<WrittenHeaders> for Headers {
    fn from(written: WrittenHeaders) -> Self {
        Self {
            reply_to: written.reply,
            sender: written.sender,
            seen_by: written.trace,
            federation: written.federation.map(|part| Federation {
                request: part.request,
                reply_to: part.reply,
                targets: part.targets,
            }),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SecureRequest<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    request: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
    #[serde(borrow)]
    caller: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    signer: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct SecureReply<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    reply: Cow<'a, str>,
    #[serde(borrow)]
    hash: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    signature: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    sender: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct RequestMessage<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    caller: Cow<'a, str>,
    #[serde(borrow)]
    collective: Cow<'a, str>,
    #[serde(borrow)]
    agent: Cow<'a, str>,
    ttl: u64,
    time: i64,
    #[serde(default, deserialize_with = "object")]
    filter: Cow<'a, Filter>,
}

#[derive(Serialize, Deserialize)]
struct ReplyMessage<'a> {
    #[serde(borrow)]
    protocol: Cow<'a, str>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    request: Cow<'a, str>,
    #[serde(borrow)]
    sender: Cow<'a, str>,
    #[serde(borrow)]
    agent: Cow<'a, str>,
    time: i64,
}

/// Reads the request that was signed.
pub(super) fn read_request(signed: &SignedRequest) -> Result<Request, WireError> {
    let message: RequestMessage<'_> =
        read(Layer::Request, signed.message.as_bytes(), signed.max_depth)?;
    check_protocol(Layer::Request, REQUEST, &message.protocol)?;
    check_request(&message)?;
    message.filter.check(signed.max_filter_entries)?;
    let payload = text(Layer::Request, "message", &message.message)?;
    Ok(Request {
        id: message.id.into_owned(),
        sender: message.sender.into_owned(),
        caller: message.caller.into_owned(),
        collective: message.collective.into_owned(),
        agent: message.agent.into_owned(),
        ttl_secs: message.ttl,
        time: UnixTime::from_nanos(i128::from(message.time)),
        filter: message.filter.into_owned(),
        payload: agent_payload(payload),
    })
}

fn check_request(message: &RequestMessage<'_>) -> Result<(), WireError> {
    for (field, value) in [
        ("message", &message.message),
        ("id", &message.id),
        ("sender", &message.sender),
        ("caller", &message.caller),
        ("collective", &message.collective),
        ("agent", &message.agent),
    ] {
        not_empty(Layer::Request, field, value)?;
    }
    if message.ttl < 1 {
        return Err(WireError::Field {
            layer: Layer::Request,
            field: "ttl",
            rule: "it must be at least 1 second",
        });
    }
    Ok(())
}

pub(super) fn encode_request(
    request: &Request,
    signer: &dyn RequestSigner,
    headers: &Headers,
) -> Result<Bytes, WireError> {
    let message = RequestMessage {
        protocol: REQUEST.into(),
        message: encode_base64(&request.payload).into(),
        id: (&request.id).into(),
        sender: (&request.sender).into(),
        caller: (&request.caller).into(),
        collective: (&request.collective).into(),
        agent: (&request.agent).into(),
        ttl: request.ttl_secs,
        time: nanos(request.time),
        filter: Cow::Borrowed(&request.filter),
    };
    check_request(&message)?;
    request.filter.check(usize::MAX)?;
    let message = to_go_text(Layer::Request, &message)?;
    let signed = signer.sign(message.as_bytes())?;
    let secure = SecureRequest {
        protocol: SECURE_REQUEST.into(),
        request: encode_base64(message.as_bytes()).into(),
        signature: signed.signature.into(),
        caller: (&*signed.pubcert).into(),
        signer: "".into(),
    };
    encode_transport(&secure, headers)
}

/// Writes a reply with its hash and, where there is a signer, its signature and the sender's token.
pub(super) fn encode_reply(
    reply: &Reply,
    headers: &Headers,
    signer: Option<&dyn ReplySigner>,
) -> Result<Bytes, WireError> {
    let message = ReplyMessage {
        protocol: REPLY.into(),
        message: encode_base64(&reply.payload).into(),
        request: (&reply.request_id).into(),
        sender: (&reply.sender).into(),
        agent: (&reply.agent).into(),
        time: nanos(reply.time),
    };
    let message = to_go_text(Layer::Reply, &message)?;
    let signature = match signer {
        Some(signer) => encode_base64(&signer.sign(message.as_bytes())?),
        None => String::new(),
    };
    let secure = SecureReply {
        protocol: SECURE_REPLY.into(),
        reply: encode_base64(message.as_bytes()).into(),
        hash: hash(&message).into(),
        signature: signature.into(),
        sender: signer.map_or("", ReplySigner::token).into(),
    };
    encode_transport(&secure, headers)
}

fn encode_transport<T: Serialize>(secure: &T, headers: &Headers) -> Result<Bytes, WireError> {
    let secure = to_go_json(secure).map_err(|error| WireError::json(Layer::Secure, &error))?;
    let transport = Transport {
        protocol: TRANSPORT.into(),
        data: encode_base64(&secure).into(),
        headers: Some(headers.into()),
    };
    let transport =
        to_go_json(&transport).map_err(|error| WireError::json(Layer::Transport, &error))?;
    Ok(transport.into())
}

pub(super) fn decode_request(
    payload: &[u8],
    limits: &Limits,
) -> Result<Envelope<SignedRequest>, WireError> {
    let (headers, data) = decode_transport(payload, limits)?;
    let secure: SecureRequest<'_> = read(Layer::Secure, &data, limits.max_depth)?;
    check_protocol(Layer::Secure, SECURE_REQUEST, &secure.protocol)?;
    for (field, value) in [
        ("request", &secure.request),
        ("signature", &secure.signature),
        ("caller", &secure.caller),
    ] {
        not_empty(Layer::Secure, field, value)?;
    }
    Ok(Envelope {
        protocol: Protocol::V2,
        headers,
        body: SignedRequest {
            protocol: Protocol::V2,
            message: text(Layer::Secure, "request", &secure.request)?,
            signature: secure.signature.into_owned(),
            pubcert: secure.caller.into_owned(),
            delegator: secure.signer.into_owned(),
            max_filter_entries: limits.max_filter_entries,
            max_depth: limits.max_depth,
        },
    })
}

/// Reads a reply and checks its hash; as with the original, its signature is left alone.
pub(super) fn decode_reply(payload: &[u8], limits: &Limits) -> Result<Envelope<Reply>, WireError> {
    let (headers, data) = decode_transport(payload, limits)?;
    let secure: SecureReply<'_> = read(Layer::Secure, &data, limits.max_depth)?;
    check_protocol(Layer::Secure, SECURE_REPLY, &secure.protocol)?;
    let message = text(Layer::Secure, "reply", &secure.reply)?;
    if secure.hash != hash(&message) {
        return Err(WireError::Hash);
    }
    let reply: ReplyMessage<'_> = read(Layer::Reply, message.as_bytes(), limits.max_depth)?;
    check_protocol(Layer::Reply, REPLY, &reply.protocol)?;
    let payload = decode_base64(reply.message.as_bytes()).ok_or(WireError::Base64 {
        layer: Layer::Reply,
        field: "message",
    })?;
    Ok(Envelope {
        protocol: Protocol::V2,
        headers,
        body: Reply {
            request_id: reply.request.into_owned(),
            sender: reply.sender.into_owned(),
            agent: reply.agent.into_owned(),
            time: UnixTime::from_nanos(i128::from(reply.time)),
            payload: payload.into(),
        },
    })
}

fn decode_transport(payload: &[u8], limits: &Limits) -> Result<(Headers, Vec<u8>), WireError> {
    let transport: Transport<'_> = read(Layer::Transport, payload, limits.max_depth)?;
    check_protocol(Layer::Transport, TRANSPORT, &transport.protocol)?;
    let headers: Headers = transport.headers.unwrap_or_default().into();
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

/// The text inside a field, which is base64 of it.
fn text(layer: Layer, field: &'static str, encoded: &str) -> Result<String, WireError> {
    let bytes = decode_base64(encoded.as_bytes()).ok_or(WireError::Base64 { layer, field })?;
    String::from_utf8(bytes).map_err(|_| WireError::NotText)
}

fn nanos(time: UnixTime) -> i64 {
    i64::try_from(time.nanos()).unwrap_or(i64::MAX)
}
