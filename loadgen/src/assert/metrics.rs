//! What a metric is: of what, of which shape, in which unit.

mod table;

pub use table::METRICS;

use std::fmt;

use crate::measure::{OpKey, Quantile, Series};
use crate::units::{Size, brief_duration};
use std::time::Duration;

/// What a metric is a metric of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// A `connect` operation.
    Connect,
    /// A `provision` operation.
    Provision,
    /// A `request` operation.
    Request,
    /// A `publish` operation.
    Publish,
    /// A `disconnect` operation.
    Disconnect,
    /// A `churn` operation.
    Churn,
    /// A `fault` operation.
    Fault,
    /// Mass reconnects after faults: `reconnect.…`.
    Reconnect,
    /// The brokers together: `broker.…`.
    Broker,
    /// The generator itself: `gen.…`.
    Generator,
    /// Memory at its highest: `memory.…`.
    Memory,
    /// Certificates renewed: `renewal.…`.
    Renewal,
}

impl Domain {
    /// The prefix of metrics that belong to no operation.
    pub fn prefix(self) -> Option<&'static str> {
        Self::PREFIXED.contains(&self).then(|| self.word())
    }

    /// The word for it: that of `do`, or the prefix.
    pub fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Provision => "provision",
            Self::Request => "request",
            Self::Publish => "publish",
            Self::Disconnect => "disconnect",
            Self::Churn => "churn",
            Self::Fault => "fault",
            Self::Reconnect => "reconnect",
            Self::Broker => "broker",
            Self::Generator => "gen",
            Self::Memory => "memory",
            Self::Renewal => "renewal",
        }
    }

    /// The domains with a prefix of their own.
    pub const PREFIXED: [Self; 5] = [
        Self::Reconnect,
        Self::Broker,
        Self::Generator,
        Self::Memory,
        Self::Renewal,
    ];

    /// The domain of an operation by the word of its `do`.
    pub fn of_op(word: &str) -> Option<Self> {
        const OPS: [Domain; 7] = [
            Domain::Connect,
            Domain::Provision,
            Domain::Request,
            Domain::Publish,
            Domain::Disconnect,
            Domain::Churn,
            Domain::Fault,
        ];
        OPS.into_iter().find(|domain| domain.word() == word)
    }
}

/// What kind of value a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value; takes no statistic.
    Scalar,
    /// A distribution; needs a statistic.
    Distribution,
    /// A value looked at from time to time; the last one when no statistic is named.
    Gauge,
}

/// The unit of a metric, which says how the other side of a comparison is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, written as a duration.
    Duration,
    /// Per second, written as a rate.
    Rate,
    /// Bytes, written as a size.
    Size,
    /// Percent.
    Percent,
    /// A share of one.
    Ratio,
    /// A number of things.
    Count,
}

impl Unit {
    /// The value for people, with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Duration => {
                brief_duration(Duration::try_from_secs_f64(value / 1e6).unwrap_or_default())
            }
            Self::Rate if value >= 1_000.0 => format!("{value:.0}/s"),
            Self::Rate => format!("{value:.1}/s"),
            Self::Size => Size(value.max(0.0) as u64).brief(),
            Self::Percent => format!("{value:.1} %"),
            Self::Ratio => format!("{value:.4}"),
            Self::Count if value.fract() == 0.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.2}"),
        }
    }

    /// The word for it in `verdict.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Duration => "us",
            Self::Rate => "per_s",
            Self::Size => "bytes",
            Self::Percent => "pct",
            Self::Ratio => "ratio",
            Self::Count => "count",
        }
    }

    /// A value that is right, as it would be written.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Duration => "2s",
            Self::Rate => "800/s",
            Self::Size => "40KiB",
            Self::Percent => "80",
            Self::Ratio => "0.999",
            Self::Count => "0",
        }
    }
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// What it is a metric of.
    pub domain: Domain,
    /// Its name after the prefix.
    pub name: &'static str,
    /// Another name for it, or the same again.
    pub alias: &'static str,
    /// What kind of value it has.
    pub shape: Shape,
    /// Its unit.
    pub unit: Unit,
    /// What it says, one line.
    pub about: &'static str,
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.domain == other.domain && self.name == other.name
    }
}

const fn metric(
    domain: Domain,
    name: &'static str,
    shape: Shape,
    unit: Unit,
    about: &'static str,
) -> Metric {
    Metric {
        domain,
        name,
        alias: name,
        shape,
        unit,
        about,
    }
}

impl Metric {
    const fn or(self, alias: &'static str) -> Self {
        Self { alias, ..self }
    }

    /// The distribution of an operation it reads, where it reads one.
    pub(crate) fn series(&self) -> Option<Series> {
        match (self.domain, self.name) {
            (Domain::Provision, "to_restart") => Some(Series::ToRestart),
            (_, "latency") => Some(Series::Intended),
            (_, "service") => Some(Series::Actual),
            (_, "tcp") => Some(Series::Tcp),
            (_, "tls") => Some(Series::Tls),
            (_, "nats") => Some(Series::Nats),
            (_, "first_reply") => Some(Series::FirstReply),
            (_, "last_reply") => Some(Series::LastReply),
            (_, "reply") => Some(Series::Reply),
            (_, "e2e") => Some(Series::EndToEnd),
            _ => None,
        }
    }
}

/// A statistic of a distribution or a gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    /// A quantile of a distribution.
    Quantile(Quantile),
    /// The smallest value.
    Min,
    /// The largest value.
    Max,
    /// The arithmetic mean.
    Mean,
    /// How many samples.
    Count,
    /// The first value of a gauge.
    First,
    /// The last value of a gauge.
    Last,
    /// The last value of a gauge less the first.
    Delta,
}

impl Stat {
    /// Reads the word after the last dot of a metric.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "min" => Some(Self::Min),
            "max" => Some(Self::Max),
            "mean" => Some(Self::Mean),
            "count" => Some(Self::Count),
            "first" => Some(Self::First),
            "last" => Some(Self::Last),
            "delta" => Some(Self::Delta),
            word => Quantile::parse(word).map(Self::Quantile),
        }
    }

    /// Whether a metric of that shape has it.
    pub(crate) fn fits(self, shape: Shape) -> bool {
        match shape {
            Shape::Scalar => false,
            Shape::Distribution => !matches!(self, Self::First | Self::Last | Self::Delta),
            Shape::Gauge => !matches!(self, Self::Quantile(_) | Self::Count),
        }
    }
}

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantile(quantile) => quantile.fmt(f),
            Self::Min => f.write_str("min"),
            Self::Max => f.write_str("max"),
            Self::Mean => f.write_str("mean"),
            Self::Count => f.write_str("count"),
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Delta => f.write_str("delta"),
        }
    }
}

/// A metric of a scenario: which one, of what, during which phase, and which statistic of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricId {
    /// The metric.
    pub metric: &'static Metric,
    /// The operation it is of, as measured during a phase; `None` for domains with a prefix.
    pub op: Option<OpKey>,
    /// The phase it is about; the whole run when `None`.
    pub phase: Option<String>,
    /// The statistic.
    pub stat: Option<Stat>,
}
