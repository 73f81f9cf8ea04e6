//! JSON Web Tokens (RFC 7519): those which tell a node where to be provisioned, and those which say who somebody is.
//!
//! A node reads its provisioning token without verifying it, having nothing to verify it with. The provisioner verifies
//! it with the keys it is configured with: the key decides the algorithm, never the token. Client and server tokens
//! belong to an organization, whose issuer signs them or trusts another to do so ([`verify_member`], [`Issuer`]).

mod chain;
mod claims;
mod credential;
mod issuer;
mod keys;
mod standard;

pub use chain::{Organization, decode_member, verify_member};
pub use claims::{Audience, ProvisioningClaims};
pub use credential::{Credential, CredentialError};
pub use issuer::{Issuer, IssuerError};
pub use keys::{JwtKey, SigningKey, issue};
pub use standard::{
    ClientClaims, ClientPermissions, DEFAULT_ORGANIZATION, MemberClaims, OrganizationKey,
    ServerClaims, ServerPermissions, StandardClaims,
};

#[cfg(test)]
mod tests;

use jsonwebtoken::Validation;
use keys::sign;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::words::UnixTime;

/// Bytes of the longest token that is read.
pub const MAX_TOKEN: usize = 8 * 1024;
/// The `purpose` and `sub` of provisioning tokens.
pub const PURPOSE: &str = "choria_provisioning";
/// The issuer which the original's tools write into every token.
pub const CHORIA_ISSUER: &str = "Choria Tokens Package";

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Not a token at all, or too long.
    #[error("this is no JSON Web Token: {0}")]
    Form(String),
    /// An algorithm that fits none of the keys.
    #[error("the token is signed with {0}, which fits none of the configured keys")]
    Algorithm(String),
    /// Signed by nobody we know.
    #[error("none of the configured keys made the signature of the token")]
    Signature,
    /// From an issuer that is not configured.
    #[error("the token was issued by {found:?}; accepted are {accepted:?}")]
    Issuer {
        /// Who issued it.
        found: String,
        /// Who may.
        accepted: Vec<String>,
    },
    /// Not valid now.
    #[error("the token is not valid now: {0}")]
    Expired(String),
    /// Claims that are missing or have unfit values.
    #[error("the claims of the token cannot be accepted: {0}")]
    Claims(String),
    /// Of an organization that is not configured.
    #[error("the token is of the organization {found:?}; known are {known:?}")]
    Organization {
        /// Which.
        found: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// Not led to by the organization's key.
    #[error("no chain of trust leads to the token: {0}")]
    Chain(String),
}

impl JwtError {
    /// Stable name of this kind of error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "jwt.form",
            Self::Algorithm(_) => "jwt.alg",
            Self::Signature => "jwt.signature",
            Self::Issuer { .. } => "jwt.issuer",
            Self::Expired(_) => "jwt.expired",
            Self::Claims(_) => "jwt.claims",
            Self::Organization { .. } => "jwt.organization",
            Self::Chain(_) => "jwt.chain",
        }
    }
}

/// A configured key.
#[derive(Debug, Clone)]
pub struct NamedKey {
    /// What people call it.
    pub name: String,
    /// The key.
    pub key: JwtKey,
}

/// What a token must satisfy beside its signature.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who may issue tokens.
    pub issuers: Vec<String>,
    /// For whom tokens must be, when set; the original's tokens name nobody.
    pub audience: Option<String>,
    /// How far clocks may differ, in seconds.
    pub leeway_secs: u64,
}

impl Default for Rules {
    /// Tokens of the original's tools, for any audience, with a minute of difference between clocks.
    fn default() -> Self {
        Self {
            issuers: vec![CHORIA_ISSUER.to_owned()],
            audience: None,
            leeway_secs: 60,
        }
    }
}

/// Reads the claims of a token that nobody vouches for: what a node does with its own token.
///
/// # Errors
/// When the text is no provisioning token or longer than [`MAX_TOKEN`].
pub fn decode_unverified(token: &str) -> Result<ProvisioningClaims, JwtError> {
    let token = bounded(token)?;
    jsonwebtoken::dangerous::insecure_decode::<ProvisioningClaims>(token)
        .map(|data| data.claims)
        .map_err(|error| JwtError::Form(error.to_string()))
}

