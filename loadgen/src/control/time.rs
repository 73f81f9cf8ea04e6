//! Where a worker's clock stands to the coordinator's, from questions and answers.
//!
//! The answer was made somewhere between question and answer, so the middle of the two is wrong by
//! at most half the round trip (Cristian's algorithm). The fastest exchange says it best.

use std::time::{Duration, Instant};

/// How many times a worker asks.
pub const QUESTIONS: u32 = 32;

/// One question with its answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When it was asked, on this machine's clock.
    pub asked: Instant,
    /// When the answer came.
    pub answered: Instant,
    /// Time of the run by the answer.
    pub elapsed: Duration,
}

impl Exchange {
    fn round_trip(&self) -> Duration {
        self.answered.saturating_duration_since(self.asked)
    }
}

/// When the run began by this machine's clock, and how far that may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The start of the run.
    pub at: Instant,
    /// At most so far off, either way.
    pub uncertainty: Duration,
}

/// The start of the run by the fastest exchange; `None` without one.
pub fn start_of_run(exchanges: &[Exchange]) -> Option<Start> {
    let best = exchanges
        .iter()
        .min_by_key(|exchange| exchange.round_trip())?;
    let half = best.round_trip() / 2;
    let at = (best.asked + half).checked_sub(best.elapsed)?;
    Some(Start {
        at,
        uncertainty: half,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_truth_is_within_the_uncertainty(
            run_age_us in 0_u64..10_000_000,
            trips in prop::collection::vec((1_u64..50_000, 0_u64..=1_000), 1..40),
        ) {
            let truth = Instant::now();
            let mut now = truth + Duration::from_micros(run_age_us);
            let mut exchanges = Vec::new();
            for (trip_us, answered_after) in trips {
                let trip = Duration::from_micros(trip_us);
                let made = now + trip * u32::try_from(answered_after).unwrap() / 1_000;
                exchanges.push(Exchange {
                    asked: now,
                    answered: now + trip,
                    elapsed: made - truth,
                });
                now += trip;
            }
            let start = start_of_run(&exchanges).unwrap();
            let off = start.at.max(truth) - start.at.min(truth);
            prop_assert!(off <= start.uncertainty + Duration::from_nanos(1));
        }
    }

    #[test]
    fn nothing_is_known_without_an_answer() {
        assert_eq!(start_of_run(&[]), None);
    }
}
