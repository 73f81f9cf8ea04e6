//! Every metric of a run with its value, whether an assert names it or not: what a later run is
//! compared with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::evaluate::measure;
use super::metrics::{Domain, METRICS, Metric, MetricId, Shape, Stat};
use crate::measure::{OpKey, Quantile, Totals};
use crate::scenario::Scenario;

/// A metric's value, in `metrics.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// The value in its unit.
    pub value: f64,
    /// The unit: `us`, `per_s`, `bytes`, `pct`, `ratio`, `count`.
    pub unit: String,
    /// Samples behind it.
    pub samples: u64,
}

/// The statistics of a distribution that are recorded.
const OF_DISTRIBUTION: [Stat; 8] = [
    Stat::Quantile(Quantile::P50),
    Stat::Quantile(Quantile::P90),
    Stat::Quantile(Quantile::P99),
    Stat::Quantile(Quantile::P999),
    Stat::Max,
    Stat::Min,
    Stat::Mean,
    Stat::Count,
];
/// The statistics of a gauge.
const OF_GAUGE: [Stat; 6] = [
    Stat::Last,
    Stat::Max,
    Stat::Min,
    Stat::Mean,
    Stat::First,
    Stat::Delta,
];

/// Everything that was measured, by the name of the metric; what was not measured, or in too few
/// samples to say, is left out.
pub fn record(scenario: &Scenario, totals: &Totals) -> BTreeMap<String, Recorded> {
    let asserted = scenario.asserts.iter().flat_map(|assert| &assert.that);
    // Asserts may ask for quantiles that are not among the usual ones.
    let asserted = asserted.map(|expression| expression.metric.clone());
    let ids = of_operations(scenario).chain(of_domains(scenario));
    let recorded = ids.chain(asserted).filter_map(|id| {
        let measured = measure(totals, &id);
        let recorded = Recorded {
            value: measured.value.filter(|value| value.is_finite())?,
            unit: id.metric.unit.word().to_owned(),
            samples: measured.samples,
        };
        Some((id.name(), recorded))
    });
    recorded.collect()
}

/// Metrics of every operation in every phase it runs in.
fn of_operations(scenario: &Scenario) -> impl Iterator<Item = MetricId> {
    scenario.phases.iter().flat_map(|phase| {
        let kept = scenario.phases.iter();
        let kept = kept.filter(|other| phase.keep.contains(&other.name));
        let ops = phase.ops.iter().chain(kept.flat_map(|other| &other.ops));
        ops.flat_map(|op| {
            let domain = Domain::of_op(op.action.word());
            let key = OpKey::new(&phase.name, &op.name);
            ids(domain).map(move |(metric, stat)| MetricId {
                metric,
                op: Some(key.clone()),
                phase: None,
                stat,
            })
        })
    })
}

/// Metrics that belong to no operation, of the whole run and of every phase.
fn of_domains(scenario: &Scenario) -> impl Iterator<Item = MetricId> {
    let names = scenario.phases.iter().map(|phase| Some(phase.name.clone()));
    std::iter::once(None).chain(names).flat_map(|phase| {
        Domain::PREFIXED.into_iter().flat_map(move |domain| {
            let phase = phase.clone();
            ids(Some(domain)).map(move |(metric, stat)| MetricId {
                metric,
                op: None,
                phase: phase.clone(),
                stat,
            })
        })
    })
}

/// Every metric of a domain with every statistic that is recorded.
fn ids(domain: Option<Domain>) -> impl Iterator<Item = (&'static Metric, Option<Stat>)> {
    let own = METRICS
        .iter()
        .filter(move |metric| Some(metric.domain) == domain);
    own.flat_map(|metric| {
        let stats: Vec<Option<Stat>> = match metric.shape {
            Shape::Scalar => vec![None],
            Shape::Distribution => OF_DISTRIBUTION.map(Some).to_vec(),
            Shape::Gauge => OF_GAUGE.map(Some).to_vec(),
        };
        stats.into_iter().map(move |stat| (metric, stat))
    })
}

impl MetricId {
    /// Its name in `metrics.json`: `ping-all/ping.last_reply.max`, and without an operation
    /// `broker.mem.max` or, in one phase, `storm/broker.mem.max`.
    pub fn name(&self) -> String {
        let subject = match (&self.op, &self.phase) {
            (Some(key), _) => key.to_string(),
            (None, Some(phase)) => format!("{phase}/{}", self.metric.domain.word()),
            (None, None) => self.metric.domain.word().to_owned(),
        };
        // A gauge is its last value where nothing is said.
        let last = (self.metric.shape == Shape::Gauge).then_some(Stat::Last);
        let stat = self.stat.or(last);
        let stat = stat.map_or(String::new(), |stat| format!(".{stat}"));
        format!("{subject}.{}{stat}", self.metric.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use super::*;
    use crate::scenario::parse;

    #[test]
    fn every_metric_an_assert_can_name_has_a_name_of_its_own_here() {
        let text = include_str!("../../tests/data/hub3-leaf6-50k.toml");
        let scenario = parse(Path::new("large.toml"), text, &[]).unwrap();
        let mut names: Vec<String> = of_operations(&scenario)
            .chain(of_domains(&scenario))
            .map(|id| id.name())
            .collect();
        let all = names.len();
        for expression in scenario.asserts.iter().flat_map(|assert| &assert.that) {
            let name = expression.metric.name();
            assert!(names.contains(&name), "{name} of {}", expression.text);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for name in [
            "ping-all/ping.last_reply.max",
            "storm-one/canary.missing",
            "reconnect.time_to_all",
            "storm-one/broker.slow_consumers.last",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
