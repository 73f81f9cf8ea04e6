//! `series.csv` as curves over the run's time.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::thin::Point;
use crate::measure::NodeState;
use crate::results::{FAULT_AWAY, FaultSummary};

/// A row of `series.csv`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Row {
    /// Seconds since the run's start.
    t: f64,
    phase: String,
    /// Empty for values of the run as a whole.
    worker: String,
    name: String,
    labels: String,
    value: f64,
}

impl Row {
    fn label(&self, key: &str) -> Option<&str> {
        let mut pairs = self
            .labels
            .split(' ')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// Every row that makes sense, in order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    rows: Vec<Row>,
    /// When each worker told of itself.
    told: BTreeMap<String, Vec<f64>>,
}

impl Series {
    pub(super) fn new(mut rows: Vec<Row>) -> Self {
        rows.retain(|row| row.t.is_finite() && row.t >= 0.0 && row.value.is_finite());
        rows.sort_by(|a, b| a.t.total_cmp(&b.t));
        let mut told: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for row in rows.iter().filter(|row| !row.worker.is_empty()) {
            let times = told.entry(row.worker.clone()).or_default();
            if times.last() != Some(&row.t) {
                times.push(row.t);
            }
        }
        Self { rows, told }
    }

    /// When it ends, seconds.
    pub(super) fn end(&self) -> Option<f64> {
        self.rows.last().map(|row| row.t)
    }

    /// Phases in order with their beginning and end, as far as values tell: to one interval.
    pub(super) fn phases(&self) -> Vec<(String, f64, f64)> {
        let mut phases: Vec<(String, f64, f64)> = Vec::new();
        for row in self.rows.iter().filter(|row| !row.phase.is_empty()) {
            match phases.iter_mut().find(|(name, ..)| *name == row.phase) {
                Some((_, _, end)) => *end = row.t,
                None => {
                    // A row tells of the interval before it.
                    let first = (row.t - 1.0).max(0.0);
                    let begin = phases.last().map_or(first, |(_, _, end)| *end);
                    phases.push((row.phase.clone(), begin.min(row.t), row.t));
                }
            }
        }
        phases
    }

    /// Nodes on the production network, and nodes that lost their connection and are not back.
    pub(super) fn nodes(&self) -> (Vec<Point>, Vec<Point>) {
        let is = |row: &Row, wanted: fn(NodeState) -> bool| {
            let word = row.label("state");
            let state = NodeState::ALL
                .into_iter()
                .find(|state| Some(state.word()) == word);
            row.name == "nodes" && state.is_some_and(wanted)
        };
        (
            self.summed(|row| is(row, NodeState::is_up), |value, _| value),
            self.summed(
                |row| is(row, |state| state == NodeState::Down),
                |value, _| value,
            ),
        )
    }

    /// Names of operations, phases left out, that counted under `counter`.
    pub(super) fn ops_with(&self, counter: &str) -> BTreeSet<String> {
        let rows = self.rows.iter().filter(|row| row.name == counter);
        rows.filter_map(|row| Some(op_name(row.label("op")?).to_owned()))
            .collect()
    }

    /// What an operation counted under `counter`, per second.
    pub(super) fn rate(&self, op: &str, counter: &str) -> Vec<Point> {
        let wanted = |row: &Row| row.name == counter && row.label("op").map(op_name) == Some(op);
        self.summed(wanted, |value, span| value / span.max(0.001))
    }

    /// A value of each broker.
    pub(super) fn brokers(&self, name: &str) -> BTreeMap<String, Vec<Point>> {
        self.each(name, |row| row.label("broker"))
    }

    /// A value of each worker's process.
    pub(super) fn workers(&self, name: &str) -> BTreeMap<String, Vec<Point>> {
        self.each(name, |row| Some(row.worker.as_str()))
    }

    /// Faults as they fell, each target for itself.
    pub(super) fn faults(&self) -> Vec<FaultSummary> {
        let us = |t: f64| (t * 1e6).round() as u64;
        let mut faults: Vec<FaultSummary> = Vec::new();
        for row in self.rows.iter().filter(|row| row.name == FAULT_AWAY) {
            let (Some(kind), Some(target)) = (row.label("fault"), row.label("target")) else {
                continue;
            };
            let is = |of: &&mut FaultSummary| of.kind == kind && of.target == target;
            match faults.iter_mut().rev().find(is) {
                Some(fault) if row.value == 0.0 => {
                    fault.down_us = fault.at_us.map(|at_us| us(row.t).saturating_sub(at_us));
                }
                _ if row.value == 0.0 => {}
                _ => faults.push(FaultSummary {
                    phase: row.phase.clone(),
                    kind: kind.to_owned(),
                    target: target.to_owned(),
                    at_us: Some(us(row.t)),
                    happened: true,
                    ..FaultSummary::default()
                }),
            }
        }
        faults
    }

