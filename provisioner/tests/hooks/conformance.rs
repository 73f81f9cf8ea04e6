//! One suite for everyone who signs: each transport against each way to fail.
//!
//! Helpers are a relay of a few lines to the same server that the HTTP transports ask, so that
//! all of them meet the same faults.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use provisioner::ca::{CertificatePolicy, judge_chain};
use provisioner::code::Code;
use provisioner::config::Secret;
use provisioner::hook::exec::Program;
use provisioner::hook::http::{
    Acme, AcmeSettings, Api, Cfssl, HttpClient, StepCa, Target, Vault, Webhook,
};
use provisioner::hook::{
    Decision, ExecHook, ExecSettings, HelperContract, Hook, HookError, HttpHook, PoolHook,
    PoolSettings,
};
use server_core::trust::tls;

use crate::authority::{Authority, Flaw};
use crate::node::{p256, request};
use crate::server::{Fault, Server};

/// How long an answer may take: long, because a busy machine is slow to start helpers.
const LONG: Duration = Duration::from_secs(30);
/// The same where it is known not to come.
const SHORT: Duration = Duration::from_secs(1);
/// How long certificates are asked for.
const LIFE: Duration = Duration::from_secs(30 * 86_400);

const RELAY: &str = r#"
import json, sys, http.client, urllib.error, urllib.request
url, lines, ours = sys.argv[1], sys.argv[2] == "pool", not sys.argv[1].endswith("/choria")
for question in sys.stdin if lines else [sys.stdin.read()]:
    asked = json.loads(question)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, question.encode())) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code != 429:
            sys.exit(error.code % 256)
        said = {"defer": True, "msg": "slower"}
        if ours:
            pause = int(error.headers["Retry-After"])
            said = {"request_id": asked["request_id"], "decision": "defer", "retry_after_s": pause}
        said = json.dumps(said)
    except http.client.IncompleteRead as error:
        said = error.partial.decode()
    print(said, flush=True)
"#;

/// A transport, and what it says where they differ.
struct Transport {
    name: &'static str,
    hook: Box<dyn Hook>,
    hangs: Code,
    fails: Code,
    truncates: Code,
    /// Whether it completes a chain itself.
    completes: bool,
}

fn relay(path: &str, mode: &str) -> Program {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("relay.py");
    let draft = tempfile::NamedTempFile::new_in(file.parent().unwrap()).unwrap();
    std::fs::write(draft.path(), RELAY).unwrap();
    draft.persist(&file).unwrap();
    let file = file.display().to_string();
    Program::new(["python3", &file, path, mode].map(str::to_owned).to_vec())
}

fn exec(server: &Server, path: &str, contract: HelperContract, limit: Duration) -> Box<dyn Hook> {
    let program = relay(&format!("{}{path}", server.url()), "exec");
    Box::new(ExecHook::new(ExecSettings {
        program,
        timeout: limit,
        contract,
    }))
}

fn helper(name: &'static str, hook: Box<dyn Hook>) -> Transport {
    Transport {
        name,
        hook,
        hangs: Code::HookTimeout,
        fails: Code::HookExit,
        truncates: Code::HookProtocol,
        completes: false,
    }
}

fn http(server: &Server, api: impl Api + 'static, limit: Duration) -> Transport {
    http_at(&server.url(), api, limit)
}

