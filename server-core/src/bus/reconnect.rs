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
    /// The Go NATS client as it comes: the other brokers at once, and 2 s with up to 1 s of jitter
    /// before each further round through all of them, for ever.
    #[must_use]
    pub fn nats_default(seed: u64) -> Self {
        Self {
            policy: Policy::NatsDefault,
            seed,
        }
    }

    /// A Choria server: the other brokers at once, and before each further round through all of them
    /// half a second to 20 s in 44 steps, each halved to one-and-a-half.
    #[must_use]
    pub fn choria(seed: u64) -> Self {
        Self {
            policy: Policy::Choria,
            seed,
        }
    }

    /// Made for whole fleets that lose a broker in the same instant.
    ///
    /// With another broker to go to, the first attempt follows after a uniform share of `spread`. With
    /// none, everybody waits for the same broker, and a loss is as bad as a failed attempt: twice `min`
    /// and a share of twice `spread`. Each failure after that waits for `min`, doubled every time up to
    /// `max`, and a share of `spread`.
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
            Policy::NatsDefault => Kind::NatsDefault,
            Policy::Choria => Kind::Choria(Box::new(Backoff::choria_twenty_sec(self.seed))),
            Policy::Jitter { min, max, spread } => Kind::Jitter { min, max, spread },
        };
        Delays {
            kind,
            random: Box::new(Seed(self.seed).stream(1)),
            doublings: 0,
            tried: 0,
        }
    }
}

/// The delays of one connection, in order.
#[derive(Debug, Clone)]
pub struct Delays {
    kind: Kind,
    random: Box<ChaCha8Rng>,
    /// How often the smallest wait is doubled next.
    doublings: u32,
    /// Attempts since the last wait, where a round through all brokers is made without one.
    tried: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    NatsDefault,
    Choria(Box<Backoff>),
    Jitter {
        min: Duration,
        max: Duration,
        spread: Duration,
    },
}

impl Delays {
    /// The wait before the first attempt after a loss, with `brokers` to choose from.
    pub fn after_loss(&mut self, brokers: usize) -> Duration {
        self.reset();
        let Kind::Jitter { min, max, spread } = self.kind else {
            return self.after_failure(brokers);
        };
        if brokers > 1 {
            return self.share(spread);
        }
        self.doublings = 2;
        min.saturating_mul(2).min(max) + self.share(spread.saturating_mul(2))
    }

    /// The wait before the next attempt after one more failure, with `brokers` to choose from.
    pub fn after_failure(&mut self, brokers: usize) -> Duration {
        if let Kind::Jitter { min, max, spread } = self.kind {
            let doubled = 1u32.checked_shl(self.doublings).unwrap_or(u32::MAX);
            self.doublings = self.doublings.saturating_add(1);
            return min
                .saturating_mul(doubled)
                .min(max)
                .saturating_add(self.share(spread));
        }
        self.tried += 1;
        if self.tried < brokers {
            return Duration::ZERO;
        }
        self.tried = 0;
        match &mut self.kind {
            Kind::Choria(backoff) => backoff.next_delay(),
            _ => Duration::from_secs(2) + self.share(Duration::from_secs(1)),
        }
    }

    /// A connection came up: the next loss starts from the beginning.
    pub fn reset(&mut self) {
        (self.doublings, self.tried) = (0, 0);
        if let Kind::Choria(backoff) = &mut self.kind {
            backoff.reset();
        }
    }

    /// A number below `count`, for choosing where to start among several servers.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.random.random_range(0..count.max(1))
    }

    fn share(&mut self, spread: Duration) -> Duration {
        let nanos = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random.random_range(0..=nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn jitter(seed: u64) -> Reconnect {
        Reconnect::jitter(seed, 2 * SECOND, 20 * SECOND, 5 * SECOND)
    }

    /// Attempts until one meets brokers that were away for `outage`, and when it does.
    fn attempts(policy: &Reconnect, brokers: usize, outage: Duration) -> (u32, Duration) {
        let mut delays = policy.delays();
        let mut at = delays.after_loss(brokers);
        let mut made = 1;
        while at < outage {
            at += delays.after_failure(brokers);
            made += 1;
        }
        (made, at)
    }

    #[test]
    fn one_seed_one_sequence_and_another_for_another() {
        let (mut one, mut two) = (jitter(7).delays(), jitter(7).delays());
        assert_eq!(one.after_loss(1), two.after_loss(1));
        for _ in 0..40 {
            assert_eq!(one.after_failure(1), two.after_failure(1));
        }
        assert_ne!(
            jitter(7).delays().after_loss(3),
            jitter(8).delays().after_loss(3)
        );
    }

    #[test]
    fn presets_try_the_other_brokers_at_once_and_wait_before_the_next_round() {
        for policy in [Reconnect::nats_default(3), Reconnect::choria(3)] {
            let mut delays = policy.delays();
            let mut waits = vec![delays.after_loss(3)];
            waits.extend((0..7).map(|_| delays.after_failure(3)));
            let waited: Vec<bool> = waits.iter().map(|wait| !wait.is_zero()).collect();
            let rounds = [false, false, true, false, false, true, false, false];
            assert_eq!(waited, rounds, "{policy:?}");
            assert!(!policy.delays().after_loss(1).is_zero());
        }
    }

    #[test]
    fn a_fleet_that_lost_its_only_broker_for_ten_seconds_dials_less_than_twice_a_node() {
        let all: Vec<_> = (0..2_000)
            .map(|seed| attempts(&jitter(seed), 1, 10 * SECOND))
            .collect();
        let dials: u32 = all.iter().map(|(made, _)| made).sum();
        assert!(dials <= 2 * 2_000, "{dials}");
        // It does not come all at once, and nobody stays away long after the broker is back.
        let soon = all.iter().filter(|(_, at)| *at < 12 * SECOND).count();
        assert!((300..500).contains(&soon), "{soon}");
        assert!(all.iter().all(|(_, at)| *at <= 28 * SECOND));
    }

    proptest! {
        /// Waits are within their bounds, and grow while nobody answers.
        #[test]
        fn jitter_keeps_its_bounds(seed: u64, min in 1_u64..5_000, more in 0_u64..30_000, spread in 0_u64..9_000, brokers in 1_usize..5) {
            let millis = Duration::from_millis;
            let (min, max, spread) = (millis(min), millis(min + more), millis(spread));
            let mut delays = Reconnect::jitter(seed, min, max, spread).delays();
            for _ in 0..2 {
                let first = delays.after_loss(brokers);
                let (least, most) = match brokers {
                    1 => ((2 * min).min(max), (2 * min).min(max) + 2 * spread),
                    _ => (Duration::ZERO, spread),
                };
                prop_assert!(first >= least && first <= most);
                let mut least = if brokers == 1 { (4 * min).min(max) } else { min };
                for _ in 0..40 {
                    let wait = delays.after_failure(brokers);
                    prop_assert!(wait >= least && wait <= least + spread);
                    least = (2 * least).min(max);
                }
            }
        }

        /// With survivors that can hold the fleet, one dial brings a node back.
        #[test]
        fn with_survivors_one_dial_is_enough(seed: u64) {
            prop_assert!(jitter(seed).delays().after_loss(3) <= 5 * SECOND);
        }
    }
}
