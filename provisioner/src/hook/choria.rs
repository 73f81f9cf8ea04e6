//! The helper contract of the Choria provisioner, accepted unchanged.
//!
//! A helper reads one JSON object from standard input, five keys always present, and writes one
//! JSON object to standard output, every key optional, unknown keys ignored. What this service
//! refuses of an answer, and why, is said in `read_answer`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use server_core::wire::to_go_json;
use zeroize::Zeroizing;

use super::redact::{quoted, shown};
use super::{Decision, HookAnswer, HookError, HookRequest, Issued};
use crate::code::{Code, Refusal};
use crate::secret::Secret;

/// What may be in an answer beside its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A certificate for the node's own key.
    Certificate,
    /// The same, or a certificate with a key that the authority made.
    CertificateOrKey,
    /// What a server token is to claim.
    Claims,
}

/// What a helper reads, in the order in which the original writes it.
#[derive(Serialize)]
struct Question<'a> {
    identity: &'a str,
    csr: Option<QuestionCsr<'a>>,
    ed25519_pubkey: Option<QuestionKey<'a>>,
    inventory: String,
    jwt: &'a Value,
}

#[derive(Serialize)]
struct QuestionCsr<'a> {
    csr: &'a str,
    public_key: &'a str,
    ssldir: &'a str,
}

#[derive(Serialize)]
struct QuestionKey<'a> {
    public_key: &'a str,
    directory: &'a str,
    signature: &'a str,
}

/// The bytes a helper reads from its standard input.
///
/// # Errors
/// `hook.protocol` when the inventory cannot be written as JSON.
pub(super) fn question(request: &HookRequest) -> Result<Zeroizing<Vec<u8>>, HookError> {
    let unwritable = |error: &dyn std::fmt::Display| {
        HookError::unsent(
            Code::HookProtocol,
            format!("the helper's question cannot be written as JSON: {error}"),
        )
    };
    let inventory = to_go_json(&sorted(&request.inventory)).map_err(|error| unwritable(&error))?;
    let question = Question {
        identity: request.request.identity(),
        csr: request.csr.ed25519.is_none().then_some(QuestionCsr {
            csr: &request.csr.csr,
            public_key: &request.csr.public_key,
            ssldir: &request.csr.ssldir,
        }),
        ed25519_pubkey: request.csr.ed25519.as_ref().map(|reply| QuestionKey {
            public_key: &reply.public_key,
            directory: &reply.directory,
            signature: &reply.signature,
        }),
        inventory: String::from_utf8(inventory).map_err(|error| unwritable(&error))?,
        jwt: &request.claims,
    };
    to_go_json(&question)
        .map(Zeroizing::new)
        .map_err(|error| unwritable(&error))
}

/// The same value with the keys of every object sorted, as the original writes inventories.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// What a helper writes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    defer: Option<bool>,
    shutdown: Option<bool>,
    msg: Option<String>,
    key: Option<String>,
    certificate: Option<String>,
    ca: Option<String>,
    ssldir: Option<String>,
    server_claims: Option<Map<String, Value>>,
    configuration: Option<Map<String, Value>>,
    action_policies: Option<Map<String, Value>>,
    opa_policies: Option<Map<String, Value>>,
    upgrade: Option<String>,
}

/// Reads what a helper printed.
///
/// `defer` counts before `shutdown`, and both before anything else. A private key in the answer is
/// refused (`hook.key`): keys are made by nodes. Claims for a server token belong to networks with an
/// organization's issuer (`tokens`), where a certificate is of no use; elsewhere they are refused
/// (`hook.unsupported`).
///
/// # Errors
/// `hook.protocol`, saying where the JSON is wrong or which key is; `hook.key`,
/// `hook.unsupported`.
pub(crate) fn read_answer(output: &[u8], wanted: Wanted) -> Result<HookAnswer, HookError> {
    let tokens = wanted == Wanted::Claims;
    match output.trim_ascii_start().first() {
        None => return Err(protocol("it printed nothing")),
        // A list, which the decoder would take for the values of the keys in order.
        Some(b'[') => return Err(protocol("it printed a list, not one JSON object")),
        Some(_) => {}
    }
    let answer: Answer = serde_json::from_slice(output)
        .map_err(|error| protocol(&format!("it did not print one JSON object: {error}")))?;
    let message = shown(answer.msg.as_deref().unwrap_or_default().as_bytes(), &[]);
    let decided = |decision| Ok(HookAnswer::new(decision, message.clone()));
    if answer.defer == Some(true) {
        return decided(Decision::Defer);
    }
    if answer.shutdown == Some(true) {
        return decided(Decision::Shutdown);
    }
    let key = answer.key.filter(|key| !key.is_empty()).map(Secret::new);
    if key.is_some() && wanted != Wanted::CertificateOrKey {
        return Err(Refusal::new(
            Code::HookKey,
            "the helper answered with a private key; a node makes its own and never gets one \
             here. Have the helper sign the request it is given, or allow it: [ca] keys = \
             \"authority\"",
        )
        .into());
    }
    let server_claims = answer.server_claims.filter(|claims| !claims.is_empty());
    if !tokens && server_claims.is_some() {
        return Err(Refusal::new(
            Code::HookUnsupported,
            "the helper answered with server_claims, which are for networks with an organization \
             issuer; this network uses certificates",
        )
        .into());
    }
    let certificate = answer
        .certificate
        .filter(|certificate| !certificate.trim().is_empty() && !tokens);
    if certificate.is_none() && !tokens {
        return Err(protocol(
            "it neither put the node off nor gave it a certificate",
        ));
    }
    decided(Decision::Issue(Box::new(Issued {
        certificate: certificate.unwrap_or_default(),
        key,
        server_claims,
        ca: answer.ca.filter(|ca| !ca.trim().is_empty()),
        ssldir: answer.ssldir.filter(|ssldir| !ssldir.is_empty()),
        configuration: answer
            .configuration
            .filter(|settings| !settings.is_empty())
            .map(|settings| texts("configuration", settings))
            .transpose()?,
        action_policies: texts(
            "action_policies",
            answer.action_policies.unwrap_or_default(),
        )?,
        opa_policies: texts("opa_policies", answer.opa_policies.unwrap_or_default())?,
        upgrade: answer.upgrade.filter(|version| !version.is_empty()),
        ..Issued::default()
    })))
}

/// The answer without an upgrade to the version that the node runs already.
pub(super) fn without_idle_upgrade(mut answer: HookAnswer, inventory: &Value) -> HookAnswer {
    if let Decision::Issue(issued) = &mut answer.decision {
        let running = inventory.get("version").and_then(Value::as_str);
        issued.upgrade = issued
            .upgrade
            .take()
            .filter(|version| Some(version.as_str()) != running);
    }
    answer
}

/// An object whose values are all text, as the contract has it.
pub(super) fn texts(
    whole: &str,
    object: Map<String, Value>,
) -> Result<BTreeMap<String, String>, HookError> {
    object
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            other => Err(protocol(&format!(
                "{whole}.{} is {}; every value must be text in quotes",
                quoted(&key),
                match other {
                    Value::Null => "null",
                    Value::Bool(_) => "true or false without quotes",
                    Value::Number(_) => "a number",
                    Value::Array(_) => "a list",
                    Value::Object(_) | Value::String(_) => "an object",
                }
            ))),
        })
        .collect()
}

/// What a helper should not have answered; `what` may quote it.
pub(super) fn protocol(what: &str) -> HookError {
    let what = quoted(what);
    Refusal::new(
        Code::HookProtocol,
        format!("the helper does not keep to the contract: {what}"),
    )
    .into()
}
