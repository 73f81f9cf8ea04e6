//! Step 4, `csr`: the node makes a key and a request, and the request is judged.
//!
//! `gencsr` makes a new key at each call, so once its reply is in the ledger it
//! is not asked again: a resumed enrolment judges the recorded request.

use rand::RngCore as _;
use serde_json::Value;
use server_core::words::Identity;

use super::inspect::Inspected;
use super::question::Question;
use super::{Context, Stop, confirm};
use crate::code::{Code, Refusal};
use crate::hook::{CsrReply, Ed25519Reply};
use crate::judge::{self, JudgedRequest};
use crate::ledger::{Act, Applied, Enrolment, KeyRecord, Presented, Reprovision, Setback};
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
    let mut proof = None;
    let (csr, says, keeps_key) = match recorded {
        Some(record) => (record.csr, "the recorded request", None),
        // A node's own keys for tokens are new ones each time.
        None if tokens => {
            let csr = ask_for_key(context, &mut inspected).await?;
            (csr, "a new key", Some(false))
        }
        None => {
            let asked = ask(context, &mut inspected).await?;
            proof = asked.proof;
            (asked.csr, "a new request", Some(asked.keeps_key))
        }
    };
    let policy = &context.site.config.csr.policy;
    let judged = match &csr.ed25519 {
        Some(reply) => judge::judge_possession(reply, node.as_str(), policy.punycode),
        None => judge::judge(csr.csr.as_bytes(), node.as_str(), policy),
    };
    let request = judged.map_err(Stop::with_new_key)?;
    let key = request.spki_sha256_hex();
    if let Some(proof) = proof.filter(|proof| proof.enrolled_key == key) {
        let proven = judge::judge_proof(&request, &proof.nonce, &proof.signature);
        proven.map_err(Stop::with_new_key)?;
    }
    refuse_beside(context, &node, &key).await?;
    let act = Act::Requested {
        key: key.clone(),
        csr: csr.clone(),
        says: format!("{says}: {}", request.key()),
        presented: Box::new(Presented {
            keeps_key,
            ..inspected.presented.clone()
        }),
    };
    match context.commit(&node, act).await? {
        // A request has no serial number that could be taken, and what another member holds
        // is stopped by `commit`.
        Applied::Done | Applied::SerialUsed | Applied::HeldBy(_) => {}
        Applied::KeyHeldBy(other) => return Err(reused(context, node.as_str(), &other).await?),
        Applied::EnrolledWith(enrolled) => {
            return Err(exists(&enrolled, context.site.config.reprovision));
        }
        Applied::TokenHeldBy(other) => return Err(used(&other)),
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

/// The reply to `gencsr`.
struct Asked {
    csr: CsrReply,
    /// Whether the node says that it keeps its key.
    keeps_key: bool,
    /// What an enrolled node that keeps its key was asked to prove.
    proof: Option<Proof>,
}

/// That the node has the key it is enrolled with now. Its request may be one of long ago that
/// somebody overheard.
struct Proof {
    enrolled_key: String,
    nonce: String,
    /// Hexadecimal; empty where the node sent none.
    signature: String,
}

async fn ask(context: &Context, inspected: &mut Inspected) -> Result<Asked, Stop> {
    let config = &context.site.config;
    let known = context.enrolment(inspected.node())?;
    let new_key = known.as_ref().is_some_and(wants_new_key);
    let enrolled_key = known.filter(|known| known.keeps_key && !new_key);
    let enrolled_key = enrolled_key.and_then(|known| known.enrolled_key);
    let nonce = enrolled_key.as_ref().map(|_| nonce(context));
    let question = Question::GenCsr {
        new_key,
        nonce: nonce.clone(),
    };
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
    let keeps_key = data.get("keeps_key").and_then(Value::as_bool);
    let csr = CsrReply {
        csr: text("csr"),
        public_key: text("public_key"),
        ssldir: text("ssldir"),
        ed25519: None,
    };
    let proof = enrolled_key.zip(nonce);
    Ok(Asked {
        csr,
        keeps_key: keeps_key.unwrap_or(false),
        proof: proof.map(|(enrolled_key, nonce)| Proof {
            enrolled_key,
            nonce,
            signature: text("proof"),
        }),
    })
}

/// What nobody was asked with before.
fn nonce(context: &Context) -> String {
    let mut nonce = [0; 16];
    context.with_rng(|rng| rng.fill_bytes(&mut nonce));
    hex::encode(nonce)
}

/// Asks for an Ed25519 key, with a nonce that no other node is asked with.
async fn ask_for_key(context: &Context, inspected: &mut Inspected) -> Result<CsrReply, Stop> {
    let config = &context.site.config;
    let nonce = nonce(context);
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

/// Whether a node that would keep its key has to make another: somebody approved that, what it was
/// enrolled with is over, or was revoked.
fn wants_new_key(known: &Enrolment) -> bool {
    let over = known.enrolled_key.is_none() && !known.certificates.is_empty();
    known.approved || over || known.code == Some(Code::KeyRevoked)
}

/// Lets nobody with another key through an open renewal while the node itself is still on the
/// production network: whoever is here is not that node (see [`crate::ledger::Renewal`]).
async fn refuse_beside(context: &Context, node: &Identity, key: &str) -> Result<(), Stop> {
    let config = &context.site.config;
    let Some(known) = context.enrolment(node)? else {
        return Ok(());
    };
    let Some(enrolled) = known.enrolled_key.as_deref().filter(|own| *own != key) else {
        return Ok(());
    };
    let through = known
        .renewal
        .as_ref()
        .is_some_and(|r| r.is_open(context.now()));
    if through && config.policy().new_key && confirm::answers(context, node).await {
        return Err(exists(enrolled, config.reprovision));
    }
    Ok(())
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

/// It is enrolled, and policy does not let it in; what would.
fn exists(enrolled: &str, policy: Reprovision) -> Stop {
    let short = enrolled.get(..16).unwrap_or(enrolled);
    let who = "Is this a re-installed node, or a second one with the same name?";
    let says = match policy {
        Reprovision::Never => format!(
            "this identity is enrolled (key SHA-256 {short}…), and [reprovision] policy = \
             \"{policy}\" lets nobody enrol twice; evict it first. {who} (rule 38)"
        ),
        Reprovision::SameKey => format!(
            "this identity is enrolled with another key (SHA-256 {short}…), and [reprovision] \
             policy = \"{policy}\" lets it have no other; evict it first. {who} (rule 38)"
        ),
        Reprovision::Approval => format!(
            "this identity is enrolled with another key (SHA-256 {short}…) and keeps it until \
             somebody approves. {who} (rule 38)"
        ),
        Reprovision::AfterExpiry => format!(
            "this identity is enrolled with another key (SHA-256 {short}…) and keeps it until its \
             certificate has expired or somebody approves. {who} (rule 38)"
        ),
    };
    Stop::with_new_key(Refusal::new(policy.code(), says))
}

/// A token for a number of nodes, and this is one more.
fn used(other: &str) -> Stop {
    let says = format!(
        "the provisioning token is refused: as many nodes as it is for have used it, {other} among \
         them; give this one a token of its own (rule 24)"
    );
    Stop::with_new_key(Refusal::new(Code::TokenUsed, says))
}
