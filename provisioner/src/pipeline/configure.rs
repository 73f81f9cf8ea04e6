//! Step 6, `configure`: certificate, trust anchors, settings and policies are sent.
//!
//! Until the request leaves, a second answer in the node's name stops the
//! enrolment. The node's `provisioned` event comes before its reply and stands
//! for it where the reply is lost. Sending the same again does no harm.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use server_core::trust::RequestSigner as _;
use tokio::sync::OwnedSemaphorePermit;

use super::ask::{Conversation, NoAnswer};
use super::question::Question;
use super::sign::Signed;
use super::signals::Watch;
use super::{Context, Stop};
use crate::code::{Code, Refusal};
use crate::judge::CsrReply;
use crate::judge::configuration::{self, JudgedConfiguration};
use crate::ledger::{Act, Evidence, Issuance};
use crate::placement::Target;
use crate::site::Issues;
use crate::template::Scope;

/// A node that has what it needs for production.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) conversation: Conversation,
    pub(crate) watch: Watch,
    pub(crate) place: OwnedSemaphorePermit,
}

/// Sends the node its configuration.
pub(crate) async fn run(context: &Context, signed: Signed) -> Result<Configured, Stop> {
    let Signed {
        requested,
        issuance,
    } = signed;
    let ssldir = folder(&requested.csr, &issuance)?;
    let inspected = *requested.inspected;
    let node = inspected.node().clone();
    let scope = Scope {
        identity: node.as_str(),
        ssldir: &ssldir,
        inventory: &inspected.inventory,
        claims: &public(inspected.claims.clone()),
        target: target(context, &issuance)?,
    };
    let judged = settings(context, &issuance, scope)?;
    let question = Question::Configure(Box::new(request(context, &issuance, &ssldir, &judged)?));

    let mut conversation = inspected.conversation;
    conversation.check()?;
    let mut watch = context.signals.watch(&node);
    context.hold_at("signed").await;
    let by = send(context, &mut conversation, &mut watch, &question).await?;
    let says = format!("{} settings, {}", judged.settings().len(), by.says());
    context.note(&node, Act::Configured { says }).await?;
    Ok(Configured {
        conversation,
        watch,
        place: inspected.place,
    })
}

/// Where the node keeps its TLS files, or its server token.
fn folder(reply: &CsrReply, issuance: &Issuance) -> Result<String, Refusal> {
    let own = match &reply.ed25519 {
        Some(reply) => &reply.directory,
        None => &reply.ssldir,
    };
    let own = Some(own.clone()).filter(|folder| !folder.is_empty());
    own.or_else(|| issuance.ssldir.clone()).ok_or_else(|| {
        let says = "neither the node nor the hook names a folder for its TLS files (ssldir) or its \
                    server token (directory)";
        Refusal::new(Code::RpcProtocol, says)
    })
}

async fn send(
    context: &Context,
    conversation: &mut Conversation,
    watch: &mut Watch,
    question: &Question,
) -> Result<Evidence, Stop> {
    let limit = context.site.config.timeouts.node;
    let mut left = context.site.config.retry.attempts;
    let node = conversation.node().clone();
    loop {
        context.still_on(&node)?;
        match conversation.ask(question, limit).await {
            Ok(reply) => {
                conversation.read(question, &reply)?;
                return Ok(Evidence::Reply);
            }
            Err(_) if watch.seen().provisioned => return Ok(Evidence::Event),
            Err(NoAnswer::Silent { .. }) if left > 0 => left -= 1,
            Err(none) => return Err(conversation.refusal(question, limit, &none).into()),
        }
    }
}

/// Claims without what a node's settings must not repeat.
fn public(mut claims: Value) -> Value {
    if let Some(claims) = claims.as_object_mut() {
        claims.remove("cht");
        claims.remove("chpwd");
    }
    claims
}

/// The target a node was placed at when its certificate was signed.
fn target<'c>(context: &'c Context, issuance: &Issuance) -> Result<Option<&'c Target>, Refusal> {
    let Some(name) = &issuance.target else {
        return Ok(None);
    };
    let found = context.site.config.placement.targets.get(name);
    found.map(Some).ok_or_else(|| {
        let says = format!(
            "it was placed at {name}, and there is no [placement.targets.{name}] any more; put \
             that back, or evict the node and let it be placed anew"
        );
        Refusal::new(Code::PlacementNone, says)
    })
}

/// The hook's settings or the templates', judged.
fn settings(
    context: &Context,
    issuance: &Issuance,
    scope: Scope<'_>,
) -> Result<JudgedConfiguration, Refusal> {
    let templates = &context.site.templates;
    let settings = match &issuance.configuration {
        Some(given) => {
            let mut settings = templates.target_settings(scope)?;
            settings.extend(given.clone());
            settings
        }
        None => templates.settings(scope)?,
    };
    let mut policies = templates.policies(scope)?;
    policies.extend(issuance.action_policies.clone());
    if context.site.config.renewal.is_some() {
        // Without it a node would not let itself be asked back.
        let policy = policies.entry("choria_provision.policy".to_owned());
        policy.or_insert_with(|| {
            let caller = context.site.signer.caller();
            format!("policy default deny\nallow\t{caller}\treprovision\t*\t*\n")
        });
    }
    let opa = issuance.opa_policies.clone();
    configuration::judge(scope.identity, settings, policies, opa)
}

/// The ten keys of `configure`, always all of them, in alphabetical order.
fn request(
    context: &Context,
    issuance: &Issuance,
    ssldir: &str,
    judged: &JudgedConfiguration,
) -> Result<Value, Refusal> {
    let config = text(judged.settings())?;
    let sealed = issuance.sealed_key.as_ref();
    // A node writes TLS files only where it gets all of certificate, anchors and folder.
    let (ca, ssldir) = match &context.site.issues {
        Issues::Certificates(held) => (held.trust.anchors_pem(), ssldir),
        Issues::Tokens(_) => (String::new(), ""),
    };
    Ok(json!({
        "action_policies": judged.action_policies(),
        "ca": ca,
        "certificate": issuance.chain,
        "config": config,
        "ecdh_public": sealed.map_or("", |key| key.ours.as_str()),
        "key": sealed.map_or("", |key| key.pem.as_str()),
        "opa_policies": judged.opa_policies(),
        "server_jwt": issuance.server_jwt,
        "ssldir": ssldir,
        "token": context.site.node_token.reveal(),
    }))
}

fn text(settings: &BTreeMap<String, String>) -> Result<String, Refusal> {
    let bytes = server_core::wire::to_go_json(settings);
    let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Refusal::new(Code::ConfigValue, "the settings cannot be written as JSON"))
}
