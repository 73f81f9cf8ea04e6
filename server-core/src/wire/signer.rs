//! The seam through which requests get their signature.

use std::sync::Arc;

use super::Protocol;

/// A signature and what is needed to verify it, as texts ready for the secure layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The `signature` field: base64, or the literal word of an unsigned request.
    pub signature: String,
    /// Who signed, for the `pubcert` field of protocol 1: the PEM text of the signer's certificate, or the literal word
    /// of an unsigned request; for the `caller` field of protocol 2: the signer's token.
    pub pubcert: Arc<str>,
}

/// The signer could not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request could not be signed: {0}")]
pub struct SignError(pub String);

/// Signs requests for one caller.
pub trait RequestSigner: Send + Sync {
    /// The caller id which this signer may sign for.
    fn caller(&self) -> &str;

    /// The protocol in which it signs.
    fn protocol(&self) -> Protocol {
        Protocol::V1
    }

    /// Signs the exact bytes of a request.
    ///
    /// # Errors
    /// When the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Signed, SignError>;
}

impl<T: RequestSigner + ?Sized> RequestSigner for Arc<T> {
    fn caller(&self) -> &str {
        (**self).caller()
    }

    fn protocol(&self) -> Protocol {
        (**self).protocol()
    }

    fn sign(&self, message: &[u8]) -> Result<Signed, SignError> {
        (**self).sign(message)
    }
}

/// Signs replies of protocol 2 for one node.
pub trait ReplySigner {
    /// The node's token.
    fn token(&self) -> &str;

    /// Signs the exact bytes of a reply.
    ///
    /// # Errors
    /// When the key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}
