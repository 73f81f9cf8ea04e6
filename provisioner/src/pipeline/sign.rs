//! Step 5, `sign`: the hook decides, an authority signs, the certificate is judged.
//!
//! The ledger is committed before and after, see [`crate::ledger`]. A question
//! left open by a kill is asked again only where the hook fixed the certificate
//! beforehand; otherwise the node has to make a new key, because nobody knows
//! whether a certificate exists for this one.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ask::Conversation;
use super::csr::Requested;
use super::{Context, Stop, csr, issue, place, seal};
use crate::ca::{CertificatePolicy, ToBeSigned, judge_chain};
use crate::code::{Code, Refusal};
use crate::hook::{Decision, HookAnswer, HookError, HookRequest, Issued};
use crate::ledger::{Act, Applied, Issuance, KeyRecord};
use crate::site::{Certificates, Issues};
use crate::step::Step;

/// A node for which a good certificate exists.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) requested: Requested,
    pub(crate) issuance: Issuance,
}

/// Has the request signed, unless it was before.
pub(crate) async fn run(context: &Context, requested: Requested) -> Result<Signed, Stop> {
    refuse_revoked(context, &requested.record)?;
    if let Some(issuance) = requested.record.issuance.clone() {
        seal::is_readable(&issuance, &requested.inspected).map_err(Stop::with_new_key)?;
        // Signed before a kill; what the ledger holds was judged then.
        return Ok(Signed {
            requested,
            issuance,
        });
    }
    let node = requested.inspected.node().clone();
    let question = HookRequest {
        request: requested.request.clone(),
        csr: requested.csr.clone(),
        inventory: requested.inspected.inventory.clone(),
        claims: requested.inspected.claims.clone(),
        attempt: requested.inspected.attempt,
        renewal: requested.record.renewals,
        now: context.now(),
    };
    let place = place::by_rule(context, &requested)?;
    if place.is_none() && !context.site.hook.may_place() {
        // Nobody else could name a target: refused before anything is signed to no avail.
        place::settled(context, None, None)?;
    }
    let answer = match &context.site.issues {
        Issues::Certificates(_) => decide(context, &requested, &question).await?,
        Issues::Tokens(_) => issue::consult(context, &requested, &question).await?,
    };
    let issued = match answer.decision {
        Decision::Issue(issued) => issued,
        decision => {
            let key = requested.key.clone();
            context.commit(&node, Act::Declined { key }).await?;
            let pause = answer.retry_after;
            return Err(declined(context, requested, &decision, answer.message, pause).await);
        }
    };
    let target = place::settled(context, issued.placement.as_deref(), place.as_ref());
    let target = target.map_err(Stop::with_new_key)?;
    let issuance = match &context.site.issues {
        Issues::Certificates(held) => judged(context, &requested, *issued, target, held)?,
        Issues::Tokens(issuer) => {
            issue::token(context, &requested, *issued, target, issuer).await?
        }
    };
    if requested.record.renewals > 0 && requested.record.serials.contains(&issuance.serial) {
        let says = format!(
            "the authority was asked for another certificate and answered with the one the node \
             has ({}); a helper has to go by `idempotency_key`, which is another one now",
            issuance.serial
        );
        return Err(Refusal::new(Code::RenewalSame, says).into());
    }
    take_down(context, &requested, &issuance).await?;
    Ok(Signed {
        requested,
        issuance,
    })
}

/// A key whose certificate was revoked gets no other one, however it comes back (rule 53).
fn refuse_revoked(context: &Context, record: &KeyRecord) -> Result<(), Stop> {
    // A renewal takes the issuance out of the record; its serial number stays.
    let issued = record.issuance.as_ref().map(|issuance| &issuance.serial);
    let Some(serial) = issued.or(record.serials.last()) else {
        return Ok(());
    };
    let Some(revoked) = context.ledger.store().revocation(serial)? else {
        return Ok(());
    };
    let says = format!(
        "the certificate for the key it holds was revoked at {} ({}); it has to make a new key",
        revoked.at, revoked.reason
    );
    Err(Stop::with_new_key(Refusal::new(Code::KeyRevoked, says)))
}

