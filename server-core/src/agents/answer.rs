//! What an agent is asked and what it answers.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::events::EventKind;
use crate::wire::rpc::{RpcReply, StatusCode};

/// One call as the agent sees it. Caller, sender and request id come from the verified envelope, never
/// from the body.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks, such as `choria=alice.mcollective`.
    pub caller: String,
    /// The request's id.
    pub request_id: String,
    /// The host the request was sent from.
    pub sender: String,
    /// The collective it was sent in.
    pub collective: String,
    /// The action; empty for agents that are not called by action.
    pub action: String,
    /// The arguments; null is the same as none.
    pub data: Value,
    /// The raw body, for agents that are not called by action.
    pub payload: Bytes,
}

impl Call {
    /// The arguments as a type. Undeclared arguments are ignored; missing ones are what the type makes
    /// of them (`#[serde(default)]`).
    ///
    /// # Errors
    /// An answer of code 4 that names the argument, ready to be returned.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T, Answer> {
        let data = match &self.data {
            Value::Null => Value::Object(serde_json::Map::new()),
            data => data.clone(),
        };
        serde_json::from_value(data).map_err(|error| {
            Answer::refused(
                StatusCode::InvalidData,
                format!("Could not parse request data for {}: {error}", self.action),
            )
        })
    }
}

/// An agent's answer, what is announced before it is sent, and what the node does after.
#[derive(Debug, Clone)]
#[must_use]
pub struct Answer {
    /// The reply itself.
    pub outcome: Outcome,
    /// A lifecycle event to publish before the reply.
    pub(crate) announce: Option<EventKind>,
    /// What the node does once the reply is on its way.
    pub(crate) next: Option<Next>,
}

/// The reply of an [`Answer`].
#[derive(Debug, Clone)]
pub enum Outcome {
    /// An RPC reply; its action is filled in by the runtime.
    Reply(RpcReply),
    /// A reply that is not of the RPC form.
    Raw(Bytes),
    /// No reply at all.
    Silent,
}

/// What a node does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Tear everything down after the delay and start again from storage.
    Restart(Duration),
    /// Stop for good after the delay.
    Shutdown(Duration),
}

impl Answer {
    /// Success with this data. Data that cannot be serialised becomes code 5.
    pub fn ok(data: impl Serialize) -> Self {
        match serde_json::to_value(data) {
            Ok(Value::Null) => {
                Self::reply(StatusCode::Ok, "OK", Value::Object(serde_json::Map::new()))
            }
            Ok(data) => Self::reply(StatusCode::Ok, "OK", data),
            Err(error) => Self::refused(StatusCode::UnknownError, error.to_string()),
        }
    }

    /// The action was tried and failed: code 1.
    pub fn aborted(message: impl Into<String>) -> Self {
        Self::refused(StatusCode::Aborted, message)
    }

    /// A failure of any code.
    pub fn refused(code: StatusCode, message: impl Into<String>) -> Self {
        Self::reply(code, message, Value::Object(serde_json::Map::new()))
    }

    /// A reply of any code with data.
    pub fn reply(code: StatusCode, message: impl Into<String>, data: Value) -> Self {
        Self::of(Outcome::Reply(RpcReply {
            action: String::new(),
            statuscode: code,
            statusmsg: message.into(),
            data,
        }))
    }

    /// A reply that is not of the RPC form.
    pub fn raw(payload: impl Into<Bytes>) -> Self {
        Self::of(Outcome::Raw(payload.into()))
    }

    /// No reply.
    pub fn silent() -> Self {
        Self::of(Outcome::Silent)
    }

    pub(crate) fn announcing(mut self, event: EventKind) -> Self {
        self.announce = Some(event);
        self
    }

    pub(crate) fn then(mut self, next: Next) -> Self {
        self.next = Some(next);
        self
    }

    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            announce: None,
            next: None,
        }
    }
}
