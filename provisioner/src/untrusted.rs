//! One door to each parser of bytes that somebody else wrote: what the fuzz targets
//! in `fuzz/` and their smoke test knock at.
//!
//! Each takes any bytes, hands them to the function that the service uses, and
//! panics only where a promise is broken: what is told of bad input is one line of
//! bounded length, without control characters.

use std::time::Duration;

use jiff::Timestamp;
use server_core::events::Event;
use server_core::trust::jwt::{JwtKey, NamedKey, Rules};
use server_core::wire::rpc::RpcReply;
use server_core::wire::{Limits, decode_reply};

use crate::audit;
use crate::code::Refusal;
use crate::hook::{choria, contract};
use crate::judge::{self, RequestPolicy};
use crate::pipeline::arrive::Listener;

/// Longest sentence about bad input, bytes.
const LONGEST: usize = 4_096;
/// The public key of RFC 8032, test 1.
const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// Any time will do.
const NOW: i64 = 1_800_000_000;

/// Takes any bytes and does not panic.
pub type Door = fn(&[u8]);

/// Every door with its name, which is that of its fuzz target.
pub const DOORS: [(&str, Door); 7] = [
    ("request", request),
    ("token", token),
    ("event", event),
    ("reply", reply),
    ("hook_answer", hook_answer),
    ("choria_answer", choria_answer),
    ("audit_line", audit_line),
];

/// A certificate request, PEM and DER.
pub fn request(bytes: &[u8]) {
    let policy = RequestPolicy::default();
    if let Err(refusal) = judge::judge(bytes, "n1.example.net", &policy) {
        told(&refusal);
    }
}

/// A provisioning token.
pub fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let keys: Vec<_> = JwtKey::parse(KEY)
        .map(|key| NamedKey {
            name: "key".to_owned(),
            key,
        })
        .into_iter()
        .collect();
    let now = Timestamp::from_second(NOW).unwrap_or_default();
    if let Err(refusal) = judge::token::judge(&text, &keys, &Rules::default(), now) {
        told(&refusal);
    }
}

/// A lifecycle event.
pub fn event(bytes: &[u8]) {
    if let Ok(event) = Event::parse(bytes, &Limits::default()) {
        let now = Timestamp::from_second(NOW).unwrap_or_default();
        let _ = Listener::new(Duration::from_secs(300)).hear(event, now);
    }
}

/// A reply and what is inside it, an inventory for one.
pub fn reply(bytes: &[u8]) {
    let limits = Limits::default();
    let _ = RpcReply::parse(bytes, &limits);
    if let Ok(envelope) = decode_reply(bytes, &limits) {
        let body = envelope.body.payload;
        let _ = RpcReply::parse(&body, &limits);
    }
}

/// The answer of a helper of our own contract.
pub fn hook_answer(bytes: &[u8]) {
    if let Err(error) = contract::read_any_answer(bytes) {
        told(&error.into());
    }
}

/// The answer of a helper of the Choria contract.
pub fn choria_answer(bytes: &[u8]) {
    if let Err(error) = choria::read_answer(bytes, choria::Wanted::CertificateOrKey) {
        told(&error.into());
    }
}

/// A line of an audit log.
pub fn audit_line(bytes: &[u8]) {
    audit::read_any_line(bytes);
}

fn told(refusal: &Refusal) {
    let message = &refusal.message;
    assert!(message.len() <= LONGEST, "{} bytes are told", message.len());
    assert!(
        !message.chars().any(char::is_control),
        "control characters are told: {message:?}"
    );
}
