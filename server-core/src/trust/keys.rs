//! Private keys.

mod algorithm;
mod pkcs8;

pub use algorithm::{CsrSubject, KeyAlgorithm};

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use der::Decode as _;
use der::asn1::OctetStringRef;
use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData as _};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use zeroize::Zeroizing;

use self::pkcs8::{pkcs8_content, rsa_pkcs8};
use super::TrustError;

/// A private key and its public key. Printing it never shows the private key.
pub struct KeyPair {
    /// The whole key, able to sign anything in a certificate.
    signer: rcgen::KeyPair,
    /// PKCS#8, version 1.
    pkcs8: Zeroizing<Vec<u8>>,
    /// The same key once more when it is RSA.
    rsa: Option<RsaKeyPair>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &hex::encode(self.public_spki_der()))
            .finish_non_exhaustive()
    }
}

fn key_error(error: impl fmt::Display) -> TrustError {
    TrustError::Key(error.to_string())
}

impl KeyPair {
    /// Makes a new key with the randomness of the operating system.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, TrustError> {
        let rng = SystemRandom::new();
        let p256 = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = match algorithm {
            KeyAlgorithm::P256 => EcdsaKeyPair::generate_pkcs8(p256, &rng)
                .map_err(key_error)?
                .as_ref()
                .to_vec(),
            KeyAlgorithm::Rsa2048 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(key_error)?;
                rsa_pkcs8(&key)?
            }
            KeyAlgorithm::Ed25519 => {
                let key = Ed25519KeyPair::generate().map_err(key_error)?;
                key.to_pkcs8v1().map_err(key_error)?.as_ref().to_vec()
            }
        };
        Self::from_pkcs8(pkcs8)
    }

    /// Reads the first private key of a PEM text: PKCS#8, PKCS#1 (RSA) or SEC1 (P-256).
    ///
    /// # Errors
    /// When there is none, it is encrypted, or of a kind not known here.
    pub fn from_pem(text: &str) -> Result<Self, TrustError> {
        let pkcs8 = match Self::der_from_pem(text)? {
            PrivateKeyDer::Pkcs1(der) => {
                rsa_pkcs8(&RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(key_error)?)?
            }
            PrivateKeyDer::Sec1(der) => {
                let algorithm = &signature::ECDSA_P256_SHA256_ASN1_SIGNING;
                let key = EcdsaKeyPair::from_private_key_der(algorithm, der.secret_sec1_der())
                    .map_err(key_error)?;
                key.to_pkcs8v1().map_err(key_error)?.as_ref().to_vec()
            }
            other => other.secret_der().to_vec(),
        };
        Self::from_pkcs8(pkcs8)
    }

    /// The first private key of a PEM text, in the form it is in and not checked further.
    pub(super) fn der_from_pem(text: &str) -> Result<PrivateKeyDer<'static>, TrustError> {
        let wanted = "private key";
        let pem_error = |detail: String| TrustError::Pem { wanted, detail };
        let blocks = pem::parse_many(text).map_err(|e| pem_error(e.to_string()))?;
        let block = blocks
            .into_iter()
            .find(|block| block.tag().ends_with("PRIVATE KEY"))
            .ok_or_else(|| pem_error("the text holds none".to_owned()))?;
        if block.tag() == "ENCRYPTED PRIVATE KEY" || block.headers().get("DEK-Info").is_some() {
            return Err(pem_error("it is protected by a password".to_owned()));
        }
        let tag = block.tag().to_owned();
        let der = block.into_contents();
        Ok(match tag.as_str() {
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
            _ => PrivatePkcs8KeyDer::from(der).into(),
        })
    }

    /// The Ed25519 key of a 32-byte seed given as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the text is not that.
    pub fn from_ed25519_seed_hex(text: &str) -> Result<Self, TrustError> {
        let seed = Zeroizing::new(hex::decode(text.trim()).map_err(key_error)?);
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(key_error)?;
        Self::from_pkcs8(key.to_pkcs8v1().map_err(key_error)?.as_ref().to_vec())
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, TrustError> {
        let pkcs8 = Zeroizing::new(pkcs8);
        let der = PrivatePkcs8KeyDer::from(pkcs8.as_slice());
        // What nodes have comes first: each kind that is tried checks the whole key once more.
        let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
        let signer = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, p256)
            .or_else(|_| rcgen::KeyPair::try_from(&der))
            .map_err(key_error)?;
        let rsa = is_rsa(&signer).then(|| RsaKeyPair::from_pkcs8(&pkcs8).map_err(key_error));
        Ok(Self {
            rsa: rsa.transpose()?,
            signer,
            pkcs8,
        })
    }

    /// Whether this is an RSA key.
    #[must_use]
    pub fn is_rsa(&self) -> bool {
        self.rsa.is_some()
    }

    /// The private key as PEM: PKCS#1 for RSA, as the original writes it, PKCS#8 for the others.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let (tag, der) = match self.rsa.as_ref().and_then(|_| pkcs8_content(&self.pkcs8)) {
            Some(pkcs1) => ("RSA PRIVATE KEY", pkcs1),
            None => ("PRIVATE KEY", self.pkcs8.as_slice()),
        };
        Zeroizing::new(encode_pem(tag, der))
    }

    /// The private key as PKCS#8 PEM, whatever its kind.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_pem("PRIVATE KEY", &self.pkcs8))
    }

    /// The private key as PKCS#8 DER.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key with its algorithm (SubjectPublicKeyInfo, RFC 5280).
    #[must_use]
    pub fn public_spki_der(&self) -> Vec<u8> {
        self.signer.subject_public_key_info()
    }

    /// The public key as PEM under the label `PUBLIC KEY`.
    #[must_use]
    pub fn public_pem(&self) -> String {
        encode_pem("PUBLIC KEY", &self.public_spki_der())
    }

    /// The public key as the original's `gencsr` writes it: for RSA, PKCS#1 bytes under the label `PUBLIC KEY`.
    #[must_use]
    pub fn public_pem_quirk(&self) -> String {
        match &self.rsa {
            Some(rsa) => encode_pem("PUBLIC KEY", rsa.public_key().as_ref()),
            None => self.public_pem(),
        }
    }

    /// The bare public key: 32 bytes for Ed25519, an uncompressed point for P-256, PKCS#1 for RSA.
    #[must_use]
    pub fn public_raw(&self) -> &[u8] {
        self.signer.public_key_raw()
    }

    /// The seed of an Ed25519 key as 64 hexadecimal digits; nothing for other keys.
    #[must_use]
    pub fn ed25519_seed_hex(&self) -> Option<Zeroizing<String>> {
        if self.signer.algorithm() != &rcgen::PKCS_ED25519 {
            return None;
        }
        // RFC 8410: the content is once more an octet string.
        let content = pkcs8_content(&self.pkcs8)?;
        let seed = <&OctetStringRef>::from_der(content).ok()?;
        Some(Zeroizing::new(hex::encode(seed.as_bytes())))
    }

    /// Signs with what fits the key: RSA PKCS#1 v1.5 with SHA-256, ECDSA with SHA-256 (DER), or Ed25519.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TrustError> {
        rcgen::SigningKey::sign(&self.signer, message).map_err(key_error)
    }

    /// Signs with RSA PKCS#1 v1.5 and SHA-256 (RFC 8017, 8.2).
    ///
    /// # Errors
    /// When this is no RSA key.
    pub fn sign_rsa_sha256(&self, message: &[u8]) -> Result<Vec<u8>, TrustError> {
        let rsa = self.rsa.as_ref().ok_or_else(|| {
            TrustError::KeyAlgorithm(
                "requests of protocol 1 are signed with RSA keys only".to_owned(),
            )
        })?;
        let mut signed = vec![0; rsa.public_modulus_len()];
        rsa.sign(
            &signature::RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message,
            &mut signed,
        )
        .map_err(key_error)?;
        Ok(signed)
    }

    /// A certificate signing request (PKCS #10, RFC 2986) as PEM, without extensions, as the original makes it.
    ///
    /// # Errors
    /// When the subject cannot be written.
    pub fn csr(&self, common_name: &str, subject: &CsrSubject) -> Result<String, TrustError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::CountryName, &subject.country),
            (DnType::OrganizationName, &subject.organization),
            (DnType::OrganizationalUnitName, &subject.organizational_unit),
            (DnType::LocalityName, &subject.locality),
            (DnType::CommonName, &Some(common_name.to_owned())),
        ] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                params.distinguished_name.push(kind, value);
            }
        }
        let request = params.serialize_request(&self.signer).map_err(key_error)?;
        Ok(encode_pem("CERTIFICATE REQUEST", request.der()))
    }

    /// The key for building certificates with rcgen.
    #[must_use]
    pub fn as_rcgen(&self) -> &rcgen::KeyPair {
        &self.signer
    }
}