/// Verifies a provisioning token; tells whose key signed it, and what it claims.
///
/// Purpose, unique name (`jti`) and expiry (`exp`) are required, the algorithm is that of the key, key locations
/// named in the token are refused.
///
/// # Errors
/// With the reason when it is not accepted.
pub fn verify<'k>(
    token: &str,
    keys: &'k [NamedKey],
    rules: &Rules,
    now: UnixTime,
) -> Result<(&'k str, ProvisioningClaims), JwtError> {
    let token = bounded(token)?;
    check_header(token, keys)?;
    let (key, claims) = check_signature::<ProvisioningClaims>(token, keys)?;
    check_claims(&claims, rules, now)?;
    Ok((&key.name, claims))
}

fn bounded(token: &str) -> Result<&str, JwtError> {
    let token = token.trim();
    if token.len() > MAX_TOKEN {
        return Err(JwtError::Form(format!(
            "it has {} bytes, more than the {MAX_TOKEN} accepted",
            token.len()
        )));
    }
    Ok(token)
}

/// The header is read for its messages only: [`check_signature`] takes the algorithm from the key.
fn check_header(token: &str, keys: &[NamedKey]) -> Result<(), JwtError> {
    #[derive(Deserialize)]
    struct RawHeader {
        alg: String,
        jku: Option<Value>,
        x5u: Option<Value>,
        crit: Option<Value>,
    }
    let encoded = token.split('.').next().unwrap_or_default();
    let bytes = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, encoded)
        .map_err(|error| JwtError::Form(format!("its header: {error}")))?;
    let header: RawHeader = serde_json::from_slice(&bytes)
        .map_err(|error| JwtError::Form(format!("its header: {error}")))?;
    if !keys
        .iter()
        .any(|key| key.key.algorithm_name() == header.alg)
    {
        return Err(JwtError::Algorithm(header.alg.chars().take(32).collect()));
    }
    if header.jku.is_some() || header.x5u.is_some() || header.crit.is_some() {
        return Err(JwtError::Claims(
            "its header names a place to get keys from, or extensions (jku, x5u, crit)".to_owned(),
        ));
    }
    Ok(())
}

fn check_signature<'k, T: DeserializeOwned>(
    token: &str,
    keys: &'k [NamedKey],
) -> Result<(&'k NamedKey, T), JwtError> {
    for key in keys {
        let mut validation = Validation::new(key.key.algorithm());
        // Times, issuer and audience are judged by `check_claims`, at the time that the caller gives.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let (JwtKey::Rsa(decoding) | JwtKey::Ed25519(decoding)) = &key.key;
        match jsonwebtoken::decode::<T>(token, decoding, &validation) {
            Ok(data) => return Ok((key, data.claims)),
            Err(error) => match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature
                | jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => {}
                jsonwebtoken::errors::ErrorKind::Json(detail) => {
                    return Err(JwtError::Claims(detail.to_string()));
                }
                _ => return Err(JwtError::Form(error.to_string())),
            },
        }
    }
    Err(JwtError::Signature)
}

fn check_claims(claims: &ProvisioningClaims, rules: &Rules, now: UnixTime) -> Result<(), JwtError> {
    let bad = |text: String| Err(JwtError::Claims(text));
    if !rules.issuers.contains(&claims.iss) {
        return Err(JwtError::Issuer {
            found: claims.iss.chars().take(128).collect(),
            accepted: rules.issuers.clone(),
        });
    }
    let purpose = if claims.purpose.is_empty() {
        &claims.sub
    } else {
        &claims.purpose
    };
    if purpose != PURPOSE {
        let found: String = purpose.chars().take(64).collect();
        return bad(format!("its purpose is {found:?}, wanted {PURPOSE:?}"));
    }
    if claims.jti.is_empty() {
        return bad("it has no unique name (jti)".to_owned());
    }
    let Some(exp) = claims.exp else {
        return bad("it never expires (no exp)".to_owned());
    };
    if let Some(wanted) = &rules.audience
        && !claims.aud.contains(wanted)
    {
        return bad(format!("it is not for {wanted:?} (aud)"));
    }
    let leeway = i64::try_from(rules.leeway_secs).unwrap_or(i64::MAX);
    let now = now.secs();
    if exp.saturating_add(leeway) <= now {
        return Err(JwtError::Expired(format!(
            "it expired at {}",
            UnixTime::from_secs(exp).rfc3339()
        )));
    }
    if let Some(nbf) = claims.nbf
        && nbf > now.saturating_add(leeway)
    {
        let from = UnixTime::from_secs(nbf).rfc3339();
        return Err(JwtError::Expired(format!("it is valid from {from} on")));
    }
    Ok(())
}
