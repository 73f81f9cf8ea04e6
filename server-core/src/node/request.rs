//! One request: from bytes to a verdict, from the verdict to an answer, from the answer to bytes.
//!
//! The order is the original's: form and signature, filter, collective, time to live, agent, policy.
//! Whatever is refused before the agent is known stays unanswered.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::life::Core;
use super::observer::NodeEvent;
use super::plan::Authorization;
use crate::agents::{Agent, AgentContext, Answer, Call, Next, Outcome, count};
use crate::bus::Bus;
use crate::events::{Event, EventKind, Format};
use crate::trust::VerifiedRequest;
use crate::wire::rpc::{RpcReply, RpcRequest, StatusCode};
use crate::wire::{FilterVerdict, Protocol, Reply, encode_reply, encode_signed_reply};
use crate::words::subject::is_publishable;

/// A request this node acts on.
pub(super) struct Accepted {
    pub(super) request: Arc<VerifiedRequest>,
    pub(super) agent: Arc<dyn Agent>,
}

/// A call that has come to an end.
pub(super) struct Finished {
    request: Arc<VerifiedRequest>,
    agent: Arc<dyn Agent>,
    action: String,
    answer: Answer,
}

/// Decides whether a message is acted on; the word for the reason otherwise.
pub(super) fn judge(core: &Core, payload: &Bytes) -> Result<Accepted, &'static str> {
    let counters = &core.node.counters;
    count(&counters.total);
    let refuse = |counter: &AtomicU64, code: &'static str| {
        count(counter);
        Err(code)
    };
    let request = match core.verifier.verify(payload, &core.limits) {
        Ok(request) => request,
        Err(rejected) => {
            tracing::debug!(node = %core.node.identity, code = rejected.code(), %rejected, "request refused");
            return refuse(&counters.unvalidated, rejected.code());
        }
    };
    match request.matches(&core.node) {
        FilterVerdict::Match => count(&counters.passed),
        FilterVerdict::NoMatch => return refuse(&counters.filtered, "request.filtered"),
        FilterVerdict::Unsupported(expression) => {
            tracing::info!(node = %core.node.identity, expression,
                "a request with a compound filter stays unanswered: compound filters match nothing");
            return refuse(&counters.compound, "request.compound");
        }
    }
    let asked = &request.request;
    let member = |name: &str| core.node.collectives.iter().any(|one| one.as_str() == name);
    if !member(&asked.collective) {
        return refuse(&counters.unvalidated, "request.collective");
    }
    if !asked.is_current(core.node.clock.unix()) {
        return refuse(&counters.ttlexpired, "request.expired");
    }
    count(&counters.validated);
    match core.node.agents.get(&asked.agent) {
        Some(agent) => Ok(Accepted {
            agent: Arc::clone(agent),
            request,
        }),
        None => refuse(&counters.unknown_agent, "request.agent"),
    }
}

/// Runs the call to its end, or to its agent's timeout.
pub(super) async fn execute(core: Arc<Core>, accepted: Accepted, busy: bool) -> Finished {
    let Accepted { request, agent } = accepted;
    let (action, answer) = match prepare(&core, &request, agent.as_ref(), busy) {
        Err((action, refusal)) => (action, refusal),
        Ok(call) => {
            let context = AgentContext::new(&core.node);
            let limit = agent.metadata().limit();
            match tokio::time::timeout(limit, agent.handle(&context, &call)).await {
                Ok(answer) => (call.action, answer),
                Err(_) => {
                    count(&core.node.counters.timeouts);
                    tracing::warn!(node = %core.node.identity, agent = agent.metadata().name,
                        action = call.action, "a call was given up at its agent's timeout");
                    (call.action, Answer::silent())
                }
            }
        }
    };
    Finished {
        request,
        agent,
        action,
        answer,
    }
}

/// Reads the body, and asks the policies before any agent code runs.
fn prepare(
    core: &Core,
    request: &VerifiedRequest,
    agent: &dyn Agent,
    busy: bool,
) -> Result<Call, (String, Answer)> {
    let asked = &request.request;
    let name = &agent.metadata().name;
    let mut call = Call {
        caller: asked.caller.clone(),
        request_id: asked.id.clone(),
        sender: asked.sender.clone(),
        collective: asked.collective.clone(),
        action: String::new(),
        data: serde_json::Value::Null,
        payload: asked.payload.clone(),
    };
    if busy {
        count(&core.node.counters.busy);
    }
    if agent.metadata().actions.is_empty() {
        return match busy {
            true => Err((String::new(), Answer::silent())),
            false => Ok(call),
        };
    }
    let body = RpcRequest::parse(&asked.payload, &core.limits).map_err(|error| {
        let message = format!("Could not process request: {error}");
        (
            String::new(),
            Answer::refused(StatusCode::InvalidData, message),
        )
    })?;
    if !agent.metadata().actions.contains(&body.action) {
        let message = format!("Unknown action {} for agent {name}", body.action);
        let refusal = Answer::refused(StatusCode::UnknownAction, message);
        return Err((body.action, refusal));
    }
    if body.agent != *name || !authorized(core, agent, &asked.caller, &body.action) {
        count(&core.node.counters.denied);
        let refusal = "You are not authorized to call this agent or action";
        return Err((body.action, Answer::aborted(refusal)));
    }
    if busy {
        let depth = core.depth;
        let refusal = Answer::aborted(format!("busy: {depth} requests are under way"));
        return Err((body.action, refusal));
    }
    call.action = body.action;
    call.data = body.data;
    Ok(call)
}

