//! The configured certificates that every returned certificate is held against.

use der::Decode;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;

use crate::code::{Code, Refusal};

/// The trust anchors nodes are sent, and the intermediates with which chains are completed.
#[derive(Clone, Debug)]
pub struct TrustStore {
    anchors: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl TrustStore {
    /// Reads anchors and intermediates from PEM; the latter may be empty.
    ///
    /// The anchors may come as a whole bundle: what in it is signed by another certificate is an
    /// intermediate, kept for completing chains and not sent as an anchor. A bundle without any
    /// self-issued certificate is anchors throughout.
    ///
    /// # Errors
    /// `ca.config` when a block is no certificate, or there is no anchor.
    pub fn from_pem(anchors: &str, intermediates: &str) -> Result<Self, Refusal> {
        let wrong = |what: String| Refusal::new(Code::CaConfig, what);
        let anchors = certificates(anchors)
            .map_err(|error| wrong(format!("the trust anchors cannot be read: {error}")))?;
        let intermediates = certificates(intermediates)
            .map_err(|error| wrong(format!("the intermediates cannot be read: {error}")))?;
        if anchors.is_empty() {
            return Err(wrong(
                "the trust anchors hold no certificate; a PEM file with the root is needed".into(),
            ));
        }
        let (mut anchors, mut between): (Vec<_>, Vec<_>) =
            anchors.into_iter().partition(is_self_issued);
        if anchors.is_empty() {
            std::mem::swap(&mut anchors, &mut between);
        }
        between.extend(intermediates);
        Ok(Self {
            anchors,
            intermediates: between,
        })
    }

    /// The trust anchors in PEM, as they are sent to nodes.
    #[must_use]
    pub fn anchors_pem(&self) -> String {
        self.anchors.iter().map(|anchor| to_pem(anchor)).collect()
    }

    pub(crate) fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    /// The anchors that may have signed the last certificate of a chain.
    pub(crate) fn anchors_of(
        &self,
        chain: &[CertificateDer<'static>],
    ) -> impl Iterator<Item = &CertificateDer<'static>> {
        let read = |der: &CertificateDer<'static>| Certificate::from_der(der).ok();
        let issuer = chain.last().and_then(read);
        let issuer = issuer.map(|last| last.tbs_certificate().issuer().clone());
        self.anchors.iter().filter(move |anchor| {
            let anchor = Certificate::from_der(anchor).ok();
            anchor.map(|anchor| anchor.tbs_certificate().subject().clone()) == issuer
        })
    }

    pub(crate) fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    pub(crate) fn knows(&self, certificate: &CertificateDer<'_>) -> bool {
        self.anchors.contains(certificate) || self.intermediates.contains(certificate)
    }
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    Certificate::from_der(certificate).is_ok_and(|certificate| {
        let tbs = certificate.tbs_certificate();
        tbs.issuer() == tbs.subject()
    })
}

/// The most certificates that are read from one PEM text.
const MAX_CERTIFICATES: usize = 64;

/// Every certificate in a PEM text, in order, each decoded strictly once.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
        Certificate::from_der(&certificate)
            .map_err(|error| format!("certificate {} is not DER: {error}", found.len() + 1))?;
        found.push(certificate);
        if found.len() > MAX_CERTIFICATES {
            return Err(format!(
                "it holds more than {MAX_CERTIFICATES} certificates"
            ));
        }
    }
    Ok(found)
}

/// One certificate in canonical PEM.
pub(crate) fn to_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::with_capacity(encoded.len() + encoded.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for (at, c) in encoded.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}
