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

/// The delay for whoever was asked not to come back before a time: up to a quarter
/// more, so that those who were told the same do not come back together.
pub(crate) fn not_before(wanted: Duration, rng: &mut impl Rng) -> Duration {
    wanted.saturating_add(wanted.mul_f64(rng.random_range(0.0..=0.25)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn who_was_given_a_time_is_not_early(seconds: u64, seed: u64) {
            let wanted = Duration::from_secs(seconds);
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let found = not_before(wanted, &mut rng);
            prop_assert!(found >= wanted && found <= wanted.saturating_add(wanted.mul_f64(0.26)));
        }

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
