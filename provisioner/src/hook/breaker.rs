//! When a backend is left alone: a pure state machine, time and chance given from outside.
//!
//! After some failures in a row nobody asks for a while, then one question tries it; when that
//! fails too, the pause doubles. A backend that asks for a slower pace gets exactly that.

use std::time::{Duration, Instant};

/// When a backend is taken for broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row after which nobody asks for a while.
    pub failures: u32,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// Why nobody may ask now, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// It failed too often.
    Broken(Duration),
    /// It asked for a slower pace.
    Throttled(Duration),
}

/// How a backend stands, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is asked.
    Closed,
    /// It failed too often and is left alone.
    Open,
    /// A pause is over: one question tries it, or the next will.
    Trying,
    /// It works, and asked to be left alone.
    Throttled,
}

impl Standing {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::Trying, Self::Throttled];

    /// The word for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Trying => "trying",
            Self::Throttled => "throttled",
        }
    }
}

/// The state of one backend.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    /// Failures since the last success.
    failures: u32,
    /// Nobody asks before this.
    until: Option<Instant>,
    /// A pause is over, and one question is under way to see whether the backend works.
    trying: bool,
    /// The backend's own word on when to come back.
    throttled: Option<Instant>,
}

impl Breaker {
    pub(super) const fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: 0,
            until: None,
            trying: false,
            throttled: None,
        }
    }

    /// How it stands, to who only looks.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        match self.look(now) {
            Ok(()) if self.until.is_none() => Standing::Closed,
            // That it says when to come back, as with a 503, hides no outage.
            Err(Shut::Throttled(_)) if self.until.is_none() || self.trying => Standing::Throttled,
            Err(_) if !self.trying => Standing::Open,
            _ => Standing::Trying,
        }
    }

    /// Whether it is left alone now; a look that takes nobody's turn.
    pub(super) fn look(&self, now: Instant) -> Result<(), Shut> {
        if let Some(left) = left(self.throttled, now) {
            return Err(Shut::Throttled(left));
        }
        match left(self.until, now) {
            Some(left) => Err(Shut::Broken(left)),
            None => Ok(()),
        }
    }

    /// Whether one may ask. Once a pause is over one question may, and the next only when that
    /// one succeeded or another pause is over.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Shut> {
        self.look(now)?;
        self.throttled = None;
        if self.until.is_some() {
            self.until = Some(now + self.settings.pause);
            self.trying = true;
        }
        Ok(())
    }

    /// An answer came, whatever it was; true when that ends a pause.
    pub(super) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.trying = false;
        self.until.take().is_some()
    }

    /// No answer came; the pause when this begins one. `chance` is within 0 and 1 and spreads
    /// pauses by half, up to the longest.
    pub(super) fn failed(&mut self, now: Instant, chance: f64) -> Option<Duration> {
        // What was asked before the pause tells nothing new: it is the same outage.
        if self.until.is_some() && !std::mem::take(&mut self.trying) {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        let beyond = self.failures.checked_sub(self.settings.failures)?;
        let pause = self
            .settings
            .pause
            .saturating_mul(1 << beyond.min(16))
            .min(self.settings.pause_max)
            .mul_f64(0.75 + chance.clamp(0.0, 1.0) / 2.0)
            .min(self.settings.pause_max);
        self.until = Some(now + pause);
        Some(pause)
    }

    /// The backend wants to be left alone for this long.
    pub(super) fn throttled(&mut self, now: Instant, pause: Duration) {
        let until = now + pause.min(LONGEST_THROTTLE);
        self.throttled = Some(self.throttled.map_or(until, |known| known.max(until)));
    }
}

/// However long a backend asks for, it is tried again after this.
const LONGEST_THROTTLE: Duration = Duration::from_secs(3_600);

fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until?
        .checked_duration_since(now)
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn broken(breaker: &mut Breaker, now: Instant, times: u32) {
        for _ in 0..times {
            let _ = breaker.failed(now, 0.5);
        }
    }

    #[test]
    fn a_backend_that_fails_is_left_alone_longer_each_time() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default());
        broken(&mut breaker, now, 4);
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(breaker.failed(now, 0.5), Some(SECOND));
        assert_eq!(breaker.admit(now), Err(Shut::Broken(SECOND)));
        assert_eq!(breaker.look(now), Err(Shut::Broken(SECOND)));
        assert_eq!(breaker.standing(now), Standing::Open);
        now += SECOND;
        assert_eq!(breaker.look(now), Ok(()), "which takes no turn");
        assert_eq!(breaker.standing(now), Standing::Trying);
        assert_eq!(breaker.admit(now), Ok(()), "one tries it");
        assert_eq!(breaker.standing(now), Standing::Trying);
        assert_eq!(
            breaker.admit(now),
            Err(Shut::Broken(SECOND)),
            "and only one"
        );
        assert_eq!(breaker.failed(now, 0.5), Some(SECOND * 2));
        now += SECOND * 2;
        assert_eq!(breaker.admit(now), Ok(()));
        assert!(breaker.succeeded());
        assert_eq!(breaker.standing(now), Standing::Closed);
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn one_outage_is_one_pause_however_many_were_asked_before_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default());
        broken(&mut breaker, now, 100);
        for secs in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.admit(now), Err(Shut::Broken(SECOND * secs)));
            now += SECOND * secs;
            assert_eq!(breaker.admit(now), Ok(()));
            broken(&mut breaker, now, 32);
        }
        now += SECOND * 60;
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(breaker.failed(now, 1.0), Some(SECOND * 60), "and no more");
    }

    #[test]
    fn a_slower_pace_is_kept_whatever_else_succeeds() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default());
        breaker.throttled(now, SECOND * 7);
        breaker.throttled(now, SECOND * 3);
        breaker.succeeded();
        assert_eq!(breaker.admit(now), Err(Shut::Throttled(SECOND * 7)));
        assert_eq!(breaker.standing(now), Standing::Throttled);
        assert_eq!(breaker.admit(now + SECOND * 7), Ok(()));
        breaker.throttled(now, SECOND * 1_000_000);
        assert_eq!(breaker.admit(now + SECOND * 3_600), Ok(()));
    }

    #[test]
    fn an_outage_is_one_also_where_a_pause_is_asked_for() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default());
        breaker.throttled(now, SECOND * 60);
        broken(&mut breaker, now, 5);
        assert_eq!(breaker.admit(now), Err(Shut::Throttled(SECOND * 60)));
        for secs in [0, 1, 59] {
            let standing = breaker.standing(now + SECOND * secs);
            assert_eq!(standing, Standing::Open, "after {secs} s");
        }
        let then = now + SECOND * 60;
        assert_eq!(breaker.standing(then), Standing::Trying);
        assert_eq!(breaker.admit(then), Ok(()));
        breaker.throttled(then, SECOND * 7);
        assert_eq!(breaker.standing(then), Standing::Throttled, "it answers");
    }

    proptest! {
        /// Whatever happens, a pause ends, and within its bound.
        #[test]
        fn no_pause_is_for_ever(events in proptest::collection::vec((0_u8..4, 0_u64..100, 0.0..1.0), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(BreakerSettings::default());
            for (event, secs, chance) in events {
                now += Duration::from_secs(secs);
                match event {
                    0 => { let _ = breaker.failed(now, chance); }
                    1 => { breaker.succeeded(); }
                    2 => breaker.throttled(now, Duration::from_secs(secs)),
                    _ => { let _ = breaker.admit(now); }
                }
            }
            prop_assert_eq!(breaker.admit(now + Duration::from_secs(100)), Ok(()));
        }
    }
}
