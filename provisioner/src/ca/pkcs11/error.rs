//! Why a token does not sign, said for whoever has to repair it.

use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

use crate::code::{Code, Refusal};

/// Why a token does not sign. None of them holds a PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The library cannot be used.
    #[error("the PKCS #11 library {} cannot be used: {why}", path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// What it said.
        why: String,
    },
    /// No token, or more than one.
    #[error("{wanted} is {found}")]
    Token {
        /// The URI's words for it.
        wanted: String,
        /// Which tokens there are.
        found: String,
    },
    /// The PIN is missing, wrong, or no longer taken.
    #[error("the token {token} {why}")]
    Pin {
        /// Its label.
        token: String,
        /// What is wrong.
        why: String,
    },
    /// The key is not there, or cannot be used.
    #[error("the private key {key} {why}")]
    Key {
        /// The URI's words for it.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// All sessions are in use, and none became free in time.
    #[error(
        "all {0} sessions with the token are busy; it signs slower than certificates are asked for"
    )]
    Busy(usize),
    /// The token or its library failed.
    #[error("the token failed: {0}")]
    Failed(String),
}

impl TokenError {
    /// While the service runs: the token may be back soon, so nodes are put off.
    #[must_use]
    pub fn for_now(&self) -> Refusal {
        Refusal::new(Code::CaUnavailable, self.to_string())
    }

    /// At the start: somebody has to repair it.
    #[must_use]
    pub fn for_good(&self) -> Refusal {
        Refusal::new(Code::CaConfig, self.to_string())
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        Self::Failed(said(&error))
    }
}

/// What the library said, by the name the standard gives it. The standard's own explanations are
/// whole paragraphs.
pub(super) fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(value, function) => format!("C_{function:?} answered {value:?}"),
        Error::LibraryLoading(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The answer of the library, where it gave one.
pub(super) const fn answer(error: &Error) -> Option<RvError> {
    match error {
        Error::Pkcs11(value, _) => Some(*value),
        _ => None,
    }
}
