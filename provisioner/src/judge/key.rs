//! What keys are certified: RSA of 2048, 3072 or 4096 bits with e = 65537, P-256, P-384, Ed25519.
//!
//! Sizes are judged on the encoded bytes, before any arithmetic is done with them.

use der::asn1::{AnyRef, ObjectIdentifier, UintRef};
use der::{Decode, Reader, SliceReader};
use serde::{Deserialize, Serialize};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::code::{Code, Refusal};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// X25519, X448 and Ed448: curves of RFC 8410 that are not certified here.
const OTHER_RFC8410: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.3.101.110"),
    ObjectIdentifier::new_unwrap("1.3.101.111"),
    ObjectIdentifier::new_unwrap("1.3.101.113"),
];

/// The only public exponent that is certified, as its big-endian bytes.
const EXPONENT: &[u8] = &[1, 0, 1];

/// A kind of key that is certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// ECDSA on NIST P-256.
    P256,
    /// ECDSA on NIST P-384.
    P384,
    /// EdDSA on Curve25519.
    Ed25519,
}

impl KeyKind {
    /// Every kind that can be certified.
    pub const ALL: &'static [Self] = &[
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// Whether the key is an RSA key.
    #[must_use]
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa3072 => "RSA 3072",
            Self::Rsa4096 => "RSA 4096",
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
        })
    }
}

/// A public key of a certified kind, not yet known to be sound.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey<'a> {
    pub(crate) kind: KeyKind,
    /// The bytes inside the bit string: PKCS#1 for RSA, the point otherwise.
    pub(crate) bytes: &'a [u8],
    /// The RSA modulus, big-endian without leading zeros; empty for other keys.
    pub(crate) modulus: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// Judges kind, size and exponent of a public key.
    ///
    /// # Errors
    /// `key.algorithm`, `key.size`, `key.exponent`, `key.curve`, `key.weak` or `csr.der`.
    pub(crate) fn judge(spki: SubjectPublicKeyInfoRef<'a>) -> Result<Self, Refusal> {
        let bytes = spki.subject_public_key.as_bytes().ok_or_else(|| {
            Refusal::new(
                Code::CsrDer,
                "the public key is not a whole number of bytes",
            )
        })?;
        match spki.algorithm.oid {
            RSA_ENCRYPTION => rsa(spki.algorithm.parameters, bytes),
            EC_PUBLIC_KEY => elliptic(spki.algorithm.parameters, bytes),
            ED25519 => edwards(spki.algorithm.parameters, bytes),
            oid if OTHER_RFC8410.contains(&oid) => Err(refuse(
                Code::KeyCurve,
                "the key is on a curve that is not certified (X25519, X448 or Ed448)",
            )),
            DSA => Err(refuse(Code::KeyAlgorithm, "the key is a DSA key")),
            RSASSA_PSS => Err(refuse(
                Code::KeyAlgorithm,
                "the key is an RSA key restricted to PSS",
            )),
            oid => Err(refuse(
                Code::KeyAlgorithm,
                format!("the key's algorithm is {oid}"),
            )),
        }
    }
}

fn rsa<'a>(parameters: Option<AnyRef<'a>>, bytes: &'a [u8]) -> Result<PublicKey<'a>, Refusal> {
    if !parameters.is_some_and(|parameters| parameters.is_null()) {
        return Err(refuse(
            Code::KeyAlgorithm,
            "the RSA key's algorithm has parameters other than NULL",
        ));
    }
    let (modulus, exponent) = rsa_public_key(bytes).map_err(|error| {
        Refusal::new(
            Code::CsrDer,
            format!("the RSA public key is not strict DER (rule 13): {error}"),
        )
    })?;
    let bits = modulus.first().map_or(0, |first| {
        modulus.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
    });
    let kind = match bits {
        2048 => KeyKind::Rsa2048,
        3072 => KeyKind::Rsa3072,
        4096 => KeyKind::Rsa4096,
        _ => {
            return Err(refuse(
                Code::KeySize,
                format!("the RSA key is {bits} bits long"),
            ));
        }
    };
    if exponent != EXPONENT {
        return Err(refuse(
            Code::KeyExponent,
            "the RSA key's public exponent is not 65537",
        ));
    }
    Ok(PublicKey {
        kind,
        bytes,
        modulus,
    })
}

/// Modulus and exponent of a PKCS#1 public key (RFC 8017, A.1.1).
fn rsa_public_key(bytes: &[u8]) -> Result<(&[u8], &[u8]), der::Error> {
    let mut reader = SliceReader::new(bytes)?;
    let (modulus, exponent) = reader.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        let exponent = UintRef::decode(reader)?;
        Ok::<_, der::Error>((modulus, exponent))
    })?;
    reader.finish()?;
    Ok((modulus.as_bytes(), exponent.as_bytes()))
}

fn elliptic<'a>(parameters: Option<AnyRef<'a>>, bytes: &'a [u8]) -> Result<PublicKey<'a>, Refusal> {
    let curve = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    let (kind, length) = match curve {
        Some(P256) => (KeyKind::P256, 32),
        Some(P384) => (KeyKind::P384, 48),
        Some(oid) => {
            return Err(refuse(
                Code::KeyCurve,
                format!("the key is on the curve {oid}"),
            ));
        }
        None => {
            return Err(refuse(
                Code::KeyCurve,
                "the key brings its own curve parameters instead of a curve's name",
            ));
        }
    };
    if bytes.first() != Some(&4) || bytes.len() != 1 + 2 * length {
        return Err(refuse(
            Code::KeyCurve,
            "the key's point is not written uncompressed",
        ));
    }
    Ok(PublicKey {
        kind,
        bytes,
        modulus: &[],
    })
}

fn edwards<'a>(parameters: Option<AnyRef<'a>>, bytes: &'a [u8]) -> Result<PublicKey<'a>, Refusal> {
    if parameters.is_some() || bytes.len() != 32 {
        return Err(refuse(
            Code::KeyAlgorithm,
            "the Ed25519 key is not 32 bytes without parameters",
        ));
    }
    Ok(PublicKey {
        kind: KeyKind::Ed25519,
        bytes,
        modulus: &[],
    })
}

fn refuse(code: Code, what: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        code,
        format!(
            "{what}; only RSA of 2048, 3072 or 4096 bits with exponent 65537, P-256, P-384 and \
             Ed25519 are certified (rule 8)"
        ),
    )
}
