//! What one service is in an election: a pure state machine.

use std::time::{Duration, Instant};

use super::SeatError;

/// How often a leader renews; as often as the original's provisioner does at most.
const RENEW: Duration = Duration::from_millis(500);
/// How often a candidate tries, at most.
const TRY: Duration = Duration::from_secs(5);

/// What a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It tries to create the key.
    Candidate,
    /// It created the key and has not yet renewed it: whoever held it before may not know.
    Elected {
        /// Sequence number of the key.
        revision: u64,
    },
    /// It works.
    Leader {
        /// Sequence number of the key.
        revision: u64,
        /// When the bucket forgets the key, at the earliest.
        until: Instant,
    },
}

impl Role {
    /// The sequence number the key is expected to have; 0 for a key that is not there.
    pub(super) const fn revision(self) -> u64 {
        match self.holds() {
            None => 0,
            Some(revision) => revision,
        }
    }

    /// The sequence number of the key while it is ours.
    pub(super) const fn holds(self) -> Option<u64> {
        match self {
            Self::Candidate => None,
            Self::Elected { revision } | Self::Leader { revision, .. } => Some(revision),
        }
    }

    /// What follows from an attempt that was begun at `asked`: whatever fails, however it fails,
    /// makes a candidate.
    pub(super) fn after(
        self,
        outcome: &Result<u64, SeatError>,
        asked: Instant,
        ttl: Duration,
    ) -> Self {
        match (self, outcome) {
            (_, Err(_)) => Self::Candidate,
            (Self::Candidate, Ok(revision)) => Self::Elected {
                revision: *revision,
            },
            (_, Ok(revision)) => Self::Leader {
                revision: *revision,
                until: asked + ttl,
            },
        }
    }

    /// Whether it may work.
    pub(super) fn leads(self, now: Instant) -> bool {
        matches!(self, Self::Leader { until, .. } if now < until)
    }

    /// Until the next attempt.
    pub(super) fn pause(self, ttl: Duration) -> Duration {
        match self {
            Self::Candidate => TRY.min(ttl / 4),
            Self::Elected { .. } => (2 * RENEW).min(ttl / 2),
            Self::Leader { .. } => RENEW.min(ttl / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn lost() -> Result<u64, SeatError> {
        Err(SeatError::Held(Some("another".to_owned())))
    }

    #[test]
    fn who_wins_works_after_its_first_renewal() {
        let now = Instant::now();
        let role = Role::Candidate.after(&Ok(7), now, TTL);
        assert_eq!((role.revision(), role.leads(now)), (7, false));
        let role = role.after(&Ok(8), now, TTL);
        assert_eq!((role.revision(), role.leads(now)), (8, true));
        assert!(role.leads(now + TTL - Duration::from_millis(1)));
        assert!(!role.leads(now + TTL), "the bucket may have forgotten it");
        let role = role.after(&lost(), now, TTL);
        assert_eq!((role.revision(), role.leads(now)), (0, false));
    }

    proptest! {
        /// However attempts end, one that leads has renewed its own key without a break, and
        /// attempts come often enough for the key not to be forgotten meanwhile.
        #[test]
        fn who_leads_renewed_twice_in_a_row(
            outcomes in prop::collection::vec(prop::option::of(1_u64..100), 1..40),
            ttl in 1_u64..3_600,
        ) {
            let (now, ttl) = (Instant::now(), Duration::from_secs(ttl));
            let mut role = Role::Candidate;
            let mut won = 0;
            for outcome in outcomes {
                won = if outcome.is_some() { won + 1 } else { 0 };
                role = role.after(&outcome.map_or_else(lost, Ok), now, ttl);
                prop_assert_eq!(role.leads(now), won >= 2);
                // Renewal, its longest splay and an attempt that is not answered.
                prop_assert!(role.pause(ttl).mul_f64(1.25) + super::super::seat::patience(ttl) < ttl);
            }
        }
    }
}
