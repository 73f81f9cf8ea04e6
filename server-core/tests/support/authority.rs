//! A throwaway certificate authority; included by the tests that use it.
#![allow(
    dead_code,
    reason = "every test includes this file and uses its own part"
)]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509Builder, X509NameBuilder};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
};
use server_core::trust::{
    CallerRules, CertificateSigner, KeyAlgorithm, KeyPair, RequestSigner, SignError, Signed,
    Verifier,
};
use server_core::wire::{Headers, Request, encode_request};
use server_core::words::{ManualClock, UnixTime};

/// The present of these tests.
pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_795_400_000);

/// An authority, perhaps below another one.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, rcgen::KeyPair>,
    key_pem: String,
    /// What leads from here to the root.
    chain: String,
    root: String,
}

fn valid(params: &mut CertificateParams, until: UnixTime) {
    let date =
        |at: UnixTime| std::time::UNIX_EPOCH + Duration::from_secs(at.secs().try_into().unwrap());
    params.not_before = date(NOW.minus(Duration::from_secs(86_400))).into();
    params.not_after = date(until).into();
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    valid(&mut params, NOW.plus(Duration::from_secs(365 * 86_400)));
    params
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let key_pem = key.serialize_pem();
        let issuer = CertifiedIssuer::self_signed(authority_params("Test Root"), key).unwrap();
        let root = issuer.pem();
        Self {
            issuer,
            key_pem,
            chain: String::new(),
            root,
        }
    }

    /// An authority that this one vouches for.
    pub(crate) fn intermediate(&self) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let key_pem = key.serialize_pem();
        let issuer =
            CertifiedIssuer::signed_by(authority_params("Test Intermediate"), key, &self.issuer)
                .unwrap();
        let chain = issuer.pem() + &self.chain;
        Self {
            issuer,
            key_pem,
            chain,
            root: self.root.clone(),
        }
    }

    /// The root certificate.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// A certificate chain for a name, which is also its DNS name, and its key.
    pub(crate) fn issue(
        &self,
        name: &str,
        algorithm: KeyAlgorithm,
    ) -> (String, zeroize::Zeroizing<String>) {
        self.issue_until(name, algorithm, NOW.plus(Duration::from_secs(86_400)))
    }

    fn issue_until(
        &self,
        name: &str,
        algorithm: KeyAlgorithm,
        until: UnixTime,
    ) -> (String, zeroize::Zeroizing<String>) {
        let key = KeyPair::generate(algorithm).unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        valid(&mut params, until);
        let certificate = params.signed_by(key.as_rcgen(), &self.issuer).unwrap();
        (certificate.pem() + &self.chain, key.to_pem())
    }

    pub(crate) fn signer(&self, name: &str) -> CertificateSigner {
        let (certificate, key) = self.issue(name, KeyAlgorithm::Rsa2048);
        CertificateSigner::from_pem(&certificate, &key).unwrap()
    }

    pub(crate) fn signer_until(&self, name: &str, until: UnixTime) -> CertificateSigner {
        let (certificate, key) = self.issue_until(name, KeyAlgorithm::Rsa2048, until);
        CertificateSigner::from_pem(&certificate, &key).unwrap()
    }

    /// A verifier that trusts this authority and lives at [`NOW`].
    pub(crate) fn verifier(&self, rules: CallerRules) -> Verifier {
        Verifier::new(&self.root, rules)
            .unwrap()
            .clock(Arc::new(ManualClock::new(NOW)))
    }

    /// A request properly signed with an RSA key of 1024 bits, which only OpenSSL still makes.
    pub(crate) fn request_with_small_key(&self, request: &Request) -> Bytes {
        let key = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
        let issuer = openssl::x509::X509::from_pem(self.issuer.pem().as_bytes()).unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        let common_name = request.caller.split_once('=').unwrap().1;
        name.append_entry_by_text("CN", common_name).unwrap();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name.build()).unwrap();
        builder.set_issuer_name(issuer.subject_name()).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder
            .set_not_before(&Asn1Time::from_unix(NOW.secs() - 60).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::from_unix(NOW.secs() + 60).unwrap())
            .unwrap();
        let signer = PKey::private_key_from_pem(self.key_pem.as_bytes()).unwrap();
        builder.sign(&signer, MessageDigest::sha256()).unwrap();
        let small = SmallKey {
            caller: request.caller.clone(),
            certificate: String::from_utf8(builder.build().to_pem().unwrap()).unwrap(),
            key,
        };
        encode_request(request, &small, &Headers::default()).unwrap()
    }
}

struct SmallKey {
    caller: String,
    certificate: String,
    key: PKey<openssl::pkey::Private>,
}

impl RequestSigner for SmallKey {
    fn caller(&self) -> &str {
        &self.caller
    }

    fn sign(&self, message: &[u8]) -> Result<Signed, SignError> {
        let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        Ok(Signed {
            signature: STANDARD.encode(signer.sign_oneshot_to_vec(message).unwrap()),
            pubcert: self.certificate.clone().into(),
        })
    }
}
