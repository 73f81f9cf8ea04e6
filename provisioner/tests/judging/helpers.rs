//! The exec hook with real child processes, honest and otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use provisioner::code::{Class, Code};
use provisioner::hook::{
    Decision, ExecHook, ExecSettings, Hook, HookAnswer, HookError, HookRequest, Issued,
};
use provisioner::judge::{CsrReply, RequestPolicy, judge};
use serde_json::{Value, json};

use crate::soon::soon;

const CASES: [&str; 6] = [
    "defer",
    "shutdown",
    "upgrade",
    "x509",
    "x509-key",
    "x509-policies",
];

fn golden(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/helper");
    fs::read_to_string(path.join(name)).unwrap()
}

/// The request that makes us ask what the original asked in a captured case.
pub(crate) fn request(case: &str) -> HookRequest {
    let stdin: Value = serde_json::from_str(&golden(&format!("{case}.stdin.json"))).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let csr = text(&stdin["csr"]["csr"]);
    let identity = text(&stdin["identity"]);
    HookRequest {
        request: judge(csr.as_bytes(), &identity, &RequestPolicy::default()).unwrap(),
        csr: CsrReply {
            csr,
            public_key: text(&stdin["csr"]["public_key"]),
            ssldir: text(&stdin["csr"]["ssldir"]),
            ed25519: None,
        },
        inventory: shuffled(serde_json::from_str(&text(&stdin["inventory"])).unwrap()),
        claims: stdin["jwt"].clone(),
        attempt: 1,
        renewal: 0,
        now: Timestamp::now(),
    }
}

