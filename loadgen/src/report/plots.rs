//! Which charts the page has, and what each of them shows.

use std::collections::{BTreeMap, BTreeSet};

use super::axis::{Axis, Unit};
use super::chart::{Canvas, Chart};
use super::folder::{Folder, RecoveryRow, RoundRow};
use super::latency::{Latencies, latencies};
use super::thin::{MOST_POINTS, Point};
use super::timeline::Timeline;
use crate::units::grouped;

/// Points all curves of a page share, so that it stays small however many there are.
const BUDGET: usize = 9_000;
/// Most curves of one chart.
const CURVES: usize = 8;
const HEIGHT: f64 = 170.0;

/// What every chart over the run's time shares.
pub(super) struct Plots<'a> {
    folder: &'a Folder,
    timeline: &'a Timeline,
    end: f64,
    most: usize,
}

impl<'a> Plots<'a> {
    pub(super) fn new(folder: &'a Folder, timeline: &'a Timeline) -> Self {
        let mut plots = Self {
            folder,
            timeline,
            end: timeline.end(),
            most: MOST_POINTS,
        };
        let brokers = plots.broker_curves("broker.mem_bytes").len().min(CURVES);
        let workers = plots.worker_curves("cpu_pct").len().min(CURVES);
        let ops = plots.paced_ops().len();
        let curves = 2 + 2 * brokers + 2 * workers + 2 * ops;
        plots.most = (BUDGET / curves).clamp(40, MOST_POINTS);
        plots
    }

    /// Nodes on the production network.
    pub(super) fn nodes(&self) -> Option<Chart> {
        let (up, down) = self.folder.series.as_ref()?.nodes();
        let most_up = highest(&up)?;
        let planned = self.folder.plan.as_ref().map(|plan| plan.nodes as f64);
        let top = planned.unwrap_or(0.0).max(most_up);
        let title = "Nodes on the production network".to_owned();
        let mut canvas = self.canvas("nodes", title, Axis::up_to(top, Unit::Count), HEIGHT);
        let floor: Vec<Point> = up.iter().map(|(x, _)| (*x, 0.0)).collect();
        canvas.band("", &floor, &up, self.most);
        canvas.line("connected", &[up], self.most);
        let mut desc = format!(
            "At most {} nodes were connected at one time",
            whole(most_up)
        );
        if let Some(most_down) = highest(&down).filter(|most| *most > 0.0) {
            canvas.line("lost, on their way back", &[down], self.most);
            desc = format!(
                "{desc}; at most {} had lost their connection",
                whole(most_down)
            );
        }
        Some(canvas.done(format!("{desc}."), None))
    }

    /// Operations a second, one chart each; those of fan-outs are told by their rounds.
    pub(super) fn rates(&self) -> Vec<Chart> {
        let Some(series) = &self.folder.series else {
            return Vec::new();
        };
        let chart = |(number, op): (usize, String)| {
            let done = series.rate(&op, "ok");
            let failed = series.rate(&op, "errors");
            let top = highest(&done)
                .unwrap_or(0.0)
                .max(highest(&failed).unwrap_or(0.0));
            let id = format!("rate-{number}");
            let axis = Axis::up_to(top, Unit::PerSecond);
            let mut canvas = self.canvas(&id, format!("{op}: a second"), axis, HEIGHT);
            canvas.line(
                "ended as they should",
                std::slice::from_ref(&done),
                self.most,
            );
            if highest(&failed).is_some_and(|most| most > 0.0) {
                canvas.line("errors", &[failed], self.most);
            }
            let most = Unit::PerSecond.show(highest(&done).unwrap_or(0.0));
            canvas.done(format!("{op} reached {most}."), None)
        };
        self.paced_ops()
            .into_iter()
            .enumerate()
            .map(chart)
            .collect()
    }

    /// Latencies over time, one chart for each operation.
    pub(super) fn latencies(&self) -> Vec<Chart> {
        let Some(log) = &self.folder.latency else {
            return Vec::new();
        };
        let ops = latencies(log).into_iter().enumerate();
        ops.map(|(number, (op, of))| self.latency(number, &op, &of))
            .collect()
    }

    fn latency(&self, number: usize, op: &str, of: &Latencies) -> Chart {
        let all = || of.p50.iter().chain(&of.max).map(|(_, us)| *us);
        let lowest = all().fold(f64::MAX, f64::min);
        let axis = Axis::powers(lowest, highest(&of.max).unwrap_or(1.0), Unit::Micros);
        let id = format!("latency-{number}");
        let mut canvas = self.canvas(&id, format!("{op}: latency, {}", of.what), axis, HEIGHT);
        // The band needs both edges at the same moments; a p99 is the rarer of the two.
        let known: BTreeSet<u64> = of.p99.iter().map(|(x, _)| x.to_bits()).collect();
        let both = of.p50.iter().filter(|(x, _)| known.contains(&x.to_bits()));
        canvas.band("", &both.copied().collect::<Vec<_>>(), &of.p99, self.most);
        let gap = 3.0 * bucket(&of.max);
        for (label, points) in [
            ("median", &of.p50),
            ("99th percentile", &of.p99),
            ("largest", &of.max),
        ] {
            if !points.is_empty() {
                canvas.line(label, &stretches(points, gap), self.most);
            }
        }
        let few = of.p99.len() < of.max.len();
        let note = few.then(|| {
            "Where a percentile is not drawn, too few samples came in that time to tell it."
                .to_owned()
        });
        let most = Unit::Micros.show(highest(&of.max).unwrap_or(0.0));
        canvas.done(format!("The largest latency of {op} was {most}."), note)
    }

