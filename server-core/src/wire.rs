//! Messages of Choria protocols 1 and 2 as bytes.
//!
//! A message is a transport around a secure request or reply around a request or reply around an agent payload.
//! Decoding checks form and hashes, encoding gives exactly the bytes of the original implementation; who may send
//! what is judged in [`crate::trust`]. Above this module nothing knows which protocol version a message came in.
//!
//! Nothing received is ever serialised again before it is verified: signatures and hashes cover the exact text.

mod error;
pub mod filter;
mod json;
mod limits;
mod message;
pub mod rpc;
mod signer;
mod v1;
mod v2;

pub use error::{Fault, WireError};
pub use filter::{
    CompiledFilter, CompoundExpr, FactFilter, Filter, FilterSubject, FilterTextError,
    FilterVerdict, Operator, lookup_fact,
};
pub(crate) use json::decode_base64;
pub use json::to_go_json;
pub use limits::Limits;
pub use message::{
    Envelope, Federation, Headers, Hop, Protocol, Reply, Request, agent_payload, new_request_id,
    ttl_ok,
};
pub use signer::{ReplySigner, RequestSigner, SignError, Signed};
pub use v1::SignedRequest;

use bytes::Bytes;

/// Signs and writes a request, in the protocol of its signer.
///
/// # Errors
/// When a field breaks the form of requests, the payload does not fit, or the signer refuses.
pub fn encode_request(
    request: &Request,
    signer: &dyn RequestSigner,
    headers: &Headers,
) -> Result<Bytes, WireError> {
    match signer.protocol() {
        Protocol::V1 => v1::encode_request(request, signer, headers),
        Protocol::V2 => v2::encode_request(request, signer, headers),
    }
}

/// Writes a reply with its hash, in the protocol of its request.
///
/// # Errors
/// When the payload is not text, which protocol 1 wants.
pub fn encode_reply(
    reply: &Reply,
    protocol: Protocol,
    headers: &Headers,
) -> Result<Bytes, WireError> {
    match protocol {
        Protocol::V1 => v1::encode_reply(reply, headers),
        Protocol::V2 => v2::encode_reply(reply, headers, None),
    }
}

/// Writes a reply of protocol 2 with its hash and signature.
///
/// # Errors
/// When the signer refuses.
pub fn encode_signed_reply(
    reply: &Reply,
    headers: &Headers,
    signer: &dyn ReplySigner,
) -> Result<Bytes, WireError> {
    v2::encode_reply(reply, headers, Some(signer))
}

/// Reads a request of any protocol down to what was signed; [`crate::trust::Verifier`] judges the signature.
///
/// # Errors
/// When a layer is not of its form or beyond the limits.
pub fn decode_request(
    payload: &[u8],
    limits: &Limits,
) -> Result<Envelope<SignedRequest>, WireError> {
    match v1::decode_request(payload, limits) {
        Err(error) if is_v2(&error) => v2::decode_request(payload, limits),
        other => other,
    }
}

/// Reads a reply of any protocol and checks its hash. Replies of protocol 1 are not signed, and the signature of those
/// of protocol 2 is left alone, as the original leaves it.
///
/// # Errors
/// When a layer is not of its form or beyond the limits, or the hash is wrong.
pub fn decode_reply(payload: &[u8], limits: &Limits) -> Result<Envelope<Reply>, WireError> {
    match v1::decode_reply(payload, limits) {
        Err(error) if is_v2(&error) => v2::decode_reply(payload, limits),
        other => other,
    }
}

/// Whether protocol 1 does not know the message because it is of protocol 2.
fn is_v2(error: &WireError) -> bool {
    matches!(error, WireError::Protocol { found, .. } if found == v2::TRANSPORT)
}
