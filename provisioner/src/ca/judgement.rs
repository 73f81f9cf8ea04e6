//! The judgement of a returned certificate, whoever signed it, before a node sees it.
//!
//! In this order: form, key, name, powers, purposes, names, signature, time, path to a configured
//! trust anchor now and in a minute, certificates that do not belong. What passes is the chain as
//! the node needs it: complete, in order, without the root.

use std::time::Duration;

use der::{Decode, Encode};
use humantime::format_duration;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

mod constraint;
mod path;

pub(crate) use path::path;
use path::{judge_extras, lasts_until};

use super::trust::{TrustStore, certificates, to_pem};
use crate::code::{Code, Refusal};
use crate::judge::JudgedRequest;
use crate::judge::extensions::{
    AltName, CLIENT_AUTH, SERVER_AUTH, SUBJECT_ALT_NAME, read_alt_names,
};
use crate::judge::identity::quoted;
use crate::judge::request::{common_name, holds_private_key, sha256};

/// The most certificates an answer may hold.
const MAX_CHAIN: usize = 10;
/// The chain must still be good this much later, when the node meets the broker.
const SOON: SignedDuration = SignedDuration::from_mins(1);
/// Authorities start validity a while before they sign; that does not count as lifetime.
const BACKDATING: SignedDuration = SignedDuration::from_hours(24);
/// The authority's clock may be this much ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// Signature algorithms a certificate may carry: SHA-2 with RSA (both forms), ECDSA, Ed25519.
const SIGNATURES: &[&str] = &[
    "1.2.840.113549.1.1.10",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.3.101.112",
];

/// Policy for returned certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePolicy {
    /// The longest a certificate may live: a day more in all, for its backdating, but only a few
    /// minutes more from now on.
    pub max_lifetime: Duration,
    /// The least time it must have left.
    pub min_remaining: Duration,
}

impl Default for CertificatePolicy {
    /// At most five years and a day, at least five minutes left.
    fn default() -> Self {
        Self {
            max_lifetime: Duration::from_secs((5 * 366 + 1) * 86_400),
            min_remaining: Duration::from_secs(300),
        }
    }
}

/// A chain that may be sent to a node; only [`judge_chain`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedChain {
    chain_pem: String,
    ca_pem: String,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
    spki_sha256: [u8; 32],
    sha256: [u8; 32],
}

impl JudgedChain {
    /// The leaf and its intermediates in PEM, in order, without the root.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The trust anchors in PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The leaf's serial number, lower-case hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The leaf's first second of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The leaf's last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The SHA-256 of the leaf's public key, as in [`JudgedRequest::spki_sha256`].
    #[must_use]
    pub const fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// The SHA-256 of the whole leaf.
    #[must_use]
    pub const fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// Judges the certificate that came back for a judged request.
///
/// `answer` is the PEM that was returned, `ca` the trust anchors that were named beside it, if
/// any; both must agree with what is configured.
///
/// # Errors
/// The first rule that is broken, as `cert.*`.
pub fn judge_chain(
    answer: &str,
    ca: Option<&str>,
    request: &JudgedRequest,
    trust: &TrustStore,
    policy: &CertificatePolicy,
    now: Timestamp,
) -> Result<JudgedChain, Refusal> {
    let given = read_answer(answer)?;
    let leaf_der = given
        .first()
        .ok_or_else(|| refuse(Code::CertFormat, "the answer holds no certificate"))?;
    let leaf = Certificate::from_der(leaf_der).map_err(not_der)?;

    judge_key(&leaf, request)?;
    judge_name(&leaf, request)?;
    judge_powers(&leaf)?;
    judge_purposes(&leaf)?;
    judge_alt_names(&leaf, request)?;
    judge_signature(&leaf)?;
    let (not_before, not_after) = judge_time(&leaf, policy, now)?;
    let chain = path(&given, trust, now)?;
    if !lasts_until(&chain, now + SOON) {
        // Another way may last longer; which one the node's peers take is theirs to choose.
        path(&given, trust, now + SOON)?;
    }
    judge_extras(&given, ca, &chain, trust)?;
    let above = chain.iter().skip(1).chain(trust.anchors_of(&chain));
    constraint::judge(request.identity(), above)?;

    Ok(JudgedChain {
        chain_pem: chain
            .iter()
            .map(|certificate| to_pem(certificate))
            .collect(),
        ca_pem: trust.anchors_pem(),
        serial: hex::encode(leaf.tbs_certificate().serial_number().as_bytes()),
        not_before,
        not_after,
        spki_sha256: request.spki_sha256(),
        sha256: sha256(leaf_der),
    })
}

fn read_answer(answer: &str) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    if holds_private_key(answer.as_bytes()) {
        return Err(refuse(
            Code::CertFormat,
            "a private key came with the certificate; it was not kept",
        ));
    }
    let given = certificates(answer).map_err(|error| refuse(Code::CertFormat, &error))?;
    if given.len() > MAX_CHAIN {
        return Err(refuse(
            Code::CertFormat,
            &format!(
                "it is {} certificates; at most {MAX_CHAIN} are read",
                given.len()
            ),
        ));
    }
    Ok(given)
}

