//! The throwaway certificates of a run: one root, the brokers' certificates, the RSA certificates
//! of the callers, and the intermediate that signs the nodes.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::scenario::KeyKind;

/// How long before now a certificate of a run begins to be valid, for clocks that differ.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// How long a certificate of a run is valid; a fleet kept up with `loadgen up` may live for days.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate could not be made.
#[derive(Debug, Error)]
#[error("the {what} could not be made: {source}")]
pub struct CertificateError {
    what: String,
    source: rcgen::Error,
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
            intermediate: Issued {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            },
            validity,
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
        issue(&what, &params, &key, &self.root, "")
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
    /// The authority of the run `run`, from its intermediate.
    ///
    /// # Errors
    /// When the intermediate's key cannot be read.
    pub fn of(
        run: &str,
        intermediate_of_run: &Issued,
        now: OffsetDateTime,
    ) -> Result<Self, CertificateError> {
        let what = "intermediate's key";
        let key = KeyPair::from_pem(&intermediate_of_run.key).map_err(failed(what))?;
        let validity = Validity::around(now);
        Ok(Self {
            issuer: Issuer::new(intermediate(run, validity), key),
            chain: intermediate_of_run.certificate.clone(),
            validity,
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
    move |source| CertificateError {
        what: what.to_owned(),
        source,
    }
}
