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

    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls_pki_types::alg_id;

    use super::*;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    /// Takes the message for the signature, and counts.
    #[derive(Debug)]
    struct Echo(AlgorithmIdentifier);

    impl SignatureVerificationAlgorithm for Echo {
        fn verify_signature(&self, _: &[u8], m: &[u8], s: &[u8]) -> Result<(), InvalidSignature> {
            CALLS.fetch_add(1, Ordering::Relaxed);
            (m == s).then_some(()).ok_or(InvalidSignature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            alg_id::ED25519
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            self.0
        }
    }

    /// A good signature is computed once, a bad one each time, and another key, message, signature or
    /// algorithm is another question.
    #[test]
    fn only_what_was_good_is_remembered_and_only_for_the_same_bytes() {
        static ONE: Echo = Echo(alg_id::ED25519);
        static OTHER: Echo = Echo(alg_id::ECDSA_SHA256);
        let (one, other) = (Remembering(&ONE), Remembering(&OTHER));
        let calls = |algorithm: &Remembering, key: &[u8], message: &[u8], signature: &[u8]| {
            let before = CALLS.load(Ordering::Relaxed);
            let good = algorithm.verify_signature(key, message, signature).is_ok();
            (good, CALLS.load(Ordering::Relaxed) - before)
        };
        assert_eq!(calls(&one, b"remembered", b"m", b"m"), (true, 1));
        assert_eq!(calls(&one, b"remembered", b"m", b"m"), (true, 0));
        for _ in 0..2 {
            assert_eq!(calls(&one, b"remembered", b"m", b"n"), (false, 1));
        }
        assert_eq!(calls(&one, b"remembere", b"dm", b"dm"), (true, 1));
        assert_eq!(calls(&one, b"another", b"m", b"m"), (true, 1));
        assert_eq!(calls(&other, b"remembered", b"m", b"m"), (true, 1));
    }

    #[test]
    fn every_algorithm_is_there() {
        assert_eq!(algorithms().len(), webpki::ALL_VERIFICATION_ALGS.len());
    }
}
