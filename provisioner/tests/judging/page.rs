//! The examples of docs/hooks.md are questions as they are asked, and answers that are understood.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use provisioner::code::Code;
use provisioner::hook::{
    Decision, ExecHook, ExecSettings, HelperContract, Hook, HookError, HookRequest, Issued,
};
use provisioner::judge::{CsrReply, judge_possession};
use serde_json::{Value, json};

use crate::{helpers, issuer};

const PAGE: &str = include_str!("../../../docs/hooks.md");

/// The example that holds these words.
fn example(words: &str) -> Value {
    let blocks = PAGE.split("```json\n").skip(1);
    let mut texts = blocks.map(|rest| rest.split("```").next().unwrap());
    let text = texts.find(|text| text.contains(words)).unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// A node that gets a server token.
fn keyed() -> HookRequest {
    HookRequest {
        request: judge_possession(&issuer::reply(), issuer::NODE, false).unwrap(),
        csr: CsrReply {
            ed25519: Some(issuer::reply()),
            ..CsrReply::default()
        },
        inventory: json!({}),
        claims: Value::Null,
        attempt: 1,
        renewal: 0,
        now: Timestamp::now(),
    }
}

fn ours() -> HelperContract {
    let profile = "node".to_owned();
    HelperContract::Muster { profile }
}

/// What comes of a helper that answers with this, and what it was asked. It repeats the question's
/// `request_id` where the example has one.
async fn asked(
    contract: HelperContract,
    about: &HookRequest,
    answer: &Value,
) -> (Result<Issued, HookError>, Value) {
    const HELPER: &str = "import json, sys; folder = sys.argv[1]; question = json.load(sys.stdin); \
        json.dump(question, open(folder + '/question', 'w')); \
        answer = json.load(open(folder + '/answer')); \
        answer.update({'request_id': question['request_id']} if 'request_id' in answer else {}); \
        print(json.dumps(answer))";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("answer"), answer.to_string()).unwrap();
    let path = folder.path().to_str().unwrap();
    let command = ["python3", "-c", HELPER, path].map(str::to_owned).to_vec();
    let hook = ExecHook::new(ExecSettings {
        timeout: Duration::from_secs(30),
        contract,
        ..ExecSettings::new(command)
    });
    let decided = hook.decide(about, None).await.map(|answer| {
        let Decision::Issue(issued) = answer.decision else {
            panic!("{answer:?}");
        };
        *issued
    });
    let question = std::fs::read(folder.path().join("question")).unwrap();
    (decided, serde_json::from_slice(&question).unwrap())
}

fn keys(object: &Value) -> BTreeSet<&String> {
    object.as_object().unwrap().keys().collect()
}

#[tokio::test]
async fn the_page_shows_the_questions_that_are_asked() {
    let put_off = json!({"request_id": "", "decision": "issue", "cert_chain_pem": "-"});
    let (_, question) = asked(ours(), &helpers::request("x509"), &put_off).await;
    assert_eq!(keys(&question), keys(&example("BEGIN CERTIFICATE REQUEST")));
    let narrowed = example("\"server_claims\":");
    let (issued, question) = asked(ours(), &keyed(), &narrowed).await;
    let shown = example("\"ed25519_public_key\":");
    assert_eq!(keys(&question), keys(&shown));
    assert_eq!(question["csr_pem"], shown["csr_pem"]);
    let claims = Value::Object(issued.unwrap().server_claims.unwrap());
    assert_eq!(claims, narrowed["server_claims"]);
}

#[test]
fn the_page_shows_claims_that_narrow_a_token() {
    let wanted = &example("\"server_claims\":")["server_claims"];
    let rules =
        "permissions = [\"streams\", \"submission\"]\npublish = [\"metrics.>\", \"logs.>\"]";
    let claims = issuer::with_issuer(rules, |issuer| issuer::prepared(issuer, wanted)).unwrap();
    assert!(claims.permissions.streams && !claims.permissions.submission);
    assert_eq!(claims.pub_subjects, ["metrics.>"]);
    let refused = issuer::with_issuer("", |issuer| issuer::prepared(issuer, wanted));
    assert_eq!(refused.unwrap_err(), Code::IssuerClaims);
}

#[tokio::test]
async fn the_page_shows_a_key_that_is_taken_only_where_it_may_be() {
    let answer = example("\"key\":");
    let with = |makes_keys| HelperContract::Choria { makes_keys };
    let about = helpers::request("x509");
    let (issued, _) = asked(with(true), &about, &answer).await;
    let key = issued.unwrap().key.unwrap();
    assert_eq!(Some(key.reveal()), answer["key"].as_str());
    let (refused, _) = asked(with(false), &about, &answer).await;
    assert_eq!(refused.unwrap_err().code, Code::HookKey);
    // In ours only the key is too much.
    let mut answer = json!({"request_id": "", "decision": "issue", "cert_chain_pem": "-"});
    let (issued, _) = asked(ours(), &about, &answer).await;
    assert_eq!(issued.unwrap().certificate, "-");
    answer["key"] = json!("-");
    let (refused, _) = asked(ours(), &about, &answer).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code, Code::HookProtocol);
    assert!(error.message.contains("unknown field `key`"), "{error}");
}
