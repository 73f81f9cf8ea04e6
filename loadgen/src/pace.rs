//! Arrival shapes: when each operation of a phase is *meant* to start.
//!
//! An open pace goes by the clock, however slow the target is, and every latency can be told from
//! the intended start; a closed pace goes by what is under way. Everything here is pure: a pace
//! and a seed give the same intended times on every machine and for any number of workers.
//!
//! ```text
//! Pace ──► Schedule (intended times) ──► Pacer (what is due now, what is late)
//! ```

mod pacer;
mod ramp;
mod schedule;

pub use pacer::{Due, OnLate, Pacer, TIMER_GRAIN};
pub use ramp::RampStep;
pub use schedule::{NodeSlot, NodeSlots, Schedule, Slot};

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::units::{Rate, as_text, show_duration};

/// An arrival shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Pace {
    /// Everything at the beginning; open model.
    AtOnce,
    /// The same rate throughout; open model.
    Constant {
        /// How often.
        rate: Rate,
        /// How many; until the phase ends when `None`.
        count: Option<u64>,
    },
    /// One at a fixed interval; open model.
    Every {
        /// The interval.
        #[serde(serialize_with = "as_text")]
        every: Duration,
        /// How many; until the phase ends when `None`.
        count: Option<u64>,
    },
    /// A rate that changes in steps; open model.
    Ramp {
        /// The steps in order.
        steps: Vec<RampStep>,
    },
    /// Independent arrivals at a mean rate; open model.
    Poisson {
        /// The mean rate.
        rate: Rate,
        /// How many; until the phase ends when `None`.
        count: Option<u64>,
    },
    /// A fixed number under way; closed model.
    InFlight {
        /// How many may be under way.
        limit: u64,
        /// How many in all; as many as there is to do when `None`.
        count: Option<u64>,
    },
}

impl Pace {
    /// Whether the clock sets the pace.
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::InFlight { .. })
    }

    /// How many operations the shape itself allows; `None` when it never ends.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::AtOnce => None,
            Self::Constant { count, .. }
            | Self::Every { count, .. }
            | Self::Poisson { count, .. }
            | Self::InFlight { count, .. } => *count,
            Self::Ramp { steps } => Some(ramp::count(steps)),
        }
    }

    /// The mean rate over its busiest stretch with `nodes` nodes taking part, per second; `None`
    /// when that is up to the target, or everything comes at once.
    pub fn peak_per_s(&self, nodes: u64) -> Option<f64> {
        match self {
            Self::AtOnce | Self::InFlight { .. } => None,
            Self::Constant { rate, .. } | Self::Poisson { rate, .. } => {
                Some(rate.events_per_second(nodes))
            }
            Self::Every { every, .. } => Some(1.0 / every.as_secs_f64()),
            Self::Ramp { steps } => steps
                .iter()
                .map(|step| step.from_per_s.max(step.to_per_s))
                .reduce(f64::max),
        }
    }

    /// How far behind its intended time a start may be before it counts as late: one interval of
    /// the pace, and never less than [`TIMER_GRAIN`].
    pub fn slack(&self, nodes: u64) -> Duration {
        match self.peak_per_s(nodes) {
            None => Duration::MAX,
            Some(rate) => Duration::try_from_secs_f64(1.0 / rate)
                .unwrap_or(Duration::MAX)
                .max(TIMER_GRAIN),
        }
    }

    /// When the operation number `index` (from 0) is meant to start, `nodes` taking part; the mean
    /// for random arrivals, `None` when there is no such operation or no clock behind it.
    pub fn expected_start(&self, index: u64, nodes: u64) -> Option<Duration> {
        if self.count().is_some_and(|count| index >= count) {
            return None;
        }
        match self {
            Self::AtOnce => Some(Duration::ZERO),
            Self::InFlight { .. } => None,
            Self::Constant { rate, .. } | Self::Poisson { rate, .. } => {
                schedule::at_rate(index, rate.events_per_second(nodes))
            }
            Self::Every { every, .. } => Some(schedule::nth(*every, index)),
            Self::Ramp { steps } => ramp::start(steps, index),
        }
    }
}

impl fmt::Display for Pace {
    /// In a few words: `20 rounds, one every 500ms`, `200/s rising to 800/s`, `500 in flight`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce => f.write_str("all at once"),
            Self::Constant { rate, .. } => write!(f, "at {rate}"),
            Self::Every { every, count } => {
                if let Some(count) = count {
                    write!(f, "{count} rounds, ")?;
                }
                write!(f, "one every {}", show_duration(*every))
            }
            Self::Ramp { steps } => ramp::describe(steps, f),
            Self::Poisson { rate, .. } => write!(f, "at random, {rate} on average"),
            Self::InFlight { limit, .. } => write!(f, "{limit} in flight"),
        }
    }
}
