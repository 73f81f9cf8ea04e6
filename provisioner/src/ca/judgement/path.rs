//! The way from a returned certificate to a trust anchor, and what came along beside it.

use std::time::Duration;

use der::Decode as _;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage as Usage, anchor_from_trusted_cert};
use x509_cert::Certificate;

use super::refuse;
use crate::ca::trust::{TrustStore, certificates};
use crate::code::{Code, Refusal};

/// The leaf and its intermediates in order, from a path to a trust anchor at a time.
///
/// # Errors
/// `cert.untrusted`, or `cert.expired` and `cert.not_yet_valid` when it is a matter of time.
pub(crate) fn path(
    given: &[CertificateDer<'static>],
    trust: &TrustStore,
    at: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let Some((leaf_der, others)) = given.split_first() else {
        return Err(refuse(Code::CertFormat, "the answer holds no certificate"));
    };
    let anchors = trust
        .anchors()
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            Refusal::new(
                Code::CaConfig,
                format!("a configured trust anchor cannot be used: {error}"),
            )
        })?;
    let pool: Vec<CertificateDer<'static>> = others
        .iter()
        .chain(trust.intermediates())
        .filter(|certificate| !trust.anchors().contains(certificate))
        .cloned()
        .collect();
    let leaf = EndEntityCert::try_from(leaf_der).map_err(|error| path_error(&error))?;
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let verified = leaf
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &pool,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            Usage::client_auth(),
            None,
            None,
        )
        .map_err(|error| path_error(&error))?;
    Ok(std::iter::once(leaf_der.clone())
        .chain(
            verified
                .intermediate_certificates()
                .map(|certificate| certificate.der().into_owned()),
        )
        .collect())
}

/// Whether no certificate of a path ends before then. Anchors are trusted whatever their dates.
pub(super) fn lasts_until(chain: &[CertificateDer<'static>], then: Timestamp) -> bool {
    chain.iter().all(|certificate| {
        Certificate::from_der(certificate).is_ok_and(|certificate| {
            let end = certificate.tbs_certificate().validity().not_after;
            i64::try_from(end.to_unix_duration().as_secs()).is_ok_and(|end| end >= then.as_second())
        })
    })
}

fn path_error(error: &Error) -> Refusal {
    let code = match error {
        Error::CertExpired { .. } => Code::CertExpired,
        Error::CertNotValidYet { .. } => Code::CertNotYetValid,
        Error::BadDer | Error::BadDerTime | Error::UnsupportedCertVersion => Code::CertFormat,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => {
            Code::CertChainIncomplete
        }
        _ => Code::CertUntrusted,
    };
    refuse(
        code,
        &format!("it does not lead to a configured trust anchor: {error} (rule 33)"),
    )
}

/// Whatever came along must belong: to the path, or to what is configured.
pub(super) fn judge_extras(
    given: &[CertificateDer<'static>],
    ca: Option<&str>,
    chain: &[CertificateDer<'static>],
    trust: &TrustStore,
) -> Result<(), Refusal> {
    let unknown = |certificate: &&CertificateDer<'static>| {
        !chain.contains(certificate) && !trust.knows(certificate)
    };
    if given.iter().any(|certificate| unknown(&certificate)) {
        return Err(refuse(
            Code::CertChainIncomplete,
            "certificates that are neither on the path nor configured came along (rule 34)",
        ));
    }
    let named = certificates(ca.unwrap_or_default())
        .map_err(|error| refuse(Code::CertFormat, &format!("of the trust anchors: {error}")))?;
    if named.iter().any(|certificate| unknown(&certificate)) {
        return Err(refuse(
            Code::CertUntrusted,
            "a trust anchor came along that is not a configured one; add it to the configured \
             roots if nodes shall trust it (rule 33)",
        ));
    }
    Ok(())
}
