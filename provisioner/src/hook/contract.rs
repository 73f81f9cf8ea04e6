//! Our own hook contract, version 1: the same JSON for pooled helpers, one-shot helpers and
//! webhooks. `docs/hooks.md` says it to those who write helpers.
//!
//! A question never holds a key, nor a secret of the token; an answer is read strictly, because a
//! helper that misspells a word should be told and not half understood.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::choria::texts;
use super::redact::{quoted, shown};
use super::{Decision, HookAnswer, HookError, HookRequest, Issued};
use crate::code::Code;
use crate::judge::request::sha256;

/// The version of the contract.
pub(super) const VERSION: u8 = 1;
/// Claims of a provisioning token that are secrets themselves.
const SECRET_CLAIMS: [&str; 2] = ["cht", "chpwd"];
/// The longest pause a hook may ask for, whatever it speaks; beyond it a node would be forgotten.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 86_400);

/// A question as it is sent, and what its answer has to repeat.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) request_id: String,
    /// One JSON object without a line break.
    pub(super) json: Vec<u8>,
    dry_run: bool,
    /// The node gets a server token and no certificate.
    tokens: bool,
}

#[derive(Serialize)]
struct Sign<'a> {
    v: u8,
    op: &'static str,
    request_id: &'a str,
    idempotency_key: &'a str,
    dry_run: bool,
    deadline_ms: u64,
    identity: &'a str,
    profile: &'a str,
    csr_pem: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ed25519_public_key: Option<&'a str>,
    spki_sha256: String,
    inventory: &'a Value,
    token_claims: Value,
    attempt: u32,
}

#[derive(Serialize)]
struct Health<'a> {
    v: u8,
    op: &'static str,
    request_id: &'a str,
    deadline_ms: u64,
}

/// Asks for a certificate, or with `dry_run` for what would be decided.
pub(super) fn sign(
    request: &HookRequest,
    profile: &str,
    limit: Duration,
    dry_run: bool,
) -> Result<Question, HookError> {
    let identity = request.request.identity();
    let spki_sha256 = request.request.spki_sha256_hex();
    let mut what = [identity, &spki_sha256, profile].join("\0");
    // Another certificate for the same key is another question.
    if request.renewal > 0 {
        what += &format!("\0{}", request.renewal);
    }
    let idempotency_key = hex::encode(sha256(what.as_bytes()));
    let request_id = next_id(&idempotency_key[..16]);
    let public_key = request.csr.ed25519.as_ref();
    let public_key = public_key.map(|reply| reply.public_key.as_str());
    let sign = Sign {
        v: VERSION,
        op: "sign",
        request_id: &request_id,
        idempotency_key: &idempotency_key,
        dry_run,
        deadline_ms: millis(limit),
        identity,
        profile,
        csr_pem: &request.csr.csr,
        ed25519_public_key: public_key,
        spki_sha256,
        inventory: &request.inventory,
        token_claims: without_secrets(&request.claims),
        attempt: request.attempt,
    };
    let json = serde_json::to_vec(&sign).map_err(|error| {
        HookError::unsent(
            Code::HookProtocol,
            format!("the question about {identity} cannot be written as JSON: {error}"),
        )
    })?;
    Ok(Question {
        json,
        request_id,
        dry_run,
        tokens: request.csr.ed25519.is_some(),
    })
}

/// Asks whether questions can be answered.
pub(super) fn health(limit: Duration) -> Question {
    let request_id = next_id("health");
    let health = Health {
        v: VERSION,
        op: "health",
        request_id: &request_id,
        deadline_ms: millis(limit),
    };
    Question {
        // Text and numbers are always JSON.
        json: serde_json::to_vec(&health).unwrap_or_default(),
        request_id,
        dry_run: false,
        tokens: false,
    }
}