fn authorized(core: &Core, agent: &dyn Agent, caller: &str, action: &str) -> bool {
    match &core.authorization {
        Authorization::Off => true,
        Authorization::Policy { .. } if !agent.authorized_by_policy() => true,
        Authorization::Policy { policies, fallback } => policies.allow(
            &agent.metadata().name,
            fallback.as_deref(),
            caller,
            action,
            &core.node,
        ),
    }
}

impl Finished {
    /// Publishes the announcement and the reply, and returns what was promised.
    pub(super) async fn publish(self, core: &Core, bus: &dyn Bus) -> Option<Next> {
        let Answer {
            outcome,
            announce,
            next,
        } = self.answer;
        if let Some(kind) = announce {
            publish_event(core, bus, kind).await;
        }
        let (payload, code) = match outcome {
            Outcome::Silent => return next,
            Outcome::Raw(payload) => (Ok(payload), None),
            Outcome::Reply(mut reply) => {
                reply.action = self.action;
                observe(core, &self.agent, &reply);
                (reply.encode().map(Bytes::from), Some(reply.statuscode))
            }
        };
        let sent = match payload {
            Ok(payload) => send(core, bus, &self.request, payload).await,
            Err(error) => Err(error.to_string()),
        };
        match sent {
            Ok(()) => {
                count(&core.node.counters.replies);
                core.tell(NodeEvent::Answered {
                    agent: Arc::from(self.agent.metadata().name.as_str()),
                    code,
                });
            }
            Err(why) => {
                count(&core.node.counters.unanswered);
                tracing::warn!(node = %core.node.identity, request = self.request.request.id, why,
                    "an answer could not be sent");
            }
        }
        if let Some(next) = next {
            // What was promised comes after the answer has left this process.
            let _ = bus.flush().await;
            if let Next::Restart(after) = next {
                core.tell(NodeEvent::Restarting { after });
            }
        }
        next
    }
}

/// Enrolment's milestones, told to whoever observes.
fn observe(core: &Core, agent: &Arc<dyn Agent>, reply: &RpcReply) {
    if agent.metadata().name == "choria_provision" && reply.statuscode == StatusCode::Ok {
        match reply.action.as_str() {
            "gencsr" | "gen25519" => core.tell(NodeEvent::CsrMade),
            "configure" => core.tell(NodeEvent::Configured),
            _ => {}
        }
    }
}

async fn send(
    core: &Core,
    bus: &dyn Bus,
    request: &VerifiedRequest,
    payload: Bytes,
) -> Result<(), String> {
    // Only the transport header says where answers go, and a stranger may have written it.
    let reply_to = request.headers.reply_to.as_deref().unwrap_or_default();
    if !is_publishable(reply_to) {
        return Err("the request has no usable reply-to".to_owned());
    }
    let asked = &request.request;
    let identity = core.node.identity.as_str();
    let reply = Reply {
        request_id: asked.id.clone(),
        sender: identity.to_owned(),
        agent: asked.agent.clone(),
        time: core.node.clock.unix(),
        payload,
    };
    let headers = request.headers.for_reply(identity, &bus.server());
    let encoded = match (request.protocol, &core.credential) {
        (Protocol::V2, Some(credential)) => {
            encode_signed_reply(&reply, &headers, credential.as_ref())
        }
        (protocol, _) => encode_reply(&reply, protocol, &headers),
    };
    let encoded = encoded.map_err(|error| error.to_string())?;
    let published = bus.publish(reply_to, encoded).await;
    published.map_err(|error| error.to_string())
}

/// Publishes a lifecycle event; false when it could not be sent.
pub(super) async fn publish_event(core: &Core, bus: &dyn Bus, kind: EventKind) -> bool {
    let node = &core.node;
    let event = Event::new(
        node.identity.clone(),
        node.mode.component(),
        kind,
        node.clock.unix(),
    );
    publish_as_is(core, bus, &event).await
}

/// The same for an event made earlier.
pub(super) async fn publish_as_is(core: &Core, bus: &dyn Bus, event: &Event) -> bool {
    let format = match core.node.conf.flag("plugin.choria.legacy_lifecycle_format") {
        Some(true) => Format::Bare,
        _ => Format::CloudEvents,
    };
    let sent = match event.encode(format) {
        Ok(bytes) => bus
            .publish(&event.subject(), bytes.into())
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match sent {
        Ok(()) => {
            count(&core.node.counters.events);
            true
        }
        Err(why) => {
            tracing::warn!(node = %core.node.identity, event = event.kind.name(), why,
                "a lifecycle event could not be sent");
            false
        }
    }
}
