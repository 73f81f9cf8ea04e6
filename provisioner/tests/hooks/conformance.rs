//! One suite for everyone who signs: each transport against each way to fail.
//!
//! Helpers are a relay of a few lines to the same server that the HTTP transports ask, so that
//! all of them meet the same faults. The real servers meet them through a proxy: `crate::real`.

mod cases;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use provisioner::hook::exec::Program;
use provisioner::hook::http::{Acme, AcmeSettings, Api, Cfssl, StepCa, Vault, Webhook};
use provisioner::hook::{ExecHook, ExecSettings, HelperContract, Hook, PoolHook, PoolSettings};
use provisioner::secret::Secret;
use server_core::trust::tls;

use crate::authority::Authority;
use crate::node::p256;
use crate::server::Server;
pub(crate) use cases::Transport;

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

fn http(server: &Server, api: impl Api + 'static, limit: Duration) -> Transport {
    Transport::http(&server.url(), tls::anonymous(), api, limit)
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
        Transport::helper(
            "exec, choria",
            exec(
                server,
                "/choria",
                HelperContract::Choria { makes_keys: false },
                limit,
            ),
        ),
        Transport::helper("exec, muster", exec(server, "/", ours, limit)),
        Transport::helper("pool", Box::new(pool)),
        http(server, Webhook::new(&secret("key"), None, profile()), limit),
        http(server, vault, limit),
        http(server, Cfssl::new(None, None, None).unwrap(), limit),
        http(
            server,
            StepCa::new("muster".to_owned(), &provisioner, LIFE).unwrap(),
            limit,
        ),
        Transport::http(
            &format!("{}/acme/directory", server.url()),
            tls::anonymous(),
            Acme::new(acme(folder)),
            limit,
        ),
    ]
}

/// How many transports there are.
const TRANSPORTS: usize = 8;

/// Each transport with a server of its own, side by side.
async fn each<F>(limit: Duration, test: impl Fn(Arc<Server>, Transport) -> F)
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
        let server = Arc::new(Server::start(&authority));
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

/// Everything at one server, one after the other; a transport is made for each.
pub(crate) async fn everything(server: &Arc<Server>, make: impl Fn(Duration) -> Transport) {
    let server = || Arc::clone(server);
    cases::flaws(server(), make(LONG)).await;
    cases::faults(server(), make(LONG)).await;
    cases::hangs(server(), make(SHORT)).await;
    cases::pauses(server(), make(LONG)).await;
    cases::mistakes(server(), make(LONG)).await;
}

#[tokio::test]
async fn everyone_signs_and_what_is_signed_badly_is_refused() {
    each(LONG, cases::flaws).await;
}

#[tokio::test]
async fn everyone_says_what_failed_and_whether_a_certificate_may_exist() {
    each(LONG, cases::faults).await;
}

#[tokio::test]
async fn who_never_answers_is_not_waited_for() {
    each(SHORT, cases::hangs).await;
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_heard_and_costs_no_key() {
    each(LONG, cases::pauses).await;
}

#[tokio::test]
async fn mistakes_of_ours_are_told_from_those_of_one_node() {
    each(LONG, cases::mistakes).await;
}
