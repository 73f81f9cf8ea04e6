//! The run at a glance: puts what is known into the one value that every view shows.

use std::collections::{BTreeMap, VecDeque};

use crate::assert::{AssertState, Judged};
use crate::measure::{
    AssertView, BrokerView, Counter, FaultView, FleetView, GeneratorHealth, Hist, LogLine, OpKey,
    OpView, PhaseView, Quantile, RateView, RunState, Series, Stage, TargetState, Totals,
    WorkerView,
};
use crate::plan::Plan;
use crate::provisioner::Status;
use crate::scenario::{Action, Limits};
use crate::units::brief_duration;

use super::workers::WorkerSeen;

/// Everything a picture is drawn from.
#[derive(Debug)]
pub struct Known<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Where the run stands.
    pub stage: Stage,
    /// What is being done right now.
    pub doing: &'a str,
    /// Time since the start, µs.
    pub elapsed_us: u64,
    /// Every phase, up to date.
    pub phases: &'a [PhaseView],
    /// Everything measured.
    pub totals: &'a Totals,
    /// Nodes by fleet and state, more recent than those of the totals.
    pub fleets: Vec<FleetView>,
    /// The ledger.
    pub status: Option<&'a Status>,
    /// Every broker.
    pub brokers: &'a [BrokerView],
    /// Faults that have fallen.
    pub faults: &'a [FaultView],
    /// Every worker.
    pub workers: &'a BTreeMap<u32, WorkerSeen>,
    /// Every assert, judged as far as that can be.
    pub judged: &'a [Judged],
}

/// Keeps what a picture needs of the past: rates and log lines.
#[derive(Debug)]
pub struct Board {
    run: String,
    last_us: u64,
    counts: BTreeMap<&'static str, u64>,
    rates: BTreeMap<&'static str, VecDeque<f64>>,
    log: VecDeque<LogLine>,
    log_total: u64,
}

/// Rates in the order they are shown.
const RATES: [&str; 8] = [
    "connect", "enrolled", "lost", "back", "attempts", "replies", "events", "errors",
];

impl Board {
    /// An empty board of the run `run`.
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            last_us: 0,
            counts: BTreeMap::new(),
            rates: BTreeMap::new(),
            log: VecDeque::new(),
            log_total: 0,
        }
    }

    /// Takes new log lines.
    pub fn log(&mut self, lines: Vec<LogLine>) {
        self.log_total += lines.len() as u64;
        self.log.extend(lines);
        let extra = self.log.len().saturating_sub(RunState::LOG_LINES);
        self.log.drain(..extra);
    }

    /// Draws the picture of this moment.
    pub fn draw(&mut self, known: Known<'_>) -> RunState {
        self.follow_rates(&known);
        let scenario = &known.plan.scenario;
        RunState {
            run: self.run.clone(),
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            stage: known.stage,
            doing: known.doing.to_owned(),
            elapsed_us: known.elapsed_us,
            expected_us: known.plan.expected_us,
            phases: known.phases.to_vec(),
            steps: steps(known.status),
            ops: ops(&known),
            rates: self.rates(),
            brokers: known.brokers.to_vec(),
            faults: faults(&known),
            workers: workers(&known),
            health: health(&scenario.limits, known.totals),
            asserts: asserts(&known),
            fleets: known.fleets,
            log: self.log.iter().cloned().collect(),
            log_total: self.log_total,
        }
    }

    fn follow_rates(&mut self, known: &Known<'_>) {
        const SECOND_US: u64 = 1_000_000;
        if known.elapsed_us < self.last_us + SECOND_US {
            return;
        }
        let seconds = (known.elapsed_us - self.last_us) as f64 / 1e6;
        self.last_us = known.elapsed_us;
        for (name, count) in counts(known) {
            let before = self.counts.insert(name, count).unwrap_or_default();
            let history = self.rates.entry(name).or_default();
            history.push_back(count.saturating_sub(before) as f64 / seconds);
            if history.len() > RunState::RATE_VALUES {
                history.pop_front();
            }
        }
    }

    fn rates(&self) -> Vec<RateView> {
        let known = RATES.iter().filter_map(|name| {
            let history = self.rates.get(name)?;
            Some(RateView {
                name: (*name).to_owned(),
                now: history.back().copied().unwrap_or_default(),
                history: history.iter().copied().collect(),
            })
        });
        known.collect()
    }
}

