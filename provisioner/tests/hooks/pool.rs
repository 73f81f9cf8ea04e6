//! The pool with real child processes, honest and otherwise.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::code::Code;
use provisioner::hook::{Decision, Hook, HookAnswer, HookError, PoolHook, PoolSettings};
use serde_json::Value;

use crate::node::request;
use crate::soon::soon;

/// Puts every node off, or does what the first word of its name says.
const HELPER: &str = r#"
import json, os, subprocess, sys, threading, time
lock, most, open_, kept = threading.Lock(), 0, 0, []
def say(text):
    with lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
def defer(q, said):
    say(json.dumps({"request_id": q["request_id"], "decision": "defer", "message": said}))
def slowly(q):
    global open_
    time.sleep(0.05)
    with lock:
        open_ -= 1
    defer(q, str(most))
for line in sys.stdin:
    q = json.loads(line)
    if q["op"] == "health":
        say(json.dumps({"request_id": q["request_id"], "decision": "ok"}))
        continue
    what = q["identity"].split(".")[0]
    if what == "repeat":
        defer(q, line.strip())
    elif what.startswith("kept"):
        kept.append(q)
        if len(kept) == 8:
            for one in reversed(kept):
                defer(one, one["identity"])
    elif what == "slow":
        with lock:
            open_ += 1
            most = max(most, open_)
        threading.Thread(target=slowly, args=[q]).start()
    elif what == "hangs":
        subprocess.Popen(["sleep", sys.argv[1]])
    elif what == "dies":
        print("out of memory", file=sys.stderr)
        os._exit(3)
    elif what == "garbage":
        say("{ this is not JSON")
    elif what == "stranger":
        say(json.dumps({"request_id": "nobody-asked", "decision": "defer"}))
    elif what == "twice":
        defer(q, "one")
        defer(q, "two")
    elif what == "much":
        sys.stdout.write("x" * 10_000_000)
    elif what == "complains":
        sys.stderr.write("no! " * 1_000_000)
        sys.stderr.flush()
    elif what == "odd":
        say(json.dumps({"request_id": q["request_id"], "decision": "defer", "retry": 3}))
    elif what == "later":
        say(json.dumps({"request_id": q["request_id"], "decision": "defer", "retry_after_s": 90,
                        "reason_code": "maintenance", "message": "until noon"}))
    else:
        defer(q, str(os.getpid()))
"#;

fn script(text: &str) -> PathBuf {
    let name = hex::encode(&openssl::sha::sha256(text.as_bytes())[..8]);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pooled-{name}.py"));
    // Tests of one process write the same text, and never half of it.
    let draft = tempfile::NamedTempFile::new_in(file.parent().unwrap()).unwrap();
    std::fs::write(draft.path(), text).unwrap();
    draft.persist(&file).unwrap();
    file
}

fn settings(text: &str, mark: &str) -> PoolSettings {
    let file = script(text).display().to_string();
    let command = ["python3", "-u", &file, mark].map(str::to_owned).to_vec();
    PoolSettings {
        helpers: 1,
        ..PoolSettings::new(command)
    }
}

fn pool_with(change: impl FnOnce(&mut PoolSettings)) -> Arc<PoolHook> {
    let mut settings = settings(HELPER, "86500");
    change(&mut settings);
    Arc::new(PoolHook::new(settings, 1))
}

async fn ask(pool: &PoolHook, name: &str) -> Result<HookAnswer, HookError> {
    pool.decide(&request(&format!("{name}.example.net")), None)
        .await
}

/// The helper's process, if that is what it says.
async fn works(pool: &PoolHook) -> String {
    let answer = ask(pool, "plain").await.unwrap();
    assert_eq!(answer.decision, Decision::Defer);
    answer.message
}

fn running(mark: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}

#[tokio::test]
async fn one_process_answers_many_questions_each_to_whoever_asked() {
    let pool = pool_with(|_| {});
    pool.health().await.unwrap();
    let first = works(&pool).await;
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..8 {
        let pool = Arc::clone(&pool);
        asked.spawn(async move { (n, ask(&pool, &format!("kept{n}")).await) });
    }
    while let Some(answer) = asked.join_next().await {
        let (n, answer) = answer.unwrap();
        assert_eq!(answer.unwrap().message, format!("kept{n}.example.net"));
    }
    assert_eq!(works(&pool).await, first, "it is still the same process");
}

