//! step-ca, asked with one-time tokens.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use provisioner::code::Code;
use provisioner::hook::http::StepCa;
use server_core::trust::tls;

use super::{LIFE, chain, enrols, hook, private, program, reaching, ready, start, turned_away};
use crate::authority::{Authority, Signer};
use crate::common::TEMPLATE;
use crate::conformance::{Transport, everything};
use crate::node::{Key, p256};
use crate::server::{Identity, Server, Speech, Upstream};

/// The public half of a P-256 key as a JWK, named by its thumbprint.
fn jwk(key: &Key) -> serde_json::Value {
    let pair = key.ec_key().unwrap();
    let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    let mut context = BigNumContext::new().unwrap();
    pair.public_key()
        .affine_coordinates(pair.group(), &mut x, &mut y, &mut context)
        .unwrap();
    let text = |n: &BigNum| URL_SAFE_NO_PAD.encode(n.to_vec_padded(32).unwrap());
    let (x, y) = (text(&x), text(&y));
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(openssl::sha::sha256(canonical.as_bytes()));
    serde_json::json!({
        "use": "sig", "kty": "EC", "kid": kid, "crv": "P-256", "alg": "ES256", "x": x, "y": y,
    })
}

#[tokio::test]
#[ignore = "needs step-ca: make conformance"]
async fn signs_for_who_has_the_key() {
    let program = program("STEP_CA", "step-ca");
    let install = "go install github.com/smallstep/certificates/cmd/step-ca@v0.30.2";
    let provisioner = p256();
    let server = start(&program, install, |folder, port, _| {
        let config = serde_json::json!({
            "root": "root.pem", "crt": "ca.pem", "key": "ca.key",
            "address": format!("127.0.0.1:{port}"), "dnsNames": ["localhost"],
            "authority": {
                "claims": {"maxTLSCertDuration": "720h"},
                "provisioners": [{"type": "JWK", "name": "muster", "key": jwk(&provisioner),
                    "options": {"x509": {"template": TEMPLATE}}}],
            },
        });
        std::fs::write(folder.join("ca.json"), config.to_string()).unwrap();
        vec!["ca.json".to_owned()]
    });
    let url = format!("https://localhost:{}", server.port);
    let verified = |root: &Signer| tls::server_verified(&root.pem()).unwrap();
    let api = |key: &Key| StepCa::new("muster".to_owned(), &private(key), LIFE).unwrap();
    let right = hook(&url, verified(&server.site.root), api(&provisioner));
    ready(&right).await;
    enrols(&right, &server.site).await;
    let wrong = hook(&url, verified(&server.site.root), api(&p256()));
    let refused = chain(&wrong, &server.site, "n1.example.net")
        .await
        .unwrap_err();
    turned_away(
        "step-ca",
        "step-ca",
        "wrong key of ours",
        &refused,
        Code::CaConfig,
    );
    let other = Authority::new();
    let impostor = hook(&url, verified(&other.root), api(&provisioner));
    let refused = chain(&impostor, &server.site, "n1.example.net")
        .await
        .unwrap_err();
    turned_away("step-ca", "step-ca", "impostor", &refused, Code::CaConfig);
    assert!(refused.message.contains("server_ca"), "{refused}");

    let root = &server.site.root;
    let upstream = Upstream::new(server.port, Some(reaching(root)), Speech::StepCa);
    let identity = Identity {
        server: &root.leaf("localhost", true),
        clients: None,
    };
    let front = Server::before("step-ca", upstream, &server.site, Some(&identity));
    let front = Arc::new(front);
    let asked = |limit| Transport::http(&front.url(), verified(root), api(&provisioner), limit);
    everything(&front, asked).await;
}
