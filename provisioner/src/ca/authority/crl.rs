//! Lists of revoked certificates, signed by the authority that issued them (RFC 5280 §5).

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{KeyUsage, SubjectKeyIdentifier};

use super::{Authority, BACKDATE, internal, wrong};
use crate::code::Refusal;
use crate::ledger::{Reason, Revocation};

/// What an authority needs for lists beside its key.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    /// How its key is named in them, as its certificate names it.
    key_id: KeyIdMethod,
    /// Whether its certificate allows it to sign them.
    allowed: bool,
}

impl Lists {
    pub(super) fn of(certificate: &Certificate) -> Self {
        let tbs = certificate.tbs_certificate();
        let usage = tbs.get_extension::<KeyUsage>();
        Self {
            key_id: match tbs.get_extension::<SubjectKeyIdentifier>() {
                Ok(Some((_, id))) => KeyIdMethod::PreSpecified(id.0.as_bytes().to_vec()),
                _ => KeyIdMethod::Sha256,
            },
            allowed: usage.is_ok_and(|usage| usage.is_none_or(|(_, usage)| usage.crl_sign())),
        }
    }
}

/// A signed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedList {
    /// Its number (RFC 5280 §5.2.3).
    pub number: u64,
    /// When it ends.
    pub next_update: Timestamp,
    /// How many certificates are on it.
    pub entries: usize,
    /// The list itself, DER.
    pub der: Vec<u8>,
    /// The same, PEM.
    pub pem: String,
}

impl Authority {
    /// The same authority, with certificates that say where its list of revoked ones is fetched.
    #[must_use]
    pub fn with_crl_url(self, crl_url: Option<String>) -> Self {
        Self { crl_url, ..self }
    }

    /// Whether the authority's certificate allows it to sign lists.
    ///
    /// # Errors
    /// `ca.config` when it does not.
    pub fn may_sign_lists(&self) -> Result<(), Refusal> {
        if self.lists.allowed {
            return Ok(());
        }
        Err(wrong(
            "the authority's certificate does not allow it to sign lists of revoked \
             certificates; it needs the key usage CRL sign beside certificate sign"
                .to_owned(),
        ))
    }

    /// When a list ends that is made now and good for so long: not after the authority itself.
    #[must_use]
    pub fn list_end(&self, now: Timestamp, lifetime: SignedDuration) -> Timestamp {
        now.checked_add(lifetime)
            .map_or(self.not_after, |end| end.min(self.not_after))
    }

    /// Signs a list of these certificates. It is dated back a little, as certificates are, for
    /// readers whose clock is behind.
    ///
    /// # Errors
    /// `ca.config` when the authority has no time left or may not sign lists, `ca.unavailable`
    /// when signing fails.
    pub fn sign_list(
        &self,
        number: u64,
        now: Timestamp,
        next_update: Timestamp,
        revoked: &[Revocation],
    ) -> Result<SignedList, Refusal> {
        self.may_sign_lists()?;
        self.check_time(now)?;
        let time = |time: Timestamp| {
            time::OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(internal)
        };
        let entry = |revoked: &Revocation| -> Result<RevokedCertParams, Refusal> {
            let serial = hex::decode(&revoked.serial).map_err(internal)?;
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: time(revoked.at)?,
                reason_code: reason(revoked.reason),
                invalidity_date: None,
            })
        };
        let number_der = der::asn1::Uint::new(&number.to_be_bytes()).map_err(internal)?;
        let list = CertificateRevocationListParams {
            this_update: time((now - BACKDATE).max(self.not_before))?,
            next_update: time(next_update)?,
            crl_number: SerialNumber::from(number_der.as_bytes().to_vec()),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<Result<_, _>>()?,
            key_identifier_method: self.lists.key_id.clone(),
        };
        let what = "the list of revoked certificates";
        let signed = self.signer.sign(what, |issuer| list.signed_by(issuer))?;
        Ok(SignedList {
            number,
            next_update,
            entries: revoked.len(),
            der: signed.der().to_vec(),
            pem: signed.pem().map_err(internal)?,
        })
    }
}

/// An unspecified reason is told by telling none (RFC 5280 §5.3.1).
const fn reason(reason: Reason) -> Option<RevocationReason> {
    match reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
        Reason::Superseded => Some(RevocationReason::Superseded),
        Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
    }
}
