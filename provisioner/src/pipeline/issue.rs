//! Step 5 where nodes get server tokens: the hook decides and signs nothing, the issuer signs here.
//!
//! What is signed is fixed and committed before it is (`asked`), and the token before it leaves: signing
//! the recorded claims once more, after a kill or by another member, gives the same token. The hook may
//! be asked again at any time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use server_core::trust::jwt::ServerClaims;

use super::csr::Requested;
use super::{Context, Stop};
use crate::code::{Code, Refusal};
use crate::hook::{HookAnswer, HookRequest, Issued};
use crate::issuer::{Holder, TokenIssuer};
use crate::ledger::{Act, Issuance, KeyRecord};

/// Asks the hook for its decision.
pub(super) async fn consult(
    context: &Context,
    requested: &Requested,
    question: &HookRequest,
) -> Result<HookAnswer, Stop> {
    let hook = &context.site.hook;
    let _turn = Context::permit(&context.places.signing).await?;
    hook.admit().await.map_err(Refusal::from)?;
    context.still_on(requested.inspected.node())?;
    let answer = hook.decide(question, None).await;
    Ok(answer.map_err(Refusal::from)?)
}

/// Has the node's token signed and judged.
pub(super) async fn token(
    context: &Context,
    requested: &Requested,
    issued: Issued,
    target: Option<String>,
    issuer: &TokenIssuer,
) -> Result<Issuance, Stop> {
    issued.judge_upgrade()?;
    let node = requested.inspected.node();
    let public_key = requested.csr.ed25519.as_ref();
    let holder = Holder {
        identity: node.as_str(),
        public_key: public_key.map_or("", |reply| reply.public_key.as_str()),
    };
    let now = context.now();
    let (wanted, longest) = (issued.server_claims.as_ref(), issued.validity);
    let fresh = context.with_rng(|rng| issuer.prepare(holder, wanted, longest, now, rng))?;
    let claims = match recorded(&requested.record, now.as_second()) {
        Some(claims) if TokenIssuer::stands_by(&claims, &fresh) => claims,
        // They may be in a token by now: nothing else is signed for this key.
        Some(_) => {
            let says = "what was begun to be issued for this key is not what would be issued now \
                        (another issuer, or other rules); the node has to make a new key";
            return Err(Stop::with_new_key(Refusal::new(Code::IssuerToken, says)));
        }
        None => {
            let claims = fresh;
            let prepared = serde_json::to_vec(&claims)
                .map_err(|error| Refusal::new(Code::IssuerToken, error.to_string()))?;
            let act = Act::Asked {
                key: requested.key.clone(),
                by: "issuer".to_owned(),
                prepared: Some(prepared),
            };
            context.commit(node, act).await?;
            claims
        }
    };
    context.hold_at("asked").await;
    context.still_on(node)?;
    let token = issuer.issue(holder, &claims, now)?;
    Ok(Issuance {
        chain: String::new(),
        server_jwt: token.text().to_owned(),
        sealed_key: None,
        serial: token.id().to_owned(),
        not_after: Some(token.not_after()),
        target,
        ssldir: None,
        configuration: issued.configuration,
        action_policies: issued.action_policies,
        opa_policies: issued.opa_policies,
    })
}

/// Claims that a kill left unsigned, or signed and not recorded, unless they are over.
fn recorded(record: &KeyRecord, now: i64) -> Option<ServerClaims> {
    let prepared = record.open_ask()?.prepared.as_ref()?;
    let bytes = STANDARD.decode(prepared).ok()?;
    let claims: ServerClaims = serde_json::from_slice(&bytes).ok()?;
    let alive = claims.standard.expires().is_some_and(|end| end > now);
    alive.then_some(claims)
}
