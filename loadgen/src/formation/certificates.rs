//! The throwaway certificates of a run: one root, the brokers' certificates, the RSA certificates
//! of the callers, and the intermediate that signs the nodes.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};
use serde::{Deserialize, Serialize};
use server_core::trust::{TrustError, chain};
use server_core::words::UnixTime;
use thiserror::Error;
use time::OffsetDateTime;

use crate::scenario::KeyKind;

/// How long before now a certificate of a run begins to be valid, for clocks that differ.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// How long a certificate of a run is valid; a fleet kept up with `loadgen up` may live for days.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate could not be made.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The cryptography library refuses.
    #[error("the {what} could not be made: {source}")]
    Made {
        /// Which certificate.
        what: String,
        /// What the library says.
        source: rcgen::Error,
    },
    /// The issuer that was given cannot sign.
    #[error(
        "the issuer cannot sign nodes' certificates: {0}; use an authority's certificate whose \
         subject is a common name and nothing else, with its key"
    )]
    Issuer(String),
}

/// A certificate with its key, both as PEM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Issued {
    /// The certificate, followed by its intermediates; never the root.
    pub certificate: String,
    /// The private key (PKCS#8), of a throwaway certificate.
    pub key: String,
}

/// The authority of one run. It lives as long as the run and is trusted by nobody else.
pub struct Authority {
    root: Issuer<'static, KeyPair>,
    root_pem: String,
    /// What callers show beside their own certificate.
    callers_chain: String,
    intermediate: Issued,
    validity: Validity,
}

#[derive(Clone, Copy, Debug)]
struct Validity {
    from: OffsetDateTime,
    until: OffsetDateTime,
}

impl Validity {
    fn around(now: OffsetDateTime) -> Self {
        Self {
            from: now - BACKDATED,
            until: now + VALIDITY,
        }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a root and an intermediate for the run `run`.
    ///
    /// # Errors
    /// When the cryptography library refuses; it has no other reason.
    pub fn new(run: &str, now: OffsetDateTime) -> Result<Self, CertificateError> {
        let validity = Validity::around(now);
        let what = "throwaway root certificate";
        let key = generate(KeyKind::P256, what)?;
        let mut params = named(&format!("loadgen root {run}"), validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_pem = params.self_signed(&key).map_err(failed(what))?.pem();
        let root = Issuer::new(params, key);

        let what = "intermediate certificate";
        let key = generate(KeyKind::P256, what)?;
        let params = intermediate(run, validity);
        let certificate = params.signed_by(&key, &root).map_err(failed(what))?;
        Ok(Self {
            root,
            root_pem,
            callers_chain: String::new(),
            intermediate: Issued {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            },
            validity,
        })
    }

    /// An authority that was given to us signs everything; its own trust anchor is told apart.
    ///
    /// # Errors
    /// When certificate and key are not what an authority has.
    pub fn given(issuer: Issued, now: OffsetDateTime) -> Result<Self, CertificateError> {
        try_out(&issuer, now)?;
        Ok(Self {
            root: signer(&issuer)?,
            root_pem: String::new(),
            callers_chain: issuer.certificate.clone(),
            intermediate: issuer,
            validity: Validity::around(now),
        })
    }

    /// The trust anchor of the run, as PEM.
    pub fn root(&self) -> &str {
        &self.root_pem
    }

    /// The intermediate with its key: what a provisioner's built-in authority signs with.
    pub fn intermediate(&self) -> &Issued {
        &self.intermediate
    }

    /// The certificate of a broker on loopback, good for accepting and for dialling other brokers.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn broker(&self, name: &str) -> Result<Issued, CertificateError> {
        let what = format!("certificate of broker {name}");
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).map_err(failed(&what))?;
        leaf(&mut params, name, self.validity);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = generate(KeyKind::P256, &what)?;
        issue(&what, &params, &key, &self.root, "")
    }

    /// The certificate of a caller such as `operator.mcollective`. RSA, as protocol 1 signs with
    /// nothing else.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn caller(&self, name: &str) -> Result<Issued, CertificateError> {
        let what = format!("certificate of caller {name}");
        let key = generate(KeyKind::Rsa2048, &what)?;
        let params = client(name, self.validity, &what)?;
        issue(&what, &params, &key, &self.root, &self.callers_chain)
    }
}

