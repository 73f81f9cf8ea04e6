//! Keys, certificates, tokens, and the verdict on a request.
//!
//! All cryptography is that of aws-lc-rs; OpenSSL only writes the password-protected PEM form of RFC 1423. A request
//! becomes a [`VerifiedRequest`] in one place, the [`Verifier`], and nothing else makes one.

mod callers;
pub mod chain;
pub mod ecdh;
mod error;
pub mod jwt;
mod keys;
mod members;
pub mod possession;
pub mod remembered;
mod signers;
pub mod tls;
mod verifier;

pub use callers::CallerRules;
pub use error::{Rejected, TrustError};
pub use keys::{CsrSubject, KeyAlgorithm, KeyPair};
pub use signers::{CertificateSigner, InsecureSigner, RegistrationSigner, TokenSigner};
pub use verifier::{VerifiedRequest, Verifier};

pub use crate::wire::{ReplySigner, RequestSigner, SignError, Signed};

/// Makes aws-lc-rs the process-wide cryptography of rustls; may be called any number of times.
///
/// The configurations of [`tls`] do not need it, libraries that build their own do.
pub fn install_crypto() {
    // A provider that is already there is the same one: the workspace has no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