/// A name that no other question of this process has.
fn next_id(about: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{about}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

fn without_secrets(claims: &Value) -> Value {
    let mut claims = claims.clone();
    if let Value::Object(claims) = &mut claims {
        claims.retain(|claim, _| !SECRET_CLAIMS.contains(&claim.as_str()));
    }
    claims
}

#[derive(Deserialize)]
struct Echo {
    request_id: String,
}

/// Which question an answer is for; the rest of it is not looked at.
pub(super) fn echo(answer: &[u8]) -> Option<String> {
    serde_json::from_slice::<Echo>(answer)
        .ok()
        .map(|echo| echo.request_id)
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Ok,
    Issue,
    Refuse,
    Defer,
    Quarantine,
    Shutdown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    request_id: String,
    decision: Word,
    #[serde(default)]
    reason_code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    retry_after_s: Option<u64>,
    #[serde(default)]
    cert_chain_pem: Option<String>,
    #[serde(default)]
    server_claims: Option<Map<String, Value>>,
    #[serde(default)]
    ssldir: Option<String>,
    #[serde(default)]
    config: Option<Map<String, Value>>,
    #[serde(default)]
    action_policies: Option<Map<String, Value>>,
    #[serde(default)]
    opa_policies: Option<Map<String, Value>>,
    #[serde(default)]
    placement: Option<String>,
    #[serde(default)]
    validity_s: Option<u64>,
}

/// Reads any bytes as the answer to whatever question they name.
pub(crate) fn read_any_answer(answer: &[u8]) -> Result<HookAnswer, HookError> {
    let question = Question {
        request_id: echo(answer).unwrap_or_default(),
        json: Vec::new(),
        dry_run: false,
        tokens: false,
    };
    read_answer(&question, answer)
}

/// Reads the answer to a question about a node.
///
/// # Errors
/// `hook.protocol`, saying where the JSON is wrong or which key is.
pub(super) fn read_answer(question: &Question, answer: &[u8]) -> Result<HookAnswer, HookError> {
    let answer = parse(question, answer)?;
    let message = message(&answer)?;
    let decision = match answer.decision {
        Word::Ok => {
            return Err(protocol(
                "`decision` is \"ok\", which only answers `health`",
            ));
        }
        Word::Refuse => Decision::Refuse,
        Word::Defer => Decision::Defer,
        Word::Quarantine => Decision::Quarantine,
        Word::Shutdown => Decision::Shutdown,
        Word::Issue => Decision::Issue(Box::new(issued(question, answer)?)),
    };
    Ok(match decision {
        Decision::Issue(_) => HookAnswer::new(decision, message.0),
        decision => HookAnswer {
            decision,
            message: message.0,
            retry_after: message.1,
        },
    })
}

/// Reads the answer to `health`.
///
/// # Errors
/// `hook.protocol`; `hook.unavailable` when the answer is anything but "ok".
pub(super) fn read_health(question: &Question, answer: &[u8]) -> Result<(), HookError> {
    let answer = parse(question, answer)?;
    if answer.decision == Word::Ok {
        return Ok(());
    }
    let (says, pause) = message(&answer)?;
    let says = format!("the helper says that it cannot work: {says}");
    Err(HookError::unsent(Code::HookUnavailable, says).after(pause))
}

fn parse(question: &Question, answer: &[u8]) -> Result<Answer, HookError> {
    if answer.trim_ascii().is_empty() {
        return Err(protocol("it said nothing"));
    }
    // A list would be taken for the values of the keys in order.
    if answer.trim_ascii_start().first() != Some(&b'{') {
        return Err(protocol("it did not answer with one JSON object"));
    }
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| protocol(&format!("its answer is not one of the contract's: {error}")))?;
    if answer.request_id == question.request_id {
        return Ok(answer);
    }
    Err(protocol(&format!(
        "it answered {:?} and was asked {:?} (`request_id`)",
        quoted(&answer.request_id),
        question.request_id
    )))
}

/// What to say of an answer, and when to ask again.
fn message(answer: &Answer) -> Result<(String, Option<Duration>), HookError> {
    let said = shown(
        answer.message.as_deref().unwrap_or_default().as_bytes(),
        &[],
    );
    let pause = answer
        .retry_after_s
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
    let Some(code) = answer
        .reason_code
        .as_deref()
        .filter(|code| !code.is_empty())
    else {
        return Ok((said, pause));
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if code.len() > 64 || !code.bytes().all(plain) {
        return Err(protocol(
            "`reason_code` is no code; letters, digits, dots, dashes and underscores make one",
        ));
    }
    let both = if said.is_empty() {
        code.to_owned()
    } else {
        format!("{code}: {said}")
    };
    Ok((both, pause))
}

fn issued(question: &Question, answer: Answer) -> Result<Issued, HookError> {
    let text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let certificate = match text(answer.cert_chain_pem) {
        Some(_) if question.tokens => {
            return Err(protocol(
                "it gave a certificate, and the node gets a server token (`ed25519_public_key`)",
            ));
        }
        Some(_) if question.dry_run => {
            return Err(protocol(
                "it had a certificate made though `dry_run` asks for a decision only",
            ));
        }
        None if !question.dry_run && !question.tokens => {
            return Err(protocol(
                "`decision` is \"issue\" and `cert_chain_pem` is missing",
            ));
        }
        certificate => certificate.unwrap_or_default(),
    };
    let server_claims = answer.server_claims.filter(|claims| !claims.is_empty());
    if server_claims.is_some() && !question.tokens {
        return Err(protocol(
            "`server_claims` are for networks with an organization's issuer; this one has none",
        ));
    }
    Ok(Issued {
        certificate,
        key: None,
        server_claims,
        ca: None,
        ssldir: text(answer.ssldir),
        configuration: answer
            .config
            .filter(|settings| !settings.is_empty())
            .map(|settings| texts("config", settings))
            .transpose()?,
        action_policies: texts(
            "action_policies",
            answer.action_policies.unwrap_or_default(),
        )?,
        opa_policies: texts("opa_policies", answer.opa_policies.unwrap_or_default())?,
        upgrade: None,
        placement: text(answer.placement),
        validity: answer.validity_s.map(Duration::from_secs),
    })
}

fn protocol(what: &str) -> HookError {
    super::choria::protocol(what)
}