#[tokio::test]
async fn a_question_is_one_line_of_the_contract_and_holds_no_secret() {
    let pool = pool_with(|_| {});
    let about = request("repeat.example.net");
    let said = pool.decide(&about, None).await.unwrap().message;
    assert!(
        !said.contains("s3cret") && !said.contains("hunter2"),
        "{said}"
    );
    let question: Value = serde_json::from_str(&said).unwrap();
    let keys: Vec<&str> = question
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "v",
            "op",
            "request_id",
            "idempotency_key",
            "dry_run",
            "deadline_ms",
            "identity",
            "profile",
            "csr_pem",
            "spki_sha256",
            "inventory",
            "token_claims",
            "attempt",
        ]
    );
    assert_eq!(question["csr_pem"], about.csr.csr);
    assert_eq!(question["spki_sha256"], about.request.spki_sha256_hex());
    assert_eq!(question["token_claims"], serde_json::json!({"chpd": true}));
    assert_eq!(question["dry_run"], false);

    let again: Value = serde_json::from_str(&ask(&pool, "repeat").await.unwrap().message).unwrap();
    assert_eq!(again["idempotency_key"], question["idempotency_key"]);
    assert_ne!(again["request_id"], question["request_id"]);
    let rehearsed = pool.rehearse(&about).await.unwrap().unwrap().message;
    assert!(rehearsed.contains("\"dry_run\":true"), "{rehearsed}");
}

#[tokio::test]
async fn no_helper_has_more_questions_than_its_bound() {
    let pool = pool_with(|settings| settings.in_flight = 4);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let pool = Arc::clone(&pool);
        asked.spawn(async move { ask(&pool, "slow").await.unwrap().message });
    }
    let most = asked.join_all().await.into_iter().max();
    assert_eq!(most.as_deref(), Some("4"));
}

#[tokio::test]
async fn a_helper_that_dies_fails_its_questions_and_is_started_again() {
    let pool = pool_with(|_| {});
    let first = works(&pool).await;
    let waiting = {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move { ask(&pool, "kept").await })
    };
    let error = ask(&pool, "dies").await.unwrap_err();
    assert_eq!(error.code, Code::HookExit);
    assert!(!error.unsigned, "it may have signed before it died");
    assert!(error.message.contains("status 3"), "{error}");
    assert!(error.message.contains("out of memory"), "{error}");
    let other = waiting.await.unwrap().unwrap_err();
    assert_eq!(other.code, Code::HookExit);
    assert_ne!(works(&pool).await, first);
}

#[tokio::test]
async fn what_answers_nothing_ends_the_helper_and_what_is_odd_only_its_question() {
    let pool = pool_with(|settings| settings.timeout = Duration::from_secs(5));
    for (what, code, says) in [
        ("garbage", Code::HookProtocol, "no JSON object"),
        ("stranger", Code::HookProtocol, "not asked"),
        (
            "much",
            Code::HookOutputTooLarge,
            "256 KiB on standard output",
        ),
        (
            "complains",
            Code::HookOutputTooLarge,
            "256 KiB on standard error",
        ),
    ] {
        let before = works(&pool).await;
        let error = ask(&pool, what).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(
            error.message.contains(says) && error.message.len() < 8_192,
            "{error}"
        );
        assert_ne!(works(&pool).await, before, "{what}");
    }
    let before = works(&pool).await;
    assert_eq!(ask(&pool, "twice").await.unwrap().message, "one");
    soon("the end of who answers twice", || {
        !Path::new("/proc").join(&before).exists()
    })
    .await;

    let before = works(&pool).await;
    let odd = ask(&pool, "odd").await.unwrap_err();
    assert_eq!(odd.code, Code::HookProtocol);
    assert!(odd.message.contains("unknown field `retry`"), "{odd}");
    let later = ask(&pool, "later").await.unwrap();
    assert_eq!(later.retry_after, Some(Duration::from_secs(90)));
    assert_eq!(later.message, "maintenance: until noon");
    assert_eq!(works(&pool).await, before);
}

#[tokio::test]
async fn a_hanging_helper_is_replaced_with_its_children_after_the_others_had_their_time() {
    let mut settings = settings(HELPER, "86501");
    settings.timeout = Duration::from_millis(1_500);
    let pool = Arc::new(PoolHook::new(settings, 1));
    pool.health().await.unwrap();
    let before = works(&pool).await;
    let hanging = {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move { ask(&pool, "hangs").await })
    };
    soon("it was asked", || running("sleep\x0086501") == 1).await;
    assert_eq!(works(&pool).await, before, "it answers others meanwhile");
    let error = hanging.await.unwrap().unwrap_err();
    assert_eq!(error.code, Code::HookTimeout);
    assert!(error.message.contains("1.5s"), "{error}");
    soon("the hanging helper", || {
        !Path::new("/proc").join(&before).exists()
    })
    .await;
    soon("its child", || running("sleep\x0086501") == 0).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while ask(&pool, "plain").await.is_err() {
        assert!(Instant::now() < deadline, "it never came back");
    }
}