    /// The first and the last reply of every round, one chart for each fan-out.
    pub(super) fn rounds(&self) -> Vec<Chart> {
        let rows = self.folder.rounds.iter().flatten();
        let mut ops: Vec<(String, Vec<&RoundRow>)> = Vec::new();
        for row in rows {
            let key = format!("{}/{}", row.phase, row.op);
            match ops.iter_mut().find(|(known, _)| *known == key) {
                Some((_, rows)) => rows.push(row),
                None => ops.push((key, vec![row])),
            }
        }
        ops.iter()
            .enumerate()
            .filter_map(|(number, (op, rows))| self.fan_out(number, op, rows))
            .collect()
    }

    fn fan_out(&self, number: usize, op: &str, rows: &[&RoundRow]) -> Option<Chart> {
        let offset = rows.iter().map(|row| row.round).min()?;
        let curve = |of: fn(&RoundRow) -> Option<u64>| -> Vec<Point> {
            let told = rows.iter().filter(|row| !row.interrupted);
            told.filter_map(|row| Some(((row.round - offset) as f64, of(row)? as f64)))
                .collect()
        };
        let (first, last) = (curve(|row| row.first_us), curve(|row| row.last_us));
        let slowest = highest(&last)?;
        let x = Axis::numbers(rows.iter().map(|row| row.round - offset).max()? as f64);
        let axis = Axis::up_to(slowest, Unit::Micros);
        let title = format!("{op}: first and last reply of each round");
        let mut canvas = Canvas::new(&format!("rounds-{number}"), title, x, axis, HEIGHT);
        canvas.band("", &first, &last, self.most);
        canvas.line("last reply", &[last], self.most);
        canvas.line("first reply", &[first], self.most);
        for row in rows.iter().take(MOST_POINTS) {
            let at = ((row.round - offset) as f64, row.last_us.unwrap_or(0) as f64);
            let round = row.round;
            if row.interrupted {
                canvas.dot((at.0, 0.0), "out", format!("round {round} is left out"));
            } else if row.missing > 0 {
                canvas.dot(at, "bad", format!("round {round}: {} missing", row.missing));
            } else if row.warmup {
                canvas.dot(at, "warm", format!("round {round}: warm-up"));
            }
        }
        let missing: u64 = rows.iter().map(|row| row.missing).sum();
        let interrupted = rows.iter().any(|row| row.interrupted);
        let warm = rows.iter().any(|row| row.warmup);
        let mut notes = Vec::new();
        notes.extend((missing > 0).then_some("● a round with missing replies"));
        notes.extend(warm.then_some("○ a warm-up round, not counted"));
        notes
            .extend(interrupted.then_some("× a round left out: loadgen's own connection was lost"));
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        let desc = format!(
            "{} rounds; the slowest last reply came after {}; {} replies are missing.",
            rows.len(),
            Unit::Micros.show(slowest),
            grouped(missing),
        );
        Some(canvas.done(desc, note))
    }

    /// How nodes came back, one chart for each storm.
    pub(super) fn storms(&self) -> Vec<Chart> {
        let mut storms: BTreeMap<usize, Vec<&RecoveryRow>> = BTreeMap::new();
        for row in self.folder.recovery.iter().flatten() {
            storms.entry(row.storm).or_default().push(row);
        }
        let told = self.folder.summary.as_ref();
        let charts = storms.into_iter().filter_map(|(number, rows)| {
            let at = |row: &RecoveryRow| row.t_ms as f64 / 1e3;
            let back: Vec<Point> = rows.iter().map(|row| (at(row), row.back as f64)).collect();
            let down: Vec<Point> = rows.iter().map(|row| (at(row), row.down as f64)).collect();
            let top = highest(&back)?.max(highest(&down)?);
            let last = rows.last()?;
            let x = Axis::times(0.0, at(last));
            let title = format!("{}: {}, from its fall", last.phase, last.fault);
            let axis = Axis::up_to(top, Unit::Count);
            let mut canvas = Canvas::new(&format!("storm-{number}"), title, x, axis, HEIGHT);
            let storm = told.and_then(|told| told.storms.get(number.checked_sub(1)?));
            if let Some(up) = storm.and_then(|storm| storm.down_us) {
                let up = up as f64 / 1e6;
                canvas.shade(0.0, up, "away", "brokers away");
                canvas.mark(up, "up", "the last broker is up again");
            }
            let most = MOST_POINTS.min(self.most * 2);
            canvas
                .line("back", &[back], most)
                .line("away", &[down], most);
            let desc = format!(
                "{} nodes were back {} after the fall.",
                grouped(last.back),
                Unit::Seconds.show(at(last)),
            );
            Some(canvas.done(desc, None))
        });
        charts.collect()
    }

