//! What a node hands in to be judged.

use serde::{Deserialize, Serialize};

/// What a node answered when it was asked to make a key: to `choria_provision#gencsr`, where nodes get certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsrReply {
    /// The request, PEM.
    pub csr: String,
    /// The public key, PEM as the node wrote it (the original labels PKCS#1 as `PUBLIC KEY`).
    pub public_key: String,
    /// The directory in which the node keeps its TLS files.
    pub ssldir: String,
    /// Its reply to `gen25519` instead, where nodes get server tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ed25519: Option<Ed25519Reply>,
}

/// What a node answered to `choria_provision#gen25519`, and what it was asked with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ed25519Reply {
    /// Its public key, 64 hexadecimal digits.
    pub public_key: String,
    /// The directory of its configuration, where it keeps the seed and awaits the token.
    pub directory: String,
    /// Its signature over the nonce's text, 128 hexadecimal digits.
    pub signature: String,
    /// The nonce.
    pub nonce: String,
}
