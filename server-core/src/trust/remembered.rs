//! Signatures that were found good before are not computed again.
//!
//! The certificate of an authority is on the path of every leaf it signs, and a broker shows the same
//! chain to every node of a process. Whether a signature over the same bytes by the same key is good does
//! not change, so the last ones found good are kept by their hash. What else a path has to keep (dates,
//! constraints, names) is judged each time.

use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use lru::LruCache;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

/// Signatures kept, each by the SHA-256 of algorithm, key, message and signature: those of the authorities in use are asked for again before so many leaves passed.
const KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

static GOOD: LazyLock<Mutex<LruCache<Vec<u8>, ()>>> =
    LazyLock::new(|| Mutex::new(LruCache::new(KEPT)));

static REMEMBERING: LazyLock<Vec<Remembering>> = LazyLock::new(|| {
    let all = webpki::ALL_VERIFICATION_ALGS.iter();
    all.map(|algorithm| Remembering(*algorithm)).collect()
});

static ALGORITHMS: LazyLock<Vec<&'static dyn SignatureVerificationAlgorithm>> =
    LazyLock::new(|| REMEMBERING.iter().map(|kept| kept as _).collect());

/// Every algorithm `webpki` knows, remembering what was found good.
#[must_use]
pub fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    &ALGORITHMS
}

#[derive(Debug)]
struct Remembering(&'static dyn SignatureVerificationAlgorithm);

impl Remembering {
    fn seen(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Vec<u8> {
        let mut hash = Context::new(&SHA256);
        let (key, signed) = (self.0.public_key_alg_id(), self.0.signature_alg_id());
        for part in [&*key, &*signed, public_key, message, signature] {
            hash.update(&part.len().to_be_bytes());
            hash.update(part);
        }
        hash.finish().as_ref().to_vec()
    }
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let seen = self.seen(public_key, message, signature);
        let good = || GOOD.lock().unwrap_or_else(PoisonError::into_inner);
        if good().get(&seen).is_some() {
            return Ok(());
        }
        self.0.verify_signature(public_key, message, signature)?;
        good().put(seen, ());
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::trust::{KeyAlgorithm, KeyPair};

    /// A good signature is good twice, and makes no other one good: neither over another message, nor by
    /// another key, nor another signature.
    #[test]
    fn only_the_same_bytes_are_remembered() {
        let key = |algorithm| KeyPair::generate(algorithm).unwrap();
        let (ours, other) = (key(KeyAlgorithm::P256), key(KeyAlgorithm::P256));
        let (message, signature) = (b"to be signed", ours.sign(b"to be signed").unwrap());
        let p256 = algorithms().iter().find(|a| {
            a.verify_signature(ours.public_raw(), message, &signature)
                .is_ok()
        });
        let p256 = p256.unwrap();
        let verify = |key: &[u8], message: &[u8], signature: &[u8]| {
            p256.verify_signature(key, message, signature).is_ok()
        };
        assert!(verify(ours.public_raw(), message, &signature));
        assert!(!verify(other.public_raw(), message, &signature));
        assert!(!verify(ours.public_raw(), b"to be sighed", &signature));
        let mut changed = signature.clone();
        *changed.last_mut().unwrap() ^= 1;
        for _ in 0..2 {
            assert!(!verify(ours.public_raw(), message, &changed));
        }
    }
}
