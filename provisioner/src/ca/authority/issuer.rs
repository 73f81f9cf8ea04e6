//! The certificate that signs, with its key.

use der::{Decode, Encode, Tag, Tagged};
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyIdMethod, KeyPair};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;

use super::{internal, wrong};
use crate::ca::key::{Attempt, AuthorityKey};
use crate::ca::trust::certificates;
use crate::code::Refusal;

/// A name and a key under which certificates and lists are signed.
#[derive(Debug)]
pub(in crate::ca) struct Signer {
    params: CertificateParams,
    key: AuthorityKey,
}

impl Signer {
    /// Signs as the authority these parameters are of.
    pub(in crate::ca) const fn new(params: CertificateParams, key: KeyPair) -> Self {
        Self {
            params,
            key: AuthorityKey::Memory(key),
        }
    }

    /// Whether signing may take long, because it is done elsewhere.
    pub(super) const fn is_slow(&self) -> bool {
        matches!(self.key, AuthorityKey::Token(_))
    }

    /// Has something signed; `what` names it where it fails.
    ///
    /// # Errors
    /// `ca.unavailable`: the key does not sign now.
    pub(in crate::ca) fn sign<T>(
        &self,
        what: &str,
        with: impl FnOnce(&Issuer<'_, &Attempt<'_>>) -> Result<T, rcgen::Error>,
    ) -> Result<T, Refusal> {
        let attempt = Attempt::with(&self.key);
        let signed = with(&Issuer::from_params(&self.params, &attempt));
        signed.map_err(|error| attempt.refusal(what, &error))
    }
}

/// A certificate that may sign others', and its key.
#[derive(Debug)]
pub(in crate::ca) struct Issuing {
    pub(in crate::ca) signer: Signer,
    pub(super) certificate: Certificate,
    pub(super) der: CertificateDer<'static>,
}

impl Issuing {
    /// The first certificate of a PEM text, with the key that `open` finds for its public key
    /// (DER `SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// `ca.config` when it may not sign, or is not the key's.
    pub(in crate::ca) fn read(
        certificate: &str,
        open: impl FnOnce(&[u8]) -> Result<AuthorityKey, Refusal>,
    ) -> Result<Self, Refusal> {
        let der = certificates(certificate)
            .map_err(wrong)?
            .into_iter()
            .next()
            .ok_or_else(|| wrong("the authority's file holds no certificate".to_owned()))?;
        let parsed = Certificate::from_der(&der).map_err(|error| wrong(error.to_string()))?;
        let tbs = parsed.tbs_certificate();
        let spki = tbs.subject_public_key_info().to_der().map_err(internal)?;
        let key = open(&spki)?;
        may_sign(&parsed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(tbs.subject())?;
        if let Ok(Some((_, id))) = tbs.get_extension::<SubjectKeyIdentifier>() {
            params.key_identifier_method = KeyIdMethod::PreSpecified(id.0.as_bytes().to_vec());
        }
        Ok(Self {
            signer: Signer { params, key },
            certificate: parsed,
            der,
        })
    }
}

/// Whether a certificate may sign others' (RFC 5280 §4.2.1.3 and §4.2.1.9).
fn may_sign(certificate: &Certificate) -> Result<(), Refusal> {
    let tbs = certificate.tbs_certificate();
    let authority = matches!(
        tbs.get_extension::<BasicConstraints>(),
        Ok(Some((_, BasicConstraints { ca: true, .. })))
    );
    let usage = tbs
        .get_extension::<KeyUsage>()
        .is_ok_and(|usage| usage.is_none_or(|(_, usage)| usage.key_cert_sign()));
    if authority && usage {
        Ok(())
    } else {
        Err(wrong(
            "the certificate is not an authority's; it needs basic constraints CA:TRUE and the \
             key usage certificate sign"
                .to_owned(),
        ))
    }
}

/// The authority's name in the builder's form, string types kept, so that leaf and authority
/// agree byte for byte.
fn distinguished_name(name: &Name) -> Result<DistinguishedName, Refusal> {
    let mut built = DistinguishedName::new();
    let unsupported = || {
        wrong(format!(
            "the authority's name \"{name}\" cannot be written into certificates; it needs one \
             value for each attribute, as text"
        ))
    };
    for rdn in name.iter_rdn() {
        let mut values = rdn.iter();
        let (Some(attribute), None) = (values.next(), values.next()) else {
            return Err(unsupported());
        };
        let arcs: Vec<u64> = attribute.oid.arcs().map(u64::from).collect();
        let kind = DnType::from_oid(&arcs);
        let text = std::str::from_utf8(attribute.value.value()).map_err(|_| unsupported())?;
        let value = match attribute.value.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => {
                DnValue::PrintableString(text.try_into().map_err(|_| unsupported())?)
            }
            Tag::Ia5String => DnValue::Ia5String(text.try_into().map_err(|_| unsupported())?),
            _ => return Err(unsupported()),
        };
        if built.get(&kind).is_some() {
            return Err(unsupported());
        }
        built.push(kind, value);
    }
    Ok(built)
}
