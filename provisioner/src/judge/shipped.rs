//! The judgement of a private key that an authority made for a node.

use der::Decode as _;
use server_core::trust::{KeyPair, TrustError};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::identity::judge_name;
use super::key::PublicKey;
use super::policy::RequestPolicy;
use super::request::{JudgedRequest, sha256};
use super::weak;
use crate::code::{Code, Refusal};

/// Judges a key as if its node had asked for a certificate with it; the key itself comes back in the form in which
/// nodes keep keys.
///
/// # Errors
/// `hook.key` when it is no RSA key, which is all that nodes take from others; `key.*`, `identity.syntax`.
pub fn judge_shipped(
    pem: &str,
    identity: &str,
    policy: &RequestPolicy,
) -> Result<(JudgedRequest, KeyPair), Refusal> {
    let refuse = |says: String| Refusal::new(Code::HookKey, says);
    let key = KeyPair::from_pem(pem).map_err(|error| match error {
        TrustError::Key(why) => refuse(format!("the helper's private key cannot be used: {why}")),
        // What is said of other text could quote it.
        _ => refuse("the helper's private key is none in PEM form, or encrypted".to_owned()),
    })?;
    if !key.is_rsa() {
        return Err(refuse(
            "the helper's private key is not RSA, the only kind that nodes take from others"
                .to_owned(),
        ));
    }
    let spki = key.public_spki_der();
    let parsed =
        SubjectPublicKeyInfoRef::from_der(&spki).map_err(|error| refuse(error.to_string()))?;
    let public = PublicKey::judge(parsed)?;
    if !policy.keys.contains(&public.kind) {
        let says = format!(
            "the helper's key is {}, a kind that this site's policy does not certify (rule 8)",
            public.kind
        );
        return Err(Refusal::new(Code::KeyAlgorithm, says));
    }
    weak::judge(&public)?;
    let spki_sha256 = sha256(&spki);
    policy.blocked_keys.judge(&public, &spki_sha256)?;
    judge_name(identity, "the node's identity", policy.punycode)?;
    let judged = JudgedRequest {
        identity: identity.to_owned(),
        key: public.kind,
        spki_sha256,
        spki,
        addresses: Vec::new(),
    };
    Ok((judged, key))
}
