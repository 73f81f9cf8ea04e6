//! Every metric an assert can name: the one table of them.

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
        }
    }

    /// The domains with a prefix of their own.
    pub const PREFIXED: [Self; 4] = [Self::Reconnect, Self::Broker, Self::Generator, Self::Memory];

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

use Domain::{
    Broker, Churn, Connect, Disconnect, Fault, Generator, Memory, Provision, Publish, Reconnect,
    Request,
};
use Shape::{Distribution, Gauge, Scalar};
use Unit::{Count, Percent, Rate, Ratio};

#[rustfmt::skip] // one metric a line, so that this reads as the table it is
/// Every metric, by domain.
pub static METRICS: &[Metric] = &[
    metric(Connect, "ok_ratio", Scalar, Ratio, "share of connections that came up"),
    metric(Connect, "ok", Scalar, Count, "connections that came up"),
    metric(Connect, "errors", Scalar, Count, "connections that did not come up"),
    metric(Connect, "attempts", Scalar, Count, "dials, failed ones included"),
    metric(Connect, "late", Scalar, Count, "connections begun late"),
    metric(Connect, "rate", Scalar, Rate, "connections that came up, per second"),
    metric(Connect, "duration", Scalar, Unit::Duration, "from the first dial to the last connection"),
    metric(Connect, "latency", Distribution, Unit::Duration, "from the intended start to subscribed"),
    metric(Connect, "service", Distribution, Unit::Duration, "from the actual start to subscribed"),
    metric(Connect, "tcp", Distribution, Unit::Duration, "TCP connect"),
    metric(Connect, "tls", Distribution, Unit::Duration, "TLS handshake"),
    metric(Connect, "nats", Distribution, Unit::Duration, "NATS handshake"),

    metric(Provision, "confirmed_ratio", Scalar, Ratio, "share of the expected nodes that were confirmed"),
    metric(Provision, "confirmed", Scalar, Count, "nodes that were confirmed"),
    metric(Provision, "stuck", Scalar, Count, "nodes expected to be confirmed that were not"),
    metric(Provision, "unexpected", Scalar, Count, "nodes of which something else came than is right for their fleet"),
    metric(Provision, "errors", Scalar, Count, "refusals, failures and retries"),
    metric(Provision, "late", Scalar, Count, "nodes announced late"),
    metric(Provision, "certificates_issued", Scalar, Count, "certificates that were issued"),
    metric(Provision, "keys_signed_twice", Scalar, Count, "public keys with more than one certificate"),
    metric(Provision, "rate", Scalar, Rate, "confirmed, from the first event to the last confirmation"),
    metric(Provision, "duration", Scalar, Unit::Duration, "from the first event to the last confirmation"),
    metric(Provision, "latency", Distribution, Unit::Duration, "from a node's event to its confirmation").or("to_confirmed"),
    metric(Provision, "to_restart", Distribution, Unit::Duration, "from a node's event to the restart request"),
    metric(Provision, "queue", Distribution, Unit::Duration, "step queue"),
    metric(Provision, "inspect", Distribution, Unit::Duration, "step inspect"),
    metric(Provision, "csr", Distribution, Unit::Duration, "step csr"),
    metric(Provision, "sign", Distribution, Unit::Duration, "step sign"),
    metric(Provision, "configure", Distribution, Unit::Duration, "step configure"),
    metric(Provision, "restart", Distribution, Unit::Duration, "step restart"),
    metric(Provision, "confirm", Distribution, Unit::Duration, "step confirm"),

    metric(Request, "missing", Scalar, Count, "expected replies that did not come in time"),
    metric(Request, "duplicate", Scalar, Count, "second and further replies of a node").or("duplicates"),
    metric(Request, "late_replies", Scalar, Count, "replies after their round was closed"),
    metric(Request, "failed", Scalar, Count, "replies with an error status"),
    metric(Request, "unknown", Scalar, Count, "replies of nodes nobody asked"),
    metric(Request, "expected", Scalar, Count, "replies that should have come"),
    metric(Request, "replies", Scalar, Count, "replies that came, each node once a round"),
    metric(Request, "ok_ratio", Scalar, Ratio, "replies over expected ones"),
    metric(Request, "interrupted", Scalar, Count, "rounds left out, as loadgen's own connection was lost during them"),
    metric(Request, "rounds", Scalar, Count, "rounds, warm-up left out"),
    metric(Request, "errors", Scalar, Count, "rounds with a missing reply"),
    metric(Request, "late", Scalar, Count, "rounds sent late or left out"),
    metric(Request, "rate", Scalar, Rate, "rounds per second"),
    metric(Request, "first_reply", Distribution, Unit::Duration, "from sending a round to its first reply"),
    metric(Request, "last_reply", Distribution, Unit::Duration, "from sending a round to its last reply"),
    metric(Request, "reply", Distribution, Unit::Duration, "from sending a round to each reply"),
    metric(Request, "latency", Distribution, Unit::Duration, "from a round's intended start to its last reply"),
    metric(Request, "service", Distribution, Unit::Duration, "from a round's actual start to its last reply"),
    metric(Request, "first_ok_after_up", Scalar, Unit::Duration, "from the brokers' return to the first round without a missing reply"),

    metric(Publish, "sent", Scalar, Count, "events published"),
    metric(Publish, "lost", Scalar, Count, "events that did not arrive"),
    metric(Publish, "unheard", Scalar, Count, "events sent while loadgen's own listener was away, left out of lost"),
    metric(Publish, "errors", Scalar, Count, "events that could not be published"),
    metric(Publish, "late", Scalar, Count, "events left out because they were late"),
    metric(Publish, "rate", Scalar, Rate, "events per second"),
    metric(Publish, "e2e", Distribution, Unit::Duration, "from publishing to delivery, seen by one process"),

    metric(Disconnect, "ok", Scalar, Count, "connections closed"),
    metric(Disconnect, "errors", Scalar, Count, "connections that did not close in order"),
    metric(Disconnect, "rate", Scalar, Rate, "connections closed per second"),

    metric(Churn, "left", Scalar, Count, "nodes that left"),
    metric(Churn, "ok", Scalar, Count, "nodes that came back").or("back"),
    metric(Churn, "errors", Scalar, Count, "nodes that did not come back"),
    metric(Churn, "late", Scalar, Count, "leaves left out, as they were late or the node was away already"),
    metric(Churn, "attempts", Scalar, Count, "dials of nodes coming back"),
    metric(Churn, "rate", Scalar, Rate, "nodes that came back, per second"),
    metric(Churn, "latency", Distribution, Unit::Duration, "from the end of a node's absence to subscribed"),

    metric(Fault, "happened", Scalar, Count, "faults that fell where they were meant to"),
    metric(Fault, "missed", Scalar, Count, "faults that did not"),
    metric(Fault, "down", Scalar, Unit::Duration, "how long the target was away, the longest"),
    metric(Fault, "relink", Scalar, Unit::Duration, "from the return of links until their brokers were linked again, the longest"),

    metric(Reconnect, "time_to_all", Scalar, Unit::Duration, "from the brokers' return to the last node's, the longest"),
    metric(Reconnect, "fall_to_all", Scalar, Unit::Duration, "from the fault to the last node's return, the longest"),
    metric(Reconnect, "first_back_after_up", Scalar, Unit::Duration, "from the brokers' return to the first node's after it, the longest"),
    metric(Reconnect, "affected", Scalar, Count, "nodes that lost their connection"),
    metric(Reconnect, "moved", Scalar, Count, "of these, nodes that left before they were cut, as their broker announced its end"),
    metric(Reconnect, "back", Scalar, Count, "nodes that came back"),
    metric(Reconnect, "back_ratio", Scalar, Ratio, "share of the affected nodes that came back"),
    metric(Reconnect, "attempts", Scalar, Count, "dials by the affected nodes"),
    metric(Reconnect, "failed", Scalar, Count, "of these, dials that failed"),
    metric(Reconnect, "attempts_per_node", Gauge, Count, "dials by each affected node, per storm"),

    metric(Broker, "slow_consumers", Gauge, Count, "slow consumers, all brokers"),
    metric(Broker, "connections", Gauge, Count, "connections, all brokers"),
    metric(Broker, "mem", Gauge, Unit::Size, "resident memory of a broker"),
    metric(Broker, "mem_per_conn", Gauge, Unit::Size, "resident memory of a broker over its connections"),
    metric(Broker, "cpu_pct", Gauge, Percent, "CPU of a broker, percent of one core"),

    metric(Generator, "sched_lag", Distribution, Unit::Duration, "how late timers fire while an open-paced op runs"),
    metric(Generator, "cpu_pct", Gauge, Percent, "CPU of a worker while an open-paced op runs, percent of one core"),
    metric(Generator, "late_sends_pct", Scalar, Percent, "share of sends that could not start in time"),
    metric(Generator, "fd_use_pct", Gauge, Percent, "share of its descriptors a worker uses"),
    metric(Generator, "descriptors", Gauge, Count, "open descriptors of a worker"),

    metric(Memory, "nodes_rss", Scalar, Unit::Size, "resident memory of all node processes"),
    metric(Memory, "rss_per_node", Scalar, Unit::Size, "resident memory of a node"),
    metric(Memory, "brokers_rss", Scalar, Unit::Size, "resident memory of all brokers"),
    metric(Memory, "broker_rss_per_connection", Scalar, Unit::Size, "resident memory of the brokers over their connections"),
    metric(Memory, "provisioners_rss", Scalar, Unit::Size, "resident memory of all provisioners"),
];

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
