//! A key made in a token, which it never leaves.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::{BitStringRef, Null, ObjectIdentifier, OctetStringRef};
use der::{AnyRef, Decode as _, Encode as _};
use rand::RngCore;
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::sessions::{Login, find};
use super::{KeyUri, TokenError, TokenSettings, integers, module};
use crate::judge::KeyKind;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
/// 65537.
const EXPONENT: &[u8] = &[1, 0, 1];

/// A key in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeKey {
    /// Its public half, DER `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    /// Whether it was made just now.
    pub new: bool,
}

/// The key that the settings name, made in the token where it is not there yet: it cannot be read
/// out, and signs.
///
/// # Errors
/// Why the token cannot be used.
pub fn find_or_make(
    settings: &TokenSettings,
    kind: KeyKind,
    rng: &mut dyn RngCore,
) -> Result<MadeKey, TokenError> {
    let uri = &settings.uri;
    let library = module::load(uri.module())?;
    let (slot, token) = module::token(&library, uri)?;
    let session = library.open_rw_session(slot)?;
    Login::new(settings.pin.clone()).log_in(&session, &token)?;
    let found = find(&session, uri)?;
    let new = found.is_none();
    let private = match found {
        Some(key) => key,
        None => make(&session, uri, kind, rng)?,
    };
    Ok(MadeKey {
        spki: public(&session, uri, private)?,
        new,
    })
}

fn make(
    session: &Session,
    uri: &KeyUri,
    kind: KeyKind,
    rng: &mut dyn RngCore,
) -> Result<ObjectHandle, TokenError> {
    // What public and private key are told to belong together by.
    let mut random = [0; 16];
    rng.fill_bytes(&mut random);
    let id = uri.id().unwrap_or(&random).to_vec();
    let label = uri.object().unwrap_or("enrolment-ca").as_bytes().to_vec();
    let (how, particular) = match kind {
        KeyKind::P256 => (Mechanism::EccKeyPairGen, vec![curve(P256, uri)?]),
        KeyKind::P384 => (Mechanism::EccKeyPairGen, vec![curve(P384, uri)?]),
        KeyKind::Rsa2048 => (Mechanism::RsaPkcsKeyPairGen, modulus(2048)),
        KeyKind::Rsa3072 => (Mechanism::RsaPkcsKeyPairGen, modulus(3072)),
        KeyKind::Rsa4096 => (Mechanism::RsaPkcsKeyPairGen, modulus(4096)),
        KeyKind::Ed25519 => return Err(wrong(uri, "cannot be Ed25519".to_owned())),
    };
    let mut public = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Label(label.clone()),
        Attribute::Id(id.clone()),
    ];
    public.extend(particular);
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(label),
        Attribute::Id(id),
    ];
    let (_, private) = session.generate_key_pair(&how, &public, &private)?;
    Ok(private)
}

fn curve(curve: ObjectIdentifier, uri: &KeyUri) -> Result<Attribute, TokenError> {
    let parameters = curve
        .to_der()
        .map_err(|error| wrong(uri, error.to_string()))?;
    Ok(Attribute::EcParams(parameters))
}

fn modulus(bits: u64) -> Vec<Attribute> {
    vec![
        Attribute::ModulusBits(bits.into()),
        Attribute::PublicExponent(EXPONENT.to_vec()),
    ]
}

/// The public half of a private key. An RSA key knows its own; an EC key has it in a public key
/// object of the same identifier.
fn public(session: &Session, uri: &KeyUri, private: ObjectHandle) -> Result<Vec<u8>, TokenError> {
    let about = [AttributeType::KeyType, AttributeType::Id];
    let about = session.get_attributes(private, &about)?;
    if about.contains(&Attribute::KeyType(KeyType::RSA)) {
        return rsa(session, uri, private);
    }
    let mut wanted = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    wanted.extend(
        about
            .into_iter()
            .filter(|found| matches!(found, Attribute::Id(_))),
    );
    wanted.extend(uri.object().map(|label| Attribute::Label(label.into())));
    let Some(public) = session.find_objects(&wanted)?.pop() else {
        return Err(wrong(
            uri,
            "has no public key object of its label and id beside it".to_owned(),
        ));
    };
    elliptic(session, uri, public)
}

fn rsa(session: &Session, uri: &KeyUri, key: ObjectHandle) -> Result<Vec<u8>, TokenError> {
    let about = [AttributeType::Modulus, AttributeType::PublicExponent];
    let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
    for found in session.get_attributes(key, &about)? {
        match found {
            Attribute::Modulus(bytes) => modulus = bytes,
            Attribute::PublicExponent(bytes) => exponent = bytes,
            _ => {}
        }
    }
    let odd = |error: der::Error| wrong(uri, format!("has an odd public key: {error}"));
    let numbers = integers([&modulus, &exponent]).map_err(odd)?;
    spki(RSA_ENCRYPTION, Null.into(), &numbers).map_err(odd)
}

fn elliptic(session: &Session, uri: &KeyUri, key: ObjectHandle) -> Result<Vec<u8>, TokenError> {
    let about = [AttributeType::EcParams, AttributeType::EcPoint];
    let (mut curve, mut point) = (Vec::new(), Vec::new());
    for found in session.get_attributes(key, &about)? {
        match found {
            Attribute::EcParams(bytes) => curve = bytes,
            Attribute::EcPoint(bytes) => point = bytes,
            _ => {}
        }
    }
    let odd = |error: der::Error| wrong(uri, format!("has an odd public key: {error}"));
    let curve = AnyRef::from_der(&curve).map_err(odd)?;
    // An octet string by the standard; some tokens leave its frame out.
    let point = match <&OctetStringRef>::from_der(&point) {
        Ok(framed) => framed.as_bytes(),
        Err(_) => &point,
    };
    spki(EC_PUBLIC_KEY, curve, point).map_err(odd)
}

fn spki(oid: ObjectIdentifier, parameters: AnyRef<'_>, key: &[u8]) -> der::Result<Vec<u8>> {
    SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid,
            parameters: Some(parameters),
        },
        subject_public_key: BitStringRef::from_bytes(key)?,
    }
    .to_der()
}

fn wrong(uri: &KeyUri, why: String) -> TokenError {
    TokenError::Key {
        key: uri.to_string(),
        why,
    }
}