fn is_rsa(key: &rcgen::KeyPair) -> bool {
    [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA384,
        &rcgen::PKCS_RSA_SHA512,
    ]
    .contains(&key.algorithm())
}

/// PEM with lines of 64 characters (RFC 7468).
pub(super) fn encode_pem(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [KeyAlgorithm; 3] = [
        KeyAlgorithm::P256,
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::Ed25519,
    ];

    #[test]
    fn keys_survive_their_pem_and_openssl_agrees_on_the_public_key() {
        for algorithm in ALL {
            let key = KeyPair::generate(algorithm).unwrap();
            for pem in [key.to_pem(), key.to_pkcs8_pem()] {
                let again = KeyPair::from_pem(&pem).unwrap();
                assert_eq!(
                    again.public_spki_der(),
                    key.public_spki_der(),
                    "{algorithm}"
                );
                let judge = openssl::pkey::PKey::private_key_from_pem(pem.as_bytes()).unwrap();
                assert_eq!(judge.public_key_to_der().unwrap(), key.public_spki_der());
            }
            let shown = format!(
                "KeyPair {{ public: \"{}\", .. }}",
                hex::encode(key.public_spki_der())
            );
            assert_eq!(format!("{key:?}"), shown);
        }
    }

    #[test]
    fn requests_for_certificates_carry_only_the_subject() {
        let subject = CsrSubject {
            organization: Some("Fleet".into()),
            ..CsrSubject::default()
        };
        for algorithm in ALL {
            let key = KeyPair::generate(algorithm).unwrap();
            let pem = key.csr("n1.example.net", &subject).unwrap();
            let csr = openssl::x509::X509Req::from_pem(pem.as_bytes()).unwrap();
            assert!(
                csr.verify(&csr.public_key().unwrap()).unwrap(),
                "{algorithm}"
            );
            assert_eq!(
                csr.extensions().map_or(0, |all| all.len()),
                0,
                "{algorithm}"
            );
            let names: Vec<_> = csr
                .subject_name()
                .entries()
                .map(|e| e.data().to_string().unwrap())
                .collect();
            assert_eq!(names, ["Fleet", "n1.example.net"]);
        }
    }

    #[test]
    fn the_odd_public_key_of_rsa_is_pkcs1_under_the_wrong_label() {
        let key = KeyPair::generate(KeyAlgorithm::Rsa2048).unwrap();
        let pem = key.public_pem_quirk();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"));
        assert!(
            openssl::pkey::PKey::public_key_from_der(pem::parse(&pem).unwrap().contents()).is_err()
        );
        let relabelled = pem.replace(" PUBLIC KEY", " RSA PUBLIC KEY");
        assert!(openssl::rsa::Rsa::public_key_from_pem_pkcs1(relabelled.as_bytes()).is_ok());
    }

    #[test]
    fn ed25519_seeds_are_hexadecimal() {
        let seed = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let key = KeyPair::from_ed25519_seed_hex(seed).unwrap();
        assert_eq!(
            hex::encode(key.public_raw()),
            "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
        );
        assert_eq!(key.ed25519_seed_hex().unwrap().as_str(), seed);
        assert_eq!(
            hex::encode(key.sign(b"n0nce").unwrap()),
            "1ba129619473e9bc69f645abb6ae0062200e0890a6222d211c8588fca0c83e80426a1b21308010a85e920d4052ec443b94820331213a13e512196747a0cce708"
        );
        assert!(
            KeyPair::generate(KeyAlgorithm::P256)
                .unwrap()
                .ed25519_seed_hex()
                .is_none()
        );
    }

    #[test]
    fn what_is_no_usable_key_is_refused() {
        for (text, code) in [
            ("", "trust.pem"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "trust.key",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                "trust.key",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "trust.pem",
            ),
        ] {
            assert_eq!(KeyPair::from_pem(text).unwrap_err().code(), code, "{text}");
        }
        let small = openssl::rsa::Rsa::generate(1024)
            .unwrap()
            .private_key_to_pem()
            .unwrap();
        assert!(KeyPair::from_pem(&String::from_utf8(small).unwrap()).is_err());
        let ec = KeyPair::generate(KeyAlgorithm::P256).unwrap();
        assert_eq!(
            ec.sign_rsa_sha256(b"x").unwrap_err().code(),
            "trust.key_algorithm"
        );
    }
}