/// Signs the certificates of nodes that start in production, with the run's intermediate.
pub struct NodeAuthority {
    issuer: Issuer<'static, KeyPair>,
    chain: String,
    validity: Validity,
}

impl std::fmt::Debug for NodeAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeAuthority").finish_non_exhaustive()
    }
}

impl NodeAuthority {
    /// The authority that signs with this intermediate.
    ///
    /// # Errors
    /// When certificate and key are not what an authority has.
    pub fn of(intermediate: &Issued, now: OffsetDateTime) -> Result<Self, CertificateError> {
        Ok(Self {
            issuer: signer(intermediate)?,
            chain: intermediate.certificate.clone(),
            validity: Validity::around(now),
        })
    }

    /// Makes a key and its certificate for a node.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn node(&self, identity: &str, kind: KeyKind) -> Result<Issued, CertificateError> {
        let what = format!("certificate of node {identity}");
        let key = generate(kind, &what)?;
        let params = client(identity, self.validity, &what)?;
        issue(&what, &params, &key, &self.issuer, &self.chain)
    }
}

/// Whether what an issuer signs leads to it: its key may be another's, or its name written in a way
/// that is not repeated here.
fn try_out(issuer: &Issued, now: OffsetDateTime) -> Result<(), CertificateError> {
    let wrong = |error: TrustError| CertificateError::Issuer(error.to_string());
    let node = NodeAuthority::of(issuer, now)?.node("trial.example.net", KeyKind::P256)?;
    let signed = chain::parse_pem_bundle(&node.certificate).map_err(wrong)?;
    let (leaf, above) = signed
        .split_first()
        .ok_or_else(|| CertificateError::Issuer("it is empty".to_owned()))?;
    let at = UnixTime::from_secs(now.unix_timestamp());
    chain::verify_client_chain(leaf, &[], &above[..above.len().min(1)], at).map_err(wrong)
}

/// Signs in the name of a certificate that exists.
fn signer(issued: &Issued) -> Result<Issuer<'static, KeyPair>, CertificateError> {
    let wrong = |why: &dyn std::fmt::Display| CertificateError::Issuer(why.to_string());
    let bundle = chain::parse_pem_bundle(&issued.certificate).map_err(|error| wrong(&error))?;
    let first = bundle.first().ok_or_else(|| wrong(&"it is empty"))?;
    let names = chain::names(first).map_err(|error| wrong(&error))?;
    let key = KeyPair::from_pem(&issued.key).map_err(|error| wrong(&error))?;
    let name = names
        .common_name
        .ok_or_else(|| wrong(&"it has no common name"))?;
    let mut params = named(&name, Validity::around(OffsetDateTime::now_utc()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Issuer::new(params, key))
}

fn intermediate(run: &str, validity: Validity) -> CertificateParams {
    let mut params = named(&format!("loadgen nodes {run}"), validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = validity.from;
    params.not_after = validity.until;
    params
}

fn client(
    name: &str,
    validity: Validity,
    what: &str,
) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed(what))?;
    leaf(&mut params, name, validity);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn leaf(params: &mut CertificateParams, name: &str, validity: Validity) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = validity.from;
    params.not_after = validity.until;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
}

fn issue(
    what: &str,
    params: &CertificateParams,
    key: &KeyPair,
    issuer: &Issuer<'static, KeyPair>,
    chain: &str,
) -> Result<Issued, CertificateError> {
    let certificate = params.signed_by(key, issuer).map_err(failed(what))?;
    Ok(Issued {
        certificate: certificate.pem() + chain,
        key: key.serialize_pem(),
    })
}

fn generate(kind: KeyKind, what: &str) -> Result<KeyPair, CertificateError> {
    match kind {
        KeyKind::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    }
    .map_err(failed(what))
}

fn failed(what: &str) -> impl Fn(rcgen::Error) -> CertificateError + '_ {
    move |source| CertificateError::Made {
        what: what.to_owned(),
        source,
    }
}
