//! Step 4, `csr`: the node makes a key and a request, and the request is judged.
//!
//! `gencsr` makes a new key at each call, so once its reply is in the ledger it
//! is not asked again: a resumed enrolment judges the recorded request.

use rand::RngCore as _;

use super::inspect::Inspected;
use super::question::Question;
use super::{Context, Stop};
use crate::code::{Code, Refusal};
use crate::hook::{CsrReply, Ed25519Reply};
use crate::judge::{self, JudgedRequest};
use crate::ledger::{Act, Applied, KeyRecord, Setback};
use crate::site::Issues;
use crate::step::{State, Step};

/// A node whose request may be signed.
#[derive(Debug)]
pub(crate) struct Requested {
    pub(crate) inspected: Box<Inspected>,
    pub(crate) request: JudgedRequest,
    pub(crate) csr: CsrReply,
    /// What the ledger knows of the key.
    pub(crate) record: KeyRecord,
    /// The key's name in the ledger.
    pub(crate) key: String,
}

/// Gets and judges the node's request.
pub(crate) async fn run(
    context: &Context,
    mut inspected: Box<Inspected>,
) -> Result<Requested, Stop> {
    let node = inspected.node().clone();
    let tokens = matches!(context.site.issues, Issues::Tokens(_));
    let recorded = match &inspected.recorded_key {
        // A request made before the site went from certificates to tokens, or back, is of no use.
        Some(key) => context.key(key)?.filter(|record| {
            record.identity == node.as_str() && record.csr.ed25519.is_some() == tokens
        }),
        None => None,
    };
    let (csr, says) = match recorded {
        Some(record) => (record.csr, "the recorded request"),
        None if tokens => (ask_for_key(context, &mut inspected).await?, "a new key"),
        None => (ask(context, &mut inspected).await?, "a new request"),
    };
    let policy = &context.site.config.csr.policy;
    let judged = match &csr.ed25519 {
        Some(reply) => judge::judge_possession(reply, node.as_str(), policy.punycode),
        None => judge::judge(csr.csr.as_bytes(), node.as_str(), policy),
    };
    let request = judged.map_err(Stop::with_new_key)?;
    let key = request.spki_sha256_hex();
    let act = Act::Requested {
        key: key.clone(),
        csr: csr.clone(),
        says: format!("{says}: {}", request.key()),
    };
    match context.commit(&node, act).await? {
        // A request has no serial number that could be taken, and what another member holds
        // is stopped by `commit`.
        Applied::Done | Applied::SerialUsed | Applied::HeldBy(_) => {}
        Applied::KeyHeldBy(other) => return Err(reused(context, node.as_str(), &other).await?),
        Applied::EnrolledWith(enrolled) => return Err(exists(&enrolled)),
        // These are answers to others than a request, or stopped it before.
        Applied::NotNow(_)
        | Applied::Ordered(_)
        | Applied::Unfit(_)
        | Applied::Unknown
        | Applied::Numbered(_) => return Err(Stop::Ended),
    }
    let record = context.key(&key)?.ok_or_else(|| {
        Refusal::new(
            Code::LedgerUnavailable,
            "the ledger lost the request just written",
        )
    })?;
    Ok(Requested {
        inspected,
        request,
        csr,
        record,
        key,
    })
}

async fn ask(context: &Context, inspected: &mut Inspected) -> Result<CsrReply, Stop> {
    let config = &context.site.config;
    let question = Question::GenCsr;
    let data = inspected
        .conversation
        .call(&question, config.timeouts.node, config.retry.attempts)
        .await?;
    let text = |key: &str| {
        data.get(key)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Ok(CsrReply {
        csr: text("csr"),
        public_key: text("public_key"),
        ssldir: text("ssldir"),
        ed25519: None,
    })
}

/// Asks for an Ed25519 key, with a nonce that no other node is asked with.
async fn ask_for_key(context: &Context, inspected: &mut Inspected) -> Result<CsrReply, Stop> {
    let config = &context.site.config;
    let mut nonce = [0; 16];
    context.with_rng(|rng| rng.fill_bytes(&mut nonce));
    let nonce = hex::encode(nonce);
    let question = Question::Gen25519(nonce.clone());
    let data = inspected
        .conversation
        .call(&question, config.timeouts.node, config.retry.attempts)
        .await?;
    let text = |key: &str| {
        let text = data.get(key).and_then(|value| value.as_str());
        text.unwrap_or_default().to_owned()
    };
    Ok(CsrReply {
        ed25519: Some(Ed25519Reply {
            public_key: text("public_key"),
            directory: text("directory"),
            signature: text("signature"),
            nonce,
        }),
        ..CsrReply::default()
    })
}

/// One key under two names: both are frozen.
async fn reused(context: &Context, node: &str, other: &str) -> Result<Stop, Stop> {
    let says =
        |a: &str, b: &str| format!("{a} asks for the public key of {b}; both are frozen (rule 11)");
    let setback = Setback {
        step: Step::Csr,
        state: State::Quarantined,
        code: Code::KeyReused,
        says: says(node, other),
        next_try: None,
        new_key: false,
    };
    match context.insist(other, Act::SetBack(setback)).await {
        // The other one is banned, say, which is more than frozen.
        Ok(_) | Err(Stop::Held(_) | Stop::Lost(_)) => {}
        Err(stop) => return Err(stop),
    }
    Ok(Refusal::new(Code::KeyReused, says(node, other)).into())
}

fn exists(enrolled: &str) -> Stop {
    let short = enrolled.get(..16).unwrap_or(enrolled);
    let says = format!(
        "this identity is enrolled with another key (SHA-256 {short}…) and keeps it. \
         Is this a re-installed node, or a second one with the same name? (rule 38)"
    );
    Stop::with_new_key(Refusal::new(Code::IdentityExists, says))
}
