//! `cfssl serve`, with and without a key to authenticate by.

use std::sync::Arc;

use provisioner::code::Code;
use provisioner::hook::http::Cfssl;
use server_core::trust::tls;

use super::{chain, enrols, hook, program, ready, start, turned_away};
use crate::conformance::{Transport, everything};
use crate::server::{Server, Speech, Upstream};

#[tokio::test]
#[ignore = "needs cfssl: make conformance"]
async fn signs_for_who_has_the_key() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let program = program("CFSSL", "cfssl");
    for key in [None, Some(KEY)] {
        let server = start(
            &program,
            "apt-get install golang-cfssl",
            |folder, port, _| {
                let usual = r#""usages": ["digital signature", "client auth"], "expiry": "168h""#;
                let config = match key {
                    None => format!(r#"{{"signing": {{"default": {{{usual}}}}}}}"#),
                    Some(key) => format!(
                        r#"{{"signing": {{"default": {{{usual}, "auth_key": "muster"}}}},
                        "auth_keys": {{"muster": {{"type": "standard", "key": "{key}"}}}}}}"#
                    ),
                };
                std::fs::write(folder.join("config.json"), config).unwrap();
                let port = port.to_string();
                [
                    "serve",
                    "-address",
                    "127.0.0.1",
                    "-port",
                    &port,
                    "-ca",
                    "ca.pem",
                    "-ca-key",
                    "ca.key",
                    "-config",
                    "config.json",
                ]
                .map(str::to_owned)
                .to_vec()
            },
        );
        let url = format!("http://127.0.0.1:{}", server.port);
        let right = hook(&url, tls::anonymous(), Cfssl::new(None, None, key).unwrap());
        ready(&right).await;
        enrols(&right, &server.site).await;
        if key.is_some() {
            let wrong = Cfssl::new(None, None, Some("00")).unwrap();
            let wrong = hook(&url, tls::anonymous(), wrong);
            let refused = chain(&wrong, &server.site, "n1.example.net")
                .await
                .unwrap_err();
            turned_away(
                "cfssl",
                "cfssl",
                "wrong key of ours",
                &refused,
                Code::CaRefused,
            );
        }

        let upstream = Upstream::new(server.port, None, Speech::Cfssl);
        let is = if key.is_some() {
            "cfssl, authsign"
        } else {
            "cfssl"
        };
        let front = Arc::new(Server::before(is, upstream, &server.site, None));
        let asked = |limit| {
            let api = Cfssl::new(None, None, key).unwrap();
            Transport::http(&front.url(), tls::anonymous(), api, limit)
        };
        everything(&front, asked).await;
    }
}
