//! Quantities as people write them: `"5s"`, `"800/s"`, `"1/30s per node"`, `"2KiB"`.
//!
//! Each is parsed once, where it enters, and shown back in the same form; what is shown parses to
//! the same quantity again.

use std::fmt;
use std::time::Duration;

use jiff::fmt::friendly::{SpanParser, SpanPrinter};
use serde::{Serialize, Serializer};

/// Reads a duration such as `500ms`, `1.5s`, `2m 30s` or `1h`.
///
/// # Errors
/// A short clause saying what is wrong, to follow the offending text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.parse::<f64>().is_ok() {
        return Err("has no unit; write ms, s, m or h after the number".to_owned());
    }
    if text.starts_with('-') {
        return Err("is negative; a duration is not".to_owned());
    }
    SpanParser::new()
        .parse_unsigned_duration(text)
        .map_err(|_| "is no duration; write a number and one of us, ms, s, m, h".to_owned())
}

/// A duration as `parse_duration` reads it: `84ms`, `3.5s`, `2m 12s`.
pub fn show_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, word) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => (1_000_000_000, "s"),
        _ => return SpanPrinter::new().unsigned_duration_to_string(&duration),
    };
    let digits = match unit {
        1_000 => 3,
        1_000_000 => 6,
        _ => 9,
    };
    let fraction = format!("{:0digits$}", nanos % unit);
    let number = format!("{}.{fraction}", nanos / unit);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}{word}")
}

/// A duration rounded for people to three significant digits: `84ms`, `2.86s`, `4m 2s`.
pub fn brief_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let step = match nanos {
        0..10_000_000 => 10_000,
        10_000_000..100_000_000 => 100_000,
        100_000_000..1_000_000_000 => 1_000_000,
        1_000_000_000..10_000_000_000 => 10_000_000,
        10_000_000_000..60_000_000_000 => 100_000_000,
        _ => 1_000_000_000,
    };
    let rounded = (nanos + step / 2) / step * step;
    show_duration(Duration::from_nanos(
        u64::try_from(rounded).unwrap_or(u64::MAX),
    ))
}

/// How often something happens: a number of events in a time, for all together or for each node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Events in one `period`.
    pub events: f64,
    /// The time they happen in.
    pub period: Duration,
    /// Whether each node does so much, or all of them together.
    pub per_node: bool,
}

impl Rate {
    /// `n` events a second, all nodes together.
    pub fn per_second(n: f64) -> Self {
        Self {
            events: n,
            period: Duration::from_secs(1),
            per_node: false,
        }
    }

    /// Reads `800/s`, `10000/min`, `1/30s`, each with `per node` after it where each node does it.
    ///
    /// # Errors
    /// A short clause saying what is wrong, to follow the offending text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HELP: &str =
            "is no rate; write events per time, as 800/s, 10000/min or 1/30s per node";
        let text = text.trim();
        let (body, per_node) = match text.strip_suffix("per node") {
            Some(body) => (body.trim_end(), true),
            None => (text, false),
        };
        let (events, period) = body.split_once('/').ok_or(HELP)?;
        let events: f64 = events.trim().replace('_', "").parse().map_err(|_| HELP)?;
        if !events.is_finite() || events < 0.0 {
            return Err("is no rate; the number of events is 0 or more".to_owned());
        }
        let period = match period.trim() {
            "s" | "sec" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "ms" => Duration::from_millis(1),
            other => parse_duration(other).map_err(|_| HELP)?,
        };
        if period.is_zero() {
            return Err("is no rate; the time is longer than 0".to_owned());
        }
        Ok(Self {
            events,
            period,
            per_node,
        })
    }

    /// Events per second when `nodes` nodes take part.
    pub fn events_per_second(&self, nodes: u64) -> f64 {
        let each = self.events / self.period.as_secs_f64();
        if self.per_node {
            each * nodes as f64
        } else {
            each
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.events)?;
        match self.period.as_nanos() {
            1_000_000_000 => f.write_str("s")?,
            60_000_000_000 => f.write_str("min")?,
            3_600_000_000_000 => f.write_str("h")?,
            _ => f.write_str(&show_duration(self.period))?,
        }
        if self.per_node {
            f.write_str(" per node")?;
        }
        Ok(())
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(pub u64);

impl Bandwidth {
    /// Reads `1MiB/s`: a size a second, at least a kilobyte.
    ///
    /// # Errors
    /// A short clause saying what is wrong, to follow the offending text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const LEAST: u64 = 1_000;
        let size = text.trim().strip_suffix('s').map(str::trim_end);
        let size = size
            .and_then(|size| size.strip_suffix('/'))
            .ok_or("is no bandwidth; write a size a second, as 1MiB/s (bytes, not bits)")?;
        let Size(bytes) = Size::parse(size)?;
        match bytes {
            LEAST.. => Ok(Self(bytes)),
            _ => Err("is too narrow for anything; write 1kB/s or more".to_owned()),
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Size(self.0))
    }
}

