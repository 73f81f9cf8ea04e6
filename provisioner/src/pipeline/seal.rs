//! Private keys that an authority made: encrypted for the one node, from the answer of the helper on.

use server_core::trust::ecdh::{NodeSecret, encrypt_pem};

use super::inspect::Inspected;
use crate::code::{Code, Refusal};
use crate::judge::{JudgedRequest, RequestPolicy, judge_shipped};
use crate::ledger::{Issuance, SealedKey};
use crate::secret::Secret;

/// Encrypts a key for the node that is being enrolled; what its certificate has to be for comes along.
pub(super) fn seal(
    key: &Secret,
    inspected: &Inspected,
    policy: &RequestPolicy,
) -> Result<(JudgedRequest, SealedKey), Refusal> {
    let (judged, key) = judge_shipped(key.reveal(), inspected.node().as_str(), policy)?;
    let theirs = inspected.ecdh_public.clone();
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let says = format!("{what}: {error}");
        Refusal::new(Code::RpcProtocol, says)
    };
    let own = NodeSecret::generate()
        .map_err(|error| failed("no key for the exchange can be made", &error))?;
    let shared = own
        .shared(&theirs)
        .map_err(|error| failed("its reply to choria_provision#jwt: ecdh_public", &error))?;
    let pem = encrypt_pem(&key.to_pem(), &shared)
        .map_err(|error| failed("the key cannot be encrypted", &error))?;
    let ours = own.public_hex().to_owned();
    let sealed = SealedKey {
        pem,
        ours,
        theirs,
        spki_sha256: judged.spki_sha256_hex(),
    };
    Ok((judged, sealed))
}

/// Whether the node can still read the key that was encrypted for it.
pub(super) fn is_readable(issuance: &Issuance, inspected: &Inspected) -> Result<(), Refusal> {
    match &issuance.sealed_key {
        Some(sealed) if sealed.theirs != inspected.ecdh_public => {
            let says = "the key that the authority made for it was encrypted for an exchange that \
                        has ended with its last try; the authority is asked for another";
            Err(Refusal::new(Code::KeyLost, says))
        }
        _ => Ok(()),
    }
}
