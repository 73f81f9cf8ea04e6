//! The judgement of a certificate request: from bytes of the network to a key that may be signed.
//!
//! The first failure gives the code, in this order: private key inside, size, PEM form, DER, kind
//! and size of the key, signature algorithm, weak key, proof of possession, number of common
//! names, syntax of the name, match with the identity, other subject attributes, powers of an
//! authority, other extensions, alternative names (wildcard, kind, address, count, set). What
//! needs the ledger, a key known under two identities, is judged by the pipeline afterwards.

use std::net::IpAddr;

use aws_lc_rs::digest;
use der::asn1::ObjectIdentifier;
use der::referenced::OwnedToRef as _;
use der::{Decode, Encode, ErrorKind, Reader, SliceReader, Tag, Tagged};
use x509_cert::name::Name;
use x509_cert::request::CertReq;

use super::CsrReply;
use super::extensions::Asked;
use super::identity::{judge_name, quoted};
use super::key::{KeyKind, PublicKey};
use super::policy::RequestPolicy;
use super::{pem, proof, weak};
use crate::code::{Code, Refusal};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A request that may be signed: the node's name and public key, and nothing else of it.
///
/// Only [`judge`] makes one, or [`super::judge_possession`] of a key alone, and it is all an authority is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedRequest {
    pub(super) identity: String,
    pub(super) key: KeyKind,
    pub(super) spki: Vec<u8>,
    pub(super) spki_sha256: [u8; 32],
    pub(super) addresses: Vec<IpAddr>,
}

impl JudgedRequest {
    /// The node's name, which is also the request's common name.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The kind of the node's key.
    #[must_use]
    pub const fn key(&self) -> KeyKind {
        self.key
    }

    /// The node's public key as a DER `SubjectPublicKeyInfo`, byte for byte as in the request.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The SHA-256 of [`Self::spki`]: the name of the key in the ledger.
    #[must_use]
    pub const fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// [`Self::spki_sha256`] in lower-case hexadecimal.
    #[must_use]
    pub fn spki_sha256_hex(&self) -> String {
        hex::encode(self.spki_sha256)
    }

    /// The addresses that were asked for and are granted beside the name.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }
}

/// The most that a node may send in a text beside its request.
const MAX_BESIDE: usize = 16 * 1024;

