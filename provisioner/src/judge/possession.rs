//! The judgement of a node's reply to `gen25519`: an Ed25519 key, and the proof that the node has its private half.

use der::Decode as _;
use server_core::trust::jwt::OrganizationKey;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::identity::judge_name;
use super::key::PublicKey;
use super::request::{JudgedRequest, sha256};
use super::weak;
use crate::code::{Code, Refusal};
use crate::hook::Ed25519Reply;

/// Judges the key a node made and its signature over the nonce it was asked with.
///
/// # Errors
/// `rpc.protocol` when it is no such reply, `key.*`, `csr.pop_failed`, `identity.syntax`.
pub fn judge_possession(
    reply: &Ed25519Reply,
    identity: &str,
    punycode: bool,
) -> Result<JudgedRequest, Refusal> {
    let malformed = |what: &str| {
        let says = format!("its reply to choria_provision#gen25519 has no {what}");
        Refusal::new(Code::RpcProtocol, says)
    };
    let lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let key = OrganizationKey::parse(&reply.public_key)
        .ok()
        .filter(|_| lower(&reply.public_key))
        .ok_or_else(|| malformed("public_key of 64 lower-case hexadecimal digits"))?;
    let mut signature = [0; 64];
    hex::decode_to_slice(&reply.signature, &mut signature)
        .map_err(|_| malformed("signature of 128 hexadecimal digits"))?;
    let failed = |says: String| Refusal::new(Code::KeyAlgorithm, says);
    let spki = key.spki_der().map_err(|error| failed(error.to_string()))?;
    let parsed =
        SubjectPublicKeyInfoRef::from_der(&spki).map_err(|error| failed(error.to_string()))?;
    let public = PublicKey::judge(parsed)?;
    weak::judge(&public)?;
    if !key.verifies(reply.nonce.as_bytes(), &signature) {
        return Err(Refusal::new(
            Code::CsrPopFailed,
            "the signature over the nonce was not made with the private half of the key that was \
             sent with it (rule 10)",
        ));
    }
    judge_name(identity, "the node's name", punycode)?;
    Ok(JudgedRequest {
        identity: identity.to_owned(),
        key: public.kind,
        spki_sha256: sha256(&spki),
        spki,
        addresses: Vec::new(),
    })
}