    fn each<'a>(
        &'a self,
        name: &str,
        who: impl Fn(&'a Row) -> Option<&'a str>,
    ) -> BTreeMap<String, Vec<Point>> {
        let mut curves: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.name == name) {
            if let Some(who) = who(row) {
                let points = curves.entry(who.to_owned()).or_default();
                points.push((row.t, row.value));
            }
        }
        curves
    }

    /// The rows that are `wanted`, added up over all workers: each counts with what it told last,
    /// and with 0 where it told without such a row. `shape` makes a value of the sum of one
    /// telling and the seconds since the telling before.
    fn summed(&self, wanted: impl Fn(&Row) -> bool, shape: impl Fn(f64, f64) -> f64) -> Vec<Point> {
        let mut found: BTreeMap<(&str, u64), f64> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| wanted(row)) {
            *found.entry((&row.worker, row.t.to_bits())).or_default() += row.value;
        }
        if found.is_empty() {
            return Vec::new();
        }
        let mut tellings: Vec<(f64, &str, f64)> = Vec::new();
        for (worker, times) in &self.told {
            for (index, t) in times.iter().enumerate() {
                let before = index.checked_sub(1).map_or(t - 1.0, |index| times[index]);
                let sum = found.get(&(worker.as_str(), t.to_bits()));
                tellings.push((*t, worker, sum.map_or(0.0, |sum| shape(*sum, t - before))));
            }
        }
        tellings.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut latest: BTreeMap<&str, f64> = BTreeMap::new();
        let mut points: Vec<Point> = Vec::new();
        for (t, worker, value) in tellings {
            latest.insert(worker, value);
            let sum = latest.values().sum();
            match points.last_mut() {
                // Workers tell at nearly the same moment; half a sum is nobody's value.
                Some(last) if t - last.0 < 0.2 && latest.len() > 1 => last.1 = sum,
                _ => points.push((t, sum)),
            }
        }
        points
    }
}

/// `ping` of `ping-all/ping`.
fn op_name(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, op)| op)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(t: f64, worker: &str, name: &str, labels: &str, value: f64) -> Row {
        Row {
            t,
            phase: if t < 2.5 { "join" } else { "ask" }.to_owned(),
            worker: worker.to_owned(),
            name: name.to_owned(),
            labels: labels.to_owned(),
            value,
        }
    }

    #[test]
    fn faults_are_known_without_a_summary() {
        let hub = |n| format!("fault=kill target=hub-{n}");
        let series = Series::new(vec![
            row(3.0, "", FAULT_AWAY, &hub(1), 1.0),
            row(4.5, "", FAULT_AWAY, &hub(1), 0.0),
            row(5.0, "", FAULT_AWAY, &hub(2), 1.0),
            row(6.0, "", FAULT_AWAY, &hub(3), 0.0),
        ]);
        let faults = series.faults();
        let told: Vec<_> = faults
            .iter()
            .map(|of| (of.target.as_str(), of.at_us, of.down_us))
            .collect();
        let want = [
            ("hub-1", Some(3_000_000), Some(1_500_000)),
            ("hub-2", Some(5_000_000), None),
        ];
        assert_eq!(told, want);
    }

    #[test]
    fn workers_are_added_up_and_silence_is_nothing() {
        let up = "fleet=nodes state=connected";
        let ok = "op=join/connect";
        let series = Series::new(vec![
            row(1.0, "0", "nodes", up, 10.0),
            row(1.1, "1", "nodes", up, 5.0),
            row(2.0, "0", "nodes", up, 20.0),
            row(2.0, "0", "ok", ok, 10.0),
            row(2.1, "1", "cpu_pct", "", 50.0),
            row(4.0, "0", "ok", ok, 10.0),
            row(4.0, "0", "nodes", "fleet=nodes state=down", 3.0),
            row(4.1, "1", "nodes", up, f64::NAN),
        ]);
        let (up, down) = series.nodes();
        assert_eq!(up, [(1.0, 15.0), (2.0, 20.0), (4.0, 0.0)]);
        assert_eq!(down, [(1.0, 0.0), (2.0, 0.0), (4.0, 3.0)]);
        assert_eq!(
            series.rate("connect", "ok"),
            [(1.0, 0.0), (2.0, 10.0), (4.0, 5.0)]
        );
        assert_eq!(
            series.phases(),
            [("join".to_owned(), 0.0, 2.1), ("ask".to_owned(), 2.1, 4.0)]
        );
    }
}
