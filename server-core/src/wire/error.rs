//! What can be wrong with a message.

use super::SignError;

/// Who has to change something for the message to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The sender of the message.
    Sender,
    /// This program or its configuration.
    Local,
}

/// Which layer of a message an error is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The outermost layer.
    Transport,
    /// The layer with the signature or hash.
    Secure,
    /// The request itself.
    Request,
    /// The reply itself.
    Reply,
    /// What an agent is called with.
    RpcRequest,
    /// What an agent answers.
    RpcReply,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Transport => "transport",
            Self::Secure => "secure layer",
            Self::Request => "request",
            Self::Reply => "reply",
            Self::RpcRequest => "call of the agent",
            Self::RpcReply => "answer of the agent",
        })
    }
}

/// Why a message was not read or not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// More bytes than allowed.
    #[error("the message has {size} bytes, more than the {limit} accepted")]
    TooLarge {
        /// Bytes received or made.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// JSON nested deeper than allowed.
    #[error("the {layer} is nested deeper than the {limit} levels accepted")]
    TooDeep {
        /// Where.
        layer: Layer,
        /// Levels allowed.
        limit: usize,
    },
    /// Not JSON, or not of the form of this layer.
    #[error("the {layer} is not valid: {detail}")]
    Json {
        /// Where.
        layer: Layer,
        /// What the parser says.
        detail: String,
    },
    /// A protocol id that is not the one of this layer.
    #[error("the {layer} names the protocol {found:?}, wanted {wanted:?}")]
    Protocol {
        /// Where.
        layer: Layer,
        /// What it should be.
        wanted: &'static str,
        /// What was there, shortened.
        found: String,
    },
    /// A field with a value outside of its rules.
    #[error("the {layer} has a bad {field}: {rule}")]
    Field {
        /// Where.
        layer: Layer,
        /// Which field.
        field: &'static str,
        /// The rule that was broken.
        rule: &'static str,
    },
    /// Text that should be standard base64 with padding.
    #[error("the {field} of the {layer} is not base64 of the standard alphabet with padding")]
    Base64 {
        /// Where.
        layer: Layer,
        /// Which field.
        field: &'static str,
    },
    /// The hash of a reply is not that of its text.
    #[error("the hash of the reply does not belong to its text: it was changed on its way")]
    Hash,
    /// More hops, filter entries or the like than allowed.
    #[error("the {layer} has more than the {limit} {what} accepted")]
    TooMany {
        /// Where.
        layer: Layer,
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// The agent payload is not UTF-8 and protocol 1 carries text only.
    #[error("the agent payload is not UTF-8 text; protocol 1 cannot carry it, encode it as base64")]
    NotText,
    /// The signer refused.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl WireError {
    /// Stable name of this kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "wire.too_large",
            Self::TooDeep { .. } => "wire.too_deep",
            Self::Json { .. } => "wire.json",
            Self::Protocol { .. } => "wire.protocol",
            Self::Field { .. } => "wire.field",
            Self::Base64 { .. } => "wire.base64",
            Self::Hash => "wire.hash",
            Self::TooMany { .. } => "wire.too_many",
            Self::NotText => "wire.not_text",
            Self::Sign(_) => "wire.sign",
        }
    }

    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotText | Self::Sign(_) => Fault::Local,
            _ => Fault::Sender,
        }
    }

    pub(crate) fn json(layer: Layer, error: &serde_json::Error) -> Self {
        Self::Json {
            layer,
            detail: error.to_string(),
        }
    }
}
