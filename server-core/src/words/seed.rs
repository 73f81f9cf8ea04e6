//! Randomness that can be repeated.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The seed of everything random in a run.
///
/// Each consumer takes a stream of its own by number, so adding one consumer does not change what another draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// A seed from the operating system, for runs that need not be repeated.
    #[must_use]
    pub fn from_os() -> Self {
        Self(rand::random())
    }

    /// The generator of one consumer: equal for equal seed and index, independent of all other indexes.
    #[must_use]
    pub fn stream(self, index: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.0);
        rng.set_stream(index);
        rng
    }
}

impl From<u64> for Seed {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore as _;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed: u64, index| Seed(seed).stream(index).next_u64();
        assert_eq!(draw(1, 7), draw(1, 7));
        assert_ne!(draw(1, 7), draw(1, 8));
        assert_ne!(draw(1, 7), draw(2, 7));
    }
}
