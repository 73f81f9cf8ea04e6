//! Why a node cannot run, and whose fault it is.

use crate::bus::BusError;
use crate::server_conf::ConfError;
use crate::storage::StorageError;
use crate::trust::TrustError;
use crate::trust::jwt::JwtError;

/// Why a node ended. [`NodeError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The program that built the node asked for something impossible.
    #[error("the node's settings are not usable: {0}")]
    Settings(String),
    /// A file cannot be read.
    #[error("the node's storage fails: {0}")]
    Storage(#[from] StorageError),
    /// The node was configured with a value it cannot use.
    #[error("the node's configuration is not usable: {0}")]
    Conf(#[from] ConfError),
    /// The provisioning token the node was shipped with is damaged.
    #[error("{path} is no provisioning token: {error}; ship the node with a new one")]
    Token {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: JwtError,
    },
    /// There is neither a configuration nor a token.
    #[error(
        "nothing to start from: neither {conf} nor {token} exists; ship the node with a provisioning \
         token or configure it"
    )]
    Nothing {
        /// The configuration's path.
        conf: String,
        /// The token's path.
        token: String,
    },
    /// Nobody said which broker to use.
    #[error("no broker is named: {0}")]
    NoBroker(String),
    /// A certificate, key or CA bundle is missing or wrong: the enrolment was not completed.
    #[error("the production network needs valid TLS files: {path}: {why}; enrol the node again")]
    Tls {
        /// The file at fault.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server token or the seed of its key is missing, wrong or out of date.
    #[error(
        "the production network needs a valid server token and the seed of its key: {path}: {why}; \
         enrol the node again"
    )]
    Credential {
        /// The file at fault.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The pattern of a caller rule does not compile.
    #[error("the node's caller rules are not usable: {0}")]
    Rules(TrustError),
    /// The configuration asks for something this node does not do.
    #[error("{0} is not supported by this node")]
    Unsupported(String),
    /// The network or a broker.
    #[error("the network fails: {0}")]
    Network(#[from] BusError),
}

impl NodeError {
    /// A stable word for logs and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) => "node.settings",
            Self::Storage(_) => "node.storage",
            Self::Conf(_) => "node.conf",
            Self::Token { .. } => "node.token",
            Self::Nothing { .. } => "node.nothing",
            Self::NoBroker(_) => "node.no_broker",
            Self::Tls { .. } => "node.tls",
            Self::Credential { .. } => "node.credential",
            Self::Rules(_) => "node.rules",
            Self::Unsupported(_) => "node.unsupported",
            Self::Network(error) => error.code(),
        }
    }
}