/// The same value with its keys in another order.
fn shuffled(value: Value) -> Value {
    match value {
        Value::Object(object) => object
            .into_iter()
            .rev()
            .map(|(key, value)| (key, shuffled(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

/// A hook whose helper is this shell script.
fn hook(script: &str) -> ExecHook {
    hook_within(script, Duration::from_secs(20))
}

fn hook_within(script: &str, timeout: Duration) -> ExecHook {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    ExecHook::new(ExecSettings {
        timeout,
        ..ExecSettings::new(command)
    })
}

async fn ask(hook: &ExecHook) -> Result<HookAnswer, HookError> {
    hook.decide(&request("x509"), None).await
}

async fn fails(hook: &ExecHook) -> HookError {
    ask(hook).await.unwrap_err()
}

fn printing(text: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let name = openssl::sha::sha256(text.as_bytes());
    let file = folder.join(format!("answer-{}", hex::encode(&name[..8])));
    fs::write(&file, text).unwrap();
    format!("cat > /dev/null; cat '{}'", file.display())
}

#[tokio::test]
async fn the_question_is_the_original_s_byte_for_byte() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("stdin");
        let script = format!("cat > '{}'; echo '{{\"defer\":true}}'", seen.display());
        hook(&script).decide(&request(case), None).await.unwrap();
        assert_eq!(
            fs::read_to_string(seen).unwrap(),
            golden(&format!("{case}.stdin.json")),
            "{case}"
        );
    }
}

fn answer(case: &str) -> Value {
    serde_json::from_str(&golden(&format!("{case}.stdout.json"))).unwrap()
}

async fn decides(case: &str) -> Result<HookAnswer, HookError> {
    let script = printing(&golden(&format!("{case}.stdout.json")));
    hook(&script).decide(&request("x509"), None).await
}

fn issued(answer: HookAnswer) -> Issued {
    match answer.decision {
        Decision::Issue(issued) => *issued,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_captured_answer_is_understood() {
    let put_off = decides("defer").await.unwrap();
    assert_eq!(put_off.decision, Decision::Defer);
    assert_eq!(put_off.message, "not yet, ticket open");

    let shut_down = decides("shutdown").await.unwrap();
    assert_eq!(shut_down.decision, Decision::Shutdown);
    assert_eq!(shut_down.message, "unknown hardware");

    let plain = issued(decides("x509").await.unwrap());
    assert_eq!(plain.certificate, answer("x509")["certificate"]);
    assert_eq!(plain.ca.unwrap(), answer("x509")["ca"]);
    let settings = plain.configuration.unwrap();
    assert_eq!(settings["plugin.choria.server.provision"], "false");
    assert_eq!(json!(settings), answer("x509")["configuration"]);
    assert_eq!(plain.upgrade, None);

    let policies = issued(decides("x509-policies").await.unwrap());
    assert_eq!(
        json!(policies.action_policies),
        answer("x509-policies")["action_policies"]
    );
    assert_eq!(
        json!(policies.opa_policies),
        answer("x509-policies")["opa_policies"]
    );

    let upgrade = issued(decides("upgrade").await.unwrap());
    assert_eq!(upgrade.upgrade.as_deref(), Some("0.30.0"));
}

#[tokio::test]
async fn an_upgrade_to_the_running_version_is_none() {
    let running = golden("upgrade.stdout.json").replace("0.30.0", "0.29.4");
    let answer = ask(&hook(&printing(&running))).await.unwrap();
    assert_eq!(issued(answer).upgrade, None);
}

#[tokio::test]
async fn keys_and_server_claims_are_refused_by_name_and_never_repeated() {
    let key = decides("x509-key").await.unwrap_err();
    assert_eq!(key.code, Code::HookKey);
    assert!(!key.message.contains("MII"), "{key}");
    let claims = decides("v2").await.unwrap_err();
    assert_eq!(claims.code, Code::HookUnsupported);
    assert!(claims.message.contains("server_claims"));
}

#[tokio::test]
async fn garbage_is_a_protocol_error_that_says_where() {
    for (output, what) in [
        ("", "printed nothing"),
        ("  \n", "printed nothing"),
        ("ok!", "line 1 column 1"),
        ("{\"defer\": tru", "line 1 column 13"),
        ("{\"defer\":true}\n{\"defer\":true}", "line 2 column 1"),
        ("[]", "JSON object"),
        ("{}", "neither"),
        ("{\"certificate\": \"\"}", "neither"),
        ("{\"defer\": \"yes\"}", "line 1"),
        (
            "{\"certificate\":\"x\",\"configuration\":{\"a\":\"b\",\"port\":4222}}",
            "configuration.port is a number",
        ),
        (
            "{\"certificate\":\"x\",\"action_policies\":{\"a.policy\":null}}",
            "action_policies.a.policy is null",
        ),
    ] {
        let error = fails(&hook(&printing(output))).await;
        assert_eq!(error.code, Code::HookProtocol, "{output}");
        assert_eq!(error.class(), Class::Defer);
        assert!(error.message.contains(what), "{output}: {error}");
        assert!(error.message.contains("n1.example.net"), "{error}");
    }
}

#[tokio::test]
async fn unknown_keys_and_nulls_are_ignored() {
    let output = r#"{"defer":true,"msg":null,"shutdown":null,"certificate":null,"extra":[1]}"#;
    let answer = ask(&hook(&printing(output))).await.unwrap();
    assert_eq!(answer.decision, Decision::Defer);
}

#[tokio::test]
async fn a_status_other_than_zero_is_told_with_what_was_said() {
    let error = fails(&hook(
        "echo '{\"defer\":true}'; echo CA unreachable, token s3cret >&2; exit 3",
    ))
    .await;
    assert_eq!(error.code, Code::HookExit);
    assert!(error.message.contains("status 3"), "{error}");
    assert!(error.message.contains("CA unreachable"), "{error}");
    assert!(!error.message.contains("s3cret"), "{error}");

    let error = fails(&hook("kill -9 $$")).await;
    assert_eq!(error.code, Code::HookExit);
    assert!(error.message.contains("signal 9"), "{error}");
}

/// Processes whose command line holds this text, zombies without one not counted.
fn running(mark: &str) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(mark))
        .count()
}

fn zombies() -> usize {
    let me = std::process::id();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| {
            let fields: Vec<&str> = stat
                .rsplit_once(')')
                .map_or("", |(_, rest)| rest)
                .split_whitespace()
                .collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&me.to_string().as_str())
        })
        .count()
}

#[tokio::test]
async fn a_hanging_helper_is_ended_with_its_children_and_reaped() {
    for (mark, script) in [
        ("86411", "sleep 86411"),
        // Deaf to the polite request.
        ("86412", "trap '' TERM; sleep 86412; sleep 86412"),
        // The child has ended well, a grandchild keeps its output open.
        ("86413", "sleep 86413 & echo '{\"defer\":true}'; exit 0"),
        // The answer is there, the program stays.
        ("86414", "echo '{\"defer\":true}'; sleep 86414"),
    ] {
        let started = Instant::now();
        let error = fails(&hook_within(script, Duration::from_millis(400))).await;
        assert_eq!(error.code, Code::HookTimeout, "{script}");
        assert!(error.message.contains("400ms"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(8), "{script}");
        soon(script, || running(&format!("sleep\0{mark}")) == 0).await;
    }
    soon("zombies are left", || zombies() == 0).await;
}

#[tokio::test]
async fn a_background_process_does_not_outlive_a_good_answer() {
    let script = "sleep 86421 > /dev/null 2>&1 & echo '{\"defer\":true}'";
    let answer = ask(&hook(script)).await.unwrap();
    assert_eq!(answer.decision, Decision::Defer);
    soon("the background process", || running("sleep\x0086421") == 0).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_nothing_behind() {
    let hook = hook("sleep 86431; sleep 86431");
    let given_up = tokio::time::timeout(Duration::from_millis(300), ask(&hook)).await;
    assert!(given_up.is_err());
    soon("the helper", || running("86431") == 0).await;
}

#[tokio::test]
async fn endless_output_is_cut_off_long_before_the_limit() {
    for script in [
        "yes '{\"msg\":\"endless\"}'",
        "head -c 10000000 /dev/zero | tr '\\0' m",
        "yes complaint >&2",
    ] {
        let started = Instant::now();
        let error = fails(&hook(script)).await;
        assert_eq!(error.code, Code::HookOutputTooLarge, "{script}");
        assert!(error.message.len() < 1_000);
        assert!(started.elapsed() < Duration::from_secs(15), "{script}");
    }
    let long = format!("{{\"defer\":true,\"msg\":\"{}\"}}", "m".repeat(200_000));
    let answer = ask(&hook(&printing(&long))).await.unwrap();
    assert!(answer.message.len() < 5_000, "what is logged stays short");
}

#[tokio::test]
async fn a_helper_may_ignore_its_input_and_complain_a_lot() {
    let script = "head -c 100000 /dev/zero | tr '\\0' c >&2; echo '{\"defer\":true}'";
    assert_eq!(ask(&hook(script)).await.unwrap().decision, Decision::Defer);
}

#[tokio::test]
async fn only_the_named_environment_is_passed_on() {
    let script = "env > /dev/stderr; exit 1";
    let error = fails(&hook(script)).await;
    assert!(error.message.contains("PATH="), "{error}");
    assert!(!error.message.contains("CARGO"), "{error}");
    assert!(!error.message.contains("HOME="), "{error}");
}

#[tokio::test]
async fn a_helper_that_is_missing_or_no_program_is_found_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("helper");
    let hook = ExecHook::new(ExecSettings::new(vec![file.display().to_string()]));

    let missing = hook.self_test().unwrap_err();
    assert_eq!(missing.code, Code::HookConfig);
    assert_eq!(missing.class(), Class::Fatal);
    assert_eq!(fails(&hook).await.code, Code::HookConfig);

    fs::write(&file, "#!/bin/sh\necho '{\"defer\":true}'\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refusal = hook.self_test().unwrap_err();
    // Nobody may run a file without any execute bit, root included.
    assert!(refusal.message.contains("chmod +x"), "{refusal}");
    assert_eq!(fails(&hook).await.code, Code::HookConfig);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    hook.self_test().unwrap();

    fs::write(&file, "#!/nowhere/interpreter\n").unwrap();
    let refusal = hook.self_test().unwrap_err();
    assert!(
        refusal.message.contains("/nowhere/interpreter"),
        "{refusal}"
    );

    for command in [
        vec![],
        vec![String::new()],
        vec!["no-such-helper".to_owned()],
    ] {
        let hook = ExecHook::new(ExecSettings::new(command));
        assert_eq!(hook.self_test().unwrap_err().code, Code::HookConfig);
    }
    let folder_itself = folder.path().display().to_string();
    let hook = ExecHook::new(ExecSettings::new(vec![folder_itself]));
    assert_eq!(hook.self_test().unwrap_err().code, Code::HookConfig);
}

#[tokio::test]
async fn a_shell_is_never_involved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("helper.sh");
    fs::write(&file, "cat > /dev/null; printf '%s' \"$1\" >&2; exit 1\n").unwrap();
    let command = vec![
        "sh".to_owned(),
        file.display().to_string(),
        "$(touch /tmp/never); a b".to_owned(),
    ];
    let error = fails(&ExecHook::new(ExecSettings::new(command))).await;
    assert!(
        error.message.contains("$(touch /tmp/never); a b"),
        "{error}"
    );
}
