//! Step 3, `inspect`: is the node there, is its token good, what is it?
//!
//! The first question doubles as the probe: it has a short limit and a place of
//! its own among many, so a node that never answers holds nobody up. Only a
//! node that answered gets a place among those being enrolled.
//!
//! A node whose certificate exists and who is silent here is looked for on the
//! production network too.

use serde_json::Value;
use server_core::client::NodeReply;
use server_core::words::Identity;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::admission::Probe;
use super::ask::Conversation;
use super::confirm::{self, Confirmed};
use super::question::Question;
use super::queue::Ticket;
use super::restart::Restarted;
use super::{Context, Stop};
use crate::code::{Code, Refusal};
use crate::judge;
use crate::judge::token::JudgedToken;
use crate::ledger::{Act, Enrolment, Presented};
use crate::step::{State, Step};

/// A node that is there, with a good token.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) conversation: Conversation,
    /// The claims of its token, with the secrets in them: never to be logged.
    pub(crate) claims: Value,
    pub(crate) inventory: Value,
    /// What the ledger is to know of its token.
    pub(crate) presented: Presented,
    /// Why its token is not for it; that holds unless its request is for the key it is enrolled with.
    pub(crate) out_of_scope: Option<Refusal>,
    /// Its half of a key agreement (X25519), hex: good until it is asked for its token again.
    pub(crate) ecdh_public: String,
    /// Which try this is, counting from 1.
    pub(crate) attempt: u32,
    /// The key of a request recorded before, which is used again: also by one that was awaited on
    /// production in vain, as it may never have left. One that is seen to come back from there has
    /// none any more.
    pub(crate) recorded_key: Option<String>,
    /// Its place among the nodes being enrolled.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Where a node was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// On the provisioning network.
    Here(Box<Inspected>),
    /// Beyond it: it has its certificate and is awaited on production.
    Beyond(Restarted),
    /// On production, enrolled as before.
    Enrolled(Confirmed),
}

/// Inspects a node. `probe` is its place among those being asked at all.
pub(crate) async fn run(
    context: &Context,
    ticket: Ticket,
    mut probe: Probe,
) -> Result<Found, Stop> {
    let node = ticket.identity.clone();
    let before = context.enrolment(&node)?;
    if was_restarted(before.as_ref()) {
        return Ok(Found::Beyond(Restarted::resumed(context, node).await?));
    }
    let since = ticket.since;
    context.commit(&node, Act::Taken { since }).await?;

    let mut conversation = Conversation::new(&context.provisioning, node.clone());
    let reply = match first_answer(context, &mut conversation, &mut probe).await {
        Ok(reply) => reply,
        Err(refusal) if refusal.code == Code::RpcTimeout => {
            probe.silent();
            return elsewhere(context, node, before.as_ref(), refusal).await;
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let jwt = conversation.read(&Question::Jwt, &reply)?;
    let ecdh_public = jwt.get("ecdh_public").and_then(Value::as_str);
    let ecdh_public = ecdh_public.unwrap_or_default().to_owned();
    let place = Context::permit(&context.places.nodes).await?;
    drop(probe);

    let token = jwt.get("jwt").and_then(Value::as_str).unwrap_or_default();
    let token = judge::token::judge(
        token,
        &context.site.token_keys,
        &context.site.token_rules,
        context.now(),
    )?;
    let inventory = inventory(context, &mut conversation).await?;
    let out_of_scope = match token.scope().admits(node.as_str(), &inventory) {
        Err(refusal) if !may_come_with_its_key(before.as_ref()) => return Err(refusal.into()),
        verdict => verdict.err(),
    };
    let says = told(&token);
    context.note(&node, Act::Inspected { says }).await?;
    Ok(Found::Here(Box::new(Inspected {
        conversation,
        claims: serde_json::to_value(token.claims()).unwrap_or_default(),
        inventory,
        ecdh_public,
        presented: Presented {
            token: token.counted(),
            token_until: token.until(),
            keeps_key: None,
            outdated: false,
        },
        out_of_scope,
        attempt: before.as_ref().map_or(0, |b| b.attempts) + 1,
        recorded_key: before.and_then(|before| before.key),
        place,
    })))
}

/// What is seen of a token, for people.
fn told(token: &JudgedToken) -> String {
    let mut says = format!("token ok: key {}", token.key());
    if let Some(at) = token.until() {
        says += &format!(", expires {}", at.strftime("%Y-%m-%d"));
    }
    if token.scope().is_limited() {
        says += &format!(", {}", token.scope().says());
    }
    says
}

/// It may prove by the key it is enrolled with who it is: what a fact of it is today does not keep
/// such a node out. Others are not even asked for a request with a token that is not for them, since
/// that takes the key from them that they have.
fn may_come_with_its_key(before: Option<&Enrolment>) -> bool {
    before.is_some_and(|b| b.enrolled_key.is_some() && b.keeps_key && !b.approved)
}

/// Where a node is that is silent on the provisioning network. Whoever has a certificate and is on
/// neither network comes up on one of them: waiting for it on production alone would take a node
/// for lost that is late here.
async fn elsewhere(
    context: &Context,
    node: Identity,
    before: Option<&Enrolment>,
    silence: Refusal,
) -> Result<Found, Stop> {
    let certified = has_certificate(context, before)?;
    // An event about it may be forged, and a sweep's answer be from before its restart.
    let enrolled = before.is_some_and(|b| b.key.is_none() && b.enrolled_key.is_some());
    if !(certified || enrolled) || !confirm::answers(context, &node).await {
        return Err(silence.into());
    }
    if certified {
        return Ok(Found::Beyond(Restarted::resumed(context, node).await?));
    }
    match context.commit(&node, Act::StillEnrolled).await {
        Ok(_) => Ok(Found::Enrolled(Confirmed { node })),
        // Evicted at this moment: it is as silent as any other.
        Err(Stop::Held(State::Working)) => Err(silence.into()),
        Err(stop) => Err(stop),
    }
}

/// The reply to `jwt`, the first question to a node.
async fn first_answer(
    context: &Context,
    conversation: &mut Conversation,
    probe: &mut Probe,
) -> Result<NodeReply, Refusal> {
    let timeouts = &context.site.config.timeouts;
    let limit = probe
        .gate()
        .with(|figures| figures.limit(timeouts.probe, timeouts.node));
    let begin = Instant::now();
    let answer = conversation.ask(&Question::Jwt, limit).await;
    let reply = answer.map_err(|none| conversation.refusal(&Question::Jwt, limit, &none))?;
    probe.answered(begin.elapsed());
    Ok(reply)
}

async fn inventory(context: &Context, conversation: &mut Conversation) -> Result<Value, Refusal> {
    let config = &context.site.config;
    let question = Question::Inventory;
    let found = conversation
        .call(&question, config.timeouts.node, config.retry.attempts)
        .await?;
    judge::judge_inventory(found)
}

/// Its restart is in the ledger and it was not heard of since.
fn was_restarted(before: Option<&Enrolment>) -> bool {
    before.is_some_and(|b| {
        b.state == State::Working && matches!(b.step, Step::Restart | Step::Confirm)
    })
}

/// A certificate exists for it, whether or not it has it.
fn has_certificate(context: &Context, before: Option<&Enrolment>) -> Result<bool, Stop> {
    let Some(key) = before.and_then(|b| b.key.as_deref()) else {
        return Ok(false);
    };
    Ok(context.key(key)?.is_some_and(|key| key.issuance.is_some()))
}

impl Inspected {
    pub(crate) fn node(&self) -> &Identity {
        self.conversation.node()
    }
}
