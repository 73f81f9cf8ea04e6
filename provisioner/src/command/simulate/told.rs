//! What is told of a node that was tried: the decision as hooks write it, and the same for people.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use server_core::trust::jwt::ServerPermissions;

use crate::code::Code;
use crate::step::Step;

/// The decision, in the words of the hook contract.
#[derive(Debug, Default, Serialize)]
pub(super) struct Simulated {
    pub(super) identity: String,
    pub(super) decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason_code: Option<Code>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after_s: Option<u64>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(super) config: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) placement: Option<String>,
    /// What the server token would say, where nodes get those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_claims: Option<TokenClaims>,
    pub(super) validity_s: u64,
}

/// What is decided about a server token; the rest of its claims follows from who signs it, and when.
#[derive(Debug, Serialize)]
pub(super) struct TokenClaims {
    pub(super) ou: String,
    pub(super) collectives: Vec<String>,
    pub(super) permissions: ServerPermissions,
    pub(super) pub_subjects: Vec<String>,
    pub(super) exp: Option<i64>,
}

/// The same for people.
pub(super) fn print(out: &mut dyn Write, simulated: &Simulated) -> io::Result<()> {
    let Simulated {
        identity, decision, ..
    } = simulated;
    match (&simulated.reason_code, &simulated.step) {
        (Some(code), Some(step)) => {
            writeln!(out, "{identity}: {decision} in {step}: {code}")?;
            writeln!(out, "  {}", simulated.message)?;
        }
        _ => writeln!(
            out,
            "{identity}: {decision}, for {} at most; nothing was signed",
            humantime::format_duration(Duration::from_secs(simulated.validity_s))
        )?,
    }
    if let Some(claims) = &simulated.server_claims {
        let claims = serde_json::to_string(claims)?;
        writeln!(out, "  server token: {claims}")?;
    }
    for (key, value) in simulated.config.as_object().into_iter().flatten() {
        writeln!(out, "  {key} = {}", value.as_str().unwrap_or_default())?;
    }
    Ok(())
}
