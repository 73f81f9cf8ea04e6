//! The organization of a run whose nodes get server tokens: it vouches for the callers, and lets the
//! provisioner issue tokens in its name.
//!
//! Its own key is used once and thrown away, as the one of a real organization is kept away from what
//! is connected to a network.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use server_core::trust::jwt::{
    ClientClaims, ClientPermissions, DEFAULT_ORGANIZATION, Issuer, StandardClaims,
};
use server_core::trust::{KeyAlgorithm, KeyPair};
use server_core::words::UnixTime;
use uuid::Uuid;

use super::credentials::CredentialsError;

/// Its name: the claim `ou` of tokens.
pub const NAME: &str = DEFAULT_ORGANIZATION;

/// How long its members' tokens are valid; a fleet kept up with `loadgen up` may live for days.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A client token with the seed of its key: who somebody is to brokers and nodes (Choria protocol 2).
#[derive(Clone, Serialize, Deserialize)]
pub struct Member {
    /// The token.
    pub token: String,
    /// The seed, 64 hexadecimal digits.
    pub seed: String,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").finish_non_exhaustive()
    }
}

/// An organization, as long as it issues.
#[derive(Debug)]
pub struct Organization {
    issuer: Issuer,
    now: UnixTime,
}

impl Organization {
    /// Makes one.
    ///
    /// # Errors
    /// When the cryptography library refuses; it has no other reason.
    pub fn new(now: UnixTime) -> Result<Self, CredentialsError> {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).map_err(failed)?;
        let seed = key.ed25519_seed_hex().unwrap_or_default();
        let issuer = Issuer::of_organization(NAME, &seed).map_err(failed)?;
        Ok(Self { issuer, now })
    }

    /// Its public key, 64 hexadecimal digits: what its tokens are verified by.
    pub fn key(&self) -> String {
        self.issuer.organization().key.hex()
    }

    /// A caller that may ask the fleet.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn caller(&self, id: &str) -> Result<Member, CredentialsError> {
        self.member(id, ClientPermissions::default(), |_| Ok(()))
    }

    /// A caller that may also issue server tokens in the organization's name.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn provisioner(&self, id: &str) -> Result<Member, CredentialsError> {
        let allowed = ClientPermissions {
            provisioner: true,
            ..ClientPermissions::default()
        };
        self.member(id, allowed, |claims| {
            self.issuer.trust(claims).map_err(failed)
        })
    }

    fn member(
        &self,
        id: &str,
        allowed: ClientPermissions,
        finish: impl FnOnce(&mut StandardClaims) -> Result<(), CredentialsError>,
    ) -> Result<Member, CredentialsError> {
        let key = KeyPair::generate(KeyAlgorithm::Ed25519).map_err(failed)?;
        let public = hex::encode(key.public_raw());
        let unique = Uuid::new_v4().into_bytes();
        let standard = self
            .issuer
            .standard::<ClientClaims>(&public, self.now, VALIDITY, unique);
        let mut standard = standard.map_err(failed)?;
        finish(&mut standard)?;
        let token = self.issuer.sign(&ClientClaims {
            callerid: id.to_owned(),
            ou: NAME.to_owned(),
            permissions: ClientPermissions {
                fleet_management: true,
                events_viewer: true,
                ..allowed
            },
            standard,
            ..ClientClaims::default()
        });
        Ok(Member {
            token: token.map_err(failed)?,
            seed: key.ed25519_seed_hex().unwrap_or_default().to_string(),
        })
    }
}

fn failed(error: impl std::fmt::Display) -> CredentialsError {
    CredentialsError::Member(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use server_core::trust::jwt::{Organization as Known, OrganizationKey, verify_member};

    #[test]
    fn callers_are_vouched_for_and_the_provisioner_may_issue() {
        let now = UnixTime::from_secs(1_800_000_000);
        let organization = Organization::new(now).unwrap();
        let known = Known {
            name: NAME.to_owned(),
            key: OrganizationKey::parse(&organization.key()).unwrap(),
        };
        let caller = organization.caller("up=operator").unwrap();
        let claims: ClientClaims =
            verify_member(&caller.token, std::slice::from_ref(&known), 0, now).unwrap();
        assert_eq!(claims.callerid, "up=operator");
        assert!(claims.permissions.fleet_management && !claims.permissions.provisioner);
        let chain =
            |member: &Member| Issuer::of_chain(known.clone(), &member.seed, &member.token, now);
        let provisioner = organization.provisioner("up=provisioner").unwrap();
        assert!(chain(&provisioner).is_ok());
        assert!(chain(&caller).is_err(), "a caller issues nothing");
    }
}
