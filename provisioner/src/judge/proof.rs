//! Proof of possession: the request is signed by the very key it asks a certificate for, with an
//! algorithm that belongs to that key (RFC 2986 §4.2).

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use der::asn1::ObjectIdentifier;
use x509_cert::spki::AlgorithmIdentifierRef;

use super::key::{KeyKind, PublicKey};
use crate::code::{Code, Refusal};

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The verification that a pair of key and signature algorithm stands for.
///
/// # Errors
/// `csr.sigalg` for every pair that is not in the table.
pub(crate) fn algorithm(
    kind: KeyKind,
    algorithm: AlgorithmIdentifierRef<'_>,
) -> Result<&'static dyn VerificationAlgorithm, Refusal> {
    let parameters_right = if kind.is_rsa() {
        algorithm.parameters.is_some_and(|any| any.is_null())
    } else {
        algorithm.parameters.is_none()
    };
    let verification: &'static dyn VerificationAlgorithm = match (kind, algorithm.oid) {
        _ if !parameters_right => {
            return Err(refuse(kind, "has parameters that do not belong there"));
        }
        (KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096, SHA256_WITH_RSA) => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        (KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096, SHA384_WITH_RSA) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        (KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096, SHA512_WITH_RSA) => {
            &signature::RSA_PKCS1_2048_8192_SHA512
        }
        (KeyKind::P256, ECDSA_WITH_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyKind::P256, ECDSA_WITH_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyKind::P256, ECDSA_WITH_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
        (KeyKind::P384, ECDSA_WITH_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyKind::P384, ECDSA_WITH_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyKind::P384, ECDSA_WITH_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
        (KeyKind::Ed25519, ED25519) => &signature::ED25519,
        (_, oid) => return Err(refuse(kind, &format!("is {oid}"))),
    };
    Ok(verification)
}

/// What a key of this kind signs with where nothing says otherwise.
pub(crate) fn own(kind: KeyKind) -> &'static dyn VerificationAlgorithm {
    match kind {
        KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => {
            &signature::RSA_PKCS1_2048_8192_SHA256
        }
        KeyKind::P256 => &signature::ECDSA_P256_SHA256_ASN1,
        KeyKind::P384 => &signature::ECDSA_P384_SHA384_ASN1,
        KeyKind::Ed25519 => &signature::ED25519,
    }
}

/// Verifies the signature over the request's information.
///
/// # Errors
/// `key.weak` when the key is no valid point or number, `csr.pop_failed` when the signature is
/// wrong or another key's.
pub(crate) fn verify(
    key: &PublicKey<'_>,
    algorithm: &'static dyn VerificationAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Refusal> {
    let public = ParsedPublicKey::new(algorithm, key.bytes).map_err(|_| {
        Refusal::new(
            Code::KeyWeak,
            format!(
                "the {} public key is not a valid one; the node must make a new key (rule 8)",
                key.kind
            ),
        )
    })?;
    public.verify_sig(message, signature).map_err(|_| {
        Refusal::new(
            Code::CsrPopFailed,
            "the request is not signed by the key it asks a certificate for; a node must prove \
             that it holds the private key (rule 10)",
        )
    })
}

fn refuse(kind: KeyKind, what: &str) -> Refusal {
    let (signature, hashes) = match kind {
        KeyKind::Ed25519 => ("Ed25519", ""),
        KeyKind::P256 | KeyKind::P384 => ("ECDSA", " with SHA-256, SHA-384 or SHA-512"),
        _ => (
            "RSA PKCS #1 v1.5",
            " with SHA-256, SHA-384 or SHA-512 and NULL parameters",
        ),
    };
    Refusal::new(
        Code::CsrSigalg,
        format!(
            "the request's signature algorithm {what}; a request with a key of {kind} is signed \
             with {signature}{hashes} (rule 9)"
        ),
    )
}
