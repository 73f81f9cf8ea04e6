//! How long a setback parks a node: doubling, with jitter, bounded.

use std::time::Duration;

use rand::Rng;

use crate::config;

/// The delay after `setbacks` setbacks in a row (at least 1).
///
/// Doubles from `retry.first` to `retry.max`; the jitter takes up to a quarter
/// off, so that nodes parked together do not come back together.
pub(crate) fn delay(retry: &config::Retry, setbacks: u32, rng: &mut impl Rng) -> Duration {
    let doublings = setbacks.saturating_sub(1).min(30);
    let full = retry.first.saturating_mul(1 << doublings).min(retry.max);
    full.mul_f64(rng.random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn it_grows_and_stays_bounded(setbacks in 0u32..10_000, seed: u64) {
            let retry = config::Retry {
                attempts: 2,
                first: Duration::from_secs(5),
                max: Duration::from_secs(600),
                forget_after: 12,
            };
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let found = delay(&retry, setbacks, &mut rng);
            prop_assert!(found <= retry.max);
            prop_assert!(found >= retry.first.mul_f64(0.75));
            if setbacks > 8 {
                prop_assert!(found >= retry.max.mul_f64(0.75));
            }
        }
    }
}
