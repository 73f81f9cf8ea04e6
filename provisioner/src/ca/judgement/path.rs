//! The way from a returned certificate to a trust anchor, and what came along beside it.

use std::time::Duration;

use der::{Decode as _, Encode as _};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use server_core::trust::remembered;
use webpki::{EndEntityCert, Error, KeyUsage as Usage, anchor_from_trusted_cert};
use x509_cert::Certificate;

use super::refuse;
use crate::ca::trust::{TrustStore, certificates};
use crate::code::{Code, Refusal};
use crate::judge::identity::quoted;

/// The leaf and its intermediates in order, from a path to a trust anchor at a time.
///
/// Where an anchor is also certified by another one, because the site changes its root or joined
/// somebody else's, that certificate is part of the path: peers who know only the other anchor
/// need it, and it does not hurt the rest.
///
/// # Errors
/// `cert.untrusted`, or `cert.expired` and `cert.not_yet_valid` when it is a matter of time;
/// `cert.chain_incomplete` when nobody has the certificate of an issuer, or the way is too long.
pub(crate) fn path(
    given: &[CertificateDer<'static>],
    trust: &TrustStore,
    at: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let Some((leaf, others)) = given.split_first() else {
        return Err(refuse(Code::CertFormat, "the answer holds no certificate"));
    };
    let mut anchors = trust
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
    let (mut chain, mut anchor) = verify(leaf, &pool, &anchors, at)
        .map_err(|error| path_error(&error, missing(leaf, &pool, trust)))?;
    loop {
        anchors.retain(|other| {
            (&*other.subject, &*other.subject_public_key_info) != (&*anchor.0, &*anchor.1)
        });
        match verify(leaf, &pool, &anchors, at) {
            Ok((longer, next)) if longer.len() > chain.len() && longer.starts_with(&chain) => {
                (chain, anchor) = (longer, next);
            }
            _ => return Ok(chain),
        }
    }
}

/// Name and key of an anchor, DER.
type AnchorKey = (Vec<u8>, Vec<u8>);

/// One path, and the anchor at its end.
fn verify(
    leaf_der: &CertificateDer<'static>,
    pool: &[CertificateDer<'static>],
    anchors: &[TrustAnchor<'_>],
    at: Timestamp,
) -> Result<(Vec<CertificateDer<'static>>, AnchorKey), Error> {
    if anchors.is_empty() {
        return Err(Error::UnknownIssuer);
    }
    let leaf = EndEntityCert::try_from(leaf_der)?;
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    let verified = leaf.verify_for_usage(
        remembered::algorithms(),
        anchors,
        pool,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        Usage::client_auth(),
        None,
        None,
    )?;
    let between = verified.intermediate_certificates();
    let chain = std::iter::once(leaf_der.clone())
        .chain(between.map(|certificate| certificate.der().into_owned()))
        .collect();
    let anchor = verified.anchor();
    let anchor = (
        anchor.subject.to_vec(),
        anchor.subject_public_key_info.to_vec(),
    );
    Ok((chain, anchor))
}

/// The issuer on the way up from the leaf whose certificate nobody has, if it is that.
fn missing(
    leaf: &CertificateDer<'static>,
    pool: &[CertificateDer<'static>],
    trust: &TrustStore,
) -> Option<String> {
    let read = |der: &CertificateDer<'static>| Certificate::from_der(der).ok();
    let known: Vec<Certificate> = pool
        .iter()
        .chain(trust.anchors())
        .filter_map(read)
        .collect();
    let mut at = read(leaf)?;
    // One step more than there are certificates is a circle.
    for _ in 0..=known.len() {
        let issuer = at.tbs_certificate().issuer().clone();
        if at.tbs_certificate().subject() == &issuer {
            return None;
        }
        let above = known
            .iter()
            .find(|above| above.tbs_certificate().subject() == &issuer);
        match above {
            Some(above) => at = above.clone(),
            None => return Some(issuer.to_string()),
        }
    }
    None
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

fn path_error(error: &Error, missing: Option<String>) -> Refusal {
    let code = match (error, missing) {
        (Error::CertExpired { .. }, _) => Code::CertExpired,
        (Error::CertNotValidYet { .. }, _) => Code::CertNotYetValid,
        (Error::BadDer | Error::BadDerTime | Error::UnsupportedCertVersion, _) => Code::CertFormat,
        (Error::PathLenConstraintViolated, _) => Code::CertChainIncomplete,
        (Error::MaximumPathDepthExceeded, _) => {
            return refuse(
                Code::CertChainIncomplete,
                "there are more than six authorities between it and a trust anchor (rule 34)",
            );
        }
        (Error::UnknownIssuer, Some(issuer)) => {
            return refuse(
                Code::CertChainIncomplete,
                &format!(
                    "its chain ends at {}, whose certificate neither came along nor is \
                     configured; add it to `intermediates` or `roots` of [ca] if it is yours \
                     (rule 34)",
                    quoted(&issuer)
                ),
            );
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
    let known: Vec<_> = chain
        .iter()
        .chain(trust.anchors())
        .filter_map(holder)
        .collect();
    let stranger = given.iter().filter(unknown).find(|certificate| {
        // Another certificate for a name and key on the path leads elsewhere, and is left out.
        holder(certificate).is_none_or(|holder| !known.contains(&holder))
    });
    if let Some(stranger) = stranger {
        let name = holder(stranger).map_or_else(String::new, |(name, _)| quoted(&name));
        let says =
            format!("{name} came along, which is neither on the path nor configured (rule 34)");
        return Err(refuse(Code::CertChainIncomplete, &says));
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

/// Whom a certificate is for: name and key.
fn holder(certificate: &CertificateDer<'static>) -> Option<(String, Vec<u8>)> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let tbs = certificate.tbs_certificate();
    let key = tbs.subject_public_key_info().to_der().ok()?;
    Some((tbs.subject().to_string(), key))
}
