//! How long to wait before trying again.

use std::borrow::Cow;
use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::Seed;

/// The steps of the original's `FiveSec` policy, in milliseconds.
const FIVE_SEC: &[u64] = &[
    500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000,
];

/// The steps of the original's `TwentySec` policy, in milliseconds.
const TWENTY_SEC: &[u64] = &[
    500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 5750, 6000, 6500, 7000,
    7500, 8000, 8500, 9000, 9500, 10_000, 10_500, 10_750, 11_000, 11_500, 12_000, 12_500, 13_000,
    13_500, 14_000, 14_500, 15_000, 15_500, 15_750, 16_000, 16_500, 17_000, 17_500, 18_000, 18_500,
    19_000, 19_500, 20_000,
];

/// Delays that grow along a table and end at its last step, each with jitter: uniform in `[step / 2, step * 3 / 2)`.
///
/// The jitter spreads a fleet that lost its broker over time. As in the original the first delay is the second step.
#[derive(Debug, Clone)]
pub struct Backoff {
    steps: Cow<'static, [u64]>,
    next: usize,
    rng: ChaCha8Rng,
}

impl Backoff {
    /// The original's policy for first connections: half a second to 5 s.
    #[must_use]
    pub fn choria_five_sec(seed: impl Into<Seed>) -> Self {
        Self::from_steps(Cow::Borrowed(FIVE_SEC), seed.into())
    }

    /// The original's policy for reconnections: half a second to 20 s.
    #[must_use]
    pub fn choria_twenty_sec(seed: impl Into<Seed>) -> Self {
        Self::from_steps(Cow::Borrowed(TWENTY_SEC), seed.into())
    }

    /// A policy with steps of its own; without steps every delay is zero.
    #[must_use]
    pub fn custom(steps: &[Duration], seed: impl Into<Seed>) -> Self {
        let millis = |step: &Duration| u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let steps: Vec<u64> = steps.iter().map(millis).collect();
        let mut backoff = Self::from_steps(Cow::Owned(steps), seed.into());
        backoff.next = 0;
        backoff
    }

    fn from_steps(steps: Cow<'static, [u64]>, seed: Seed) -> Self {
        Self {
            steps,
            next: 1,
            rng: seed.stream(0),
        }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let Some(last) = self.steps.len().checked_sub(1) else {
            return Duration::ZERO;
        };
        let step = self.steps[self.next.min(last)];
        self.next = self.next.saturating_add(1);
        self.jitter(step)
    }

    /// Starts from the first delay again, after a success.
    pub fn reset(&mut self) {
        self.next = usize::from(matches!(self.steps, Cow::Borrowed(_)));
    }

    fn jitter(&mut self, step: u64) -> Duration {
        let low = step / 2;
        let high = step.saturating_add(low);
        if high <= low {
            return Duration::from_millis(step);
        }
        Duration::from_millis(self.rng.random_range(low..high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_the_jitter_of_their_step_and_end_at_the_last() {
        for (mut backoff, steps) in [
            (Backoff::choria_five_sec(7), FIVE_SEC),
            (Backoff::choria_twenty_sec(7), TWENTY_SEC),
        ] {
            for n in 1..100 {
                let step = steps[n.min(steps.len() - 1)];
                let delay = backoff.next_delay().as_millis() as u64;
                assert!((step / 2..step + step / 2).contains(&delay), "{n}: {delay}");
            }
            backoff.reset();
            assert!(backoff.next_delay() < Duration::from_millis(1125));
        }
    }

    #[test]
    fn custom_tables_may_be_empty_or_zero() {
        assert_eq!(Backoff::custom(&[], 1).next_delay(), Duration::ZERO);
        assert_eq!(
            Backoff::custom(&[Duration::ZERO], 1).next_delay(),
            Duration::ZERO
        );
        let second = Duration::from_secs(1);
        let delay = Backoff::custom(&[second, second * 9], 1).next_delay();
        assert!(delay < second * 2, "{delay:?}");
    }
}
