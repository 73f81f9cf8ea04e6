//! What to make: kinds of keys and subjects of requests for certificates.

use std::fmt;
use std::str::FromStr;

use crate::trust::TrustError;

/// Which kind of key a node makes for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyAlgorithm {
    /// ECDSA on the curve P-256: small and fast, the default.
    #[default]
    P256,
    /// RSA with 2048 bits, as the original makes.
    Rsa2048,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    /// Its name in configurations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::Rsa2048 => "rsa2048",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::P256, Self::Rsa2048, Self::Ed25519]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| {
                TrustError::KeyAlgorithm(format!(
                    "{text:?} is no key algorithm; use p256, rsa2048 or ed25519"
                ))
            })
    }
}

/// Subject of a certificate signing request, beside its common name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsrSubject {
    /// C
    pub country: Option<String>,
    /// L
    pub locality: Option<String>,
    /// O
    pub organization: Option<String>,
    /// OU
    pub organizational_unit: Option<String>,
}
