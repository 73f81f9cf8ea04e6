//! Private keys that never leave their token: smart cards, hardware security modules, SoftHSM,
//! through PKCS #11 (OASIS, version 2.40 and later).
//!
//! [`KeyUri`] says which key, `module` loads the library and finds the token, `sessions` keeps a
//! few logged-in sessions and makes new ones when a token was away, `make` makes a key where there
//! is none. [`TokenKey`] is what signs.

use std::path::PathBuf;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use cryptoki::mechanism::Mechanism;
use der::asn1::UintRef;
use der::{Decode as _, Encode as _};
use rcgen::{PublicKeyData, SignatureAlgorithm};
use x509_cert::spki::SubjectPublicKeyInfoRef;

mod error;
mod make;
mod module;
mod sessions;
mod uri;

pub use error::TokenError;
pub use make::{MadeKey, find_or_make};
use sessions::Sessions;
pub use uri::KeyUri;

use crate::judge::KeyKind;
use crate::judge::key::PublicKey;
use crate::secret::Secret;

/// What is signed to see that a key in a token is a certificate's. It is no certificate.
const PROBE: &[u8] = b"muster: whether this private key belongs to its certificate";

/// Which key in which token, and how it is used.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// Which key.
    pub uri: KeyUri,
    /// What opens the token.
    pub pin: Pin,
    /// The most sessions that are open at once.
    pub sessions: usize,
}

impl TokenSettings {
    /// A key, and what opens its token: the given PIN, or the one in the URI's `pin-source`.
    ///
    /// # Errors
    /// When there are two.
    pub fn new(uri: KeyUri, pin: Pin, sessions: usize) -> Result<Self, String> {
        let pin = match (pin, uri.pin_file()) {
            (Pin::None, Some(file)) => Pin::File(file.to_owned()),
            (pin, None) => pin,
            (_, Some(_)) => {
                return Err(
                    "names a PIN by `pin-source`, and there is another; keep one".to_owned(),
                );
            }
        };
        Ok(Self { uri, pin, sessions })
    }
}

/// Where the PIN of a token comes from.
#[derive(Clone, Debug)]
pub enum Pin {
    /// The first line of a file, read again for each login.
    File(PathBuf),
    /// The PIN itself.
    Text(Secret),
    /// None: the token has none, or asks for it on a keypad of its own.
    None,
}

/// A private key in a token.
#[derive(Debug)]
pub struct TokenKey {
    sessions: Sessions,
    kind: KeyKind,
    algorithm: &'static SignatureAlgorithm,
    /// The public key, as it stands in the bit string of its `SubjectPublicKeyInfo`.
    public: Vec<u8>,
}

impl TokenKey {
    /// Logs in, and has the key sign once to see that it belongs to this public key (DER
    /// `SubjectPublicKeyInfo`, RFC 5280 §4.1.2.7).
    ///
    /// # Errors
    /// Why the token cannot be used, or the key is another one.
    pub fn open(settings: &TokenSettings, spki: &[u8]) -> Result<Self, TokenError> {
        let unusable = |why: String| TokenError::Key {
            key: settings.uri.to_string(),
            why,
        };
        let spki = SubjectPublicKeyInfoRef::from_der(spki)
            .map_err(|error| unusable(format!("belongs to no public key: {error}")))?;
        let public = PublicKey::judge(spki).map_err(|refusal| unusable(refusal.message))?;
        let (algorithm, verification): (_, &'static dyn VerificationAlgorithm) = match public.kind {
            KeyKind::P256 => (
                &rcgen::PKCS_ECDSA_P256_SHA256,
                &signature::ECDSA_P256_SHA256_ASN1,
            ),
            KeyKind::P384 => (
                &rcgen::PKCS_ECDSA_P384_SHA384,
                &signature::ECDSA_P384_SHA384_ASN1,
            ),
            KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => (
                &rcgen::PKCS_RSA_SHA256,
                &signature::RSA_PKCS1_2048_8192_SHA256,
            ),
            KeyKind::Ed25519 => {
                return Err(unusable(
                    "is Ed25519, which is not used in tokens; take P-256, P-384 or RSA".to_owned(),
                ));
            }
        };
        let key = Self {
            sessions: Sessions::new(settings.clone()),
            kind: public.kind,
            algorithm,
            public: public.bytes.to_vec(),
        };
        let signed = key.sign(PROBE)?;
        UnparsedPublicKey::new(verification, &key.public)
            .verify(PROBE, &signed)
            .map_err(|_| unusable("is not the certificate's".to_owned()))?;
        Ok(key)
    }

    /// The signature over a message, in the form of certificates. Waits for a free session and
    /// for the token; logs in again where the token was away.
    ///
    /// # Errors
    /// Why there is none; it may be asked for again.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        match self.kind {
            // Hashed here: not every token can, and all of them take a hash.
            KeyKind::P256 => self.ecdsa(&digest::SHA256, message),
            KeyKind::P384 => self.ecdsa(&digest::SHA384, message),
            _ => self.sessions.sign(&Mechanism::Sha256RsaPkcs, message),
        }
    }

    fn ecdsa(
        &self,
        digest: &'static digest::Algorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, TokenError> {
        let hash = digest::digest(digest, message);
        let raw = self.sessions.sign(&Mechanism::Ecdsa, hash.as_ref())?;
        // Two numbers side by side (PKCS #11 §2.3.1); certificates have them as a sequence
        // (RFC 3279 §2.2.3).
        let (r, s) = raw.split_at(raw.len() / 2);
        integers([r, s]).map_err(|error| TokenError::Key {
            key: self.sessions.key(),
            why: format!("signs what is no ECDSA signature: {error}"),
        })
    }
}

/// A sequence of two unsigned numbers, DER.
fn integers(numbers: [&[u8]; 2]) -> der::Result<Vec<u8>> {
    let [first, second] = numbers;
    vec![UintRef::new(first)?, UintRef::new(second)?].to_der()
}

impl PublicKeyData for TokenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