/// Whether the bytes hold a private key in PEM. Whoever received them should wipe them.
#[must_use]
pub fn holds_private_key(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY";
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

fn leaked() -> Refusal {
    Refusal::new(
        Code::CsrPrivateKeyLeaked,
        "a private key was sent with the request; it was not kept, and the node must discard \
             it and make a new one (rule 14)",
    )
}

/// Judges what a node sends beside its request, which is kept and goes to a helper as it is.
///
/// # Errors
/// `csr.private_key_leaked`; `csr.too_large` for more than 16 KiB in one text.
pub fn judge_beside(reply: &CsrReply) -> Result<(), Refusal> {
    let directory = reply.ed25519.as_ref().map(|reply| &reply.directory);
    for text in [&reply.public_key, &reply.ssldir]
        .into_iter()
        .chain(directory)
    {
        if holds_private_key(text.as_bytes()) {
            return Err(leaked());
        }
        if text.len() > MAX_BESIDE {
            let says = format!(
                "{} bytes were sent beside the request; {MAX_BESIDE} are the most",
                text.len()
            );
            return Err(Refusal::new(Code::CsrTooLarge, says));
        }
    }
    Ok(())
}

/// Judges the request `pem` of the node `identity`.
///
/// # Errors
/// The first rule that is broken, as `csr.*`, `key.*` or `identity.syntax`.
pub fn judge(pem: &[u8], identity: &str, policy: &RequestPolicy) -> Result<JudgedRequest, Refusal> {
    if holds_private_key(pem) {
        return Err(leaked());
    }
    let der = pem::request_der(pem)?;
    let request = decode(&der)?;
    let asked = Asked::read(&request.info.attributes)?;

    let key = PublicKey::judge(request.info.public_key.owned_to_ref())?;
    if !policy.keys.contains(&key.kind) {
        return Err(Refusal::new(
            Code::KeyAlgorithm,
            format!(
                "the key is {}, a kind that this site's policy does not certify (rule 8)",
                key.kind
            ),
        ));
    }
    let algorithm = proof::algorithm(key.kind, request.algorithm.owned_to_ref())?;
    weak::judge(&key)?;
    let signed = request.info.to_der().map_err(not_der)?;
    let signature = request
        .signature
        .as_bytes()
        .ok_or_else(|| Refusal::new(Code::CsrDer, "the signature is not whole bytes"))?;
    proof::verify(&key, algorithm, &signed, signature)?;

    judge_subject(&request.info.subject, identity, policy)?;
    let addresses = asked.judge(identity, policy)?;

    let spki = request.info.public_key.to_der().map_err(not_der)?;
    let spki_sha256 = sha256(&spki);
    policy.blocked_keys.judge(&key, &spki_sha256)?;
    Ok(JudgedRequest {
        identity: identity.to_owned(),
        key: key.kind,
        spki_sha256,
        spki,
        addresses,
    })
}

/// Decodes strictly: one request, nothing after it, and no second way to write it.
fn decode(der: &[u8]) -> Result<CertReq, Refusal> {
    let mut reader = SliceReader::new(der).map_err(not_der)?;
    let request = CertReq::decode(&mut reader).map_err(not_der)?;
    if !reader.is_finished() {
        return Err(Refusal::new(
            Code::CsrDerTrailing,
            format!(
                "{} bytes follow the request inside its PEM block (rule 13)",
                der.len() - request.to_der().map_err(not_der)?.len()
            ),
        ));
    }
    if request.to_der().map_err(not_der)? != der {
        return Err(Refusal::new(
            Code::CsrDer,
            "the request is not written in the one way DER allows (rule 13)",
        ));
    }
    Ok(request)
}

fn not_der(error: der::Error) -> Refusal {
    // String types so odd that the decoder does not know them: GraphicString, GeneralString and
    // UniversalString. They only ever stand for text in a name.
    if let ErrorKind::TagUnknown {
        byte: 0x19 | 0x1b | 0x1c,
    } = error.kind()
    {
        return Refusal::new(
            Code::CsrSubjectCnCount,
            "a name in the request is written in a string type that is never accepted; it must \
             have exactly one common name, in plain text (rule 2)",
        );
    }
    Refusal::new(
        Code::CsrDer,
        format!("the request is not strict DER of a PKCS #10 request (rule 13): {error}"),
    )
}

fn judge_subject(subject: &Name, identity: &str, policy: &RequestPolicy) -> Result<(), Refusal> {
    let name = common_name(subject)?;
    judge_name(&name, "the request's common name", policy.punycode)?;
    judge_name(identity, "the node's identity", policy.punycode)?;
    if name != identity {
        return Err(Refusal::new(
            Code::CsrIdentityMismatch,
            format!(
                "the request's common name is {}; this node is \"{identity}\". A node may only \
                 ask for its own name (rule 1)",
                quoted(&name)
            ),
        ));
    }
    let other = subject.iter().map(|attribute| attribute.oid).find(|oid| {
        *oid != COMMON_NAME
            && !policy
                .subject_attributes
                .iter()
                .any(|known| known.0 == *oid)
    });
    match other {
        None => Ok(()),
        Some(oid) => Err(Refusal::new(
            Code::CsrSubjectAttr,
            format!(
                "the request's subject holds the attribute {oid} beside the common name; it must \
                 be the common name alone (rule 3)"
            ),
        )),
    }
}

/// The one common name, wherever in the subject it stands.
pub(crate) fn common_name(subject: &Name) -> Result<String, Refusal> {
    let refuse = |what: String| {
        Err(Refusal::new(
            Code::CsrSubjectCnCount,
            format!("{what}; it must have exactly one common name, in plain text (rule 2)"),
        ))
    };
    let mut names = subject
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME);
    let (first, others) = (names.next(), names.count());
    let Some(attribute) = first else {
        return refuse("the request's subject has no common name".to_owned());
    };
    if others > 0 {
        return refuse(format!(
            "the request's subject has {} common names",
            others + 1
        ));
    }
    let tag = attribute.value.tag();
    if !matches!(tag, Tag::Utf8String | Tag::PrintableString | Tag::Ia5String) {
        return refuse(format!("the request's common name is written as {tag}"));
    }
    match std::str::from_utf8(attribute.value.value()) {
        Ok(name) => Ok(name.to_owned()),
        Err(_) => refuse("the request's common name is not valid text".to_owned()),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::super::Ed25519Reply;
    use super::*;

    #[test]
    fn what_comes_beside_a_request_is_short_and_no_private_key() {
        let code = |texts: [&str; 3]| {
            let reply = CsrReply {
                public_key: texts[0].to_owned(),
                ssldir: texts[1].to_owned(),
                ed25519: Some(Ed25519Reply {
                    directory: texts[2].to_owned(),
                    ..Ed25519Reply::default()
                }),
                ..CsrReply::default()
            };
            judge_beside(&reply).err().map(|refusal| refusal.code)
        };
        let public = "-----BEGIN PUBLIC KEY-----";
        assert_eq!(code([public, "/etc/choria/ssl", "/etc"]), None);
        let private = "-----BEGIN RSA PRIVATE KEY-----";
        let leaked = Some(Code::CsrPrivateKeyLeaked);
        assert_eq!(code([private, "/etc", ""]), leaked);
        assert_eq!(code([public, private, ""]), leaked);
        assert_eq!(code([public, "/etc", private]), leaked);
        let long = "x".repeat(MAX_BESIDE + 1);
        assert_eq!(code([public, &long, ""]), Some(Code::CsrTooLarge));
        assert_eq!(code([&long[1..], "", ""]), None);
    }
}
