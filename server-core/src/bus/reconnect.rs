//! How long to wait between attempts to connect: presets of known clients, all of them seeded.

use std::time::Duration;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::words::{Backoff, Seed};

/// A reconnect policy with its seed. The first attempt of a connection never waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconnect {
    policy: Policy,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Policy {
    NatsDefault,
    Choria,
    Jitter {
        min: Duration,
        max: Duration,
        spread: Duration,
    },
}

impl Reconnect {
    /// The delay of the Go NATS client as it comes: 2 s and up to 1 s of jitter, for ever.
    #[must_use]
    pub fn nats_default(seed: u64) -> Self {
        Self {
            policy: Policy::NatsDefault,
            seed,
        }
    }

    /// The delays of a Choria server: half a second to 20 s in 44 steps, each halved to one-and-a-half.
    #[must_use]
    pub fn choria(seed: u64) -> Self {
        Self {
            policy: Policy::Choria,
            seed,
        }
    }

    /// Doubling from `min` to `max`, plus a uniform share of `spread`.
    #[must_use]
    pub fn jitter(seed: u64, min: Duration, max: Duration, spread: Duration) -> Self {
        Self {
            policy: Policy::Jitter {
                min,
                max: max.max(min),
                spread,
            },
            seed,
        }
    }

    /// The same policy for another party, so that a fleet does not move in step.
    #[must_use]
    pub fn seeded(&self, seed: u64) -> Self {
        Self {
            policy: self.policy.clone(),
            seed,
        }
    }

    /// The same policy of the same party at another time: delays of their own, still by its seed.
    pub(crate) fn reseeded(&self, time: u64) -> Self {
        // Far apart for neighbouring seeds and times.
        self.seeded(self.seed ^ time.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The sequence of delays.
    #[must_use]
    pub fn delays(&self) -> Delays {
        let kind = match self.policy {
            Policy::NatsDefault => Kind::Plus {
                base: Duration::from_secs(2),
                max: Duration::from_secs(2),
                spread: Duration::from_secs(1),
            },
            Policy::Choria => Kind::Choria(Box::new(Backoff::choria_twenty_sec(self.seed))),
            Policy::Jitter { min, max, spread } => Kind::Plus {
                base: min,
                max,
                spread,
            },
        };
        Delays {
            kind,
            random: Box::new(Seed(self.seed).stream(1)),
            failures: 0,
        }
    }
}

/// The delays of one connection, in order.
#[derive(Debug, Clone)]
pub struct Delays {
    kind: Kind,
    random: Box<ChaCha8Rng>,
    failures: u32,
}

#[derive(Debug, Clone)]
enum Kind {
    Choria(Box<Backoff>),
    /// `base` doubled per failure up to `max`, plus a uniform share of `spread`.
    Plus {
        base: Duration,
        max: Duration,
        spread: Duration,
    },
}

impl Delays {
    /// The wait before the next attempt, after one more failure or loss.
    pub fn after_failure(&mut self) -> Duration {
        let doubled = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        match &mut self.kind {
            Kind::Choria(backoff) => backoff.next_delay(),
            Kind::Plus { base, max, spread } => {
                let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
                let share = Duration::from_nanos(self.random.random_range(0..=nanos));
                base.saturating_mul(doubled).min(*max).saturating_add(share)
            }
        }
    }

    /// A connection came up: the next loss starts from the beginning.
    pub fn reset(&mut self) {
        self.failures = 0;
        if let Kind::Choria(backoff) = &mut self.kind {
            backoff.reset();
        }
    }

    /// A number below `count`, for choosing where to start among several servers.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.random.random_range(0..count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_sequence_within_bounds() {
        let policy = Reconnect::jitter(
            7,
            Duration::from_secs(2),
            Duration::from_secs(20),
            Duration::from_secs(5),
        );
        let (mut one, mut two) = (policy.delays(), policy.delays());
        for step in 0..40u32 {
            let delay = one.after_failure();
            assert_eq!(delay, two.after_failure());
            let base = Duration::from_secs(2)
                .saturating_mul(1 << step.min(20))
                .min(Duration::from_secs(20));
            assert!(delay >= base && delay <= base + Duration::from_secs(5));
        }
        one.reset();
        assert!(one.after_failure() <= Duration::from_secs(7));
        assert_ne!(policy.seeded(8).delays().after_failure(), {
            policy.delays().after_failure()
        });
    }
}
