//! Issuing tokens of an organization.

use std::fmt;
use std::time::Duration;

use super::standard::{
    BY_CHAIN, BY_ORGANIZATION, ClientClaims, MemberClaims, OrganizationKey, StandardClaims,
};
use super::{CHORIA_ISSUER, JwtError, Organization, SigningKey, sign, verify_member};
use crate::trust::{KeyPair, TrustError};
use crate::words::UnixTime;

/// Digits of an Ed25519 signature.
const SIGNATURE: usize = 128;

/// Why there is no issuer.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The seed is none.
    #[error("the seed: {0}; an Ed25519 seed is 64 hexadecimal digits")]
    Seed(TrustError),
    /// The issuer's own token is not good for issuing.
    #[error("its own token: {0}")]
    Token(JwtError),
    /// The token is good and lets nobody be issued.
    #[error(
        "its own token was issued by {0:?} and lets it issue nothing; make one with `choria jwt client … --issuer`"
    )]
    NoChain(String),
    /// Token and seed do not go together.
    #[error("its own token is for the public key {token}, and the seed's is {seed}")]
    OtherKey {
        /// The key in the token.
        token: String,
        /// The seed's.
        seed: String,
    },
}

/// Issues tokens of an organization: its own issuer, or one it trusts (a chain issuer). Printing it shows no key.
pub struct Issuer {
    organization: Organization,
    key: KeyPair,
    signing: SigningKey,
    chain: Option<Chain>,
}

/// A chain issuer's place in its organization.
#[derive(Debug)]
struct Chain {
    id: String,
    tcs: String,
    expires: i64,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("organization", &self.organization)
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

fn read(seed: &str) -> Result<(KeyPair, SigningKey, OrganizationKey), IssuerError> {
    let key = KeyPair::from_ed25519_seed_hex(seed).map_err(IssuerError::Seed)?;
    let signing = SigningKey::new(&key).map_err(IssuerError::Seed)?;
    let public = hex::encode(key.public_raw());
    let public = OrganizationKey::parse(&public).map_err(IssuerError::Seed)?;
    Ok((key, signing, public))
}

impl Issuer {
    /// The organization's own issuer, from its seed as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the seed is none.
    pub fn of_organization(name: &str, seed: &str) -> Result<Self, IssuerError> {
        let (key, signing, public) = read(seed)?;
        Ok(Self {
            organization: Organization {
                name: name.to_owned(),
                key: public,
            },
            key,
            signing,
            chain: None,
        })
    }

    /// A chain issuer: its seed, and the token with which the organization trusts it.
    ///
    /// # Errors
    /// When the token is not the organization's, not valid now, lets it issue nothing, or belongs to another key.
    pub fn of_chain(
        organization: Organization,
        seed: &str,
        token: &str,
        now: UnixTime,
    ) -> Result<Self, IssuerError> {
        let (key, signing, public) = read(seed)?;
        let known = std::slice::from_ref(&organization);
        let claims: ClientClaims =
            verify_member(token, known, 0, now).map_err(IssuerError::Token)?;
        let own = claims.standard;
        if !own.iss.starts_with(BY_ORGANIZATION) {
            return Err(IssuerError::NoChain(own.iss));
        }
        if own.public_key != public.hex() {
            return Err(IssuerError::OtherKey {
                token: own.public_key,
                seed: public.hex(),
            });
        }
        Ok(Self {
            chain: Some(Chain {
                id: own.jti,
                tcs: own.tcs,
                expires: own.exp.unwrap_or_default(),
            }),
            organization,
            key,
            signing,
        })
    }

    /// For whom it issues.
    #[must_use]
    pub const fn organization(&self) -> &Organization {
        &self.organization
    }

    /// Second since the epoch at which a chain issuer's own token ends.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        self.chain.as_ref().map(|chain| chain.expires)
    }

