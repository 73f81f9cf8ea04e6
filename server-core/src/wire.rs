//! Messages of Choria protocol 1 as bytes.
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
pub use signer::{RequestSigner, SignError, Signed};
pub use v1::{SignedRequest, decode_reply, decode_request, encode_reply, encode_request};