impl Serialize for Bandwidth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units of size, the largest first among those of one base.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl Size {
    /// Reads `256B`, `2KiB`, `1.5GB`: IEC units are powers of 1,024, SI units powers of 1,000.
    ///
    /// # Errors
    /// A short clause saying what is wrong, to follow the offending text.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HELP: &str = "is no size; write a number and one of B, KiB, MiB, GiB, kB, MB, GB";
        let text = text.trim();
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(HELP)?;
        let (number, unit) = text.split_at(at);
        let factor = SIZE_UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, factor)| *factor)
            .ok_or(HELP)?;
        let number = number.trim().replace('_', "");
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(factor),
            Err(_) => number
                .parse::<f64>()
                .ok()
                .map(|n| n * factor as f64)
                .filter(|n| n.fract() == 0.0 && (0.0..1e18).contains(n))
                .map(|n| n as u64),
        };
        bytes.map(Self).ok_or_else(|| HELP.to_owned())
    }

    /// Rounded for people: `265.4 MiB`.
    pub fn brief(self) -> String {
        let (name, factor) = SIZE_UNITS[..4]
            .iter()
            .chain(&SIZE_UNITS[8..])
            .find(|(_, factor)| self.0 >= *factor)
            .unwrap_or(&SIZE_UNITS[8]);
        let value = self.0 as f64 / *factor as f64;
        if value >= 100.0 || *factor == 1 {
            format!("{value:.0} {name}")
        } else {
            format!("{value:.1} {name}")
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) = SIZE_UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&SIZE_UNITS[8]);
        write!(f, "{}{name}", self.0 / factor)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A count with thousands separators: `50,000`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Serialises a duration as it is written in a scenario.
pub(crate) fn as_text<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show_duration(*value))
}

/// Serialises an optional duration as it is written in a scenario.
pub(crate) fn as_optional_text<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => as_text(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_scenarios_write() {
        assert_eq!(parse_duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_duration("3.5s"), Ok(Duration::from_millis(3_500)));
        assert_eq!(parse_duration("40m"), Ok(Duration::from_secs(2_400)));
        assert_eq!(parse_duration("2m 30s"), Ok(Duration::from_secs(150)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        let per_node = Rate::parse("1/30s per node").unwrap();
        assert!((per_node.events_per_second(50_000) - 1_666.666).abs() < 0.01);
        assert_eq!(Rate::parse("800/s").unwrap(), Rate::per_second(800.0));
        assert_eq!(
            Rate::parse("10000/min").unwrap().events_per_second(1),
            10_000.0 / 60.0
        );
        assert_eq!(Size::parse("2KiB"), Ok(Size(2_048)));
        assert_eq!(Size::parse("1.5kB"), Ok(Size(1_500)));
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["5", "", "soon", "-5s", "5 parsecs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["800", "x/s", "-1/s", "1/0s", "1/", "1/s each"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
        for text in ["256", "B", "1.0001kiB", "99999999999TiB", "2 kilobytes"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn is_brief_for_people() {
        assert_eq!(brief_duration(Duration::from_micros(84_123)), "84.1ms");
        assert_eq!(brief_duration(Duration::from_micros(2_857_123)), "2.86s");
        assert_eq!(brief_duration(Duration::from_millis(132_400)), "2m 12s");
        assert_eq!(Size(278_000_000).brief(), "265 MiB");
        assert_eq!(Size(512).brief(), "512 B");
        assert_eq!(grouped(50_000), "50,000");
        assert_eq!(grouped(999), "999");
    }

    proptest! {
        #[test]
        fn durations_round_trip(nanos in 0u64..4_000_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn rates_round_trip(
            events in 0u32..1_000_000,
            millis in 1u64..10_000_000,
            per_node: bool,
        ) {
            let rate = Rate {
                events: f64::from(events) / 8.0,
                period: Duration::from_millis(millis),
                per_node,
            };
            prop_assert_eq!(Rate::parse(&rate.to_string()), Ok(rate));
        }

        #[test]
        fn sizes_round_trip(bytes: u64) {
            prop_assert_eq!(Size::parse(&Size(bytes).to_string()), Ok(Size(bytes)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}") {
            let _ = (parse_duration(&text), Rate::parse(&text), Size::parse(&text));
        }
    }
}
