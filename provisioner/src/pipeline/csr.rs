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
use crate::ca::judge_chain;
use crate::code::{Code, Refusal};
use crate::judge::{self, JudgedRequest};
use crate::judge::{CsrReply, Ed25519Reply};
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
    let told = obtain(context, &mut inspected).await?;
    judge::judge_beside(&told.csr).map_err(Stop::with_new_key)?;
    let policy = &context.site.config.csr.policy;
    let judged = match &told.csr.ed25519 {
        Some(reply) => judge::judge_possession(reply, node.as_str(), policy.punycode),
        None => judge::judge(told.csr.csr.as_bytes(), node.as_str(), policy),
    };
    let request = judged.map_err(Stop::with_new_key)?;
    let key = request.spki_sha256_hex();
    admit(context, &inspected, &request, told.proof.as_ref()).await?;
    let act = Act::Requested {
        key: key.clone(),
        csr: told.csr.clone(),
        says: format!("{}: {}", told.says, request.key()),
        presented: Box::new(Presented {
            keeps_key: told.keeps_key,
            outdated: is_outdated(context, &request)?,
            ..inspected.presented.clone()
        }),
    };
    match context.commit(&node, act).await? {
        // A request has no serial number that could be taken, and what another member holds
        // is stopped by `commit`.
        Applied::Done | Applied::SerialUsed | Applied::HeldBy(_) => {}
        Applied::KeyHeldBy(other) => {
            let says =
                format!("{node} asks for the public key of {other}; both are frozen (rule 11)");
            return Err(reused(context, &other, Step::Csr, says).await?);
        }
        Applied::EnrolledWith(enrolled) => {
            let policy = context.site.config.reprovision;
            return Err(Stop::with_new_key(policy.keeps_out(&enrolled)));
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
        csr: told.csr,
        record,
        key,
    })
}

/// What a node asks to be certified, as it says now or as the ledger has it.
struct Told {
    csr: CsrReply,
    /// What it is, for people.
    says: &'static str,
    /// Whether the node says that it keeps its key; nothing where it was not asked.
    keeps_key: Option<bool>,
    /// Of a request that the node sent now and that might be one of long ago.
    proof: Option<Proof>,
}

/// That the node has its key now. Its request may be one of long ago that somebody overheard.
struct Proof {
    /// Empty where none was asked for.
    nonce: String,
    /// Hexadecimal; empty where the node sent none.
    signature: String,
}

/// The recorded request of an enrolment that is resumed, or what the node says now.
async fn obtain(context: &Context, inspected: &mut Inspected) -> Result<Told, Stop> {
    let tokens = matches!(context.site.issues, Issues::Tokens(_));
    let recorded = match &inspected.recorded_key {
        // A request made before the site went from certificates to tokens, or back, is of no use.
        Some(key) => context.key(key)?.filter(|record| {
            let same = record.identity == inspected.node().as_str();
            same && record.csr.ed25519.is_some() == tokens
        }),
        None => None,
    };
    match recorded {
        Some(record) => Ok(Told {
            csr: record.csr,
            says: "the recorded request",
            keeps_key: None,
            proof: None,
        }),
        // A node's own keys for tokens are new ones each time.
        None if tokens => Ok(Told {
            csr: ask_for_key(context, inspected).await?,
            says: "a new key",
            keeps_key: Some(false),
            proof: None,
        }),
        None => ask(context, inspected).await,
    }
}

