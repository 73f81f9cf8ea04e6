//! One door to each parser of bytes that somebody else wrote: what the fuzz targets
//! in `fuzz/` and their smoke test knock at.
//!
//! Each takes any bytes, hands them to the function that the service uses, and
//! panics only where a promise is broken: what is told of bad input is one line of
//! bounded length, without control characters.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use server_core::events::Event;
use server_core::trust::jwt::{self, JwtKey, NamedKey, Rules};
use server_core::wire::rpc::RpcReply;
use server_core::wire::{Limits, decode_reply};

use crate::audit;
use crate::ca::{CertificatePolicy, TrustStore, judge_chain};
use crate::code::{LONGEST_SENTENCE, Refusal};
use crate::hook::{self, Decision, HookAnswer, HookError, choria, contract};
use crate::judge::token::Scope;
use crate::judge::{self, RequestPolicy};
use crate::pipeline::arrive::Listener;
use crate::placement::{self, Candidate, Placement, Rule};

/// The public key of RFC 8032, test 1.
const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// A request and the root that a certificate for it should come from.
const REQUEST: &[u8] = include_bytes!("../tests/golden/requests/choria-provisioner.pem");
const ROOT: &str = include_str!("../../server-core/tests/golden/keys/ca.pem");
/// Any time will do.
const NOW: i64 = 1_800_000_000;

/// Takes any bytes and does not panic.
pub type Door = fn(&[u8]);

/// Every door with its name, which is that of its fuzz target.
pub const DOORS: [(&str, Door); 11] = [
    ("request", request),
    ("token", token),
    ("event", event),
    ("reply", reply),
    ("inventory", inventory),
    ("hook_answer", hook_answer),
    ("choria_answer", choria_answer),
    ("authority_answer", authority_answer),
    ("certificate", certificate),
    ("shipped_key", shipped_key),
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
    // What comes after the signature, which nothing made up ever has.
    if let Ok(claims) = jwt::decode_unverified(&text)
        && let Ok(scope) = Scope::of(&claims)
        && let Err(refusal) = scope.admits("n1.example.net", &Value::Null)
    {
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

/// An inventory, as it is or within the reply that brings it, and what is looked up in it.
pub fn inventory(bytes: &[u8]) {
    let found = match RpcReply::parse(bytes, &Limits::default()) {
        Ok(reply) => reply.data,
        Err(_) => serde_json::from_slice(bytes).unwrap_or_default(),
    };
    let inventory = match judge::judge_inventory(found) {
        Ok(inventory) => inventory,
        Err(refusal) => return told(&refusal),
    };
    let scope = Scope {
        facts: [("site.name".to_owned(), "ams".to_owned())].into(),
        ..Scope::default()
    };
    if let Err(refusal) = scope.admits("n1.example.net", &inventory) {
        told(&refusal);
    }
    let placement = Placement {
        rules: vec![Rule::Value {
            of: placement::Source::Fact,
            path: "site.name".to_owned(),
            targets: [("ams".to_owned(), "west".to_owned())].into(),
        }],
        ..Placement::default()
    };
    let node = Candidate {
        identity: "n1.example.net",
        inventory: &inventory,
        claims: &Value::Null,
        before: None,
    };
    let _ = placement.choose(node, |_| 0);
}

/// The answer of a helper of our own contract.
pub fn hook_answer(bytes: &[u8]) {
    answered(contract::read_any_answer(bytes));
}

/// The answer of a helper of the Choria contract, where nodes get certificates and where they get tokens.
pub fn choria_answer(bytes: &[u8]) {
    for wanted in [choria::Wanted::CertificateOrKey, choria::Wanted::Claims] {
        answered(choria::read_answer(bytes, wanted));
    }
}

/// The answer of an authority over HTTP: two bytes of status, then the body; all of it is the body
/// of a 200 where it begins with no status, as neither JSON nor PEM does.
pub fn authority_answer(bytes: &[u8]) {
    let begin = bytes.split_first_chunk::<2>();
    let begin = begin.map(|(status, body)| (u16::from_be_bytes(*status), body));
    let (status, body) = begin
        .filter(|(status, _)| *status < 1_000)
        .unwrap_or((200, bytes));
    for answer in hook::http::read_any_answer(status, body) {
        answered(answer);
    }
}

/// A certificate with its chain, from whoever signs.
pub fn certificate(bytes: &[u8]) {
    let chain = String::from_utf8_lossy(bytes);
    let now = Timestamp::from_second(NOW).unwrap_or_default();
    let judged = judge::judge(REQUEST, "n1.example.net", &RequestPolicy::default())
        .and_then(|request| Ok((request, TrustStore::from_pem(ROOT, "")?)));
    if let Ok((request, trust)) = judged {
        let policy = CertificatePolicy::default();
        for ca in [None, Some(&*chain)] {
            if let Err(refusal) = judge_chain(&chain, ca, &request, &trust, &policy, now) {
                told(&refusal);
            }
        }
    }
}

/// A private key that an authority made for a node.
pub fn shipped_key(bytes: &[u8]) {
    let pem = String::from_utf8_lossy(bytes);
    if let Err(refusal) = judge::judge_shipped(&pem, "n1.example.net", &RequestPolicy::default()) {
        told(&refusal);
    }
}

/// A line of an audit log.
pub fn audit_line(bytes: &[u8]) {
    audit::read_any_line(bytes);
}

/// What a hook said, up to what a node would be sent.
fn answered(answer: Result<HookAnswer, HookError>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return told(&error.into()),
    };
    is_fit_to_print(&answer.message);
    if let Decision::Issue(issued) = answer.decision {
        let settings = issued.configuration.unwrap_or_default();
        let (actions, opa) = (issued.action_policies, issued.opa_policies);
        if let Err(refusal) = judge::configuration::judge("n1.example.net", settings, actions, opa)
        {
            told(&refusal);
        }
    }
}

fn told(refusal: &Refusal) {
    is_fit_to_print(&refusal.message);
}

fn is_fit_to_print(sentence: &str) {
    let length = sentence.len();
    assert!(length <= LONGEST_SENTENCE, "{length} bytes are told");
    assert!(
        !sentence.chars().any(char::is_control),
        "control characters are told: {sentence:?}"
    );
}
