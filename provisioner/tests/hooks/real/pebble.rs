//! ACME against pebble, with names proven in the DNS of its companion.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::ca::{CertificatePolicy, TrustStore, judge_chain};
use provisioner::code::Code;
use provisioner::hook::exec::Program;
use provisioner::hook::http::{Acme, AcmeSettings, DnsCommand, ExternalAccount};
use provisioner::hook::{Decision, Hook, HookError};
use provisioner::secret::Secret;
use server_core::trust::tls;

use super::{
    Real, free_port, hook, private, program, reaching, ready, start, start_with, turned_away,
};
use crate::authority::{Authority, Signer};
use crate::common::COMMAND;
use crate::conformance::{Transport, everything};
use crate::node::request_for;
use crate::server::{Identity, Server, Speech, Upstream};

/// The key of the account elsewhere, as such servers hand it out.
const EAB_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
const TEN_YEARS: Duration = Duration::from_secs(3_660 * 86_400);

/// pebble's companion: a name server that says what it is told.
struct NameServer {
    server: Real,
    port: u16,
}

impl NameServer {
    fn start() -> Self {
        let mut port = 0;
        let program = program("PEBBLE_CHALLTESTSRV", "pebble-challtestsrv");
        let server = start(
            &program,
            "apt-get install pebble",
            |folder, management, _| {
                port = free_port();
                std::fs::write(folder.join("command.py"), COMMAND).unwrap();
                let (management, dns) = (
                    format!("127.0.0.1:{management}"),
                    format!("127.0.0.1:{port}"),
                );
                let arguments = ["-management", &management, "-dns01", &dns];
                let off = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
                arguments
                    .iter()
                    .chain(&off)
                    .map(|&text| text.to_owned())
                    .collect()
            },
        );
        Self { server, port }
    }

    fn command(&self) -> DnsCommand {
        let file = |name: &str| self.server.folder.path().join(name).display().to_string();
        let management = self.server.port.to_string();
        let command = [
            "python3".to_owned(),
            file("command.py"),
            management,
            file("said"),
        ];
        DnsCommand {
            program: Program::new(command.to_vec()),
            timeout: Duration::from_secs(10),
            wait: Duration::ZERO,
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.server.folder.path().join("said")).unwrap_or_default()
    }
}

