//! What a node is sent to show on the production network, and what goes along.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A certificate or server token and what goes with it, as the hook gave it and the judge passed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuance {
    /// Leaf and intermediates, PEM, as the node is sent them; empty where it gets a server token.
    pub chain: String,
    /// The server token, as the node is sent it; empty where it gets a certificate.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server_jwt: String,
    /// The private key of the leaf, where the authority made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_key: Option<SealedKey>,
    /// Serial number of the leaf, hex; the unique name of a token.
    pub serial: String,
    /// End of the leaf's life, or of the token's.
    pub not_after: Option<Timestamp>,
    /// The target the node is placed at, where nodes are placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Folder of the TLS files, where the hook named one.
    pub ssldir: Option<String>,
    /// Settings of the hook; the templates apply when there are none.
    pub configuration: Option<BTreeMap<String, String>>,
    /// Action policies of the hook.
    pub action_policies: BTreeMap<String, String>,
    /// Open Policy Agent policies of the hook.
    pub opa_policies: BTreeMap<String, String>,
}

impl Issuance {
    /// Whether it is a server token and no certificate: no list of revoked certificates names it.
    #[must_use]
    pub const fn is_token(&self) -> bool {
        !self.server_jwt.is_empty()
    }

    /// SHA-256 of the SPKI of the key that the authority made, hex, where it made one.
    #[must_use]
    pub fn shipped_key(&self) -> Option<&str> {
        let key = self.sealed_key.as_ref()?.spki_sha256.as_str();
        (!key.is_empty()).then_some(key)
    }

    /// What it is, for people.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.is_token() {
            true => "server token",
            false => "certificate",
        }
    }
}

/// A private key, encrypted for one node and one exchange with it (X25519); nobody else can read it, this service
/// included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// The key, PEM with the encryption of RFC 1423.
    pub pem: String,
    /// Our public half of the exchange, hex.
    pub ours: String,
    /// The node's, hex: it forgets the private half when it is asked for its token again.
    pub theirs: String,
    /// SHA-256 of its public key's SPKI, hex; empty where it was sealed before this was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spki_sha256: String,
}
