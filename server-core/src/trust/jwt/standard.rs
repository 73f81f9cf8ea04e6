//! What client and server tokens have in common: claims, and the key of their organization.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use der::Encode as _;
use der::asn1::BitStringRef;
use jsonwebtoken::DecodingKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::trust::TrustError;

/// The organization of tokens that name none, as in the original.
pub const DEFAULT_ORGANIZATION: &str = "choria";
/// What the issuer of a token begins with that may issue others; the organization's public key follows.
pub(super) const BY_ORGANIZATION: &str = "I-";
/// What the issuer of a token begins with that was issued by such a one; its id and public key follow.
pub(super) const BY_CHAIN: &str = "C-";

/// Claims of every token of an organization, in the original's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StandardClaims {
    /// What the token is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub purpose: String,
    /// Signatures that lead from the organization to this token, hexadecimal, separated by dots.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tcs: String,
    /// The holder's Ed25519 public key, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// Second since the epoch at which the issuer's own token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issexp: Option<i64>,
    /// Who issued it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// Second since the epoch from which on it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Second since the epoch before which it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Second since the epoch when it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// Its unique name, a KSUID made at `iat`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
}

impl StandardClaims {
    /// When the token ends: with its own time or its issuer's, whichever is first.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        self.exp.into_iter().chain(self.issexp).min()
    }
}

/// A token whose holder belongs to an organization.
pub trait MemberClaims: DeserializeOwned + Serialize {
    /// The `purpose` of tokens of this kind.
    const PURPOSE: &'static str;

    /// What it shares with the other kinds.
    fn standard(&self) -> &StandardClaims;

    /// The claim `ou`, empty where there is none.
    fn ou(&self) -> &str;

    /// The organization.
    fn organization(&self) -> &str {
        match self.ou() {
            "" => DEFAULT_ORGANIZATION,
            ou => ou,
        }
    }
}

/// A server's claims ("Choria JWT, server").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerClaims {
    /// The node.
    pub identity: String,
    /// The collectives it belongs to.
    pub collectives: Vec<String>,
    /// What the broker allows it beyond answering.
    pub permissions: ServerPermissions,
    /// The organization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ou: String,
    /// Further subjects it may publish to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pub_subjects: Vec<String>,
    /// The rest.
    #[serde(flatten)]
    pub standard: StandardClaims,
}

impl MemberClaims for ServerClaims {
    const PURPOSE: &'static str = "choria_server";

    fn standard(&self) -> &StandardClaims {
        &self.standard
    }

    fn ou(&self) -> &str {
        &self.ou
    }
}

fn unset(flag: &bool) -> bool {
    !flag
}

/// What a server may do beyond answering.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerPermissions {
    /// Publish to the submission subjects.
    #[serde(skip_serializing_if = "unset")]
    pub submission: bool,
    /// Use JetStream.
    #[serde(skip_serializing_if = "unset")]
    pub streams: bool,
    /// Use governors, together with `streams`.
    #[serde(skip_serializing_if = "unset")]
    pub governor: bool,
    /// Host service agents.
    #[serde(skip_serializing_if = "unset")]
    pub service_host: bool,
}

/// A client's claims ("Choria JWT, client id").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientClaims {
    /// The caller id.
    pub callerid: String,
    /// Agents and actions it may call: `*`, `agent.*`, `agent.action`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// The organization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ou: String,
    /// What the broker and the nodes allow it.
    pub permissions: ClientPermissions,
    /// Further subjects it may publish to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pub_subjects: Vec<String>,
    /// Further subjects it may subscribe to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sub_subjects: Vec<String>,
    /// The rest.
    #[serde(flatten)]
    pub standard: StandardClaims,
}

impl MemberClaims for ClientClaims {
    const PURPOSE: &'static str = "choria_client_id";

    fn standard(&self) -> &StandardClaims {
        &self.standard
    }

    fn ou(&self) -> &str {
        &self.ou
    }
}

/// What a client may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientPermissions {
    /// Manage streams.
    #[serde(skip_serializing_if = "unset")]
    pub streams_admin: bool,
    /// Use streams.
    #[serde(skip_serializing_if = "unset")]
    pub streams_user: bool,
    /// See lifecycle and machine events.
    #[serde(skip_serializing_if = "unset")]
    pub events_viewer: bool,
    /// Take part in leader elections.
    #[serde(skip_serializing_if = "unset")]
    pub election_user: bool,
    /// Join the broker's system account.
    #[serde(skip_serializing_if = "unset")]
    pub system_user: bool,
    /// Use governors.
    #[serde(skip_serializing_if = "unset")]
    pub governor: bool,
    /// Everything.
    #[serde(skip_serializing_if = "unset")]
    pub org_admin: bool,
    /// Send requests to nodes.
    #[serde(skip_serializing_if = "unset")]
    pub fleet_management: bool,
    /// Send requests to nodes that a delegator has signed.
    #[serde(skip_serializing_if = "unset")]
    pub signed_fleet_management: bool,
    /// A long-lived token of a service.
    #[serde(skip_serializing_if = "unset")]
    pub service: bool,
    /// Sign requests for others.
    #[serde(skip_serializing_if = "unset")]
    pub authentication_delegator: bool,
    /// Join the broker's provisioning account.
    #[serde(skip_serializing_if = "unset")]
    pub provisioner: bool,
}

/// The Ed25519 public key of an organization's issuer or of one it trusts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OrganizationKey([u8; 32]);

impl fmt::Debug for OrganizationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl OrganizationKey {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).map_err(|error| {
            let says = "an Ed25519 public key is 64 hexadecimal digits";
            TrustError::Key(format!("{says}: {error}"))
        })?;
        Ok(Self(key))
    }

    /// The key as 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Whether the holder of the private key made this signature.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(message, signature).is_ok()
    }

    /// The key as a SubjectPublicKeyInfo, DER (RFC 8410).
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn spki_der(&self) -> Result<Vec<u8>, TrustError> {
        let failed = |error: der::Error| TrustError::Key(error.to_string());
        let spki = spki::SubjectPublicKeyInfoRef {
            algorithm: spki::AlgorithmIdentifierRef {
                oid: const_oid::db::rfc8410::ID_ED_25519,
                parameters: None,
            },
            subject_public_key: BitStringRef::from_bytes(&self.0).map_err(failed)?,
        };
        spki.to_der().map_err(failed)
    }

    pub(super) fn decoding(&self) -> DecodingKey {
        DecodingKey::from_ed_der(&self.0)
    }
}
