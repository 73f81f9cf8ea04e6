//! The built-in authority: an intermediate that signs what policy says for a judged public key.
//!
//! Issuing has two halves. [`Authority::prepare`] fixes everything the certificate will say, with
//! its serial number and dates; the caller records that. [`Authority::sign`] turns the record into
//! a certificate, and does so again after a crash: the same serial, the same dates, the same
//! to-be-signed bytes. It is one certificate, even where the signature itself differs because
//! ECDSA draws a random number for each.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use rustls_pki_types::CertificateDer;

mod crl;
mod issuer;
mod leaf;

use crl::Lists;
pub use crl::SignedList;
pub(super) use issuer::{Issuing, Signer};
pub use leaf::ToBeSigned;
use leaf::{PublicKey, params};

use super::key::{AuthorityKey, KeySource};
use super::trust::{TrustStore, certificates, to_pem};
use crate::code::{Code, Refusal};
use crate::judge::request::sha256;
use crate::judge::{JudgedRequest, KeyKind};
use crate::secret::Secret;

/// How far a certificate's start lies before now, for nodes whose clock is behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// An authority with less time left than this is not used.
const LEAST_LEFT: SignedDuration = SignedDuration::from_hours(1);

/// Where the authority's files are and what its certificates say.
#[derive(Clone, Debug)]
pub struct AuthoritySettings {
    /// PEM of the certificate that signs, and of any further intermediates above it.
    pub certificate: PathBuf,
    /// PEM of its private key; only its owner may read it.
    pub key: PathBuf,
    /// PEM of the trust anchors nodes are sent.
    pub roots: PathBuf,
    /// How long certificates are valid, at most until the authority's own expires.
    pub validity: Duration,
    /// Whether certificates are for servers as well as for clients.
    pub server_auth: bool,
}

/// An authority that signs in this process, with a key of its own or one in a token.
pub struct Authority {
    signer: Signer,
    /// The certificate that signs and the intermediates above it.
    chain: Vec<CertificateDer<'static>>,
    issuer_sha256: String,
    not_before: Timestamp,
    not_after: Timestamp,
    trust: TrustStore,
    validity: SignedDuration,
    server_auth: bool,
    lists: Lists,
    /// Where lists of revoked certificates are fetched, as certificates say it.
    crl_url: Option<String>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("issuer_sha256", &self.issuer_sha256)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads the authority and proves that what it signs leads to the roots.
    ///
    /// # Errors
    /// `ca.config`, naming the file and what to do.
    pub fn load(settings: &AuthoritySettings) -> Result<Self, Refusal> {
        Self::open(settings, None)
    }