    /// The common claims of a new token: for the holder of a public key (64 hexadecimal digits), from `now` on, for a
    /// time that ends with the issuer's own at the latest. `unique` makes its name.
    ///
    /// # Errors
    /// When the issuer's own token has ended, or the cryptographic library fails.
    pub fn standard<T: MemberClaims>(
        &self,
        public_key: &str,
        now: UnixTime,
        validity: Duration,
        unique: [u8; 16],
    ) -> Result<StandardClaims, JwtError> {
        let mut claims = self.unsigned::<T>(public_key, now, validity, unique)?;
        if let Some(chain) = &self.chain {
            let own = self.signature(&format!("{}.{}", claims.jti, chain.tcs))?;
            claims.tcs = format!("{}.{own}", chain.tcs);
        }
        Ok(claims)
    }

    /// The same with the signature of a chain issuer left blank: claims to be looked at, of the length
    /// that they would have. Nothing is signed.
    ///
    /// # Errors
    /// When the issuer's own token has ended.
    pub fn unsigned<T: MemberClaims>(
        &self,
        public_key: &str,
        now: UnixTime,
        validity: Duration,
        unique: [u8; 16],
    ) -> Result<StandardClaims, JwtError> {
        let at = now.secs();
        let end = now.plus(validity).secs();
        let mut claims = StandardClaims {
            purpose: T::PURPOSE.to_owned(),
            public_key: public_key.to_owned(),
            iss: CHORIA_ISSUER.to_owned(),
            exp: Some(end),
            nbf: Some(at),
            iat: Some(at),
            jti: id(at, unique)?,
            ..StandardClaims::default()
        };
        if let Some(chain) = &self.chain {
            if chain.expires <= at {
                let ended = UnixTime::from_secs(chain.expires).rfc3339();
                let says = format!("the issuer's own token expired at {ended}");
                return Err(JwtError::Expired(says));
            }
            let public = hex::encode(self.key.public_raw());
            claims.iss = format!("{BY_CHAIN}{}.{public}", chain.id);
            claims.issexp = Some(chain.expires);
            claims.exp = Some(end.min(chain.expires));
            claims.tcs = format!("{}.{}", chain.tcs, "0".repeat(SIGNATURE));
        }
        Ok(claims)
    }

    /// Makes the holder of a token that is still to be signed a chain issuer of this organization.
    ///
    /// # Errors
    /// When this issuer is itself one of a chain, which has two links at most.
    pub fn trust(&self, claims: &mut StandardClaims) -> Result<(), JwtError> {
        if self.chain.is_some() {
            let says = "a chain issuer makes no other; the organization's issuer does";
            return Err(JwtError::Chain(says.to_owned()));
        }
        claims.iss = format!("{BY_ORGANIZATION}{}", self.organization.key.hex());
        claims.tcs = self.signature(&format!("{}.{}", claims.jti, claims.public_key))?;
        Ok(())
    }

    /// Signs claims as they are; the same claims give the same token.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign<T: MemberClaims>(&self, claims: &T) -> Result<String, JwtError> {
        sign(claims, &self.signing)
    }

    fn signature(&self, text: &str) -> Result<String, JwtError> {
        let signature = self.key.sign(text.as_bytes());
        let signature = signature.map_err(|error| JwtError::Chain(error.to_string()))?;
        Ok(hex::encode(signature))
    }
}

/// A KSUID of this second.
fn id(at: i64, unique: [u8; 16]) -> Result<String, JwtError> {
    use svix_ksuid::KsuidLike as _;

    let since = u32::try_from(at.saturating_sub(svix_ksuid::KSUID_EPOCH));
    let since = since.map_err(|_| {
        JwtError::Claims("the clock is outside the years 2014 to 2150 of KSUIDs".to_owned())
    })?;
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&since.to_be_bytes());
    bytes[4..].copy_from_slice(&unique);
    Ok(svix_ksuid::Ksuid::from_bytes(bytes).to_string())
}
