//! The same contract against the real servers: `make conformance`.
//!
//! Each is asked itself, and then by way of a proxy that has it fail like the stand-ins of
//! [`crate::conformance`].
//!
//! `tools/conformance` skips what is not installed. A program is found in `PATH`, or where `BAO`, `CFSSL`, `STEP_CA` or `PEBBLE` (with
//! `PEBBLE_CHALLTESTSRV`) says.

mod cfssl;
mod helper;
mod openbao;
mod pebble;
mod step_ca;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod};
use provisioner::ca::{CertificatePolicy, judge_chain};
use provisioner::code::Code;
use provisioner::hook::http::{Api, HttpClient, Target};
use provisioner::hook::{Decision, Hook, HookError, HttpHook};

use crate::authority::{Authority, Signer};
use crate::node::{Key, request};
use crate::record;

const LIFE: Duration = Duration::from_secs(7 * 86_400);

/// A server in a folder of its own; killed when dropped.
struct Real {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    site: Arc<Authority>,
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
    let (port, site) = (free_port(), Arc::new(Authority::new()));
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

/// Takes down why somebody was turned away, and holds it against what is wanted.
fn turned_away(server: &str, hook: &str, case: &str, error: &HookError, wanted: Code) {
    record::case(server, hook, case, wanted.as_str(), error.code.as_str());
    assert_eq!(error.code, wanted, "{server}, {case}: {error}");
    assert!(error.unsigned, "{server}, {case}: {error}");
}

/// Reaches a server whose certificate is from this root.
fn reaching(root: &Signer) -> SslConnector {
    let mut tls = SslConnector::builder(SslMethod::tls()).unwrap();
    let store = tls.cert_store_mut();
    store.add_cert(root.certificate.clone()).unwrap();
    tls.build()
}
