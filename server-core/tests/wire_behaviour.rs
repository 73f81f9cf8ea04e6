//! Hand-made requests that were sent to a real server: we judge each as it did, but for the listed exceptions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "golden/behaviour.rs"]
mod behaviour;
#[path = "golden/load.rs"]
mod load;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use behaviour::{payload, received};
use bytes::Bytes;
use load::{Server, servers, text, verifier};
use serde_json::Value;
use server_core::trust::{CallerRules, KeyPair, Verifier};
use server_core::wire::rpc::RpcRequest;
use server_core::wire::{FilterSubject as _, FilterVerdict, Limits};
use server_core::words::subject;

/// What becomes of a request at a node, as far as this side of its agents.
const ANSWERED: &str = "answered";
/// An RPC agent answers with code 4 because it cannot read its call.
const UNREADABLE: &str = "answered with code 4";

/// Where we deliberately differ, with what we do instead.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Text behind the name would reach the authorizer.
    ("caller alice@x", "caller.form"),
    ("caller \"choria=alice.mcollective extra\"", "caller.form"),
    // Compound filters match nobody.
    ("compound true,true,false", "compound"),
    // The keys of a call count once and in their exact spelling.
    ("body duplicate keys", UNREADABLE),
    ("body case-insensitive keys", UNREADABLE),
    // Milder: an absent list of agents is an empty one, and the original runs the action too, but cannot reply.
    ("filter without agent key", ANSWERED),
];

/// What a node of ours does: the steps of a server, in their order, with its agents' first look at a call.
fn outcome(case: &Value, payload: &Bytes, verifier: &Verifier, server: &Server<'_>) -> String {
    let limits = Limits::default();
    let verified = match verifier.verify(payload, &limits) {
        Ok(verified) => verified,
        Err(rejected) => return rejected.code().to_owned(),
    };
    match verified.matches(server) {
        FilterVerdict::Match => {}
        FilterVerdict::NoMatch => return "filtered".into(),
        FilterVerdict::Unsupported(_) => return "compound".into(),
    }
    let request = &verified.request;
    if !["mcollective", "eu_mcollective"].contains(&request.collective.as_str()) {
        return "collective".into();
    }
    let is_batch = request.ttl_secs > 60;
    if !is_batch && !request.is_current(received(case, request.time)) {
        return "ttl".into();
    }
    if !server.has_agent(&request.agent) {
        return "agent".into();
    }
    let reply_to = verified.headers.reply_to.as_deref().unwrap_or_default();
    if !subject::is_publishable(reply_to) {
        return "reply-to".into();
    }
    if request.agent == "discovery" {
        let pinged = String::from_utf8_lossy(&request.payload).contains("ping");
        return if pinged {
            ANSWERED.into()
        } else {
            "no ping".into()
        };
    }
    match RpcRequest::parse(&request.payload, &limits) {
        Ok(_) => ANSWERED.into(),
        Err(_) => UNREADABLE.into(),
    }
}

#[test]
fn each_case_ends_as_at_a_real_server_but_for_the_listed_exceptions() {
    let file: Value = serde_json::from_str(&text("behaviour-v1.json")).unwrap();
    let verifier = verifier("keys/ca.pem", CallerRules::default()).shared(true);
    let [_, _, server] = servers();
    let (mut judged, mut exceptions) = (0, Vec::new());
    for case in file["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let Some(payload) = payload(case) else {
            continue;
        };
        let outcome = outcome(case, &payload, &verifier, &server);
        judged += 1;
        if let Some((name, wanted)) = EXCEPTIONS.iter().find(|(exception, _)| *exception == name) {
            assert_eq!(outcome, *wanted, "{name}");
            exceptions.push(*name);
            continue;
        }
        // Codes other than 4 come from behind the first look at a call, and some of 4 too.
        let answered = outcome == ANSWERED || outcome == UNREADABLE;
        assert_eq!(answered, case["replies"] != 0, "{name}: {outcome}");
        if outcome == UNREADABLE {
            assert_eq!(case["statuscode"], 4, "{name}");
        }
    }
    assert!(judged >= 140, "only {judged} cases were judged");
    let all: Vec<_> = EXCEPTIONS.iter().map(|(name, _)| *name).collect();
    exceptions.sort_unstable();
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(exceptions, sorted, "each exception was met once");
}

