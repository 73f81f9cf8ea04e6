//! The judgement of a node's reply to `gen25519`: an Ed25519 key, and the proof that the node has its private half.

use der::Decode as _;
use server_core::trust::jwt::OrganizationKey;
use server_core::trust::possession;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::Ed25519Reply;
use super::identity::judge_name;
use super::key::PublicKey;
use super::request::{JudgedRequest, sha256};
use super::{proof, weak};
use crate::code::{Code, Refusal};

/// Judges whether a node has the key of its request now: it signed a nonce that nobody was asked with
/// before. The request itself may have been overheard long ago.
///
/// # Errors
/// `csr.pop_failed`.
pub(crate) fn judge_proof(
    request: &JudgedRequest,
    nonce: &str,
    signature: &str,
) -> Result<(), Refusal> {
    let failed = || {
        let says = "its request is for a key the node was certified with, and it did not prove that \
                    it has that key now: the request may be one that was overheard (rules 10 and 55)";
        Refusal::new(Code::CsrPopFailed, says)
    };
    let message = possession::message(request.identity(), nonce).ok_or_else(failed)?;
    let signature = hex::decode(signature)
        .ok()
        .filter(|bytes| !bytes.is_empty());
    let signature = signature.ok_or_else(failed)?;
    let spki = SubjectPublicKeyInfoRef::from_der(request.spki()).map_err(|_| failed())?;
    let public = PublicKey::judge(spki)?;
    proof::verify(&public, proof::own(public.kind), &message, &signature).map_err(|_| failed())
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use server_core::trust::{CsrSubject, KeyAlgorithm, KeyPair};

    use super::*;
    use crate::judge::{RequestPolicy, judge};

    #[test]
    fn an_overheard_request_is_no_proof_of_having_the_key_now() {
        let (nonce, other) = ("0f".repeat(16), "f0".repeat(16));
        for algorithm in [
            KeyAlgorithm::P256,
            KeyAlgorithm::Rsa2048,
            KeyAlgorithm::Ed25519,
        ] {
            let key = KeyPair::generate(algorithm).unwrap();
            let csr = key.csr("n1", &CsrSubject::default()).unwrap();
            let request = judge(csr.as_bytes(), "n1", &RequestPolicy::default()).unwrap();
            let signed = |name: &str, nonce: &str| {
                let message = possession::message(name, nonce).unwrap();
                hex::encode(key.sign(&message).unwrap())
            };
            assert_eq!(judge_proof(&request, &nonce, &signed("n1", &nonce)), Ok(()));
            for overheard in ["", "zz", &signed("n1", &other), &signed("n2", &nonce)] {
                let refusal = judge_proof(&request, &nonce, overheard).unwrap_err();
                assert_eq!(refusal.code, Code::CsrPopFailed);
            }
        }
    }
}
