//! A token with the key that proves whose it is: what a connection shows to a broker of an organization.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{JwtError, MemberClaims, OrganizationKey, decode_member};
use crate::trust::{KeyPair, TrustError};

/// Why token and seed are of no use.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The seed is none.
    #[error("the seed: {0}; an Ed25519 seed is 64 hexadecimal digits")]
    Seed(#[from] TrustError),
    /// The token is none.
    #[error("the token: {0}")]
    Token(#[from] JwtError),
    /// They do not go together.
    #[error("the token is for the public key {token}, and the seed's is {seed}")]
    OtherKey {
        /// The key in the token.
        token: String,
        /// The seed's.
        seed: String,
    },
}

/// A token and its holder's key. Printing it shows neither.
pub struct Credential {
    token: String,
    key: KeyPair,
    expires: Option<i64>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("public", &hex::encode(self.key.public_raw()))
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// Reads a token, which is not verified: the broker does that, and a seed of 64 hexadecimal digits; tells what the
    /// token claims.
    ///
    /// # Errors
    /// When one of them is damaged or they do not go together.
    pub fn new<T: MemberClaims>(token: &str, seed: &str) -> Result<(Self, T), CredentialError> {
        let claims: T = decode_member(token)?;
        let key = KeyPair::from_ed25519_seed_hex(seed)?;
        let standard = claims.standard();
        let public = hex::encode(key.public_raw());
        if OrganizationKey::parse(&standard.public_key)?.hex() != public {
            return Err(CredentialError::OtherKey {
                token: standard.public_key.clone(),
                seed: public,
            });
        }
        let credential = Self {
            token: token.trim().to_owned(),
            expires: standard.expires(),
            key,
        };
        Ok((credential, claims))
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Second since the epoch at which the token ends, where it does.
    #[must_use]
    pub const fn expires(&self) -> Option<i64> {
        self.expires
    }

    /// Signs with the holder's key.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TrustError> {
        self.key.sign(message)
    }

    /// The answer to a broker's nonce, as `CONNECT` carries it: base64 for URLs, without padding.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn answer(&self, nonce: &str) -> Result<String, TrustError> {
        Ok(URL_SAFE_NO_PAD.encode(self.sign(nonce.as_bytes())?))
    }
}
