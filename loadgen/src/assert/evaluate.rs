//! Judges expressions on what was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::baseline::{BaselineValue, Baselines};
use super::expression::{Expression, Target};
use super::metrics::{Domain, Metric, MetricId, Shape, Stat, Unit};
use super::storms::{fault, first_ok_after_up, reconnect};
use crate::measure::{BrokerTotals, Counter, Gauge, Hist, OpKey, OpTotal, Totals};
use crate::scenario::{Assert, AssertLevel};

/// How an assert came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertState {
    /// It holds.
    Ok,
    /// It does not, and the run fails for it.
    Failed,
    /// It does not, and that is told.
    Warned,
    /// Nothing was measured, or too little to say.
    Inconclusive,
}

/// A metric's value in its unit, and how many samples are behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// `None` when it was not measured, or too little to say.
    pub value: Option<f64>,
    /// Samples behind the value.
    pub samples: u64,
}

/// One expression, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The phase it is about.
    pub phase: Option<String>,
    /// The expression as written.
    pub that: String,
    /// Its metric, for the unit of the value.
    pub metric: MetricId,
    /// The value and its samples.
    pub measured: Measured,
    /// What it is compared with, in the metric's unit; `None` without the value of a baseline.
    pub limit: Option<f64>,
    /// The value of the baseline run, where it is compared with one.
    pub baseline: Option<BaselineValue>,
    /// How it came out.
    pub state: AssertState,
}

impl Judged {
    /// The value for people, with its unit; `-` when there is none.
    pub fn shown(&self) -> String {
        match self.measured.value {
            Some(value) => self.metric.metric.unit.show(value),
            None => "-".to_owned(),
        }
    }
}

/// Judges one expression. `baseline` is the value of the same metric in the baseline run.
pub fn evaluate(
    expression: &Expression,
    level: AssertLevel,
    totals: &Totals,
    baseline: Option<BaselineValue>,
) -> Judged {
    let measured = measure(totals, &expression.metric);
    let limit = match expression.target {
        Target::Value(value) => Some(value),
        Target::Baseline(factor) => baseline.as_ref().map(|known| known.value * factor),
    };
    let state = match (measured.value, limit) {
        (Some(value), Some(target)) if expression.comparison.holds(value, target) => {
            AssertState::Ok
        }
        (Some(_), Some(_)) => match level {
            AssertLevel::Fail => AssertState::Failed,
            AssertLevel::Warn => AssertState::Warned,
        },
        _ => AssertState::Inconclusive,
    };
    Judged {
        phase: expression.metric.phase.clone(),
        that: expression.text.clone(),
        metric: expression.metric.clone(),
        measured,
        limit,
        baseline,
        state,
    }
}

/// Judges every expression of a scenario, in order; those about a baseline are left out where the
/// run is compared with none.
pub fn judge_all(asserts: &[Assert], totals: &Totals, baselines: &Baselines) -> Vec<Judged> {
    let mut judged = Vec::new();
    for assert in asserts {
        for expression in &assert.that {
            if baselines.is_wanted(expression) {
                let baseline = baselines.value(assert, expression);
                judged.push(evaluate(expression, assert.level, totals, baseline));
            }
        }
    }
    judged
}

/// Looks a metric up in what was measured.
pub fn measure(totals: &Totals, id: &MetricId) -> Measured {
    let in_phase = |phase: &str| id.phase.as_deref().is_none_or(|wanted| wanted == phase);
    match id.metric.domain {
        Domain::Provision => provision(totals, id),
        Domain::Reconnect => reconnect(totals, id, in_phase),
        Domain::Broker => broker(totals, id, in_phase),
        Domain::Generator => generator(totals, id, in_phase),
        Domain::Memory => memory(totals, id.metric),
        Domain::Fault => fault(totals, id),
        Domain::Renewal => renewal(totals, id),
        Domain::Connect
        | Domain::Request
        | Domain::Publish
        | Domain::Disconnect
        | Domain::Churn => {
            match id
                .op
                .as_ref()
                .and_then(|key| Some((key, totals.ops.get(key)?)))
            {
                Some((key, op)) => operation(totals, key, op, id),
                None => Measured::default(),
            }
        }
    }
}