/// Asks for a request. Whoever was certified before is asked for a proof too: one that makes a new
/// key does not need it, and the original's ignore what they do not know.
async fn ask(context: &Context, inspected: &mut Inspected) -> Result<Told, Stop> {
    let config = &context.site.config;
    let known = context.enrolment(inspected.node())?;
    let new_key = known.as_ref().is_some_and(wants_new_key);
    let certified =
        known.filter(|known| known.enrolled_key.is_some() || !known.certificates.is_empty());
    let nonce = certified.map(|_| nonce(context));
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
    Ok(Told {
        csr,
        says: "a new request",
        keeps_key: Some(keeps_key.unwrap_or(false)),
        proof: Some(Proof {
            nonce: nonce.unwrap_or_default(),
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
/// enrolled with is over, or was revoked, or nobody knows whether its key was certified.
fn wants_new_key(known: &Enrolment) -> bool {
    let over = known.enrolled_key.is_none() && !known.certificates.is_empty();
    let spoilt = matches!(known.code, Some(Code::KeyRevoked | Code::CaUnknownOutcome));
    known.approved || over || spoilt
}

/// Whether the certificate the ledger has for a request was made by authorities that nodes no longer
/// trust: one that is sent both would be on neither network. Of a key that an authority made only
/// the node could tell.
fn is_outdated(context: &Context, request: &JudgedRequest) -> Result<bool, Stop> {
    let Issues::Certificates(held) = &context.site.issues else {
        return Ok(false);
    };
    let record = context.key(&request.spki_sha256_hex())?;
    let issuance = record.and_then(|record| record.issuance);
    let Some(issuance) = issuance.filter(|issued| issued.sealed_key.is_none()) else {
        return Ok(false);
    };
    let (chain, trust) = (&issuance.chain, &held.trust);
    let judged = judge_chain(chain, None, request, trust, &held.policy, context.now());
    let untrusted = |code| matches!(code, Code::CertUntrusted | Code::CertChainIncomplete);
    Ok(judged.is_err_and(|refusal| untrusted(refusal.code)))
}

/// Whether the key is one the node has or had a certificate for. A node that makes new keys never
/// comes with such a one.
fn is_certified(known: &Enrolment, key: &str) -> bool {
    let enrolled = known.enrolled_key.as_deref() == Some(key);
    enrolled || known.certificates.iter().any(|held| held.key == key)
}

/// Whether whoever asks with this key may be who it says. It goes by the key and by what is known of
/// the node now: while it was asked, its enrolment may have been ended.
async fn admit(
    context: &Context,
    inspected: &Inspected,
    request: &JudgedRequest,
    proof: Option<&Proof>,
) -> Result<(), Stop> {
    let node = inspected.node();
    let key = request.spki_sha256_hex();
    let known = context.enrolment(node)?;
    let certified = known.as_ref().is_some_and(|it| is_certified(it, &key));
    if let Some(proof) = proof.filter(|_| certified) {
        let proven = judge::judge_proof(request, &proof.nonce, &proof.signature);
        proven.map_err(Stop::with_new_key)?;
    }
    let enrolled = known.as_ref().and_then(|known| known.enrolled_key.as_ref());
    if enrolled == Some(&key) {
        return Ok(());
    }
    if let Some(refusal) = &inspected.out_of_scope {
        return Err(refusal.clone().into());
    }
    match &known {
        Some(known) => refuse_beside(context, node, known).await,
        None => Ok(()),
    }
}

/// Lets nobody with another key through an open renewal or an approval while the node itself is
/// still on the production network: whoever is here is not that node (see
/// [`crate::ledger::Renewal`]). Where neither is, the ledger goes by policy alone.
async fn refuse_beside(context: &Context, node: &Identity, known: &Enrolment) -> Result<(), Stop> {
    let Some(enrolled) = &known.enrolled_key else {
        return Ok(());
    };
    let renewal = known.renewal.as_ref();
    let through = known.approved || renewal.is_some_and(|r| r.is_open(context.now()));
    if through && confirm::answers(context, node).await {
        return Err(beside(enrolled, context.site.config.reprovision));
    }
    Ok(())
}

/// One key under two names: both are frozen.
pub(super) async fn reused(
    context: &Context,
    other: &str,
    step: Step,
    says: String,
) -> Result<Stop, Stop> {
    let setback = Setback {
        step,
        state: State::Quarantined,
        code: Code::KeyReused,
        says: says.clone(),
        next_try: None,
        new_key: false,
    };
    match context.insist(other, Act::SetBack(setback)).await {
        // The other one is banned, say, which is more than frozen.
        Ok(_) | Err(Stop::Held(_) | Stop::Lost(_)) => {}
        Err(stop) => return Err(stop),
    }
    Ok(Refusal::new(Code::KeyReused, says).into())
}

/// It is enrolled, and the node that is answers where it belongs.
fn beside(enrolled: &str, policy: Reprovision) -> Stop {
    let short = enrolled.get(..16).unwrap_or(enrolled);
    let says = format!(
        "this identity is enrolled with another key (SHA-256 {short}…), and the node that has it \
         answers on the production network: this is another one with its name. To have it in that \
         one's place stop that one, then approve this one (rule 38)"
    );
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
