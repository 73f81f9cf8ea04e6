//! Verifying tokens of an organization: signed by its issuer, or by one whom the issuer trusts.
//!
//! A chain issuer's token has the issuer `I-<organization's key>` and, as `tcs`, the organization's signature over
//! `<jti>.<public key>`. A token it issues has the issuer `C-<its jti>.<its public key>` and, as `tcs`, that signature
//! and its own one over `<jti>.<that signature>`. So whoever knows the organization's key needs no other.

use super::standard::{BY_CHAIN, BY_ORGANIZATION, MemberClaims, OrganizationKey, StandardClaims};
use super::{JwtError, JwtKey, NamedKey, bounded, check_header, check_signature};
use crate::words::UnixTime;

/// An organization and its issuer's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The claim `ou` of its tokens.
    pub name: String,
    /// Its issuer's key.
    pub key: OrganizationKey,
}

/// Reads the claims of a member's token that nobody vouches for: what a node does with its own token.
///
/// # Errors
/// When the text is no token of this kind or longer than [`super::MAX_TOKEN`].
pub fn decode_member<T: MemberClaims>(token: &str) -> Result<T, JwtError> {
    let token = bounded(token)?;
    let claims = jsonwebtoken::dangerous::insecure_decode::<T>(token)
        .map(|data| data.claims)
        .map_err(|error| JwtError::Form(error.to_string()))?;
    check_purpose::<T>(&claims)?;
    Ok(claims)
}

/// Verifies a client or server token at a time: organization, chain, signature, purpose, key and times, with so many
/// seconds of difference between clocks forgiven. Tokens without an end are refused.
///
/// # Errors
/// With the reason when it is not accepted.
pub fn verify_member<T: MemberClaims>(
    token: &str,
    organizations: &[Organization],
    leeway_secs: i64,
    now: UnixTime,
) -> Result<T, JwtError> {
    let claimed: T = decode_member(token)?;
    let organization = organizations
        .iter()
        .find(|known| known.name == claimed.organization())
        .ok_or_else(|| JwtError::Organization {
            found: claimed.organization().chars().take(64).collect(),
            known: organizations.iter().map(|one| one.name.clone()).collect(),
        })?;
    let signer = signer(claimed.standard(), &organization.key)?;
    let token = bounded(token)?;
    let keys = [NamedKey {
        name: organization.name.clone(),
        key: JwtKey::Ed25519(signer.decoding()),
    }];
    check_header(token, &keys)?;
    let (_, claims) = check_signature::<T>(token, &keys)?;
    check_times(claims.standard(), leeway_secs, now)?;
    Ok(claims)
}

fn check_purpose<T: MemberClaims>(claims: &T) -> Result<(), JwtError> {
    let standard = claims.standard();
    if standard.purpose != T::PURPOSE {
        let found: String = standard.purpose.chars().take(64).collect();
        let says = format!("its purpose is {found:?}, wanted {:?}", T::PURPOSE);
        return Err(JwtError::Claims(says));
    }
    OrganizationKey::parse(&standard.public_key)
        .map(|_| ())
        .map_err(|error| JwtError::Claims(format!("its public_key: {error}")))
}

/// The key that has to have signed a token: the organization's, or that of the one it trusts.
fn signer(
    claims: &StandardClaims,
    organization: &OrganizationKey,
) -> Result<OrganizationKey, JwtError> {
    if let Some(issuer) = claims.iss.strip_prefix(BY_ORGANIZATION) {
        if issuer != organization.hex() {
            return Err(chain("it names another organization's key as its issuer"));
        }
        check_id(claims)?;
        let vouched = format!("{}.{}", claims.jti, claims.public_key);
        return match organization.verifies(vouched.as_bytes(), &signature(&claims.tcs)?) {
            true => Ok(*organization),
            false => Err(chain("the organization did not make it a chain issuer")),
        };
    }
    let Some(issuer) = claims.iss.strip_prefix(BY_CHAIN) else {
        if claims.tcs.is_empty() {
            return Ok(*organization);
        }
        return Err(chain("it has a trust chain and no issuer that made one"));
    };
    check_id(claims)?;
    if claims.issexp.is_none() {
        return Err(chain("it does not say when its issuer ends (issexp)"));
    }
    let (id, key) = issuer
        .split_once('.')
        .filter(|(id, _)| !id.is_empty())
        .ok_or_else(|| chain("its issuer has no id and public key"))?;
    let key = OrganizationKey::parse(key)
        .map_err(|error| JwtError::Chain(format!("its issuer's public key: {error}")))?;
    let (trust, own) = claims
        .tcs
        .split_once('.')
        .ok_or_else(|| chain("its trust chain has not two signatures"))?;
    let vouched = format!("{id}.{}", key.hex());
    if !organization.verifies(vouched.as_bytes(), &signature(trust)?) {
        return Err(chain("the organization does not vouch for its issuer"));
    }
    let issued = format!("{}.{trust}", claims.jti);
    match key.verifies(issued.as_bytes(), &signature(own)?) {
        true => Ok(key),
        false => Err(chain("its issuer did not sign its place in the chain")),
    }
}

fn signature(text: &str) -> Result<Vec<u8>, JwtError> {
    hex::decode(text).map_err(|error| JwtError::Chain(format!("a signature (tcs): {error}")))
}

/// The id of a chained token is a KSUID of the second it was issued in.
fn check_id(claims: &StandardClaims) -> Result<(), JwtError> {
    let id = <svix_ksuid::Ksuid as std::str::FromStr>::from_str(&claims.jti)
        .map_err(|_| chain("its unique name (jti) is no KSUID"))?;
    let made = i64::from(id.timestamp_raw()).saturating_add(svix_ksuid::KSUID_EPOCH);
    match claims.iat == Some(made) {
        true => Ok(()),
        false => Err(chain(
            "its unique name (jti) was not made when it was issued (iat)",
        )),
    }
}

fn chain(says: &str) -> JwtError {
    JwtError::Chain(says.to_owned())
}

fn check_times(claims: &StandardClaims, leeway: i64, now: UnixTime) -> Result<(), JwtError> {
    let now = now.secs();
    let says = |text: &str, at: i64| {
        let at = UnixTime::from_secs(at).rfc3339();
        Err(JwtError::Expired(format!("{text} {at}")))
    };
    let Some(end) = claims.exp else {
        return Err(JwtError::Claims("it never expires (no exp)".to_owned()));
    };
    if end.saturating_add(leeway) <= now {
        return says("it expired at", end);
    }
    match (claims.issexp, claims.nbf) {
        (Some(end), _) if end.saturating_add(leeway) <= now => {
            says("its issuer's own token expired at", end)
        }
        (_, Some(from)) if from > now.saturating_add(leeway) => says("it is valid from", from),
        _ => Ok(()),
    }
}
