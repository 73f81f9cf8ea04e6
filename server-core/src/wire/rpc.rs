//! The calls of agents and their answers: the payload of requests and replies.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::Layer;
use super::json::read;
use super::{Limits, WireError, to_go_json};

/// How a call ended. Codes 0 and 1 carry usable data, the others are refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StatusCode {
    /// Done.
    Ok = 0,
    /// The action ran and failed, or was not allowed to run.
    Aborted = 1,
    /// No such action.
    UnknownAction = 2,
    /// An input is missing.
    MissingData = 3,
    /// An input, or the call as a whole, is not valid.
    InvalidData = 4,
    /// Anything else.
    UnknownError = 5,
}

impl StatusCode {
    /// The code of a number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Ok,
            1 => Self::Aborted,
            2 => Self::UnknownAction,
            3 => Self::MissingData,
            4 => Self::InvalidData,
            5 => Self::UnknownError,
            _ => return None,
        })
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl Serialize for StatusCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::from_number(number).ok_or_else(|| {
            serde::de::Error::custom(format_args!("status code {number} is none of 0 to 5"))
        })
    }
}

/// A call of an agent's action.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RpcRequest {
    /// The agent; must equal the agent of the request around it.
    pub agent: String,
    /// The action.
    pub action: String,
    /// The inputs; absent and `null` are read as an empty object.
    pub data: Value,
}

impl RpcRequest {
    /// A call with these inputs; `null` becomes an empty object.
    #[must_use]
    pub fn new(agent: impl Into<String>, action: impl Into<String>, data: Value) -> Self {
        Self {
            agent: agent.into(),
            action: action.into(),
            data: object_unless_null(data),
        }
    }

    /// Reads a call. Keys count in their exact spelling and once; unknown keys are ignored.
    ///
    /// # Errors
    /// When it is not JSON of this form or nested too deep.
    pub fn parse(payload: &[u8], limits: &Limits) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            agent: Cow<'a, str>,
            #[serde(borrow)]
            action: Cow<'a, str>,
            #[serde(default)]
            data: Value,
        }
        let body: Body<'_> = read(Layer::RpcRequest, payload, limits.max_depth)?;
        Ok(Self::new(body.agent, body.action, body.data))
    }

    /// Writes the call.
    ///
    /// # Errors
    /// When the inputs cannot be JSON.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        to_go_json(self).map_err(|error| WireError::json(Layer::RpcRequest, &error))
    }
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RpcReply {
    /// The action that was called; empty when the call could not be read.
    pub action: String,
    /// How it ended.
    pub statuscode: StatusCode,
    /// `OK`, or what went wrong.
    pub statusmsg: String,
    /// The outputs. `null` and the text `{}`, which some agents send, are read as an empty object.
    pub data: Value,
}

impl RpcReply {
    /// A successful answer.
    #[must_use]
    pub fn ok(action: impl Into<String>, data: Value) -> Self {
        Self {
            action: action.into(),
            statuscode: StatusCode::Ok,
            statusmsg: "OK".to_owned(),
            data: object_unless_null(data),
        }
    }

    /// An answer without data.
    #[must_use]
    pub fn failed(action: impl Into<String>, code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            statuscode: code,
            statusmsg: message.into(),
            data: Value::Object(Map::new()),
        }
    }

    /// Whether the data can be used: code 0 or 1.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.statuscode <= StatusCode::Aborted
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// When it is not JSON of this form, nested too deep, or has an unknown status code.
    pub fn parse(payload: &[u8], limits: &Limits) -> Result<Self, WireError> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            action: Cow<'a, str>,
            statuscode: StatusCode,
            #[serde(borrow)]
            statusmsg: Cow<'a, str>,
            #[serde(default)]
            data: Value,
        }
        let body: Body<'_> = read(Layer::RpcReply, payload, limits.max_depth)?;
        Ok(Self {
            action: body.action.into_owned(),
            statuscode: body.statuscode,
            statusmsg: body.statusmsg.into_owned(),
            data: match body.data {
                Value::String(text) if text == "{}" => Value::Object(Map::new()),
                other => object_unless_null(other),
            },
        })
    }

    /// Writes the answer.
    ///
    /// # Errors
    /// When the outputs cannot be JSON.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        to_go_json(self).map_err(|error| WireError::json(Layer::RpcReply, &error))
    }
}

/// How a call ended, read without its data: for counting many large answers.
///
/// # Errors
/// As [`RpcReply::parse`].
pub fn status_of(payload: &[u8], limits: &Limits) -> Result<StatusCode, WireError> {
    #[derive(Deserialize)]
    struct Status {
        statuscode: StatusCode,
    }
    read::<Status>(Layer::RpcReply, payload, limits.max_depth).map(|status| status.statuscode)
}

fn object_unless_null(data: Value) -> Value {
    match data {
        Value::Null => Value::Object(Map::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits() -> Limits {
        Limits::default()
    }

    #[test]
    fn absent_and_null_inputs_are_an_empty_object() {
        for body in [
            r#"{"agent":"a","action":"b"}"#,
            r#"{"agent":"a","action":"b","data":null}"#,
            r#"{"agent":"a","action":"b","data":{},"caller":"choria=root"}"#,
        ] {
            let call = RpcRequest::parse(body.as_bytes(), &limits()).unwrap();
            assert_eq!(call, RpcRequest::new("a", "b", json!({})), "{body}");
            assert_eq!(
                call.encode().unwrap(),
                br#"{"agent":"a","action":"b","data":{}}"#
            );
        }
    }

    #[test]
    fn keys_count_once_and_in_their_exact_spelling() {
        for body in [
            r#"{"Agent":"a","action":"b"}"#,
            r#"{"agent":"a","action":"x","action":"b"}"#,
            r#"{"agent":"a"}"#,
            r#"["a","b"]"#,
            "",
            "not json",
        ] {
            let error = RpcRequest::parse(body.as_bytes(), &limits()).unwrap_err();
            assert_eq!(error.code(), "wire.json", "{body}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let body = |n: usize| {
            let data = format!("{}{}", "[".repeat(n), "]".repeat(n));
            format!(r#"{{"agent":"a","action":"b","data":{data}}}"#).into_bytes()
        };
        assert!(RpcRequest::parse(&body(63), &limits()).is_ok());
        let error = RpcRequest::parse(&body(64), &limits()).unwrap_err();
        assert_eq!(error.code(), "wire.too_deep");
        let unlimited = Limits {
            max_depth: usize::MAX,
            ..limits()
        };
        assert!(RpcRequest::parse(&body(100_000), &unlimited).is_err());
    }

    #[test]
    fn all_forms_of_empty_data_are_read_alike() {
        for data in ["null", "{}", r#""{}""#] {
            let body = format!(r#"{{"action":"a","statuscode":1,"statusmsg":"no","data":{data}}}"#);
            let reply = RpcReply::parse(body.as_bytes(), &limits()).unwrap();
            assert_eq!(reply, RpcReply::failed("a", StatusCode::Aborted, "no"));
            assert!(reply.has_data());
            assert_eq!(
                status_of(body.as_bytes(), &limits()),
                Ok(StatusCode::Aborted)
            );
        }
        let odd = br#"{"action":"a","statuscode":6,"statusmsg":"","data":{}}"#;
        assert!(RpcReply::parse(odd, &limits()).is_err());
    }
}
