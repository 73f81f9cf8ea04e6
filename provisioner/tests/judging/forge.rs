//! Makes certificate requests, the hostile ones included, piece by piece.

use std::str::FromStr;
use std::sync::LazyLock;

use base64::Engine as _;
use der::asn1::{Any, BitString, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode, Encode};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use x509_cert::attr::{Attribute, AttributeTypeAndValue};
use x509_cert::ext::Extension;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfo};

pub(crate) const IDENTITY: &str = "n1.example.net";

pub(crate) type Key = PKey<Private>;
pub(crate) type Spki = SubjectPublicKeyInfo<Any, BitString>;

pub(crate) fn rsa(bits: u32) -> Key {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// An RSA key of 2048 bits, made once.
pub(crate) fn rsa2048() -> Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| rsa(2048));
    KEY.clone()
}

pub(crate) fn ec(curve: Nid) -> Key {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn p256() -> Key {
    ec(Nid::X9_62_PRIME256V1)
}

pub(crate) fn ed25519() -> Key {
    PKey::generate_ed25519().unwrap()
}

pub(crate) fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new(text).unwrap()
}

/// A DER value by hand.
pub(crate) fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let bytes: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | u8::try_from(bytes.len()).unwrap());
            der.extend(bytes);
        }
    }
    der.extend(value);
    der
}

/// Subjects: each inner slice is one RDN of (object identifier, string tag, value).
pub(crate) fn subject(rdns: &[&[(&str, u8, &[u8])]]) -> Name {
    let mut sequence = RdnSequence::default();
    for rdn in rdns {
        let attributes: Vec<_> = rdn
            .iter()
            .map(|(kind, tag, value)| AttributeTypeAndValue {
                oid: oid(kind),
                value: Any::from_der(&tlv(*tag, value)).expect("a tag the library knows"),
            })
            .collect();
        sequence.push(RelativeDistinguishedName::try_from(attributes).unwrap());
    }
    Name::from_der(&sequence.to_der().unwrap()).unwrap()
}

pub(crate) const CN: &str = "2.5.4.3";
pub(crate) const UTF8: u8 = 0x0c;

pub(crate) fn cn(name: &[u8]) -> Name {
    subject(&[&[(CN, UTF8, name)]])
}

pub(crate) fn extension(kind: &str, value: Vec<u8>) -> Extension {
    Extension {
        extn_id: oid(kind),
        critical: false,
        extn_value: OctetString::new(value).unwrap(),
    }
}

/// Alternative names of (tag, value).
pub(crate) fn sans(names: &[(u8, &[u8])]) -> Extension {
    let names: Vec<u8> = names
        .iter()
        .flat_map(|(tag, value)| tlv(*tag, value))
        .collect();
    extension("2.5.29.17", tlv(0x30, &names))
}

pub(crate) const DNS: u8 = 0x82;

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) subject: Name,
    pub(crate) spki: Spki,
    pub(crate) signer: Key,
    pub(crate) digest: Option<MessageDigest>,
    pub(crate) algorithm: AlgorithmIdentifier<Any>,
    pub(crate) attributes: Vec<Attribute>,
}

impl Forge {
    /// An honest request for [`IDENTITY`] with this key.
    pub(crate) fn with(key: &Key) -> Self {
        let (digest, algorithm) = match key.id() {
            Id::RSA => (Some(MessageDigest::sha256()), "1.2.840.113549.1.1.11"),
            Id::EC => (Some(MessageDigest::sha256()), "1.2.840.10045.4.3.2"),
            _ => (None, "1.3.101.112"),
        };
        Self {
            subject: Name::from_str(&format!("CN={IDENTITY}")).unwrap(),
            spki: Spki::from_der(&key.public_key_to_der().unwrap()).unwrap(),
            signer: key.clone(),
            digest,
            algorithm: AlgorithmIdentifier {
                oid: oid(algorithm),
                parameters: (key.id() == Id::RSA).then(Any::null),
            },
            attributes: Vec::new(),
        }
    }

    pub(crate) fn new() -> Self {
        Self::with(&p256())
    }

    pub(crate) fn subject(mut self, subject: Name) -> Self {
        self.subject = subject;
        self
    }

    pub(crate) fn extensions(mut self, extensions: &[Extension]) -> Self {
        let list = extensions.to_vec().to_der().unwrap();
        self.attributes.push(Attribute {
            oid: oid("1.2.840.113549.1.9.14"),
            values: SetOfVec::try_from(vec![Any::from_der(&list).unwrap()]).unwrap(),
        });
        self
    }

    pub(crate) fn signed_with(mut self, digest: MessageDigest, algorithm: &str) -> Self {
        self.digest = Some(digest);
        self.algorithm.oid = oid(algorithm);
        self
    }

    pub(crate) fn request(&self) -> CertReq {
        let info = CertReqInfo {
            version: Version::V1,
            subject: self.subject.clone(),
            public_key: self.spki.clone(),
            attributes: SetOfVec::try_from(self.attributes.clone()).unwrap(),
        };
        let message = info.to_der().unwrap();
        let mut signer = match self.digest {
            Some(digest) => Signer::new(digest, &self.signer).unwrap(),
            None => Signer::new_without_digest(&self.signer).unwrap(),
        };
        let signature = signer.sign_oneshot_to_vec(&message).unwrap();
        CertReq {
            info,
            algorithm: self.algorithm.clone(),
            signature: BitString::from_bytes(&signature).unwrap(),
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.request().to_der().unwrap()
    }

    pub(crate) fn pem(&self) -> String {
        pem(&self.der())
    }
}

pub(crate) fn pem(der: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        lines.join("\n")
    )
}

/// The public key info of an RSA key with this modulus and exponent.
pub(crate) fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Spki {
    let integer = |bytes: &[u8]| {
        let mut value = bytes.to_vec();
        if value[0] & 0x80 != 0 {
            value.insert(0, 0);
        }
        tlv(2, &value)
    };
    let key = tlv(0x30, &[integer(modulus), integer(exponent)].concat());
    let algorithm = tlv(
        0x30,
        &[
            tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]),
            tlv(5, &[]),
        ]
        .concat(),
    );
    let bits = tlv(3, &[vec![0], key].concat());
    Spki::from_der(&tlv(0x30, &[algorithm, bits].concat())).unwrap()
}