    /// Memory and CPU of the brokers.
    pub(super) fn brokers(&self) -> Vec<Chart> {
        let memory = self.broker_curves("broker.mem_bytes");
        let cpu = self.broker_curves("broker.cpu_pct");
        let charts = [
            self.compared(
                "broker-memory",
                "Memory of each broker",
                memory,
                Unit::Bytes,
            ),
            self.compared(
                "broker-cpu",
                "CPU of each broker, of one core",
                cpu,
                Unit::Percent,
            ),
        ];
        charts.into_iter().flatten().collect()
    }

    /// CPU of the generator's processes and how late their timers were.
    pub(super) fn generator(&self) -> Vec<Chart> {
        let named = |name| -> BTreeMap<String, Vec<Point>> {
            let curves = self.worker_curves(name).into_iter();
            curves
                .map(|(worker, points)| (format!("worker {worker}"), points))
                .collect()
        };
        let (cpu, lag) = (named("cpu_pct"), named("sched_lag_max_us"));
        let charts = [
            self.compared(
                "generator-cpu",
                "CPU of each worker, of one core",
                cpu,
                Unit::Percent,
            ),
            self.compared(
                "generator-lag",
                "Latest timer of each second",
                lag,
                Unit::Micros,
            ),
        ];
        charts.into_iter().flatten().collect()
    }

    /// The same value of several, the highest of them where there are many.
    fn compared(
        &self,
        id: &str,
        title: &str,
        curves: BTreeMap<String, Vec<Point>>,
        unit: Unit,
    ) -> Option<Chart> {
        let mut curves: Vec<(String, Vec<Point>, f64)> = curves
            .into_iter()
            .filter_map(|(who, points)| {
                let top = highest(&points)?;
                Some((who, points, top))
            })
            .collect();
        let all = curves.len();
        if all > CURVES {
            curves.sort_by(|a, b| b.2.total_cmp(&a.2));
            curves.truncate(CURVES);
        }
        let (who, _, top) = curves.iter().max_by(|a, b| a.2.total_cmp(&b.2))?;
        let desc = format!("The highest is {who} with {}.", unit.show(*top));
        let mut canvas = self.canvas(id, title.to_owned(), Axis::up_to(*top, unit), HEIGHT);
        for (who, points, _) in &curves {
            canvas.line(who, std::slice::from_ref(points), self.most);
        }
        let note = (all > CURVES).then(|| format!("The highest {CURVES} of {all} are drawn."));
        Some(canvas.done(desc, note))
    }

    /// An empty chart over the run's time: its phases behind, its faults across.
    fn canvas(&self, id: &str, title: String, y: Axis, height: f64) -> Canvas {
        let mut canvas = Canvas::new(id, title, Axis::times(0.0, self.end), y, height);
        for (index, phase) in self.timeline.phases().iter().enumerate() {
            if index % 2 == 0 {
                canvas.shade(phase.begin, phase.end, "phase", &phase.name);
            }
        }
        for fault in self.timeline.faults() {
            let to = fault.up.unwrap_or(fault.at);
            canvas.shade(fault.at, to, "away", &fault.label);
            canvas.mark(fault.at, &fault.short, &fault.label);
        }
        canvas
    }

    fn broker_curves(&self, name: &str) -> BTreeMap<String, Vec<Point>> {
        let series = self.folder.series.as_ref();
        series
            .map(|series| series.brokers(name))
            .unwrap_or_default()
    }

    fn worker_curves(&self, name: &str) -> BTreeMap<String, Vec<Point>> {
        let series = self.folder.series.as_ref();
        series
            .map(|series| series.workers(name))
            .unwrap_or_default()
    }

    /// Operations whose rate says something: those without rounds.
    fn paced_ops(&self) -> Vec<String> {
        let Some(series) = &self.folder.series else {
            return Vec::new();
        };
        let rounds = series.ops_with("expected");
        let ops = series.ops_with("ok").into_iter();
        ops.filter(|op| !rounds.contains(op)).collect()
    }
}

fn highest(points: &[Point]) -> Option<f64> {
    points
        .iter()
        .map(|(_, y)| *y)
        .filter(|y| y.is_finite())
        .reduce(f64::max)
}

fn whole(value: f64) -> String {
    Unit::Count.show(value)
}

/// The usual distance of neighbours: the median one.
fn bucket(points: &[Point]) -> f64 {
    let mut steps: Vec<f64> = points
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(1.0).max(1.0)
}

/// The points cut where two neighbours are further than `gap` apart.
fn stretches(points: &[Point], gap: f64) -> Vec<Vec<Point>> {
    let near = |a: &Point, b: &Point| b.0 - a.0 <= gap;
    points.chunk_by(near).map(<[Point]>::to_vec).collect()
}
