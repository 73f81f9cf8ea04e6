//! Provisioning tokens: JSON Web Tokens (RFC 7519) which tell a node where to be provisioned.
//!
//! A node reads its token without verifying it, having nothing to verify it with. The provisioner verifies it with
//! the keys it is configured with: the key decides the algorithm, never the token.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{KeyPair, TrustError};
use crate::words::UnixTime;

/// Bytes of the longest token that is read.
pub const MAX_TOKEN: usize = 8 * 1024;
/// The `purpose` and `sub` of provisioning tokens.
pub const PURPOSE: &str = "choria_provisioning";
/// The issuer which the original's tools write into every token.
pub const CHORIA_ISSUER: &str = "Choria Tokens Package";

/// The claims of a provisioning token, in the original's order.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvisioningClaims {
    /// The shared token which a node wants to see before it obeys a provisioner.
    pub cht: String,
    /// Whether requests are signed.
    #[serde(default)]
    pub chs: bool,
    /// URLs of brokers, separated by commas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chu: String,
    /// The domain whose SRV records name brokers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chsrv: String,
    /// Whether a node without another instruction enters provisioning mode.
    #[serde(default)]
    pub chpd: bool,
    /// The file with registration data.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chrd: String,
    /// The file with facts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chf: String,
    /// User name for the broker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chusr: String,
    /// Password for the broker.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub chpwd: String,
    /// Anything, for the provisioner.
    #[serde(default)]
    pub extensions: Option<Map<String, Value>>,
    /// The organization.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ou: String,
    /// Whether protocol 2 is used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub v2: bool,
    /// Whether the node may be updated while provisioning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub update: bool,
    /// What the token is for: [`PURPOSE`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// Who issued it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// Whom it is about: [`PURPOSE`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// For whom it is; the original has none.
    #[serde(default, skip_serializing_if = "Audience::is_empty")]
    pub aud: Audience,
    /// Second since the epoch from which on it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Second since the epoch before which it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Second since the epoch when it was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Its unique name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
}

/// The audience of a token: none, one, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single one.
    One(String),
    /// Any number.
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Many(all) if all.is_empty())
    }

    fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Many(all) => all.iter().any(|one| one == wanted),
        }
    }
}

/// Shows neither the shared token nor the password.
impl fmt::Debug for ProvisioningClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisioningClaims")
            .field("chs", &self.chs)
            .field("chu", &self.chu)
            .field("chsrv", &self.chsrv)
            .field("chpd", &self.chpd)
            .field("chusr", &self.chusr)
            .field("iss", &self.iss)
            .field("exp", &self.exp)
            .field("jti", &self.jti)
            .finish_non_exhaustive()
    }
}

impl ProvisioningClaims {
    /// The broker URLs as a list.
    #[must_use]
    pub fn servers(&self) -> Vec<String> {
        let urls = self
            .chu
            .split(',')
            .map(str::trim)
            .filter(|url| !url.is_empty());
        urls.map(str::to_owned).collect()
    }
}

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
        }
    }
}

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
                let leaf = super::chain::parse(&block.contents().into())?;
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

    fn algorithm(&self) -> Algorithm {
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
    let (key, claims) = check_signature(token, keys)?;
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

fn check_signature<'k>(
    token: &str,
    keys: &'k [NamedKey],
) -> Result<(&'k NamedKey, ProvisioningClaims), JwtError> {
    for key in keys {
        let mut validation = Validation::new(key.key.algorithm());
        // Times, issuer and audience are judged by `check_claims`, at the time that the caller gives.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let (JwtKey::Rsa(decoding) | JwtKey::Ed25519(decoding)) = &key.key;
        match jsonwebtoken::decode::<ProvisioningClaims>(token, decoding, &validation) {
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

/// Signs claims. They are written as they are; [`verify`] tells what they need.
///
/// # Errors
/// When the cryptographic library fails.
pub fn issue(claims: &ProvisioningClaims, key: &SigningKey) -> Result<String, JwtError> {
    jsonwebtoken::encode(&Header::new(key.algorithm), claims, &key.key)
        .map_err(|error| JwtError::Form(error.to_string()))
}
