//! The time of a run: microseconds since its start, on one monotonic clock.

use std::time::{Duration, Instant};

/// Tells how long the run has been going. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct RunClock(Instant);

impl RunClock {
    /// A run that starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// A run that started at this instant.
    pub fn started_at(start: Instant) -> Self {
        Self(start)
    }

    /// When the run started.
    pub fn start_instant(&self) -> Instant {
        self.0
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// Time since the start, µs.
    pub fn now_us(&self) -> u64 {
        crate::measure::micros(self.now())
    }

    /// The instant that is `at` after the start.
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + at)
    }

    /// When `instant` was, µs since the start; 0 for one before it.
    pub fn micros_of(&self, instant: Instant) -> u64 {
        crate::measure::micros(instant.saturating_duration_since(self.0))
    }
}