/// What has been counted so far, by the name of its rate.
fn counts(known: &Known<'_>) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut add = |name, n| *counts.entry(name).or_default() += n;
    for phase in &known.plan.scenario.phases {
        for op in &phase.ops {
            let Some(total) = known.totals.ops.get(&OpKey::new(&phase.name, &op.name)) else {
                continue;
            };
            let of = |counter| total.counters.of(counter);
            match &op.action {
                Action::Connect { .. } => add("connect", of(Counter::Ok)),
                Action::Request(_) => add("replies", of(Counter::Replies)),
                Action::Publish { .. } => add("events", of(Counter::Started)),
                Action::Churn { .. } => add("connect", of(Counter::Ok)),
                Action::Provision { .. } | Action::Disconnect { .. } | Action::Fault(_) => {}
            }
            add("errors", of(Counter::Errors));
            add("attempts", of(Counter::Attempts));
        }
    }
    let links = known.totals.links.total();
    if links.lost > 0 {
        add("lost", links.lost);
        add("back", links.back);
        add("attempts", links.attempts);
    }
    if let Some(status) = known.status {
        add("enrolled", status.confirmed);
    }
    counts
}

/// The faults, with what the storms say of their nodes so far.
fn faults(known: &Known<'_>) -> Vec<FaultView> {
    let each = known.faults.iter().map(|fault| {
        let mut storms = known.totals.storms.iter();
        let storm = storms.find(|storm| storm.at_us == fault.at_us && storm.kind == fault.kind);
        FaultView {
            affected: storm.map(|storm| storm.affected),
            back: storm.map(|storm| storm.back),
            ..fault.clone()
        }
    });
    each.collect()
}

/// Enrolments in each step, by the provisioner's ledger.
fn steps(status: Option<&Status>) -> Vec<(String, u64)> {
    let steps = status.into_iter().flat_map(Status::steps);
    let now = steps.map(|(name, step)| (name.to_owned(), step.now));
    now.filter(|(name, _)| name != super::ledger::ARRIVE)
        .collect()
}

fn ops(known: &Known<'_>) -> Vec<OpView> {
    let mut views = Vec::new();
    for (key, total) in &known.totals.ops {
        let view = |name: String, intended: Option<&Hist>, actual: Option<&Hist>| OpView {
            phase: key.phase.clone(),
            name,
            intended: intended.map(Hist::quantiles).unwrap_or_default(),
            actual: actual.map(Hist::quantiles).unwrap_or_default(),
            errors: total.counters.of(Counter::Errors),
            late: total.counters.of(Counter::Late),
            target: None,
            target_state: TargetState::Waiting,
        };
        let series = |series| total.series.get(&series);
        if let Some(reply) = series(Series::Reply) {
            views.push(view(format!("{}.reply", key.op), Some(reply), Some(reply)));
            let (last, actual) = (series(Series::Intended), series(Series::LastReply));
            views.push(view(format!("{}.last", key.op), last, actual));
        } else if let Some(e2e) = series(Series::EndToEnd) {
            views.push(view(format!("{}.e2e", key.op), Some(e2e), Some(e2e)));
        } else {
            let (intended, actual) = (series(Series::Intended), series(Series::Actual));
            views.push(view(key.op.clone(), intended, actual));
        }
    }
    for view in &mut views {
        aim(view, known.judged);
    }
    views
}

