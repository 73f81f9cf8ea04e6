//! The hand-made requests of `behaviour-v1.json` as they were on the wire; included by the tests that use them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use server_core::words::UnixTime;

use crate::load::text;

/// A case's certificate; the capture cuts long texts off, so these are put together again.
fn pubcert(name: &str, captured: &str) -> String {
    let alice = || text("keys/alice.mcollective.pem");
    match name {
        "pubcert PEM w/ leading text" => format!("subject=x\n{}", alice()),
        "pubcert key before cert" => text("keys/alice.mcollective.key") + &alice(),
        "intermediate chain, leaf only" => {
            let chain = text("keys/carol.mcollective.pem");
            let end = "-----END CERTIFICATE-----\n";
            let (leaf, intermediate) = chain.split_once(end).unwrap();
            assert!(intermediate.contains(end));
            format!("{leaf}{end}")
        }
        _ if captured.ends_with(".pem") => text(&format!("keys/{captured}")),
        _ => captured.to_owned(),
    }
}

/// A case's request as it was on the wire; nothing when the capture does not tell.
pub(crate) fn payload(case: &Value) -> Option<Bytes> {
    if let Some(payload) = case["payload"].as_str() {
        return Some(payload.to_owned().into());
    }
    let name = case["case"].as_str().unwrap();
    let message = case["message_text"].as_str()?;
    let pubcert = pubcert(name, case["pubcert"].as_str().unwrap());
    let mut secure =
        json!({ "protocol": "choria:secure:request:1", "message": message, "pubcert": pubcert });
    for (key, value) in case["secure_other"].as_object().unwrap() {
        secure[key] = value.clone();
    }
    let mut data = STANDARD.encode(secure.to_string());
    if name == "transport data newline" {
        data.insert(76, '\n');
    }
    let mut transport =
        json!({ "protocol": "choria:transport:1", "data": data, "headers": case["headers"] });
    if name == "unknown transport field" {
        transport["foo"] = json!(1);
    }
    if name == "seen-by 1000 hops" {
        transport["headers"] =
            json!({ "reply-to": "a.b", "seen-by": vec![["in", "x", "out"]; 1000] });
    }
    if name == "transport no headers" {
        transport.as_object_mut().unwrap().remove("headers");
    }
    Some(transport.to_string().into())
}

/// The time at which a server got the request: half a second after it was made, unless the case is about that.
pub(crate) fn received(case: &Value, sent: UnixTime) -> UnixTime {
    let skew: i128 = case["case"]
        .as_str()
        .unwrap()
        .strip_prefix("time skew ")
        .map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap());
    UnixTime::from_nanos(sent.nanos() - skew * 1_000_000_000 + 500_000_000)
}
