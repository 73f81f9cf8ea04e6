//! What a leaf certificate says: fixed and recorded first, handed to the builder later.

use std::net::IpAddr;

use der::Decode;
use jiff::Timestamp;
use rcgen::{
    CertificateParams, CrlDistributionPoint, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use serde::{Deserialize, Serialize};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::internal;
use crate::code::Refusal;
use crate::judge::KeyKind;

/// Everything a certificate will say, fixed and recorded before it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToBeSigned {
    /// The common name and the DNS name.
    pub identity: String,
    /// Addresses beside the name.
    pub addresses: Vec<IpAddr>,
    /// The kind of key.
    pub key: KeyKind,
    /// The public key as DER `SubjectPublicKeyInfo`, hexadecimal.
    pub spki: String,
    /// The serial number, 20 bytes, hexadecimal.
    pub serial: String,
    /// The first second of validity.
    pub not_before: Timestamp,
    /// The last second of validity.
    pub not_after: Timestamp,
    /// Whether the certificate is for servers as well as for clients.
    pub server_auth: bool,
    /// The SHA-256 of the certificate that signs, hexadecimal.
    pub issuer_sha256: String,
    /// Where the list of revoked certificates is fetched (RFC 5280 §4.2.1.13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_url: Option<String>,
}

/// What the leaf says: policy and nothing of the request but its key.
pub(super) fn params(what: &ToBeSigned) -> Result<CertificateParams, Refusal> {
    let time = |time: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(internal)
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, what.identity.as_str());
    let dns = SanType::DnsName(what.identity.as_str().try_into().map_err(internal)?);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.subject_alt_names = std::iter::once(dns)
        .chain(what.addresses.iter().copied().map(SanType::IpAddress))
        .collect();
    params.serial_number = Some(SerialNumber::from(
        hex::decode(&what.serial).map_err(internal)?,
    ));
    params.not_before = time(what.not_before)?;
    params.not_after = time(what.not_after)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if what.server_auth {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    let point = |url: &String| CrlDistributionPoint {
        uris: vec![url.clone()],
    };
    params.crl_distribution_points = what.crl_url.iter().map(point).collect();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// The node's public key, with the algorithm its own encoding names.
pub(super) struct PublicKey {
    algorithm: &'static SignatureAlgorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    pub(super) fn read(what: &ToBeSigned) -> Result<Self, Refusal> {
        let spki = hex::decode(&what.spki).map_err(internal)?;
        let spki = SubjectPublicKeyInfoRef::from_der(&spki).map_err(internal)?;
        Ok(Self {
            algorithm: match what.key {
                KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
                KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
                KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
                KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            },
            bytes: spki.subject_public_key.raw_bytes().to_vec(),
        })
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
