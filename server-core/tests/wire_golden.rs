//! Every captured message of protocol 1 is read through all layers, and written again byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "golden/load.rs"]
mod load;

use std::io::Read as _;

use bytes::Bytes;
use load::{Capture, all_messages, captures, servers, text, verifier};
use serde_json::Value;
use server_core::trust::{
    CallerRules, CertificateSigner, InsecureSigner, RegistrationSigner, RequestSigner, Verifier,
};
use server_core::wire::rpc::{RpcReply, RpcRequest, status_of};
use server_core::wire::{
    Envelope, Headers, Limits, Protocol, Reply, Request, decode_reply, decode_request,
    encode_reply, encode_request,
};
use server_core::words::{CallerId, Collective, UnixTime, subject};

/// The authority, and the file names of certificate and key of whoever signed a captured request.
fn signer_files(capture: &Capture, caller: &str) -> (String, String, String) {
    let name = caller.strip_prefix("choria=").unwrap();
    if !capture.name.starts_with("provisioning/x509") {
        return (
            "keys/ca.pem".into(),
            format!("keys/{name}.pem"),
            format!("keys/{name}.key"),
        );
    }
    let dir = "provisioning/keys";
    let who = if name.starts_with("provisioner") {
        "provisioner"
    } else {
        "client"
    };
    (
        format!("{dir}/ca.pem"),
        format!("{dir}/{who}.pem"),
        format!("{dir}/{who}.key"),
    )
}

fn signer(capture: &Capture, caller: &str) -> Box<dyn RequestSigner> {
    let caller_text = caller.to_owned();
    match capture.layers().secure["pubcert"].as_str().unwrap() {
        "insecure" => Box::new(InsecureSigner {
            caller: caller_text,
        }),
        "insecure registration" => Box::new(RegistrationSigner {
            caller: caller_text,
        }),
        _ => {
            let (_, certificate, key) = signer_files(capture, caller);
            Box::new(CertificateSigner::from_pem(&text(&certificate), &text(&key)).unwrap())
        }
    }
}

/// Servers sign their registration data with names that are not on the default list of callers, and the original
/// provisioner signs as `provisioner.mcollective` what it says `provisioner1.example.net` asks for: nodes in
/// provisioning mode verify nothing.
fn rules() -> CallerRules {
    CallerRules::new(
        &[r"\.mcollective$", r"\.example\.net$"],
        &[r"^provisioner\.mcollective$"],
    )
    .unwrap()
}

fn headers(transport: &Value) -> Headers {
    serde_json::from_value(transport["headers"].clone()).unwrap()
}

fn str_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn assert_request_fields(capture: &Capture, request: &Request) {
    let message = capture.layers().message;
    let envelope = &message["envelope"];
    let name = &capture.name;
    assert_eq!(request.id, envelope["requestid"], "{name}");
    assert_eq!(request.sender, envelope["senderid"], "{name}");
    assert_eq!(request.caller, envelope["callerid"], "{name}");
    assert_eq!(request.collective, envelope["collective"], "{name}");
    assert_eq!(request.agent, envelope["agent"], "{name}");
    assert_eq!(request.ttl_secs, envelope["ttl"], "{name}");
    assert_eq!(request.time.secs(), envelope["time"], "{name}");
    assert_eq!(
        serde_json::to_value(&request.filter).unwrap(),
        envelope["filter"],
        "{name}"
    );
    let wanted = match str_of(&message["message"]) {
        encoded if encoded == "cGluZw==" => "ping".to_owned(),
        plain => plain,
    };
    assert_eq!(request.payload, wanted, "{name}");
}

#[test]
fn every_captured_request_is_read_and_verified() {
    let mut seen = 0;
    for capture in all_messages().iter().filter(|capture| capture.is_request()) {
        let limits = Limits::default();
        let payload = capture.payload();
        let layers = capture.layers();
        let caller = str_of(&layers.message["envelope"]["callerid"]);
        let envelope = decode_request(&payload, &limits).unwrap();
        assert_eq!(envelope.protocol, Protocol::V1);
        assert_eq!(
            envelope.body.message, layers.message_text,
            "{}",
            capture.name
        );
        assert_eq!(envelope.headers, headers(&layers.transport));
        assert_request_fields(capture, &envelope.body.request().unwrap());

        let unsigned = envelope.body.pubcert.starts_with("insecure");
        let verdict = if unsigned {
            let strict = verifier("keys/ca.pem", rules()).verify(&payload, &limits);
            assert_eq!(
                strict.unwrap_err().code(),
                "caller.unsigned",
                "{}",
                capture.name
            );
            Verifier::insecure().verify(&payload, &limits)
        } else {
            let (ca, ..) = signer_files(capture, &caller);
            verifier(&ca, rules()).verify(&payload, &limits)
        };
        let verified = verdict.unwrap_or_else(|why| panic!("{}: {why}", capture.name));
        assert_request_fields(capture, &verified.request);
        assert_eq!(verified.headers, envelope.headers);
        if caller == "choria=provisioner1.example.net" && !unsigned {
            let (ca, ..) = signer_files(capture, &caller);
            let strict = verifier(&ca, CallerRules::default()).verify(&payload, &limits);
            assert_eq!(
                strict.unwrap_err().code(),
                "caller.name",
                "{}",
                capture.name
            );
        }
        seen += 1;
    }
    let named = |capture: &&Capture| {
        capture.name.ends_with("request.json") || capture.name.contains("registration")
    };
    assert_eq!(seen, all_messages().iter().filter(named).count());
}