fn operation(totals: &Totals, key: &OpKey, op: &OpTotal, id: &MetricId) -> Measured {
    if let Some(series) = id.metric.series() {
        return op
            .series
            .get(&series)
            .map_or(Measured::default(), |hist| distribution(hist, id.stat));
    }
    let of = |counter| op.counters.of(counter);
    let count = |counter, samples| known(op.counters.get(counter).map(|n| n as f64), samples);
    let started = of(Counter::Started);
    match id.metric.name {
        "ok" => count(Counter::Ok, started),
        "errors" => known(
            (started > 0 || of(Counter::Errors) > 0).then(|| of(Counter::Errors) as f64),
            started,
        ),
        "attempts" => count(Counter::Attempts, started),
        "late" => known((started > 0).then(|| of(Counter::Late) as f64), started),
        "left" => count(Counter::Left, started.max(of(Counter::Left))),
        "sent" => count(Counter::Started, started),
        "lost" => count(Counter::Lost, started),
        "rounds" => count(Counter::Started, started),
        "missing" => count(Counter::Missing, of(Counter::Expected)),
        "duplicate" => count(Counter::Duplicate, of(Counter::Replies)),
        "late_replies" => count(Counter::LateReplies, of(Counter::Expected)),
        "failed" => count(Counter::Failed, of(Counter::Replies)),
        "interrupted" => count(Counter::Interrupted, started),
        "unheard" => count(Counter::Unheard, started),
        "unknown" => count(Counter::Unknown, of(Counter::Expected)),
        "expected" => count(Counter::Expected, started),
        "replies" => count(Counter::Replies, of(Counter::Expected)),
        "ok_ratio" if id.metric.domain == Domain::Request => {
            ratio(of(Counter::Replies), of(Counter::Expected))
        }
        "ok_ratio" => ratio(of(Counter::Ok), started),
        "rate" => known(op.rate_per_s(), started),
        "duration" => known(op.duration_us().map(|us| us as f64), started),
        "first_ok_after_up" => first_ok_after_up(totals, key, op),
        _ => Measured::default(),
    }
}

fn provision(totals: &Totals, id: &MetricId) -> Measured {
    let op = id.op.as_ref().and_then(|key| totals.ops.get(key));
    let Some(enrolment) = &totals.enrolment else {
        return Measured::default();
    };
    let expected = enrolment.expected;
    let scalar = |value: Option<u64>| known(value.map(|n| n as f64), expected);
    let from_hist =
        |hist: Option<&Hist>| hist.map_or(Measured::default(), |hist| distribution(hist, id.stat));
    match id.metric.name {
        "confirmed_ratio" => ratio(enrolment.confirmed, expected),
        "confirmed" => scalar(Some(enrolment.confirmed)),
        "stuck" => scalar(Some(enrolment.stuck)),
        "unexpected" => match enrolment.unexpected() {
            Some((unexpected, nodes)) => known(Some(unexpected as f64), nodes),
            None => Measured::default(),
        },
        "errors" => scalar(Some(enrolment.errors)),
        "late" => scalar(op.map(|op| op.counters.of(Counter::Late))),
        "certificates_issued" => scalar(enrolment.certificates_issued),
        "keys_signed_twice" => scalar(enrolment.keys_signed_twice),
        "rate" => known(enrolment.per_min().map(|n| n / 60.0), enrolment.confirmed),
        "duration" => scalar(enrolment.first_event_to_last_confirm_us),
        "latency" => from_hist(enrolment.to_confirmed.as_ref()),
        "to_restart" => from_hist(enrolment.to_restart.as_ref()),
        step => from_hist(
            enrolment
                .steps
                .iter()
                .find(|latency| latency.step == step)
                .map(|latency| &latency.latency),
        ),
    }
}

fn renewal(totals: &Totals, id: &MetricId) -> Measured {
    let Some(renewals) = &totals.renewals else {
        return Measured::default();
    };
    let enrolment = totals.enrolment.as_ref();
    let expected = enrolment.map_or(0, |enrolment| enrolment.expected);
    let count = |n: u64, samples| known(Some(n as f64), samples);
    match id.metric.name {
        "asked" => {
            let asked = enrolment.and_then(|enrolment| enrolment.renewals_asked);
            known(asked.map(|n| n as f64), expected)
        }
        "unsettled" => {
            let unsettled = enrolment.and_then(|enrolment| enrolment.unsettled());
            known(unsettled.map(|n| n as f64), expected)
        }
        "left" => count(renewals.left, expected),
        "back" => count(renewals.back, renewals.left),
        "renewed" => count(renewals.nodes, expected),
        "renewed_ratio" => ratio(renewals.nodes, expected),
        "repeated" => count(renewals.repeated(), renewals.back),
        "early" => known(renewals.early.map(|n| n as f64), renewals.left),
        "late" => known(renewals.late.map(|n| n as f64), renewals.back),
        "away" => distribution(&renewals.away, id.stat),
        _ => Measured::default(),
    }
}