    /// The same for a key that is encrypted with a passphrase (PKCS #8 or legacy PEM).
    ///
    /// # Errors
    /// `ca.config`, naming the file and what to do.
    pub fn open(settings: &AuthoritySettings, passphrase: Option<&str>) -> Result<Self, Refusal> {
        let key = KeySource::File {
            path: settings.key.clone(),
            passphrase: passphrase.map(|text| Secret::new(text.to_owned())),
        };
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|error| wrong(format!("{}: cannot be read: {error}", path.display())))
        };
        Self::with_key(
            &read(&settings.certificate)?,
            &key,
            &read(&settings.roots)?,
            settings.validity,
            settings.server_auth,
        )
        .map_err(|refusal| {
            wrong(format!(
                "{} with {} and {}: {}",
                settings.certificate.display(),
                settings.key.display(),
                settings.roots.display(),
                refusal.message
            ))
        })
    }

    /// An authority whose key is in a file or in a token; certificate (with intermediates above
    /// it) and trust anchors are PEM texts.
    ///
    /// # Errors
    /// `ca.config` when the key cannot be used, or they do not fit together.
    pub fn with_key(
        certificate: &str,
        key: &KeySource,
        roots: &str,
        validity: Duration,
        server_auth: bool,
    ) -> Result<Self, Refusal> {
        let issuing = Issuing::read(certificate, |spki| key.open(spki))?;
        Self::of(issuing, certificate, roots, validity, server_auth)
    }

    /// An authority from PEM texts: its certificate (with intermediates above it), its key, the
    /// trust anchors.
    ///
    /// # Errors
    /// `ca.config` when they do not fit together.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        roots: &str,
        validity: Duration,
        server_auth: bool,
    ) -> Result<Self, Refusal> {
        let issuing = Issuing::read(certificate, |spki| AuthorityKey::from_pem(key, spki))?;
        Self::of(issuing, certificate, roots, validity, server_auth)
    }

    fn of(
        issuing: Issuing,
        certificate: &str,
        roots: &str,
        validity: Duration,
        server_auth: bool,
    ) -> Result<Self, Refusal> {
        let trust = TrustStore::from_pem(roots, certificate)?;
        let validity_of = issuing.certificate.tbs_certificate().validity();
        let time = |time: x509_cert::time::Time| {
            Timestamp::new(
                i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX),
                0,
            )
            .map_err(|error| wrong(error.to_string()))
        };
        let validity = SignedDuration::try_from(validity)
            .ok()
            .filter(|validity| *validity >= SignedDuration::from_mins(1))
            .ok_or_else(|| wrong("the validity must be a minute or more".to_owned()))?;
        Ok(Self {
            issuer_sha256: hex::encode(sha256(&issuing.der)),
            not_before: time(validity_of.not_before)?,
            not_after: time(validity_of.not_after)?,
            chain: certificates(certificate).map_err(wrong)?,
            trust,
            validity,
            server_auth,
            lists: Lists::of(&issuing.certificate),
            crl_url: None,
            signer: issuing.signer,
        })
    }

    /// Whether a signature may take long, because a token makes it: not to be waited for where
    /// others wait too.
    #[must_use]
    pub const fn is_slow(&self) -> bool {
        self.signer.is_slow()
    }

    /// What certificates of this authority are held against.
    #[must_use]
    pub const fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// When the authority's own certificate expires.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Fixes what the certificate for a judged request will say.
    ///
    /// # Errors
    /// `ca.config` when the authority's own certificate has no time left.
    pub fn prepare(
        &self,
        request: &JudgedRequest,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<ToBeSigned, Refusal> {
        self.check_time(now)?;
        let mut serial = [0; 20];
        rng.fill_bytes(&mut serial);
        // A positive number of exactly 20 bytes, whatever was drawn (RFC 5280 §4.1.2.2).
        serial[0] = serial[0] & 0x7f | 0x40;
        let second = |time: Timestamp| Timestamp::new(time.as_second(), 0).unwrap_or(time);
        let not_before = (now - BACKDATE).max(self.not_before);
        let not_after = now
            .checked_add(self.validity)
            .map_or(self.not_after, |end| end.min(self.not_after));
        Ok(ToBeSigned {
            identity: request.identity().to_owned(),
            addresses: request.addresses().to_vec(),
            key: request.key(),
            spki: hex::encode(request.spki()),
            serial: hex::encode(serial),
            not_before: second(not_before),
            not_after: second(not_after),
            server_auth: self.server_auth,
            issuer_sha256: self.issuer_sha256.clone(),
            crl_url: self.crl_url.clone(),
        })
    }

    /// Signs what was prepared; PEM of the leaf and of the intermediates above it.
    ///
    /// # Errors
    /// `ca.unknown_outcome` when it was prepared for another authority, `ca.unavailable` when
    /// signing fails.
    pub fn sign(&self, what: &ToBeSigned) -> Result<String, Refusal> {
        if what.issuer_sha256 != self.issuer_sha256 {
            return Err(Refusal::new(
                Code::CaUnknownOutcome,
                "the authority was replaced between the preparation of this certificate and its \
                 signature; the node is asked for a new key",
            ));
        }
        let key = PublicKey::read(what)?;
        let leaf = params(what)?;
        let leaf = self
            .signer
            .sign("the certificate", |issuer| leaf.signed_by(&key, issuer))?;
        Ok(std::iter::once(leaf.der())
            .chain(&self.chain)
            .map(|certificate| to_pem(certificate))
            .collect())
    }

    /// Proves with a throwaway request that what is signed now leads to the trust anchors.
    ///
    /// # Errors
    /// `ca.config`, saying what does not fit.
    pub fn self_test(&self, now: Timestamp) -> Result<(), Refusal> {
        self.check_time(now)?;
        let probe = ToBeSigned {
            identity: "self-test".to_owned(),
            addresses: Vec::new(),
            key: KeyKind::Ed25519,
            spki: format!("302a300506032b6570032100{}", "09".repeat(32)),
            serial: "40".repeat(20),
            not_before: now,
            not_after: self.not_after,
            server_auth: self.server_auth,
            issuer_sha256: self.issuer_sha256.clone(),
            crl_url: self.crl_url.clone(),
        };
        let chain = certificates(&self.sign(&probe)?).map_err(wrong)?;
        super::judgement::path(&chain, &self.trust, now).map_err(|refusal| {
            wrong(format!(
                "what this authority signs does not lead to the trust anchors: {}",
                refusal.message
            ))
        })?;
        Ok(())
    }

    fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        if now < self.not_before {
            return Err(wrong(format!(
                "the authority's certificate is only valid from {}",
                self.not_before
            )));
        }
        if now + LEAST_LEFT > self.not_after {
            return Err(wrong(format!(
                "the authority's certificate expires at {}; make a new one",
                self.not_after
            )));
        }
        Ok(())
    }
}

fn wrong(what: String) -> Refusal {
    Refusal::new(Code::CaConfig, what)
}

/// A record that is not what [`Authority::prepare`] wrote.
fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Code::CaUnavailable,
        format!("the recorded preparation cannot be signed: {error}"),
    )
}