#[test]
fn every_captured_request_is_written_byte_for_byte() {
    for capture in all_messages().iter().filter(|capture| capture.is_request()) {
        let layers = capture.layers();
        let envelope = &layers.message["envelope"];
        let request = Request {
            id: str_of(&envelope["requestid"]),
            sender: str_of(&envelope["senderid"]),
            caller: str_of(&envelope["callerid"]),
            collective: str_of(&envelope["collective"]),
            agent: str_of(&envelope["agent"]),
            ttl_secs: envelope["ttl"].as_u64().unwrap(),
            time: UnixTime::from_secs(envelope["time"].as_i64().unwrap()),
            filter: serde_json::from_value(envelope["filter"].clone()).unwrap(),
            payload: str_of(&layers.message["message"]).into(),
        };
        let signer = signer(capture, &request.caller);
        let written = encode_request(&request, &*signer, &headers(&layers.transport)).unwrap();
        let again = decode_request(&written, &Limits::default()).unwrap().body;
        assert_eq!(again.message, layers.message_text, "{}", capture.name);
        assert_eq!(
            again.signature, layers.secure["signature"],
            "{}",
            capture.name
        );
        assert_eq!(written, capture.payload(), "{}", capture.name);
    }
}

#[test]
fn every_captured_reply_is_read_and_written_byte_for_byte() {
    let mut seen = 0;
    for capture in all_messages().iter().filter(|capture| capture.is_reply()) {
        let layers = capture.layers();
        let envelope = &layers.message["envelope"];
        let Envelope {
            protocol,
            headers: found,
            body: reply,
        } = decode_reply(&capture.payload(), &Limits::default()).unwrap();
        let wanted = Reply {
            request_id: str_of(&envelope["requestid"]),
            sender: str_of(&envelope["senderid"]),
            agent: str_of(&envelope["agent"]),
            time: UnixTime::from_secs(envelope["time"].as_i64().unwrap()),
            payload: str_of(&layers.message["message"]).into(),
        };
        assert_eq!(reply, wanted, "{}", capture.name);
        assert_eq!(found, headers(&layers.transport));
        let written = encode_reply(&reply, protocol, &found).unwrap();
        assert_eq!(written, capture.payload(), "{}", capture.name);
        seen += 1;
    }
    let named = |capture: &&Capture| capture.name.ends_with("reply.json");
    assert_eq!(seen, all_messages().iter().filter(named).count());
}

