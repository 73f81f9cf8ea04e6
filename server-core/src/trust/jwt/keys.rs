//! Keys that verify tokens and keys that sign them. The key decides the algorithm.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;

use super::{JwtError, ProvisioningClaims};
use crate::trust::{KeyPair, TrustError};

/// A key that verifies tokens.
#[derive(Clone)]
pub enum JwtKey {
    /// Verifies RS256.
    Rsa(DecodingKey),
    /// Verifies EdDSA.
    Ed25519(DecodingKey),
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm_name())
    }
}

impl JwtKey {
    /// Reads a public key: an RSA key or certificate in PEM form, an Ed25519 key in PEM form or as 64 hexadecimal
    /// digits.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let trimmed = text.trim();
        if trimmed.len() == 64 && trimmed.bytes().all(|b| b.is_ascii_hexdigit()) {
            let raw = hex::decode(trimmed).map_err(|error| TrustError::Key(error.to_string()))?;
            return Ok(Self::Ed25519(DecodingKey::from_ed_der(&raw)));
        }
        let wanted = "public key";
        let block = pem::parse(text).map_err(|error| TrustError::Pem {
            wanted,
            detail: format!("{error}; a hexadecimal Ed25519 key has 64 digits"),
        })?;
        match block.tag() {
            "PUBLIC KEY" => Self::from_spki(block.contents()),
            "RSA PUBLIC KEY" => Self::from_pkcs1(block.contents()),
            "CERTIFICATE" => {
                let leaf = crate::trust::chain::parse(&block.contents().into())?;
                let spki = der::Encode::to_der(leaf.tbs_certificate().subject_public_key_info())
                    .map_err(|error| TrustError::Certificate(error.to_string()))?;
                Self::from_spki(&spki)
            }
            other => Err(TrustError::Pem {
                wanted,
                detail: format!("the block is a {other}"),
            }),
        }
    }

    fn from_spki(spki: &[u8]) -> Result<Self, TrustError> {
        let parsed = <spki::SubjectPublicKeyInfoRef<'_> as der::Decode<'_>>::from_der(spki)
            .map_err(|error| TrustError::Key(error.to_string()))?;
        let bits = parsed
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| TrustError::Key("the public key is damaged".to_owned()))?;
        match parsed.algorithm.oid {
            const_oid::db::rfc5912::RSA_ENCRYPTION => Self::from_pkcs1(bits),
            const_oid::db::rfc8410::ID_ED_25519 => {
                Ok(Self::Ed25519(DecodingKey::from_ed_der(bits)))
            }
            other => Err(TrustError::KeyAlgorithm(format!(
                "tokens are verified with RSA or Ed25519 keys, this key has the algorithm {other}"
            ))),
        }
    }

    fn from_pkcs1(bits: &[u8]) -> Result<Self, TrustError> {
        let key = aws_lc_rs::rsa::PublicKey::from_der(bits)
            .map_err(|error| TrustError::Key(error.to_string()))?;
        if key.modulus_len() < 256 {
            return Err(TrustError::KeyAlgorithm(
                "an RSA key needs at least 2048 bits".to_owned(),
            ));
        }
        Ok(Self::Rsa(DecodingKey::from_rsa_der(bits)))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) => Algorithm::RS256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    /// The algorithm which it verifies, by its name in tokens.
    #[must_use]
    pub fn algorithm_name(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ed25519(_) => "EdDSA",
        }
    }
}

/// A key that signs tokens.
pub struct SigningKey {
    key: EncodingKey,
    algorithm: Algorithm,
    public_pem: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// From a private key: RSA signs with RS256, Ed25519 with EdDSA.
    ///
    /// # Errors
    /// When the key is of another kind.
    pub fn new(key: &KeyPair) -> Result<Self, TrustError> {
        let public_pem = key.public_pem();
        if key.is_rsa() {
            let pem = key.to_pem();
            let encoding = EncodingKey::from_rsa_pem(pem.as_bytes())
                .map_err(|error| TrustError::Key(error.to_string()))?;
            return Ok(Self {
                key: encoding,
                algorithm: Algorithm::RS256,
                public_pem,
            });
        }
        if key.ed25519_seed_hex().is_none() {
            return Err(TrustError::KeyAlgorithm(
                "tokens are signed with RSA or Ed25519 keys".to_owned(),
            ));
        }
        Ok(Self {
            key: EncodingKey::from_ed_der(key.pkcs8_der()),
            algorithm: Algorithm::EdDSA,
            public_pem,
        })
    }

    /// Reads a private key in PEM form, or an Ed25519 seed as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let trimmed = text.trim();
        if trimmed.len() == 64 && !trimmed.starts_with('-') {
            return Self::new(&KeyPair::from_ed25519_seed_hex(trimmed)?);
        }
        Self::new(&KeyPair::from_pem(text)?)
    }

    /// The public key as PEM, for those who verify.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }
}

/// Signs claims. They are written as they are; [`super::verify`] tells what they need.
///
/// # Errors
/// When the cryptographic library fails.
pub fn issue(claims: &ProvisioningClaims, key: &SigningKey) -> Result<String, JwtError> {
    sign(claims, key)
}

pub(super) fn sign<T: Serialize>(claims: &T, key: &SigningKey) -> Result<String, JwtError> {
    jsonwebtoken::encode(&Header::new(key.algorithm), claims, &key.key)
        .map_err(|error| JwtError::Form(error.to_string()))
}
