//! Certificates: reading them, their names, and whether they lead to a trusted root.

use der::{Decode as _, Encode as _};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::TrustError;
use crate::words::UnixTime;

/// Reads all certificates of a PEM text, in their order. Text around the blocks and blocks of other kinds are skipped.
///
/// # Errors
/// When the text holds no certificate or a damaged block.
pub fn parse_pem_bundle(text: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let error = |detail: String| TrustError::Pem {
        wanted: "certificate",
        detail,
    };
    let blocks = pem::parse_many(text).map_err(|e| error(e.to_string()))?;
    let certificates: Vec<_> = blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if certificates.is_empty() {
        return Err(error("the text holds none".to_owned()));
    }
    Ok(certificates)
}

/// The names in a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The common name of the subject; the last one when there are several.
    pub common_name: Option<String>,
    /// DNS names of the subject alternative names extension.
    pub dns: Vec<String>,
}

impl CertificateNames {
    /// All of them, the common name first.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.common_name.iter().chain(&self.dns).map(String::as_str)
    }
}

/// Reads the names of a certificate.
///
/// # Errors
/// When it is not an X.509 certificate.
pub fn names(certificate: &CertificateDer<'_>) -> Result<CertificateNames, TrustError> {
    names_of(&parse(certificate)?)
}

/// The public key of a certificate: its `SubjectPublicKeyInfo`, DER.
///
/// # Errors
/// When it is not an X.509 certificate.
pub fn public_spki_der(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, TrustError> {
    let certificate = parse(certificate)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    key.to_der()
        .map_err(|error| TrustError::Certificate(error.to_string()))
}

pub(super) fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, TrustError> {
    Certificate::from_der(certificate).map_err(|error| TrustError::Certificate(error.to_string()))
}

pub(super) fn names_of(certificate: &Certificate) -> Result<CertificateNames, TrustError> {
    let tbs = certificate.tbs_certificate();
    let unreadable = |error: der::Error| TrustError::Certificate(error.to_string());
    let mut names = CertificateNames::default();
    for attribute in tbs.subject().iter() {
        if attribute.oid == const_oid::db::rfc4519::CN {
            let value = &attribute.value;
            let text = value
                .decode_as::<der::asn1::Utf8StringRef<'_>>()
                .map(|s| s.as_str().to_owned())
                .or_else(|_| {
                    value
                        .decode_as::<der::asn1::PrintableStringRef<'_>>()
                        .map(|s| s.as_str().to_owned())
                })
                .or_else(|_| {
                    value
                        .decode_as::<der::asn1::Ia5StringRef<'_>>()
                        .map(|s| s.as_str().to_owned())
                })
                .map_err(unreadable)?;
            names.common_name = Some(text);
        }
    }
    if let Some((_, alternatives)) = tbs.get_extension::<SubjectAltName>().map_err(unreadable)? {
        for name in alternatives.0 {
            if let GeneralName::DnsName(dns) = name {
                names.dns.push(dns.as_str().to_owned());
            }
        }
    }
    Ok(names)
}

/// Whether a certificate leads to one of the roots, is valid at this time and may authenticate clients.
///
/// As RFC 5280 says, a certificate without an extended key usage may be used for anything.
///
/// # Errors
/// With the reason when it is not.
pub fn verify_client_chain(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    at: UnixTime,
) -> Result<(), TrustError> {
    verify_with_anchors(leaf, intermediates, &anchors(roots)?, at)
}

pub(super) fn anchors(
    roots: &[CertificateDer<'_>],
) -> Result<Vec<TrustAnchor<'static>>, TrustError> {
    let anchor = |root| {
        webpki::anchor_from_trusted_cert(root)
            .map(|anchor| anchor.to_owned())
            .map_err(|error| TrustError::Certificate(format!("as a root: {error}")))
    };
    roots.iter().map(anchor).collect()
}

pub(super) fn verify_with_anchors(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    at: UnixTime,
) -> Result<(), TrustError> {
    let untrusted = |error: webpki::Error| TrustError::Chain(error.to_string());
    let secs = u64::try_from(at.secs()).unwrap_or(0);
    let time = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(untrusted)?;
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        anchors,
        intermediates,
        time,
        webpki::KeyUsage::client_auth(),
        None,
        None,
    )
    .map(|_| ())
    .map_err(untrusted)
}