#[test]
fn calls_and_answers_inside_are_read_and_keep_their_keys() {
    let limits = Limits::default();
    for capture in all_messages() {
        let layers = if capture.is_request() || capture.is_reply() {
            capture.layers()
        } else {
            continue;
        };
        let body_text = str_of(&layers.message["message"]);
        let Ok(body) = serde_json::from_str::<Value>(&body_text) else {
            assert!(
                ["cGluZw==", "pong"].contains(&body_text.as_str()),
                "{}",
                capture.name
            );
            continue;
        };
        if layers.message["envelope"]["agent"] == "registration" {
            continue;
        }
        if capture.is_request() {
            let call = RpcRequest::parse(body_text.as_bytes(), &limits).unwrap();
            assert_eq!(
                call.encode().unwrap(),
                body_text.as_bytes(),
                "{}",
                capture.name
            );
        } else {
            let answer = RpcReply::parse(body_text.as_bytes(), &limits).unwrap();
            let status = status_of(body_text.as_bytes(), &limits).unwrap();
            assert_eq!(answer.statuscode, status);
            assert_eq!(
                u64::from(status.number()),
                body["statuscode"],
                "{}",
                capture.name
            );
            let again: Value = serde_json::from_slice(&answer.encode().unwrap()).unwrap();
            let keys = |value: &Value| {
                value
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(keys(&again), keys(&body), "{}", capture.name);
            if body["data"].is_object() {
                assert_eq!(again, body, "{}", capture.name);
            }
        }
    }
}

#[test]
fn reply_subjects_follow_from_caller_and_request() {
    for capture in captures("v1").iter().filter(|capture| capture.is_request()) {
        let envelope = decode_request(&capture.payload(), &Limits::default()).unwrap();
        let request = envelope.body.request().unwrap();
        let reply_to = envelope.headers.reply_to.unwrap();
        assert!(subject::is_publishable(&reply_to));
        if capture.name.contains("custom-reply-to") || reply_to == subject::NO_REPLY {
            continue;
        }
        let collective = Collective::parse(&request.collective).unwrap();
        let caller = CallerId::parse(&request.caller).unwrap();
        assert_eq!(
            reply_to,
            subject::reply(&collective, &caller, &request.id),
            "{}",
            capture.name
        );
    }
}

#[test]
fn discovery_finds_the_servers_that_it_found() {
    for (name, wanted) in [
        ("discovery-ping", &["web1", "web2", "db1"][..]),
        ("discover-agent", &["web1", "web2", "db1"]),
        ("discover-target", &["web1", "web2", "db1"]),
        ("discover-class", &["web1", "web2"]),
        ("discover-class-mixed", &[]),
        ("discover-fact", &["web1", "web2"]),
        ("discover-none", &[]),
        ("discover-identity-regex", &["web1", "web2"]),
        ("discover-ops", &[]),
        ("discover-with", &["web1"]),
        // Here we differ: compound filters match nobody.
        ("discover-compound", &[]),
    ] {
        let capture: Value =
            serde_json::from_str(&text(&format!("v1/{name}.request.json"))).unwrap();
        let payload = Bytes::from(str_of(&capture["payload"]));
        let verified = verifier("keys/ca.pem", rules())
            .verify(&payload, &Limits::default())
            .unwrap();
        let found: Vec<_> = servers()
            .iter()
            .filter(|server| verified.matches(*server).is_match())
            .map(|server| server.identity.split('.').next().unwrap())
            .collect();
        assert_eq!(found, wanted, "{name}");
    }
}

#[test]
fn one_batch_is_one_request_with_a_signature_per_node() {
    let limits = Limits::default();
    let batch: Vec<_> = captures("v1")
        .into_iter()
        .filter(|capture| capture.name.contains("rpc-batch-"))
        .map(|capture| decode_request(&capture.payload(), &limits).unwrap())
        .collect();
    assert_eq!(batch.len(), 3);
    for other in &batch[1..] {
        assert_eq!(other.headers.reply_to, batch[0].headers.reply_to);
        assert_eq!(
            other.body.request().unwrap().id,
            batch[0].body.request().unwrap().id
        );
        assert_ne!(other.body.signature, batch[0].body.signature);
    }
}

#[test]
fn compressed_registration_data_is_what_it_was_made_of() {
    let mut seen = 0;
    for capture in captures("v1").iter().chain(&captures("provisioning/calls")) {
        let Some(wanted) = capture.file["decoded"]["zcontent_text"].as_str() else {
            continue;
        };
        let request = decode_request(&capture.payload(), &Limits::default())
            .unwrap()
            .body
            .request()
            .unwrap();
        let body: Value = serde_json::from_slice(&request.payload).unwrap();
        let packed = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            body["zcontent"].as_str().unwrap(),
        )
        .unwrap();
        let mut content = String::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, wanted, "{}", capture.name);
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn the_known_reply_hash() {
    let reply = Reply {
        request_id: "0123456789abcdef0123456789abcdef".into(),
        sender: "web1.example.net".into(),
        agent: "rpcutil".into(),
        time: UnixTime::from_secs(1_750_000_001),
        payload: r#"{"action":"ping","statuscode":0,"statusmsg":"OK","data":{"pong":1750000001}}"#
            .into(),
    };
    let written = encode_reply(&reply, Protocol::V1, &Headers::default()).unwrap();
    let capture = Capture {
        name: String::new(),
        file: serde_json::json!({ "payload": std::str::from_utf8(&written).unwrap() }),
    };
    assert_eq!(
        capture.layers().secure["hash"],
        "xd+SEj49UXhhQ9TTdmeORrbyxDd1xkxrZ1FmNfcxLb0="
    );
    assert_eq!(capture.layers().transport["headers"], serde_json::json!({}));
}
