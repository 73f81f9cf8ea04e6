//! Why a hook gave no decision, and whether it may have signed all the same.

use std::time::Duration;

use crate::code::{Class, Code, Refusal};

/// Why a hook gave no decision; the code's class says what becomes of the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HookError {
    /// The stable code.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// How long whoever was asked wants to be left alone, where it said so.
    pub retry_after: Option<Duration>,
    /// Certain that nothing was signed: the question never left, or was turned away. The node's
    /// request may be asked for again; otherwise the node has to make a new key.
    pub unsigned: bool,
}

impl HookError {
    /// An error after which a certificate may exist.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal::new(code, message).into()
    }

    /// An error after which there surely is no certificate.
    pub fn unsent(code: Code, message: impl Into<String>) -> Self {
        Self {
            unsigned: true,
            ..Self::new(code, message)
        }
    }

    /// The same, not to be tried again before this time has passed.
    #[must_use]
    pub const fn after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause;
        self
    }

    /// What it means for the node.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.code.class()
    }
}

impl From<Refusal> for HookError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code,
            message: refusal.message,
            retry_after: refusal.retry_after,
            unsigned: false,
        }
    }
}

impl From<HookError> for Refusal {
    fn from(error: HookError) -> Self {
        Self::new(error.code, error.message).after(error.retry_after)
    }
}