fn http_at(url: &str, api: impl Api + 'static, limit: Duration) -> Transport {
    let target = Target::parse(url).unwrap();
    let client = HttpClient::new(target, tls::anonymous(), limit);
    let name = api.kind();
    Transport {
        name,
        hook: Box::new(HttpHook::new(client, api)),
        hangs: Code::CaUnavailable,
        fails: Code::CaUnavailable,
        truncates: Code::CaUnavailable,
        completes: name == "cfssl",
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// An ACME account that is made when it is needed.
fn acme(folder: &Path) -> AcmeSettings {
    AcmeSettings {
        account: folder.join("account.json"),
        contact: Vec::new(),
        terms_agreed: true,
        external: None,
        profile: None,
        dns: None,
        order_timeout: LONG,
    }
}

fn transports(server: &Server, limit: Duration, folder: &Path) -> Vec<Transport> {
    let profile = || "node".to_owned();
    let ours = HelperContract::Muster { profile: profile() };
    let pool = PoolHook::new(
        PoolSettings {
            program: relay(&format!("{}/", server.url()), "pool"),
            helpers: 1,
            timeout: limit,
            ..PoolSettings::new(Vec::new())
        },
        1,
    );
    let provisioner = String::from_utf8(p256().private_key_to_pem_pkcs8().unwrap()).unwrap();
    let vault = Vault {
        mount: "pki".to_owned(),
        role: "nodes".to_owned(),
        token: secret("s.token"),
        namespace: None,
        validity: LIFE,
    };
    vec![
        helper(
            "exec, choria",
            exec(
                server,
                "/choria",
                HelperContract::Choria { makes_keys: false },
                limit,
            ),
        ),
        helper("exec, muster", exec(server, "/", ours, limit)),
        helper("pool", Box::new(pool)),
        http(server, Webhook::new(&secret("key"), None, profile()), limit),
        http(server, vault, limit),
        http(server, Cfssl::new(None, None, None).unwrap(), limit),
        http(
            server,
            StepCa::new("muster".to_owned(), &provisioner, LIFE).unwrap(),
            limit,
        ),
        http_at(
            &format!("{}/acme/directory", server.url()),
            Acme::new(acme(folder)),
            limit,
        ),
    ]
}

/// What becomes of one node: the chain it is sent, or why not.
async fn outcome(
    server: &Server,
    transport: &Transport,
    configured: bool,
) -> Result<String, HookError> {
    let about = request("n1.example.net");
    let answer = transport.hook.decide(&about, None).await?;
    let Decision::Issue(issued) = answer.decision else {
        let put_off = HookError::unsent(Code::HookDeferred, answer.message);
        return Err(put_off.after(answer.retry_after));
    };
    let judged = judge_chain(
        &issued.certificate,
        issued.ca.as_deref(),
        &about.request,
        &server.authority.trust(configured),
        &CertificatePolicy::default(),
        about.now,
    )?;
    Ok(judged.chain_pem().to_owned())
}

fn code(outcome: &Result<String, HookError>) -> Option<Code> {
    outcome.as_ref().err().map(|error| error.code)
}

/// How many transports there are.
const TRANSPORTS: usize = 8;

/// Each transport with a server of its own, side by side.
async fn each<F>(limit: Duration, test: impl Fn(Server, Transport) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Arc::new(Authority::new());
    let mut all = tokio::task::JoinSet::new();
    // Each has a folder of its own; all of them are there until the last test has ended.
    let folders: Vec<_> = (0..TRANSPORTS)
        .map(|_| tempfile::tempdir().unwrap())
        .collect();
    for (index, folder) in folders.iter().enumerate() {
        let server = Server::start(&authority);
        let mut transports = transports(&server, limit, folder.path());
        assert_eq!(transports.len(), TRANSPORTS);
        let transport = transports.swap_remove(index);
        all.spawn(test(server, transport));
    }
    while let Some(ended) = all.join_next().await {
        if let Err(failed) = ended {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

#[tokio::test]
async fn everyone_signs_and_what_is_signed_badly_is_refused() {
    each(LONG, flaws).await;
}

async fn flaws(server: Server, transport: Transport) {
    let name = transport.name;
    transport.hook.self_test().unwrap();
    transport.hook.health().await.unwrap();
    for (flaw, wanted) in [
        (Flaw::None, None),
        (Flaw::RootIncluded, None),
        (Flaw::WrongKey, Some(Code::CertKeyMismatch)),
        (Flaw::WrongAuthority, Some(Code::CertUntrusted)),
        (Flaw::Expired, Some(Code::CertExpired)),
        (Flaw::ExtraName, Some(Code::CertSanExtra)),
    ] {
        server.fail(Fault::Signs(flaw));
        let outcome = outcome(&server, &transport, false).await;
        assert_eq!(code(&outcome), wanted, "{name}, {flaw:?}: {outcome:?}");
        if let Ok(chain) = outcome {
            assert!(
                chain.ends_with(&server.authority.intermediate.pem()),
                "{name}"
            );
            assert_eq!(
                chain.matches("BEGIN").count(),
                2,
                "{name}: leaf, intermediate"
            );
        }
    }
    server.fail(Fault::Signs(Flaw::NoChain));
    assert_eq!(
        code(&outcome(&server, &transport, true).await),
        None,
        "{name}"
    );
    let wanted = (!transport.completes).then_some(Code::CertChainIncomplete);
    assert_eq!(
        code(&outcome(&server, &transport, false).await),
        wanted,
        "{name}"
    );
}

#[tokio::test]
async fn everyone_says_what_failed_and_whether_a_certificate_may_exist() {
    each(LONG, faults).await;
}

async fn faults(server: Server, transport: Transport) {
    let name = transport.name;
    for (fault, wanted) in [
        (Fault::Fails, transport.fails),
        (Fault::Truncates, transport.truncates),
        (Fault::Floods, Code::HookOutputTooLarge),
    ] {
        server.fail(fault);
        let error = outcome(&server, &transport, false).await.unwrap_err();
        assert_eq!(error.code, wanted, "{name}, {fault:?}: {error}");
        assert!(!error.unsigned, "{name}, {fault:?}: it may have signed");
        assert!(error.message.len() < 4_096, "{name}, {fault:?}");
        // Whoever failed is asked again once it is well.
        server.fail(Fault::Signs(Flaw::None));
        let again = tokio::time::timeout(Duration::from_secs(10), async {
            while outcome(&server, &transport, false).await.is_err() {}
        });
        assert!(again.await.is_ok(), "{name} after {fault:?}");
    }
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    each(SHORT, hangs).await;
}

async fn hangs(server: Server, transport: Transport) {
    let name = transport.name;
    transport.hook.health().await.unwrap();
    server.fail(Fault::Hangs);
    let begin = std::time::Instant::now();
    let error = outcome(&server, &transport, false).await.unwrap_err();
    assert_eq!(error.code, transport.hangs, "{name}: {error}");
    assert!(!error.unsigned, "{name}: it may have signed");
    assert!(begin.elapsed() < Duration::from_secs(15), "{name}");
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_heard_and_costs_no_key() {
    each(LONG, pauses).await;
}

async fn pauses(server: Server, transport: Transport) {
    server.fail(Fault::Throttles);
    let name = transport.name;
    let error = outcome(&server, &transport, false).await.unwrap_err();
    assert!(error.unsigned, "{name}: {error}");
    // Choria's contract has no words for it.
    if name != "exec, choria" {
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "{name}");
    }
    let over_http = transport.hangs == Code::CaUnavailable;
    let wanted = if over_http {
        Code::CaThrottled
    } else {
        Code::HookDeferred
    };
    assert_eq!(error.code, wanted, "{name}: {error}");
}

#[tokio::test]
async fn mistakes_of_ours_are_told_from_those_of_one_node() {
    each(LONG, mistakes).await;
}

async fn mistakes(server: Server, transport: Transport) {
    if transport.hangs != Code::CaUnavailable {
        // A helper says such things in its own words.
        return;
    }
    for (fault, wanted, says) in [
        (Fault::Redirects, Code::CaConfig, "redirect"),
        (Fault::Forbids, Code::CaConfig, "credentials"),
        (Fault::Refuses, Code::CaRefused, "not this name"),
    ] {
        server.fail(fault);
        let error = outcome(&server, &transport, false).await.unwrap_err();
        assert_eq!(error.code, wanted, "{}: {error}", transport.name);
        assert!(error.unsigned && error.message.contains(says), "{error}");
    }
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.path != "/elsewhere")
    );
}