fn judge_key(leaf: &Certificate, request: &JudgedRequest) -> Result<(), Refusal> {
    let spki = leaf
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .map_err(not_der)?;
    if spki == request.spki() {
        return Ok(());
    }
    Err(refuse(
        Code::CertKeyMismatch,
        &format!(
            "it is for another key than that of {}'s request; the authority may have mixed up \
             nodes, or the leaf is not the first certificate (rule 32)",
            request.identity()
        ),
    ))
}

fn judge_name(leaf: &Certificate, request: &JudgedRequest) -> Result<(), Refusal> {
    let seen = match common_name(leaf.tbs_certificate().subject()) {
        Ok(name) if name == request.identity() => return Ok(()),
        Ok(name) => quoted(&name),
        Err(refusal) => refusal.message,
    };
    Err(refuse(
        Code::CertIdentityMismatch,
        &format!("its common name must be {}: {seen}", request.identity()),
    ))
}

fn judge_powers(leaf: &Certificate) -> Result<(), Refusal> {
    let tbs = leaf.tbs_certificate();
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(not_der)?;
    let usage = tbs.get_extension::<KeyUsage>().map_err(not_der)?;
    if constraints.is_some_and(|(_, constraints)| constraints.ca)
        || usage.is_some_and(|(_, usage)| usage.key_cert_sign() || usage.crl_sign())
    {
        return Err(refuse(
            Code::CertCa,
            "it has the powers of an authority; a node never has (rule 35)",
        ));
    }
    Ok(())
}

fn judge_purposes(leaf: &Certificate) -> Result<(), Refusal> {
    let tbs = leaf.tbs_certificate();
    let purposes = tbs.get_extension::<ExtendedKeyUsage>().map_err(not_der)?;
    let what = match purposes {
        None => "says nothing of its purposes".to_owned(),
        Some((_, ExtendedKeyUsage(purposes))) => {
            match purposes
                .iter()
                .find(|purpose| ![CLIENT_AUTH, SERVER_AUTH].contains(purpose))
            {
                Some(other) => format!("is also for the purpose {other}"),
                None if purposes.contains(&CLIENT_AUTH) => return judge_usage(leaf),
                None => "is not for client authentication".to_owned(),
            }
        }
    };
    Err(refuse(
        Code::CertEku,
        &format!(
            "it {what}; a node's certificate is for client authentication, and for servers at most (rule 35)"
        ),
    ))
}

fn judge_usage(leaf: &Certificate) -> Result<(), Refusal> {
    match leaf.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) if !usage.digital_signature() => Err(refuse(
            Code::CertEku,
            "its key usage lacks digital signature, without which TLS does not work (rule 35)",
        )),
        Ok(_) => Ok(()),
        Err(error) => Err(not_der(error)),
    }
}

