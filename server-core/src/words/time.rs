//! Points in time, and where they come from.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NANOS_PER_SEC: i128 = 1_000_000_000;

/// A point in time: nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i128);

impl UnixTime {
    /// From whole seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs as i128 * NANOS_PER_SEC)
    }

    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Whole seconds since the epoch, rounded down; ends at the bounds of the type.
    #[must_use]
    pub fn secs(self) -> i64 {
        let secs = self.0.div_euclid(NANOS_PER_SEC);
        i64::try_from(secs).unwrap_or(if secs < 0 { i64::MIN } else { i64::MAX })
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// The same point in time without its fraction of a second.
    #[must_use]
    pub fn floor_secs(self) -> Self {
        Self(self.0 - self.0.rem_euclid(NANOS_PER_SEC))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = self.0.saturating_sub(earlier.0).max(0);
        let secs = u64::try_from(nanos / NANOS_PER_SEC).unwrap_or(u64::MAX);
        let rest = u32::try_from(nanos % NANOS_PER_SEC).unwrap_or(0);
        Duration::new(secs, rest)
    }

    /// This point in time moved into the future.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(as_nanos(duration)))
    }

    /// This point in time moved into the past.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(as_nanos(duration)))
    }

    /// RFC 3339 text in UTC, such as `2026-11-23T02:46:00.5Z`; points far outside of human time are given in seconds.
    #[must_use]
    pub fn rfc3339(self) -> String {
        match jiff::Timestamp::from_nanosecond(self.0) {
            Ok(timestamp) => timestamp.to_string(),
            Err(_) => format!("{} s", self.secs()),
        }
    }
}

fn as_nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.rfc3339())
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(as_nanos(after)),
            Err(before) => Self(-as_nanos(before.duration())),
        }
    }
}

/// Where the time of day comes from.
pub trait Clock: Send + Sync {
    /// The present.
    fn unix(&self) -> UnixTime;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix(&self) -> UnixTime {
        SystemTime::now().into()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<UnixTime>);

impl ManualClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        Self(Mutex::new(now))
    }

    /// Shows another time from now on.
    pub fn set(&self, now: UnixTime) {
        *self.lock() = now;
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        *now = now.plus(by);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, UnixTime> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn unix(&self) -> UnixTime {
        *self.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_down_on_both_sides_of_the_epoch() {
        assert_eq!(UnixTime::from_nanos(1_999_999_999).secs(), 1);
        assert_eq!(UnixTime::from_nanos(-1).secs(), -1);
        assert_eq!(UnixTime::from_nanos(i128::MAX).secs(), i64::MAX);
        assert_eq!(
            UnixTime::from_nanos(-1).floor_secs(),
            UnixTime::from_secs(-1)
        );
    }

    #[test]
    fn differences_never_go_below_zero() {
        let (a, b) = (UnixTime::from_secs(10), UnixTime::from_secs(12));
        assert_eq!(b.since(a), Duration::from_secs(2));
        assert_eq!(a.since(b), Duration::ZERO);
        assert_eq!(b.minus(Duration::from_secs(2)), a);
    }

    #[test]
    fn text_is_rfc3339() {
        assert_eq!(
            UnixTime::from_secs(1_750_000_000).rfc3339(),
            "2025-06-15T15:06:40Z"
        );
        assert_eq!(
            UnixTime::from_nanos(i128::MAX).rfc3339(),
            format!("{} s", i64::MAX)
        );
    }
}
