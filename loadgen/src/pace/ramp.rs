//! A rate that changes linearly in steps, and the moment of its n-th arrival.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::units::{Rate, as_text, parse_duration, show_duration};

/// One step of a ramp: from one rate to another over a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RampStep {
    /// Rate at its beginning, per second.
    pub from_per_s: f64,
    /// Rate at its end, per second.
    pub to_per_s: f64,
    /// How long it takes.
    #[serde(serialize_with = "as_text")]
    pub over: Duration,
}

impl RampStep {
    /// Reads `0/s..200/s over 10s` or `800/s for 5m`.
    ///
    /// # Errors
    /// A short clause saying what is wrong, to follow the offending text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HELP: &str =
            "is no step of a ramp; write \"0/s..200/s over 10s\" or \"800/s for 5m\"";
        let rate = |text: &str| {
            Rate::parse(text)
                .ok()
                .filter(|rate| !rate.per_node)
                .map(|rate| rate.events_per_second(1))
                .ok_or(HELP)
        };
        let (rates, over, rising) = match (text.split_once(" over "), text.split_once(" for ")) {
            (Some((rates, over)), _) => (rates, over, true),
            (None, Some((rates, over))) => (rates, over, false),
            (None, None) => return Err(HELP.to_owned()),
        };
        let (from_per_s, to_per_s) = match (rates.split_once(".."), rising) {
            (Some((from, to)), true) => (rate(from)?, rate(to)?),
            (None, false) => (rate(rates)?, rate(rates)?),
            _ => return Err(HELP.to_owned()),
        };
        let over = parse_duration(over).map_err(|_| HELP)?;
        if over.is_zero() {
            return Err("is no step of a ramp; its time is longer than 0".to_owned());
        }
        Ok(Self {
            from_per_s,
            to_per_s,
            over,
        })
    }

    /// Arrivals in this step; fractions carry over into the next.
    fn arrivals(&self) -> f64 {
        f64::midpoint(self.from_per_s, self.to_per_s) * self.over.as_secs_f64()
    }

    /// When so many arrivals have come since the step began, seconds.
    ///
    /// The integral of the rate, `from·t + (to − from)·t²/2T`, solved for `t` in the form that
    /// does not cancel when the two rates are close.
    fn time_of(&self, arrivals: f64) -> f64 {
        let quarter = 2.0 * (self.to_per_s - self.from_per_s) / self.over.as_secs_f64();
        let root = (self.from_per_s * self.from_per_s + quarter * arrivals).max(0.0);
        let divisor = self.from_per_s + root.sqrt();
        if divisor > 0.0 {
            2.0 * arrivals / divisor
        } else {
            0.0
        }
    }
}

/// Arrivals of the whole ramp.
pub(super) fn count(steps: &[RampStep]) -> u64 {
    let total: f64 = steps.iter().map(RampStep::arrivals).sum();
    // Rounding noise of the sum must not add an arrival after the end.
    (total - 1e-6).ceil().max(0.0) as u64
}

/// When arrival number `index` is meant to come; `None` after the end.
pub(super) fn start(steps: &[RampStep], index: u64) -> Option<Duration> {
    if index >= count(steps) {
        return None;
    }
    let mut left = index as f64;
    let mut before = Duration::ZERO;
    for step in steps {
        let arrivals = step.arrivals();
        if left < arrivals {
            let within = Duration::try_from_secs_f64(step.time_of(left)).ok()?;
            return Some(before + within.min(step.over));
        }
        left -= arrivals;
        before += step.over;
    }
    // Only rounding noise leads here: the last arrival falls on the end.
    Some(before)
}

/// `0/s rising to 200/s, then to 800/s`, with the time each takes.
pub(super) fn describe(steps: &[RampStep], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, step) in steps.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        if step.from_per_s == step.to_per_s {
            write!(f, "{}/s for {}", step.to_per_s, show_duration(step.over))?;
        } else {
            let way = if step.to_per_s > step.from_per_s {
                "rising"
            } else {
                "falling"
            };
            let over = show_duration(step.over);
            write!(
                f,
                "{}/s {way} to {}/s over {over}",
                step.from_per_s, step.to_per_s
            )?;
        }
    }
    Ok(())
}