fn broker(totals: &Totals, id: &MetricId, in_phase: impl Fn(&str) -> bool) -> Measured {
    let pick = |broker: &BrokerTotals| match id.metric.name {
        "slow_consumers" => broker.slow_consumers,
        "connections" => broker.connections,
        "mem" => broker.mem_bytes,
        "mem_per_conn" => broker.mem_per_conn,
        "cpu_pct" => broker.cpu_pct,
        _ => Gauge::default(),
    };
    let mut each: BTreeMap<&str, Gauge> = BTreeMap::new();
    for (_, brokers) in totals.brokers.iter().filter(|(phase, _)| in_phase(phase)) {
        for (name, broker) in brokers {
            each.entry(name).or_default().merge(&pick(broker));
        }
    }
    // Counts add up over brokers; sizes and loads are those of each one.
    if id.metric.unit == Unit::Count {
        let looks = each.values().map(|broker| gauge(broker, id.stat));
        let values: Vec<f64> = looks.clone().filter_map(|look| look.value).collect();
        let sum = (!values.is_empty()).then(|| values.iter().sum());
        return known(sum, looks.map(|look| look.samples).sum());
    }
    let mut all = Gauge::default();
    each.values().for_each(|broker| all.merge(broker));
    gauge(&all, id.stat)
}

fn generator(totals: &Totals, id: &MetricId, in_phase: impl Fn(&str) -> bool) -> Measured {
    let all = totals.generator_over(in_phase);
    match id.metric.name {
        "sched_lag" => distribution(&all.sched_lag, id.stat),
        "cpu_pct" => gauge(&all.cpu_pct, id.stat),
        "late_sends_pct" => known(all.late_sends_pct(), all.sends),
        "fd_use_pct" => gauge(&all.fd_use_pct, id.stat),
        "descriptors" => gauge(&all.descriptors, id.stat),
        _ => Measured::default(),
    }
}

fn memory(totals: &Totals, metric: &Metric) -> Measured {
    let memory = &totals.memory;
    let bytes = match metric.name {
        "nodes_rss" => memory.nodes_rss_bytes,
        "rss_per_node" => memory.rss_bytes_per_node,
        "brokers_rss" => memory.brokers_rss_bytes,
        "broker_rss_per_connection" => memory.broker_rss_bytes_per_connection,
        "provisioners_rss" => memory.provisioners_rss_bytes,
        _ => None,
    };
    known(bytes.map(|n| n as f64), 1)
}

fn distribution(hist: &Hist, stat: Option<Stat>) -> Measured {
    let as_f64 = |us: Option<u64>| us.map(|us| us as f64);
    let value = match stat {
        Some(Stat::Quantile(quantile)) => as_f64(hist.quantile(quantile)),
        Some(Stat::Min) => as_f64(hist.min()),
        Some(Stat::Max) => as_f64(hist.max()),
        Some(Stat::Mean) => hist.mean(),
        Some(Stat::Count) => Some(hist.count() as f64),
        _ => None,
    };
    Measured {
        value,
        samples: hist.count(),
    }
}

pub(super) fn gauge(gauge: &Gauge, stat: Option<Stat>) -> Measured {
    let value = match stat {
        None | Some(Stat::Last) => gauge.last(),
        Some(Stat::Min) => gauge.min(),
        Some(Stat::Max) => gauge.max(),
        Some(Stat::Mean) => gauge.mean(),
        Some(Stat::First) => gauge.first(),
        Some(Stat::Delta) => gauge.delta(),
        Some(Stat::Quantile(_) | Stat::Count) => None,
    };
    Measured {
        value,
        samples: gauge.samples(),
    }
}

pub(super) fn ratio(part: u64, whole: u64) -> Measured {
    known((whole > 0).then(|| part as f64 / whole as f64), whole)
}

pub(super) fn known(value: Option<f64>, samples: u64) -> Measured {
    match value {
        Some(_) => Measured { value, samples },
        None => Measured::default(),
    }
}

impl Shape {
    /// The word for it in the schema.
    pub fn word(self) -> &'static str {
        match self {
            Self::Scalar => "value",
            Self::Distribution => "distribution",
            Self::Gauge => "gauge",
        }
    }
}