#[test]
fn refusals_name_the_reason() {
    let file: Value = serde_json::from_str(&text("behaviour-v1.json")).unwrap();
    let verifier = verifier("keys/ca.pem", CallerRules::default());
    let [_, _, server] = servers();
    for (name, wanted) in [
        ("ttl=29", "wire.field"),
        ("ttl=30.5 (float)", "wire.json"),
        ("ttl=\"60\"", "wire.json"),
        ("ttl=-5", "wire.json"),
        ("requestid 31", "wire.field"),
        ("time skew -60, ttl 60", "ttl"),
        ("time skew 61, ttl 60", "ttl"),
        ("no filter", "wire.json"),
        ("filter fact null", "wire.json"),
        ("empty message", "wire.field"),
        ("envelope key case CallerID", "wire.json"),
        ("collective not member", "collective"),
        ("bad signature", "caller.signature"),
        ("signature not base64", "caller.signature"),
        ("signature empty", "wire.field"),
        ("signature raw-url base64", "caller.signature"),
        ("signature unpadded", "caller.signature"),
        ("caller bob with alice cert", "caller.name"),
        ("caller no provider", "caller.form"),
        ("caller CHORIA=", "caller.form"),
        (
            "server cert web1 as caller (not allow listed)",
            "caller.not_allowed",
        ),
        ("other CA", "caller.chain"),
        ("no clientAuth eku", "caller.chain"),
        ("intermediate chain, leaf only", "caller.chain"),
        ("pubcert not PEM", "caller.certificate"),
        ("pubcert empty", "wire.field"),
        ("pubcert key before cert", "caller.certificate"),
        ("message altered after signing", "caller.signature"),
        ("transport not json", "wire.json"),
        ("empty payload", "wire.json"),
        ("reply-to with space/wildcard", "reply-to"),
        ("fact op unknown", "wire.json"),
        ("bad regex identity", "filtered"),
    ] {
        let cases = file["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["case"] == name).unwrap();
        let payload = payload(case).unwrap();
        assert_eq!(
            outcome(case, &payload, &verifier, &server),
            wanted,
            "{name}"
        );
    }
}

/// The four broken transports that the capture describes by name only.
#[test]
fn broken_transports_are_refused() {
    let file: Value = serde_json::from_str(&text("behaviour-v1.json")).unwrap();
    let good = String::from_utf8(payload(&file["cases"][0]).unwrap().to_vec()).unwrap();
    let verifier = verifier("keys/ca.pem", CallerRules::default());
    let code = |payload: String| {
        verifier
            .verify(&payload.into(), &Limits::default())
            .unwrap_err()
            .code()
    };
    assert_eq!(
        code(good.replace("choria:transport:1", "choria:transport:9")),
        "wire.protocol"
    );
    assert_eq!(
        code(good.replace("choria:transport:1", "io.choria.protocol.v2.transport")),
        "wire.json",
        "the layers inside are those of protocol 1"
    );
    assert_eq!(code(good[..good.len() / 2].to_owned()), "wire.json");
    assert_eq!(code(format!("{good}x")), "wire.json");
}

/// Certificates whose keys protocol 1 cannot verify with: a real server dies of the first.
#[test]
fn keys_other_than_rsa_are_refused() {
    let file: Value = serde_json::from_str(&text("behaviour-v1.json")).unwrap();
    let verifier = verifier("keys/ca.pem", CallerRules::default());
    for caller in ["ecdsa.mcollective", "ed.mcollective"] {
        let mut case = file["cases"][0].clone();
        let message = case["message_text"]
            .as_str()
            .unwrap()
            .replace("alice.mcollective", caller);
        let key = KeyPair::from_pem(&text(&format!("keys/{caller}.key"))).unwrap();
        let signature = STANDARD.encode(key.sign(message.as_bytes()).unwrap());
        case["message_text"] = message.into();
        case["secure_other"]["signature"] = signature.into();
        case["pubcert"] = format!("{caller}.pem").into();
        let payload = payload(&case).unwrap();
        let rejected = verifier.verify(&payload, &Limits::default()).unwrap_err();
        assert_eq!(
            rejected.code(),
            "caller.key_algorithm",
            "{caller}: {rejected}"
        );
    }
}