/// Puts the first assert about an operation's latency beside it.
fn aim(view: &mut OpView, judged: &[Judged]) {
    let op = view.name.split('.').next().unwrap_or_default();
    let wanted = match view.name.rsplit_once('.') {
        Some((_, "last")) => "last_reply",
        Some((_, other)) => other,
        None => "latency",
    };
    let found = judged.iter().find(|judged| {
        let id = &judged.metric;
        let of_op = id.op.as_ref();
        of_op.is_some_and(|key| key.phase == view.phase && key.op == op) && id.metric.name == wanted
    });
    if let Some(judged) = found {
        let short = judged.that.rsplit_once(&format!("{wanted}."));
        view.target = Some(short.map_or(judged.that.clone(), |(_, short)| short.to_owned()));
        view.target_state = target_state(judged.state, false);
    }
}

fn workers(known: &Known<'_>) -> Vec<WorkerView> {
    let views = known.workers.iter().map(|(worker, seen)| WorkerView {
        worker: *worker,
        nodes: seen.nodes,
        cpu_pct: seen.health.cpu_pct,
        sched_lag_p99_us: seen.lag.quantile(Quantile::P99),
        rss_bytes: seen.health.rss_bytes,
        descriptors: seen.descriptors_most,
        descriptors_limit: seen.health.descriptors_limit,
    });
    views.collect()
}

/// Whether the generator is within its limits so far.
fn health(limits: &Limits, totals: &Totals) -> GeneratorHealth {
    let all = totals.generator_over(|_| true);
    if all.sched_lag.is_empty() && all.sched_lag_unjudged.is_empty() {
        return GeneratorHealth::Unknown;
    }
    let lag = all.sched_lag.quantile(Quantile::P99);
    if let (Some(lag), Some(limit)) = (lag, limits.gen_sched_lag_p99)
        && lag > crate::measure::micros(limit)
    {
        let lag = brief_duration(std::time::Duration::from_micros(lag));
        let limit = brief_duration(limit);
        return GeneratorHealth::Limited(format!("timers fire {lag} late (p99), limit {limit}"));
    }
    let over = |name: &str, value: Option<f64>, limit: Option<f64>| match (value, limit) {
        (Some(value), Some(limit)) if value > limit => {
            Some(format!("{name} {value:.1} %, limit {limit} %"))
        }
        _ => None,
    };
    let broken = over("cpu", all.cpu_pct.max(), limits.gen_cpu_pct)
        .or_else(|| over("descriptors", all.fd_use_pct.max(), limits.fd_use_pct))
        .or_else(|| over("late sends", all.late_sends_pct(), limits.late_sends_pct));
    broken.map_or(GeneratorHealth::Healthy, GeneratorHealth::Limited)
}

fn asserts(known: &Known<'_>) -> Vec<AssertView> {
    use crate::measure::PhaseProgress::{Queued, Running};
    let state_of = |phase: &str| {
        let found = known.phases.iter().find(|view| view.name == phase);
        found.map(|view| view.state)
    };
    known
        .judged
        .iter()
        .map(|judged| {
            let state = match judged.phase.as_deref().and_then(state_of) {
                Some(Queued) => TargetState::Waiting,
                Some(Running) => target_state(judged.state, true),
                Some(_) => target_state(judged.state, false),
                None => target_state(judged.state, known.stage == Stage::Running),
            };
            AssertView {
                phase: judged.phase.clone().unwrap_or_default(),
                that: judged.that.clone(),
                value: judged.measured.value.map(|_| judged.shown()),
                state,
            }
        })
        .collect()
}

/// While a phase runs its asserts are not judged for good: "not yet" is no failure.
fn target_state(state: AssertState, running: bool) -> TargetState {
    match (state, running) {
        (AssertState::Ok, true) => TargetState::Live,
        (_, true) => TargetState::Waiting,
        (AssertState::Ok, false) => TargetState::Ok,
        (AssertState::Failed, false) => TargetState::Failed,
        (AssertState::Warned, false) => TargetState::Warned,
        (AssertState::Inconclusive, false) => TargetState::Inconclusive,
    }
}