/// Has the ledger know what the node is to be sent, before any of it leaves.
async fn take_down(
    context: &Context,
    requested: &Requested,
    issuance: &Issuance,
) -> Result<(), Stop> {
    let node = requested.inspected.node();
    let act = Act::Signed {
        key: requested.key.clone(),
        issuance: Box::new(issuance.clone()),
    };
    match context.commit(node, act).await? {
        Applied::SerialUsed => {
            let says = format!(
                "the certificate's serial number {} is that of another node's certificate; the \
                 authority gives out numbers twice (rule 35)",
                issuance.serial
            );
            let refusal = Refusal::new(Code::CertSerialReused, says);
            Err(Stop::with_new_key(refusal))
        }
        Applied::KeyHeldBy(other) => {
            let says = format!(
                "the authority made a private key for {node} that {other} has as well, so that \
                 each could be the other; both are frozen (rule 11)"
            );
            Err(csr::reused(context, &other, Step::Sign, says).await?)
        }
        _ => Ok(()),
    }
}

/// Asks the hook, after the ledger knows that it is asked.
///
/// A question that may be asked again is recorded first and then waits for its
/// turn. One that may not is recorded when its turn has come and the hook may be
/// asked at all, so that a kill leaves as few of them open as there are turns,
/// and a backend that is left alone costs no node its key.
async fn decide(
    context: &Context,
    requested: &Requested,
    question: &HookRequest,
) -> Result<HookAnswer, Stop> {
    let hook = &context.site.hook;
    let node = requested.inspected.node();
    let (prepared, turn) = match recorded(&requested.record, hook.kind())? {
        Some(prepared) => (Some(prepared), None),
        None => {
            let prepared = context
                .with_rng(|rng| hook.prepare(question, rng))
                .map_err(Refusal::from)?;
            let turn = match prepared {
                Some(_) => None,
                None => {
                    let turn = Context::permit(&context.places.signing).await?;
                    hook.admit().await.map_err(Refusal::from)?;
                    Some(turn)
                }
            };
            context
                .commit(node, asked(context, requested, prepared.as_ref())?)
                .await?;
            (prepared, turn)
        }
    };
    context.hold_at("asked").await;
    let _turn = match turn {
        Some(turn) => turn,
        None => Context::permit(&context.places.signing).await?,
    };
    context.still_on(node)?;
    match hook.decide(question, prepared.as_ref()).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(unanswered(context, requested, error, prepared.is_some()).await?),
    }
}

/// The hook failed; whether the node may keep its key depends on what may exist.
async fn unanswered(
    context: &Context,
    requested: &Requested,
    error: HookError,
    prepared: bool,
) -> Result<Stop, Stop> {
    if error.unsigned && !prepared {
        let key = requested.key.clone();
        let node = requested.inspected.node();
        context.commit(node, Act::Declined { key }).await?;
    }
    // Who failed otherwise may have signed all the same; and what was prepared for an authority that
    // is another one now is never signed.
    let unknown = !prepared && !error.unsigned;
    let new_key = unknown || error.code == Code::CaUnknownOutcome;
    Ok(Stop::Refused {
        refusal: error.into(),
        new_key,
    })
}

/// The bytes to be signed that a kill left without an answer. Only the kind of hook that prepared
/// them signs them and nothing else.
fn recorded(record: &KeyRecord, kind: &str) -> Result<Option<ToBeSigned>, Stop> {
    let Some(ask) = record.open_ask() else {
        return Ok(None);
    };
    let unknown = |why: &str| {
        let says = format!(
            "{} was asked at {} and its answer is not known{why}; the node is asked for a new key",
            ask.by, ask.at
        );
        Stop::with_new_key(Refusal::new(Code::CaUnknownOutcome, says))
    };
    let Some(prepared) = ask.prepared.as_ref().filter(|_| ask.by == kind) else {
        return Err(unknown(""));
    };
    let bytes = STANDARD
        .decode(prepared)
        .map_err(|_| unknown(" (the record is damaged)"))?;
    let prepared = serde_json::from_slice(&bytes);
    prepared
        .map(Some)
        .map_err(|_| unknown(" (the record is damaged)"))
}

