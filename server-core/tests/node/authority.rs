//! A throwaway certificate authority, by another implementation than the one under test.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509Builder, X509NameBuilder, X509Req};

/// Issues certificates for brokers, callers and nodes.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
    /// Sent along with every certificate; empty for the root itself.
    chain: Vec<X509>,
}

/// A certificate chain with its key, as PEM.
pub struct Credentials {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn root() -> Self {
        let key = p256();
        let mut builder = begin("Throwaway Root", &key);
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        builder
            .append_extension(
                KeyUsage::new()
                    .critical()
                    .key_cert_sign()
                    .crl_sign()
                    .build()
                    .unwrap(),
            )
            .unwrap();
        let name = name("Throwaway Root");
        builder.set_issuer_name(&name).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            certificate: builder.build(),
            key,
            chain: Vec::new(),
        }
    }

    /// An authority made elsewhere.
    pub fn load(certificate: &str, key: &str) -> Self {
        Self {
            certificate: X509::from_pem(certificate.as_bytes()).unwrap(),
            key: PKey::private_key_from_pem(key.as_bytes()).unwrap(),
            chain: Vec::new(),
        }
    }

    /// An authority below this one.
    pub fn intermediate(&self) -> Self {
        let key = p256();
        let mut builder = begin("Throwaway Intermediate", &key);
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        let certificate = self.finish(builder);
        Self {
            chain: vec![certificate.clone()],
            certificate,
            key,
        }
    }

    pub fn pem(&self) -> String {
        text(&self.certificate)
    }

    /// For a broker on this machine.
    pub fn broker(&self) -> Credentials {
        self.issue("broker", &["localhost"], p256())
    }

    /// For a caller: an RSA key, as protocol 1 wants.
    pub fn caller(&self, name: &str) -> Credentials {
        self.issue(
            name,
            &[name],
            PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
        )
    }

    fn issue(&self, cn: &str, dns: &[&str], key: PKey<Private>) -> Credentials {
        let public = key.public_key_to_pem().unwrap();
        let public = PKey::public_key_from_pem(&public).unwrap();
        Credentials {
            certificate: self.chain_for(cn, dns, &public),
            key: String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap(),
        }
    }

    /// The chain for a certificate request of a node.
    pub fn certify(&self, csr: &str) -> String {
        let csr = X509Req::from_pem(csr.as_bytes()).expect("a CSR in PEM form");
        let key = csr.public_key().unwrap();
        assert!(
            csr.verify(&key).unwrap(),
            "the CSR is signed by its own key"
        );
        let cn = csr
            .subject_name()
            .entries_by_nid(Nid::COMMONNAME)
            .next()
            .unwrap();
        let cn = cn.data().to_string().unwrap();
        self.chain_for(&cn, &[&cn], &key)
    }

    fn chain_for(&self, cn: &str, dns: &[&str], key: &PKeyRef<Public>) -> String {
        let mut builder = begin(cn, key);
        let mut names = SubjectAlternativeName::new();
        dns.iter().for_each(|one| {
            names.dns(one);
        });
        names.ip("127.0.0.1");
        let names = names
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        let purposes = ExtendedKeyUsage::new()
            .client_auth()
            .server_auth()
            .build()
            .unwrap();
        builder.append_extension(purposes).unwrap();
        let mut pem = text(&self.finish(builder));
        self.chain.iter().for_each(|one| pem.push_str(&text(one)));
        pem
    }

    fn finish(&self, mut builder: X509Builder) -> X509 {
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }
}

fn begin<T: openssl::pkey::HasPublic>(cn: &str, key: &PKeyRef<T>) -> X509Builder {
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&name(cn)).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(1_700_000_000).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(30).unwrap())
        .unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

fn name(cn: &str) -> openssl::x509::X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", cn).unwrap();
    name.build()
}

fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn text(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().unwrap()).unwrap()
}
