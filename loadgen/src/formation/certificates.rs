//! The throwaway certificates of a run: one root, the brokers' certificates, the RSA certificates
//! of the callers, and the intermediate that signs the nodes.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};
use thiserror::Error;
use time::OffsetDateTime;

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
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, followed by its intermediates; never the root.
    pub certificate: String,
    /// The private key (PKCS#8), of a throwaway certificate.
    pub key: String,
}

/// The kind of key a node of the fleet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKey {
    /// ECDSA on NIST P-256.
    P256,
    /// RSA with 2,048 bits.
    Rsa2048,
    /// Ed25519.
    Ed25519,
}

/// The authority of one run. It lives as long as the run and is trusted by nobody else.
pub struct Authority {
    root: Issuer<'static, KeyPair>,
    root_pem: String,
    intermediate: Issuer<'static, KeyPair>,
    intermediate_issued: Issued,
    from: OffsetDateTime,
    until: OffsetDateTime,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a root and an intermediate for the run `run`.
    ///
    /// # Errors
    /// When the cryptography library refuses; it has no other reason.
    pub fn new(run: &str, now: OffsetDateTime) -> Result<Self, CertificateError> {
        let (from, until) = (now - BACKDATED, now + VALIDITY);
        let what = "throwaway root certificate";
        let key = p256(what)?;
        let mut params = dated(&format!("loadgen root {run}"), from, until);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_pem = params.self_signed(&key).map_err(failed(what))?.pem();
        let root = Issuer::new(params, key);

        let what = "intermediate certificate";
        let key = p256(what)?;
        let mut params = dated(&format!("loadgen nodes {run}"), from, until);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &root).map_err(failed(what))?;
        let intermediate_issued = Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        };
        Ok(Self {
            root,
            root_pem,
            intermediate: Issuer::new(params, key),
            intermediate_issued,
            from,
            until,
        })
    }

    /// The trust anchor of the run, as PEM.
    pub fn root(&self) -> &str {
        &self.root_pem
    }

    /// The intermediate with its key: what a provisioner's built-in authority signs with.
    pub fn intermediate(&self) -> &Issued {
        &self.intermediate_issued
    }

    /// The certificate of a broker on loopback, good for accepting and for dialling other brokers.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn broker(&self, name: &str) -> Result<Issued, CertificateError> {
        let what = format!("certificate of broker {name}");
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).map_err(failed(&what))?;
        self.leaf(&mut params, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.issue(&what, params, p256(&what)?, &self.root, None)
    }

    /// The certificate of a caller such as `operator.mcollective`. RSA, as protocol 1 signs with
    /// nothing else.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn caller(&self, name: &str) -> Result<Issued, CertificateError> {
        let what = format!("certificate of caller {name}");
        let key = generate(NodeKey::Rsa2048, &what)?;
        let params = self.client(name, &what)?;
        self.issue(&what, params, key, &self.root, None)
    }

    /// The certificate of a node that starts in production, signed by the intermediate.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn node(&self, identity: &str, kind: NodeKey) -> Result<Issued, CertificateError> {
        let what = format!("certificate of node {identity}");
        let key = generate(kind, &what)?;
        let params = self.client(identity, &what)?;
        let chain = Some(self.intermediate_issued.certificate.as_str());
        self.issue(&what, params, key, &self.intermediate, chain)
    }

    fn client(&self, name: &str, what: &str) -> Result<CertificateParams, CertificateError> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed(what))?;
        self.leaf(&mut params, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }

    fn leaf(&self, params: &mut CertificateParams, name: &str) {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = self.from;
        params.not_after = self.until;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
    }

    fn issue(
        &self,
        what: &str,
        params: CertificateParams,
        key: KeyPair,
        issuer: &Issuer<'static, KeyPair>,
        chain: Option<&str>,
    ) -> Result<Issued, CertificateError> {
        let leaf = params.signed_by(&key, issuer).map_err(failed(what))?;
        Ok(Issued {
            certificate: leaf.pem() + chain.unwrap_or_default(),
            key: key.serialize_pem(),
        })
    }
}

fn dated(name: &str, from: OffsetDateTime, until: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = from;
    params.not_after = until;
    params
}

fn p256(what: &str) -> Result<KeyPair, CertificateError> {
    generate(NodeKey::P256, what)
}

fn generate(kind: NodeKey, what: &str) -> Result<KeyPair, CertificateError> {
    match kind {
        NodeKey::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        NodeKey::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        NodeKey::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    }
    .map_err(failed(what))
}

fn failed(what: &str) -> impl Fn(rcgen::Error) -> CertificateError + '_ {
    move |source| CertificateError {
        what: what.to_owned(),
        source,
    }
}
