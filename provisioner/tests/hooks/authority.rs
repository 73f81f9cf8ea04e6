//! A site's authority of OpenSSL's making, which signs well or badly as it is told.

use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::{HasPublic, PKeyRef};
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509NameBuilder, X509Req};
use provisioner::ca::TrustStore;

use crate::node::{Key, p256};

const DAY: i64 = 86_400;

/// What is wrong with a certificate, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    WrongKey,
    WrongAuthority,
    Expired,
    NoChain,
    RootIncluded,
    ExtraName,
}

/// A certificate and its key.
pub(crate) struct Signer {
    pub(crate) certificate: X509,
    pub(crate) key: Key,
}

impl Signer {
    pub(crate) fn root(name: &str) -> Self {
        let key = p256();
        let certificate = make(name, &key, &Kind::Authority, None, &key);
        Self { certificate, key }
    }

    pub(crate) fn below(&self, name: &str) -> Self {
        let key = p256();
        let certificate = make(
            name,
            &key,
            &Kind::Authority,
            Some(&self.certificate),
            &self.key,
        );
        Self { certificate, key }
    }

    /// A certificate for a server on this machine, or for a client.
    pub(crate) fn leaf(&self, name: &str, server: bool) -> Self {
        let key = p256();
        let kind = Kind::Leaf {
            names: &[name],
            days: 1,
            server,
        };
        let certificate = make(name, &key, &kind, Some(&self.certificate), &self.key);
        Self { certificate, key }
    }

    pub(crate) fn pem(&self) -> String {
        pem(&self.certificate)
    }
}

/// Root, intermediate, and a stranger of the same names.
pub(crate) struct Authority {
    pub(crate) root: Signer,
    pub(crate) intermediate: Signer,
    stranger: Signer,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let root = Signer::root("Site root");
        let intermediate = root.below("Site intermediate");
        let stranger = Signer::root("Site root").below("Site intermediate");
        Self {
            root,
            intermediate,
            stranger,
        }
    }

    /// What the service is configured with, intermediate included or not.
    pub(crate) fn trust(&self, pool: bool) -> TrustStore {
        let pool = if pool {
            self.intermediate.pem()
        } else {
            String::new()
        };
        TrustStore::from_pem(&self.root.pem(), &pool).unwrap()
    }

    /// The chain for a request, leaf first.
    pub(crate) fn sign(&self, csr: &str, flaw: Flaw) -> Vec<String> {
        let csr = X509Req::from_pem(csr.as_bytes()).unwrap();
        let name = common_name(csr.subject_name());
        let other = p256();
        let key = csr.public_key().unwrap();
        let names = match flaw {
            Flaw::ExtraName => vec![name.as_str(), "db1.example.net"],
            _ => vec![name.as_str()],
        };
        let kind = Kind::Leaf {
            names: &names,
            days: if flaw == Flaw::Expired { -1 } else { 30 },
            server: false,
        };
        let signer = match flaw {
            Flaw::WrongAuthority => &self.stranger,
            _ => &self.intermediate,
        };
        let issuer = Some(&signer.certificate);
        let leaf = match flaw {
            Flaw::WrongKey => make(&name, &other, &kind, issuer, &signer.key),
            _ => make(&name, &key, &kind, issuer, &signer.key),
        };
        let mut chain = vec![pem(&leaf)];
        if flaw != Flaw::NoChain {
            chain.push(signer.pem());
        }
        if flaw == Flaw::RootIncluded {
            chain.push(self.root.pem());
        }
        chain
    }
}

enum Kind<'a> {
    Authority,
    Leaf {
        names: &'a [&'a str],
        days: i64,
        server: bool,
    },
}

/// Without an issuer the certificate is signed by `signing` and says so.
fn make<T: HasPublic>(
    name: &str,
    key: &PKeyRef<T>,
    kind: &Kind<'_>,
    issuer: Option<&X509>,
    signing: &Key,
) -> X509 {
    let now = i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    );
    let time = |offset: i64| Asn1Time::from_unix(now.unwrap() + offset).unwrap();
    let days = match kind {
        Kind::Authority => 3_650,
        Kind::Leaf { days, .. } => *days,
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(150, MsbOption::ONE, false).unwrap();
    let serial = Asn1Integer::from_bn(&serial).unwrap();
    builder.set_serial_number(&serial).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    builder.set_subject_name(&subject).unwrap();
    let issuer = issuer.map_or(&*subject, |issuer| issuer.subject_name());
    builder.set_issuer_name(issuer).unwrap();
    builder.set_not_before(&time(-2 * DAY)).unwrap();
    builder.set_not_after(&time(days * DAY)).unwrap();
    builder.set_pubkey(key).unwrap();
    match kind {
        Kind::Authority => {
            let powers = BasicConstraints::new().critical().ca().build().unwrap();
            builder.append_extension(powers).unwrap();
            let usage = KeyUsage::new().critical().key_cert_sign().build().unwrap();
            builder.append_extension(usage).unwrap();
        }
        Kind::Leaf { names, server, .. } => {
            let usage = KeyUsage::new()
                .critical()
                .digital_signature()
                .build()
                .unwrap();
            builder.append_extension(usage).unwrap();
            let mut purpose = ExtendedKeyUsage::new();
            if *server {
                purpose.server_auth()
            } else {
                purpose.client_auth()
            };
            builder.append_extension(purpose.build().unwrap()).unwrap();
            let mut alternative = SubjectAlternativeName::new();
            for name in *names {
                alternative.dns(name);
            }
            let context = builder.x509v3_context(None, None);
            let alternative = alternative.build(&context).unwrap();
            builder.append_extension(alternative).unwrap();
        }
    }
    builder.sign(signing, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn common_name(name: &openssl::x509::X509NameRef) -> String {
    let entry = name.entries().next().unwrap();
    entry.data().to_string().unwrap()
}

pub(crate) fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().unwrap()).unwrap()
}