/// Names beyond the node's own and what was granted are refused; none at all is fine, because the
/// common name is what counts for a client.
fn judge_alt_names(leaf: &Certificate, request: &JudgedRequest) -> Result<(), Refusal> {
    let Some(extensions) = leaf.tbs_certificate().extensions() else {
        return Ok(());
    };
    for extension in extensions
        .iter()
        .filter(|extension| extension.extn_id == SUBJECT_ALT_NAME)
    {
        let names = read_alt_names(extension.extn_value.as_bytes()).map_err(not_der)?;
        let extra = names.iter().find(|name| match name {
            AltName::Dns(name) => name != request.identity(),
            AltName::Ip(ip) => !request.addresses().contains(ip),
            AltName::Other(_) => true,
        });
        if let Some(extra) = extra {
            let seen = match extra {
                AltName::Dns(name) => quoted(name),
                AltName::Ip(ip) => ip.to_string(),
                AltName::Other(kind) => (*kind).to_owned(),
            };
            return Err(refuse(
                Code::CertSanExtra,
                &format!(
                    "it also names {seen}, which was not granted to {} (rule 35)",
                    request.identity()
                ),
            ));
        }
    }
    Ok(())
}

fn judge_signature(leaf: &Certificate) -> Result<(), Refusal> {
    let algorithm = leaf.signature_algorithm().oid.to_string();
    if SIGNATURES.contains(&algorithm.as_str()) {
        return Ok(());
    }
    Err(refuse(
        Code::CertSigalg,
        &format!(
            "it is signed with {algorithm}; SHA-2 with RSA, ECDSA or Ed25519 is needed (rule 35)"
        ),
    ))
}

fn judge_time(
    leaf: &Certificate,
    policy: &CertificatePolicy,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Refusal> {
    let validity = leaf.tbs_certificate().validity();
    let not_before = timestamp(validity.not_before)?;
    let not_after = timestamp(validity.not_after)?;
    if now < not_before {
        return Err(refuse(
            Code::CertNotYetValid,
            &format!("it is only valid from {not_before}; it is {now} here (rule 35)"),
        ));
    }
    if now + SOON > not_after {
        return Err(refuse(
            Code::CertExpired,
            &format!("it expires at {not_after}; it is {now} here (rule 35)"),
        ));
    }
    let lives = not_after.duration_since(not_before);
    let left = not_after.duration_since(now);
    let limit = |limit: Duration| SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    let most = limit(policy.max_lifetime);
    let what = if lives > most.saturating_add(BACKDATING) || left > most.saturating_add(SKEW) {
        let seconds = u64::try_from(lives.as_secs()).unwrap_or_default();
        format!(
            "it lives for {} and has {} seconds left, longer than the {} that are allowed",
            format_duration(Duration::from_secs(seconds)),
            left.as_secs(),
            format_duration(policy.max_lifetime)
        )
    } else if left < limit(policy.min_remaining) {
        format!(
            "it has {} seconds left, fewer than the {} that are needed",
            left.as_secs(),
            policy.min_remaining.as_secs()
        )
    } else {
        return Ok((not_before, not_after));
    };
    Err(refuse(Code::CertLifetime, &format!("{what} (rule 35)")))
}

fn timestamp(time: x509_cert::time::Time) -> Result<Timestamp, Refusal> {
    i64::try_from(time.to_unix_duration().as_secs())
        .ok()
        .and_then(|seconds| Timestamp::new(seconds, 0).ok())
        .ok_or_else(|| refuse(Code::CertFormat, "its dates are out of range"))
}

fn not_der(error: der::Error) -> Refusal {
    refuse(Code::CertFormat, &format!("it is not strict DER: {error}"))
}

fn refuse(code: Code, what: &str) -> Refusal {
    Refusal::new(
        code,
        format!("the returned certificate was refused: {what}"),
    )
}