fn asked(
    context: &Context,
    requested: &Requested,
    prepared: Option<&ToBeSigned>,
) -> Result<Act, Refusal> {
    let bytes = prepared.map(serde_json::to_vec).transpose();
    Ok(Act::Asked {
        key: requested.key.clone(),
        by: context.site.hook.kind().to_owned(),
        prepared: bytes.map_err(|error| Refusal::new(Code::CaUnavailable, error.to_string()))?,
    })
}

/// Rows 32 to 35 of the rules: no certificate reaches a node unjudged.
fn judged(
    context: &Context,
    requested: &Requested,
    issued: Issued,
    target: Option<String>,
    held: &Certificates,
) -> Result<Issuance, Stop> {
    let policy = match issued.validity {
        // A hook may want less than policy allows, never more.
        Some(validity) => CertificatePolicy {
            max_lifetime: held.policy.max_lifetime.min(validity),
            ..held.policy.clone()
        },
        None => held.policy.clone(),
    };
    let policy_of_keys = &context.site.config.csr.policy;
    let shipped = issued.key.as_ref();
    let shipped = shipped.map(|key| seal::seal(key, &requested.inspected, policy_of_keys));
    let (request, sealed_key) = match shipped.transpose().map_err(Stop::with_new_key)? {
        Some((request, sealed)) => (request, Some(sealed)),
        None => (requested.request.clone(), None),
    };
    let chain = judge_chain(
        &issued.certificate,
        issued.ca.as_deref(),
        &request,
        &held.trust,
        &policy,
        context.now(),
    )
    .map_err(Stop::with_new_key)?;
    issued.judge_upgrade().map_err(Stop::with_new_key)?;
    Ok(Issuance {
        chain: chain.chain_pem().to_owned(),
        server_jwt: String::new(),
        sealed_key,
        serial: chain.serial().to_owned(),
        not_after: Some(chain.not_after()),
        target,
        ssldir: issued.ssldir,
        configuration: issued.configuration,
        action_policies: issued.action_policies,
        opa_policies: issued.opa_policies,
    })
}

/// What becomes of a node the hook did not want to enrol.
async fn declined(
    context: &Context,
    requested: Requested,
    decision: &Decision,
    message: String,
    pause: Option<Duration>,
) -> Stop {
    let (code, else_says) = match decision {
        Decision::Defer => (Code::HookDeferred, "the hook put it off"),
        Decision::Refuse => (Code::HookRefused, "the hook refused it"),
        Decision::Quarantine => (
            Code::HookQuarantined,
            "the hook wants a person to look at it",
        ),
        Decision::Shutdown | Decision::Issue(_) => {
            shut_down(context, requested.inspected.conversation).await;
            (Code::HookShutdown, "the hook had it shut down")
        }
    };
    let says = if message.is_empty() {
        else_says.to_owned()
    } else {
        message
    };
    Refusal::new(code, says).after(pause).into()
}

/// Tells the node to end. The reply may be lost, since a node may end before it
/// replies; its `shutdown` event, or silence, is as good.
async fn shut_down(context: &Context, mut conversation: Conversation) {
    let limit = context.site.config.timeouts.restart;
    let node = conversation.node().clone();
    let mut watch = context.signals.watch(&node);
    tokio::select! {
        _ = conversation.ask(&super::question::Question::Shutdown, limit) => {}
        _ = watch.until(|seen| seen.shutdown) => {}
    }
}
