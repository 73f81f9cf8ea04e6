//! The common form of private keys (PKCS#8, RFC 5208) and what is inside of it.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::RsaKeyPair;
use der::asn1::{AnyRef, OctetStringRef};
use der::{Decode as _, Reader as _};

use super::key_error;
use crate::trust::TrustError;

/// An RSA key as PKCS#8, if it is large enough.
pub(super) fn rsa_pkcs8(key: &RsaKeyPair) -> Result<Vec<u8>, TrustError> {
    if key.public_modulus_len() < 256 {
        return Err(TrustError::KeyAlgorithm(
            "an RSA key needs at least 2048 bits".to_owned(),
        ));
    }
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().map_err(key_error)?;
    Ok(der.as_ref().to_vec())
}

/// The algorithm's own form of the key inside of PKCS#8.
pub(super) fn pkcs8_content(pkcs8: &[u8]) -> Option<&[u8]> {
    let mut reader = der::SliceReader::new(pkcs8).ok()?;
    reader
        .sequence(|inner| {
            u8::decode(inner)?;
            AnyRef::decode(inner)?;
            let content = <&OctetStringRef>::decode(inner)?;
            // Attributes and the public key may follow.
            inner.read_slice(inner.remaining_len())?;
            Ok::<_, der::Error>(content.as_bytes())
        })
        .ok()
}