/// What the server says to an account that it does not want, once it is up.
async fn unknown_account(hook: &impl Hook) -> HookError {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let error = hook.health().await.unwrap_err();
        if error.code != Code::CaUnavailable {
            return error;
        }
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A certificate that pebble made for itself: `roots/0` or `intermediates/0`.
fn own(management: u16, web: &Signer, what: &str) -> String {
    let plain = std::net::TcpStream::connect(("127.0.0.1", management)).unwrap();
    let mut stream = reaching(web).connect("localhost", plain).unwrap();
    let asked = format!("GET /{what} HTTP/1.0\r\n\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said[said.find("-----BEGIN").unwrap()..].to_owned()
}

async fn chain(hook: &impl Hook, trust: &TrustStore, name: &str) -> Result<String, HookError> {
    let about = request_for(name);
    let answer = hook.decide(&about, None).await?;
    let Decision::Issue(issued) = answer.decision else {
        panic!("{answer:?}");
    };
    let policy = CertificatePolicy {
        max_lifetime: TEN_YEARS,
        ..CertificatePolicy::default()
    };
    let now = jiff::Timestamp::now();
    let judged = judge_chain(
        &issued.certificate,
        None,
        &about.request,
        trust,
        &policy,
        now,
    )?;
    Ok(judged.chain_pem().to_owned())
}

fn openssl_verifies(folder: &Path, root: &str, chain: &str) {
    let file = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let (root, chain) = (file("acme-root.pem", root), file("chain.pem", chain));
    let said = Command::new("openssl")
        .args(["verify", "-purpose", "sslclient", "-CAfile"])
        .arg(root)
        .arg("-untrusted")
        .args([&chain, &chain])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
}

#[tokio::test]
#[ignore = "needs pebble: make conformance"]
async fn issues_what_is_proven_in_the_dns() {
    let dns = NameServer::start();
    let web = Arc::new(Authority::new());
    let leaf = web.intermediate.leaf("localhost", true);
    let mut management = 0;
    let server = start_with(
        &program("PEBBLE", "pebble"),
        "apt-get install pebble",
        &[
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_AUTHZREUSE", "100"),
            ("PEBBLE_WFE_NONCEREJECT", "5"),
        ],
        |folder, port, _| {
            let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
            write("web.pem", &(leaf.pem() + &web.intermediate.pem()));
            write("web.key", &private(&leaf.key));
            management = free_port();
            let config = serde_json::json!({"pebble": {
                "listenAddress": format!("127.0.0.1:{port}"),
                "managementListenAddress": format!("127.0.0.1:{management}"),
                "certificate": "web.pem", "privateKey": "web.key",
                "httpPort": 5002, "tlsPort": 5001, "ocspResponderURL": "",
                "externalAccountBindingRequired": true,
                "externalAccountMACKeys": {"kid-1": EAB_KEY},
                "domainBlocklist": ["blocked-domain.example"],
            }});
            write("pebble.json", &config.to_string());
            let resolver = format!("127.0.0.1:{}", dns.port);
            ["-config", "pebble.json", "-strict", "-dnsserver", &resolver]
                .map(str::to_owned)
                .to_vec()
        },
    );
    let url = format!("https://localhost:{}/dir", server.port);
    let tls = || tls::server_verified(&web.root.pem()).unwrap();
    let settings = |kid: Option<&str>, dns: Option<DnsCommand>| AcmeSettings {
        account: server.folder.path().join("account.json"),
        contact: vec!["mailto:ca@example.net".to_owned()],
        terms_agreed: true,
        external: kid.map(|kid| {
            ExternalAccount::new(kid.to_owned(), Secret::new(EAB_KEY.to_owned())).unwrap()
        }),
        profile: None,
        dns,
        order_timeout: Duration::from_secs(20),
    };
    let unbound = hook(&url, tls(), Acme::new(settings(None, None)));
    let refused = unknown_account(&unbound).await;
    assert!(refused.message.contains("eab_kid"), "{refused}");

    let right = hook(
        &url,
        tls(),
        Acme::new(settings(Some("kid-1"), Some(dns.command()))),
    );
    ready(&right).await;
    let account = std::fs::metadata(server.folder.path().join("account.json")).unwrap();
    assert_eq!(account.permissions().mode() & 0o777, 0o600);
    let root = own(management, &web.root, "roots/0");
    let trust = TrustStore::from_pem(&root, "").unwrap();
    for name in ["n1.example.net", "n2.example.net"] {
        let sent = chain(&right, &trust, name).await.unwrap();
        openssl_verifies(server.folder.path(), &root, &sent);
    }
    let said = dns.said();
    for verb in ["present", "cleanup"] {
        let line = format!("{verb} _acme-challenge.n1.example.net. ");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
    }

    // The account is in its file, and what it proved counts: nothing is asked of a command.
    let again = hook(&url, tls(), Acme::new(settings(None, None)));
    chain(&again, &trust, "n1.example.net").await.unwrap();
    let unproven = chain(&again, &trust, "n3.example.net").await.unwrap_err();
    assert_eq!(unproven.code, Code::CaConfig, "{unproven}");
    assert!(
        unproven.unsigned && unproven.message.contains("dns_command"),
        "{unproven}"
    );

    // A command that says it did, and did not.
    let idle = DnsCommand {
        program: Program::new(vec!["true".to_owned()]),
        ..dns.command()
    };
    let unseen = hook(&url, tls(), Acme::new(settings(None, Some(idle))));
    let unseen = chain(&unseen, &trust, "n4.example.net").await.unwrap_err();
    assert_eq!(unseen.code, Code::CaUnavailable, "{unseen}");
    assert!(
        unseen.unsigned && unseen.message.contains("n4.example.net"),
        "{unseen}"
    );

    // It will not have this name at all.
    let foreign = chain(&right, &trust, "n1.blocked-domain.example")
        .await
        .unwrap_err();
    turned_away("pebble", "acme", "foreign name", &foreign, Code::CaRefused);

    // Somebody else in its place.
    let impostor = hook(
        &url,
        tls::server_verified(&Authority::new().root.pem()).unwrap(),
        Acme::new(settings(None, None)),
    );
    let refused = impostor.health().await.unwrap_err();
    turned_away("pebble", "acme", "impostor", &refused, Code::CaConfig);

    let upstream = Upstream::new(server.port, Some(reaching(&web.root)), Speech::Acme);
    let identity = Identity {
        server: &web.root.leaf("localhost", true),
        clients: None,
    };
    let front = Server::before("pebble", upstream, &web, Some(&identity));
    let front = Arc::new(front.trusting(&root, own(management, &web.root, "intermediates/0")));
    let asked = |limit| {
        // An account belongs to the address it was made at.
        let account = server.folder.path().join("account-by-front.json");
        let api = Acme::new(AcmeSettings {
            account,
            ..settings(Some("kid-1"), Some(dns.command()))
        });
        Transport::http(&format!("{}/dir", front.url()), tls(), api, limit)
    };
    everything(&front, asked).await;
}