#[tokio::test]
async fn nobody_is_left_when_the_pool_goes() {
    let mut settings = settings(HELPER, "86502");
    settings.helpers = 3;
    let pool = PoolHook::new(settings, 1);
    pool.health().await.unwrap();
    soon("three helpers", || running("86502") == 3).await;
    drop(pool);
    soon("their end", || running("86502") == 0).await;
}

#[tokio::test]
async fn helpers_that_cannot_work_are_told_before_any_node_is_asked() {
    let missing = PoolHook::new(PoolSettings::new(vec!["/nowhere/helper".to_owned()]), 1);
    assert_eq!(missing.self_test().unwrap_err().code, Code::HookConfig);

    let refusing = r#"
import json, sys
q = json.loads(sys.stdin.readline())
print(json.dumps({"request_id": q["request_id"], "decision": "defer", "message": "no key for the CA"}), flush=True)
sys.stdin.read()
"#;
    let ending = "import sys\nprint('no such module', file=sys.stderr)\nsys.exit(4)";
    let silent = "import sys\nsys.stdin.read()";
    for (text, code, says) in [
        (refusing, Code::HookUnavailable, "no key for the CA"),
        (ending, Code::HookExit, "no such module"),
        (
            silent,
            Code::HookTimeout,
            "did not answer `health` within 1s",
        ),
    ] {
        let mut settings = settings(text, "86503");
        // A busy machine is slow to start even those that answer.
        let start = if code == Code::HookTimeout { 1 } else { 20 };
        settings.start_timeout = Duration::from_secs(start);
        settings.timeout = Duration::from_secs(1);
        let pool = PoolHook::new(settings, 1);
        pool.self_test().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            let error = pool.health().await.unwrap_err();
            if error.code == code {
                break error;
            }
            assert!(Instant::now() < deadline, "{error}");
        };
        assert!(error.message.contains(says), "{error}");
        let asked = ask(&pool, "plain").await.unwrap_err();
        assert_eq!(asked.code, Code::HookUnavailable, "{asked}");
        assert!(
            asked.unsigned && asked.message.contains("0 of 1 run"),
            "{asked}"
        );
    }
}

/// Our own helper: the same question has the same certificate, and what must not be signed is
/// refused with the judge's own code.
#[tokio::test]
async fn an_authority_answers_as_a_helper() {
    use provisioner::ca::{CertificatePolicy, TrustStore, judge_chain};

    let folder = tempfile::tempdir().unwrap();
    let provisioner = env!("CARGO_BIN_EXE_provisioner");
    let made = std::process::Command::new(provisioner)
        .args(["ca", "init", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let command = [
        provisioner,
        "ca",
        "answer",
        "--certificate",
        &file("intermediate.pem"),
        "--key",
        &file("intermediate.key"),
        "--roots",
        &file("ca.pem"),
    ];
    let settings = PoolSettings {
        helpers: 1,
        ..PoolSettings::new(command.map(str::to_owned).to_vec())
    };
    let pool = PoolHook::new(settings, 1);
    pool.health().await.unwrap();
    let roots = std::fs::read_to_string(file("ca.pem")).unwrap();
    let intermediate = std::fs::read_to_string(file("intermediate.pem")).unwrap();
    let trust = TrustStore::from_pem(&roots, &intermediate).unwrap();

    let about = request("web1.example.net");
    let mut chains = Vec::new();
    for _ in 0..2 {
        let Decision::Issue(issued) = pool.decide(&about, None).await.unwrap().decision else {
            panic!("it signs what was judged");
        };
        let policy = CertificatePolicy::default();
        let judged = judge_chain(
            &issued.certificate,
            None,
            &about.request,
            &trust,
            &policy,
            about.now,
        );
        chains.push(judged.unwrap().chain_pem().to_owned());
    }
    assert_eq!(
        chains[0], chains[1],
        "a question asked again is the same question"
    );
    let rehearsed = pool.rehearse(&about).await.unwrap().unwrap();
    assert!(matches!(rehearsed.decision, Decision::Issue(_)));

    let mut bad = request("web2.example.net");
    bad.csr.csr = request("web3.example.net").csr.csr;
    let refused = pool.decide(&bad, None).await.unwrap();
    assert_eq!(refused.decision, Decision::Refuse);
    assert!(
        refused.message.starts_with("csr.identity_mismatch"),
        "{}",
        refused.message
    );
}
