//! An ACME server that trusts every account: orders are ready at once. It keeps nothing; the
//! request travels in the address of the certificate.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Question, http};
use crate::authority::{Authority, Flaw};

const NONCE: &str = "Replay-Nonce: bm9uY2U\r\n";

fn base(question: &Question) -> String {
    format!("http://{}/acme", question.header("host"))
}

/// What comes before anything is signed.
pub(super) fn ordered(question: &Question) -> Option<Vec<u8>> {
    let base = base(question);
    let order = json!({
        "status": "ready", "identifiers": [], "authorizations": [format!("{base}/authorization")],
        "finalize": format!("{base}/finalize"),
    });
    let located = |path: &str| format!("{NONCE}Location: {base}/{path}\r\n");
    Some(match question.path.as_str() {
        "/acme/directory" => {
            let directory = json!({
                "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"), "meta": {},
            });
            http("200 OK", "", directory.to_string().as_bytes())
        }
        "/acme/nonce" => http("200 OK", NONCE, b""),
        "/acme/account" => {
            let account = json!({"status": "valid"}).to_string();
            http("201 Created", &located("account/1"), account.as_bytes())
        }
        "/acme/order" => http(
            "201 Created",
            &located("order/1"),
            order.to_string().as_bytes(),
        ),
        _ => return None,
    })
}

/// An order that is finalised, or the chain it led to: headers and body.
pub(super) fn signed(
    authority: &Authority,
    question: &Question,
    flaw: Flaw,
) -> Option<(String, String)> {
    let base = base(question);
    if question.path == "/acme/finalize" {
        let signed: Value = serde_json::from_slice(&question.body).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(signed["payload"].as_str().unwrap());
        let payload: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
        let csr = payload["csr"].as_str().unwrap();
        let order = json!({
            "status": "valid", "authorizations": [], "finalize": question.path,
            "certificate": format!("{base}/certificate/{csr}"),
        });
        return Some((NONCE.to_owned(), order.to_string()));
    }
    let csr = question.path.strip_prefix("/acme/certificate/")?;
    let csr = URL_SAFE_NO_PAD.decode(csr).unwrap();
    let csr = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", csr));
    Some((NONCE.to_owned(), authority.sign(&csr, flaw).concat()))
}
