//! A site with an authority of OpenSSL's making, and the certificates it could issue.

use jiff::Timestamp;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509Extension, X509NameBuilder};
use provisioner::ca::{CertificatePolicy, JudgedChain, TrustStore, judge_chain};
use provisioner::code::{Code, Refusal};
use provisioner::judge::JudgedRequest;

use crate::authority::judged;
use crate::forge::{IDENTITY, Key, ed25519, p256};

pub(crate) const DAY: i64 = 86_400;

/// A certificate in the making; an honest leaf for [`IDENTITY`] unless changed.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) names: &'static [&'static str],
    pub(crate) uri: Option<&'static str>,
    /// Its extension for alternative names is there and names nothing.
    pub(crate) nameless: bool,
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) authority: bool,
    pub(crate) cert_sign: bool,
    pub(crate) digital_signature: bool,
    pub(crate) purposes: &'static [&'static str],
    pub(crate) digest: MessageDigest,
}

impl Spec {
    pub(crate) fn leaf() -> Self {
        Self {
            name: IDENTITY,
            names: &[IDENTITY],
            uri: None,
            nameless: false,
            from: -300,
            until: 365 * DAY,
            authority: false,
            cert_sign: false,
            digital_signature: true,
            purposes: &["clientAuth"],
            digest: MessageDigest::sha256(),
        }
    }

    pub(crate) fn authority(name: &'static str) -> Self {
        Self {
            name,
            names: &[],
            authority: true,
            cert_sign: true,
            digital_signature: false,
            purposes: &[],
            until: 3_650 * DAY,
            ..Self::leaf()
        }
    }

    pub(crate) fn sign(&self, key: &Key, issuer: Option<(&X509, &Key)>) -> X509 {
        self.sign_with(key, issuer, None)
    }

    /// An authority that may certify some names only, as OpenSSL's configuration has it.
    pub(crate) fn sign_constrained(&self, key: &Key, issuer: (&X509, &Key), names: &str) -> X509 {
        self.sign_with(key, Some(issuer), Some(names))
    }

    fn sign_with(
        &self,
        key: &Key,
        issuer: Option<(&X509, &Key)>,
        constraint: Option<&str>,
    ) -> X509 {
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let mut serial = BigNum::new().unwrap();
        serial
            .rand(150, openssl::bn::MsbOption::ONE, false)
            .unwrap();
        builder
            .set_serial_number(&Asn1Integer::from_bn(&serial).unwrap())
            .unwrap();
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_text("CN", self.name).unwrap();
        let name = name.build();
        builder.set_subject_name(&name).unwrap();
        let issuer_name = issuer.map_or(&*name, |(issuer, _)| issuer.subject_name());
        builder.set_issuer_name(issuer_name).unwrap();
        let now = now().as_second();
        let time = |offset: i64| Asn1Time::from_unix(now + offset).unwrap();
        builder.set_not_before(&time(self.from)).unwrap();
        builder.set_not_after(&time(self.until)).unwrap();
        builder.set_pubkey(key).unwrap();
        let mut constraints = BasicConstraints::new();
        constraints.critical();
        if self.authority {
            constraints.ca();
        }
        builder
            .append_extension(constraints.build().unwrap())
            .unwrap();
        let mut usage = KeyUsage::new();
        usage.critical().key_encipherment();
        if self.digital_signature {
            usage.digital_signature();
        }
        if self.cert_sign {
            usage.key_cert_sign();
        }
        builder.append_extension(usage.build().unwrap()).unwrap();
        if !self.purposes.is_empty() {
            let mut purposes = ExtendedKeyUsage::new();
            for purpose in self.purposes {
                purposes.other(purpose);
            }
            builder.append_extension(purposes.build().unwrap()).unwrap();
        }
        if !self.names.is_empty() || self.uri.is_some() {
            let mut names = SubjectAlternativeName::new();
            for name in self.names {
                names.dns(name);
            }
            if let Some(uri) = self.uri {
                names.uri(uri);
            }
            let context = builder.x509v3_context(None, None);
            let names = names.build(&context).unwrap();
            builder.append_extension(names).unwrap();
        }
        if self.nameless {
            #[expect(deprecated, reason = "the only way to an extension that says nothing")]
            let nothing =
                X509Extension::new_nid(None, None, Nid::SUBJECT_ALT_NAME, "DER:3000").unwrap();
            builder.append_extension(nothing).unwrap();
        }
        if let Some(constraint) = constraint {
            #[expect(deprecated, reason = "the only way to text in OpenSSL's own words")]
            let constraint =
                X509Extension::new_nid(None, None, Nid::NAME_CONSTRAINTS, constraint).unwrap();
            builder.append_extension(constraint).unwrap();
        }
        let (signer, digest) = match issuer {
            Some((_, signer)) => (signer, self.digest),
            None => (key, self.digest),
        };
        builder.sign(signer, digest).unwrap();
        builder.build()
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub(crate) fn pem(certificates: &[&X509]) -> String {
    certificates
        .iter()
        .map(|certificate| String::from_utf8(certificate.to_pem().unwrap()).unwrap())
        .collect()
}

/// A site: root, intermediate, a node's key with its judged request.
pub(crate) struct Site {
    pub(crate) root: X509,
    pub(crate) intermediate: X509,
    pub(crate) signer: Key,
    pub(crate) node: Key,
    pub(crate) request: JudgedRequest,
}

impl Site {
    pub(crate) fn new() -> Self {
        let (root_key, signer, node) = (p256(), p256(), ed25519());
        let root = Spec::authority("Root").sign(&root_key, None);
        let intermediate = Spec::authority("Intermediate").sign(&signer, Some((&root, &root_key)));
        let request = judged(&node);
        Self {
            root,
            intermediate,
            signer,
            node,
            request,
        }
    }

    pub(crate) fn issue(&self, spec: &Spec) -> X509 {
        spec.sign(&self.node, Some((&self.intermediate, &self.signer)))
    }

    /// The site's trust, with its intermediate in the pool or not.
    pub(crate) fn trust(&self, pool: bool) -> TrustStore {
        let intermediates = if pool {
            pem(&[&self.intermediate])
        } else {
            String::new()
        };
        TrustStore::from_pem(&pem(&[&self.root]), &intermediates).unwrap()
    }

    pub(crate) fn judge_with(&self, answer: &[&X509], pool: bool) -> Result<JudgedChain, Refusal> {
        judge_chain(
            &pem(answer),
            None,
            &self.request,
            &self.trust(pool),
            &CertificatePolicy::default(),
            now(),
        )
    }

    pub(crate) fn code(&self, spec: &Spec) -> Option<Code> {
        let leaf = self.issue(spec);
        self.judge_with(&[&leaf, &self.intermediate], false)
            .err()
            .map(|refusal| refusal.code)
    }
}
