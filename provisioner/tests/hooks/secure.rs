//! HTTP hooks over TLS, and what a webhook shows to prove who asks.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer as Mac;
use provisioner::code::Code;
use provisioner::hook::http::{HttpClient, Target, Webhook};
use provisioner::hook::{Hook, HookError, HttpHook};
use provisioner::secret::Secret;
use server_core::trust::tls;

use crate::authority::{Authority, Signer};
use crate::node::request;
use crate::server::{Fault, Identity, Server};

fn webhook(url: &str, tls: Arc<rustls::ClientConfig>) -> HttpHook<Webhook> {
    let target = Target::parse(url).unwrap();
    let client = HttpClient::new(target, tls, Duration::from_secs(10));
    let secret = Secret::new("it is a secret".to_owned());
    let bearer = Secret::new("b34r3r".to_owned());
    HttpHook::new(
        client,
        Webhook::new(&secret, Some(&bearer), "node".to_owned()),
    )
}

async fn ask(hook: &impl Hook) -> Result<(), HookError> {
    hook.decide(&request("n1.example.net"), None)
        .await
        .map(drop)
}

#[tokio::test]
async fn the_server_is_held_against_the_configured_authority_alone() {
    let site = Arc::new(Authority::new());
    let (root, other) = (Signer::root("Web root"), Signer::root("Web root"));
    let server = root.leaf("localhost", true);
    let misnamed = root.leaf("ca.example.net", true);
    let start = |server, clients| Server::start_with(&site, Some(&Identity { server, clients }));
    let verified = |root: &Signer| tls::server_verified(&root.pem()).unwrap();

    let plain = start(&server, None);
    ask(&webhook(&plain.url(), verified(&root))).await.unwrap();
    let stranger = ask(&webhook(&plain.url(), verified(&other)))
        .await
        .unwrap_err();
    let wrong_name = start(&misnamed, None);
    let misnamed = ask(&webhook(&wrong_name.url(), verified(&root)))
        .await
        .unwrap_err();
    for error in [stranger, misnamed] {
        assert_eq!(error.code, Code::CaConfig, "{error}");
        assert!(
            error.unsigned && error.message.contains("server_ca"),
            "{error}"
        );
    }
    assert_eq!(wrong_name.asked().len(), 0, "it was told nothing");

    let mutual = start(&server, Some(&root));
    let client = root.leaf("provisioner", false);
    let key = String::from_utf8(client.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let shown = tls::mutual(&root.pem(), &client.pem(), &key).unwrap();
    ask(&webhook(&mutual.url(), shown)).await.unwrap();
    let unshown = ask(&webhook(&mutual.url(), verified(&root)))
        .await
        .unwrap_err();
    assert_eq!(unshown.code, Code::CaUnavailable, "{unshown}");
    assert_eq!(mutual.asked().len(), 1);
}

#[tokio::test]
async fn nobody_there_costs_no_key() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let error = ask(&webhook(&url, tls::anonymous())).await.unwrap_err();
    assert_eq!(error.code, Code::CaUnavailable);
    assert!(
        error.unsigned && error.message.contains("cannot be reached"),
        "{error}"
    );
}

#[tokio::test]
async fn a_webhook_is_signed_and_asked_again_with_the_same_question() {
    let server = Server::start(&Arc::new(Authority::new()));
    server.fail(Fault::Fails);
    let hook = webhook(&server.url(), tls::anonymous());
    ask(&hook).await.unwrap_err();
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "once more, and not for ever");
    assert_eq!(asked[0].body, asked[1].body, "the same idempotency_key");
    for question in &asked {
        let timestamp = question.header("x-muster-timestamp");
        let age = Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
        assert!((0..60).contains(&age));
        assert_eq!(question.header("authorization"), "Bearer b34r3r");
        // OpenSSL's opinion of `timestamp.body`.
        let key = PKey::hmac(b"it is a secret").unwrap();
        let mut mac = Mac::new(MessageDigest::sha256(), &key).unwrap();
        mac.update(timestamp.as_bytes()).unwrap();
        mac.update(b".").unwrap();
        mac.update(&question.body).unwrap();
        let wanted = format!("v1={}", hex::encode(mac.sign_to_vec().unwrap()));
        assert_eq!(question.header("x-muster-signature"), wanted);
    }
}
