//! Axes: from values to places, and ticks people can read.

use std::time::Duration;

use crate::units::{Size, brief_duration, grouped};

/// What the values of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things counted.
    Count,
    /// Events per second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Percent of one core.
    Percent,
    /// Durations in microseconds.
    Micros,
    /// Seconds since the run's start.
    Seconds,
}

impl Unit {
    /// A value of this unit for people.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Count => grouped(value.max(0.0).round() as u64),
            Self::PerSecond if value > 0.0 && value < 10.0 => format!("{}/s", short(value)),
            Self::PerSecond => format!("{}/s", grouped(value.max(0.0).round() as u64)),
            Self::Bytes => Size(value.max(0.0) as u64).brief(),
            Self::Percent => format!("{} %", short(value)),
            Self::Micros => time(value),
            Self::Seconds => clock(value),
        }
    }

    /// The largest unit that is not above `value`, as a factor ticks are whole steps of.
    fn factor(self, value: f64) -> f64 {
        let factors: &[f64] = match self {
            Self::Bytes => &[1_099_511_627_776.0, 1_073_741_824.0, 1_048_576.0, 1_024.0],
            Self::Micros => &[1e6, 1e3],
            _ => &[],
        };
        let largest = factors.iter().find(|factor| value >= **factor);
        largest.copied().unwrap_or(1.0)
    }
}

fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.trim_end_matches(".0").to_owned()
}

/// Microseconds for people.
fn time(us: f64) -> String {
    brief_duration(Duration::try_from_secs_f64(us.max(0.0) / 1e6).unwrap_or_default())
}

/// Seconds since the start: `40 s` within two minutes, then `4:20`, `1:04:20`.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
    match (hours, whole) {
        (_, 0..=120) => format!("{} s", short(seconds)),
        (0, _) => format!("{minutes}:{:02}", whole % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", whole % 60),
    }
}

/// An axis from its lowest to its highest value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    log: bool,
    /// Values that are marked.
    pub(super) ticks: Vec<f64>,
    /// What the values are.
    pub(super) unit: Unit,
}

impl Axis {
    /// From 0 to a round value not below `highest`.
    pub(super) fn up_to(highest: f64, unit: Unit) -> Self {
        let highest = if highest.is_finite() && highest > 0.0 {
            highest.min(1e18)
        } else {
            1.0
        };
        let factor = unit.factor(highest);
        let mut step = nice(highest / factor / 4.0) * factor;
        if unit == Unit::Count {
            step = step.max(1.0).round();
        }
        let steps = (highest / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|n| f64::from(n) * step).collect();
        Self {
            from: 0.0,
            to: steps * step,
            log: false,
            ticks,
            unit,
        }
    }

    /// Over the times `from` to `to`, in seconds.
    pub(super) fn times(from: f64, to: f64) -> Self {
        const STEPS: [f64; 14] = [
            0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0,
            7_200.0,
        ];
        let to = if to > from { to } else { from + 1.0 };
        let wanted = (to - from) / 6.0;
        let step = STEPS.into_iter().find(|step| *step >= wanted);
        let step = step.unwrap_or_else(|| nice(wanted / 3_600.0) * 3_600.0);
        let first = (from / step).ceil();
        let ticks = (0..12)
            .map(|n| (first + f64::from(n)) * step)
            .take_while(|at| *at <= to)
            .collect();
        Self {
            from,
            to,
            log: false,
            ticks,
            unit: Unit::Seconds,
        }
    }

    /// Over whole numbers from 0, such as those of rounds.
    pub(super) fn numbers(highest: f64) -> Self {
        let to = highest.clamp(1.0, 1e15);
        let step = nice(to / 8.0).max(1.0).round();
        let ticks = (0..=(to / step) as u32).map(|n| f64::from(n) * step);
        Self {
            from: 0.0,
            to,
            log: false,
            ticks: ticks.collect(),
            unit: Unit::Count,
        }
    }

    /// In powers of ten around `lowest` and `highest`, for values that differ by far.
    pub(super) fn powers(lowest: f64, highest: f64, unit: Unit) -> Self {
        let lowest = if lowest.is_nan() {
            1.0
        } else {
            lowest.clamp(1.0, 1e11)
        };
        let highest = if highest.is_nan() {
            lowest
        } else {
            highest.clamp(lowest, 1e12)
        };
        let first = lowest.log10().floor() as i32;
        let last = (highest.log10().ceil() as i32).max(first + 1);
        Self {
            from: 10f64.powi(first),
            to: 10f64.powi(last),
            log: true,
            ticks: (first..=last).map(|n| 10f64.powi(n)).collect(),
            unit,
        }
    }

    /// Where a value is, from 0 to 1; beyond the ends it is at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        if place.is_nan() {
            0.0
        } else {
            place.clamp(0.0, 1.0)
        }
    }

    /// Its first and last value.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.from, self.to)
    }
}

/// The next of 1, 2, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let value = if value.is_finite() {
        value.max(1e-9)
    } else {
        1.0
    };
    let power = 10f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|n| n * power >= value * 0.999);
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|at| axis.unit.show(*at)).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            labels(&Axis::up_to(50_000.0, Unit::Count)),
            ["0", "20,000", "40,000", "60,000"]
        );
        assert_eq!(labels(&Axis::up_to(3.0, Unit::Count)), ["0", "1", "2", "3"]);
        assert_eq!(
            labels(&Axis::times(0.0, 86.0)),
            ["0 s", "20 s", "40 s", "60 s", "80 s"]
        );
        assert_eq!(
            labels(&Axis::times(100.0, 900.0))[..2],
            ["5:00".to_owned(), "10:00".to_owned()]
        );
        assert_eq!(
            labels(&Axis::powers(300.0, 20_000.0, Unit::Micros)),
            ["100us", "1ms", "10ms", "100ms"]
        );
        assert_eq!(
            labels(&Axis::up_to(1_400_000_000.0, Unit::Bytes)),
            ["0 B", "512 MiB", "1.0 GiB", "1.5 GiB"]
        );
    }

    proptest! {
        #[test]
        fn every_value_has_a_place(
            highest in proptest::num::f64::ANY,
            lowest in proptest::num::f64::ANY,
            value in proptest::num::f64::ANY,
        ) {
            for axis in [
                Axis::up_to(highest, Unit::Count),
                Axis::up_to(highest, Unit::Bytes),
                Axis::up_to(highest, Unit::Micros),
                Axis::numbers(if highest.is_nan() { 0.0 } else { highest }),
                Axis::powers(lowest, highest, Unit::Micros),
            ] {
                prop_assert!((0.0..=1.0).contains(&axis.place(value)));
                prop_assert!((1..=16).contains(&axis.ticks.len()), "{:?}", axis);
                prop_assert!(axis.ticks.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }

        #[test]
        fn greater_values_are_further_on(a in 0.0f64..1e9, b in 0.0f64..1e9) {
            let axis = Axis::up_to(1e9, Unit::Count);
            prop_assert_eq!(a < b, axis.place(a) < axis.place(b));
        }

        #[test]
        fn times_have_some_ticks(from in 0.0f64..1e5, length in 0.0f64..1e6) {
            let axis = Axis::times(from, from + length);
            prop_assert!(axis.ticks.len() <= 12);
            let (first, last) = axis.ends();
            prop_assert!(axis.ticks.iter().all(|at| (first..=last).contains(at)));
        }
    }
}
