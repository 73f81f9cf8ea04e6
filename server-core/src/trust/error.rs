//! What can be wrong with keys and certificates, and why a request is not acted on.

use super::jwt::JwtError;
use crate::wire::{Fault, WireError};
use crate::words::CallerIdError;

/// A key, certificate or file of them cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Not PEM, or without a block of the wanted kind.
    #[error("no {wanted} in PEM form: {detail}")]
    Pem {
        /// What was looked for.
        wanted: &'static str,
        /// What was found instead.
        detail: String,
    },
    /// A certificate that cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// A key that cannot be read or used.
    #[error("the key cannot be used: {0}")]
    Key(String),
    /// A key of an algorithm that this use does not allow.
    #[error("{0}")]
    KeyAlgorithm(String),
    /// A private key that is not that of the certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// A certificate that does not lead to a trusted root, or is not valid now, or not for this use.
    #[error("the certificate is not trusted: {0}")]
    Chain(String),
    /// A pattern of caller names that is no regular expression.
    #[error("the caller pattern {pattern:?} is no regular expression: {detail}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        detail: String,
    },
    /// A TLS configuration that cannot be made.
    #[error("the TLS settings cannot be used: {0}")]
    Tls(String),
    /// Key agreement or password-protected PEM failed.
    #[error("the encrypted key cannot be used: {0}")]
    Ecdh(String),
}

impl TrustError {
    /// Stable name of this kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pem { .. } => "trust.pem",
            Self::Certificate(_) => "trust.certificate",
            Self::Key(_) => "trust.key",
            Self::KeyAlgorithm(_) => "trust.key_algorithm",
            Self::KeyMismatch => "trust.key_mismatch",
            Self::Chain(_) => "trust.chain",
            Self::Pattern { .. } => "trust.pattern",
            Self::Tls(_) => "trust.tls",
            Self::Ecdh(_) => "trust.ecdh",
        }
    }
}

/// Why a request is not acted on. It is dropped without a reply, so only this side ever learns the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// Its form is wrong.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its caller id is wrong.
    #[error(transparent)]
    CallerId(#[from] CallerIdError),
    /// It is not signed.
    #[error("the request of {caller:?} is not signed")]
    Unsigned {
        /// Who it claims to come from.
        caller: String,
    },
    /// Its certificate cannot be read.
    #[error("the certificate sent by {caller:?} cannot be read: {detail}")]
    Certificate {
        /// Who it claims to come from.
        caller: String,
        /// Why.
        detail: String,
    },
    /// Its certificate has a key that protocol 1 cannot verify with.
    #[error(
        "the certificate sent by {caller:?} has a key that is not RSA of 2048 to 8192 bits, as protocol 1 wants"
    )]
    KeyAlgorithm {
        /// Who it claims to come from.
        caller: String,
    },
    /// Its certificate is not trusted.
    #[error("the certificate sent by {caller:?} is not trusted: {detail}")]
    Chain {
        /// Who it claims to come from.
        caller: String,
        /// Why.
        detail: String,
    },
    /// Its token is not good.
    #[error("the token sent by {caller:?} is not accepted: {error}")]
    Token {
        /// Who it claims to come from.
        caller: String,
        /// Why.
        error: JwtError,
    },
    /// It is of a protocol that this node does not speak.
    #[error("the request of {caller:?} is of the other protocol than this node is configured for")]
    Protocol {
        /// Who it claims to come from.
        caller: String,
    },
    /// Its certificate or token belongs to somebody else.
    #[error("the caller {caller:?} sent a certificate or token of {names:?}")]
    Name {
        /// Who it claims to come from.
        caller: String,
        /// Whom the certificate names.
        names: Vec<String>,
    },
    /// Its caller is not on the list of allowed callers.
    #[error("the caller {caller:?} is not on the list of allowed callers")]
    NotAllowed {
        /// Who it comes from.
        caller: String,
    },
    /// Its signature is wrong.
    #[error("the signature of {caller:?} is wrong: {detail}")]
    Signature {
        /// Who it claims to come from.
        caller: String,
        /// What about it.
        detail: &'static str,
    },
}

impl Rejected {
    /// Stable name of this reason.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Wire(error) => error.code(),
            Self::CallerId(_) => "caller.form",
            Self::Unsigned { .. } => "caller.unsigned",
            Self::Certificate { .. } => "caller.certificate",
            Self::KeyAlgorithm { .. } => "caller.key_algorithm",
            Self::Chain { .. } => "caller.chain",
            Self::Token { .. } => "caller.token",
            Self::Protocol { .. } => "caller.protocol",
            Self::Name { .. } => "caller.name",
            Self::NotAllowed { .. } => "caller.not_allowed",
            Self::Signature { .. } => "caller.signature",
        }
    }

    /// Who is at fault.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Wire(error) => error.fault(),
            _ => Fault::Sender,
        }
    }
}
