//! From what a run measured to its summary.

use super::{
    ConnectSummary, CpuSummary, EnrolmentSummary, FaultSummary, FirstLast, GeneratorSummary,
    Latency, LatencyBases, MemorySummary, NodesSummary, OpSummary, RenewalSummary, RoundsSummary,
    StepSummary, Steps, StormSummary, Summary,
};
use crate::measure::{Counter, Enrolment, Hist, OpTotal, Quantile, Series, Totals};
use crate::plan::Plan;
use crate::results::{LimitResult, Verdict};
use crate::scenario::Action;

impl Summary {
    /// The figures of a run.
    pub fn new(run: &str, plan: &Plan, totals: &Totals, verdict: &Verdict) -> Self {
        let enrolment = totals.enrolment.as_ref();
        Self {
            schema: 1,
            run: run.to_owned(),
            scenario: plan.scenario.name.clone(),
            nodes: NodesSummary {
                planned: plan.nodes,
                connected: totals.connected_most,
                confirmed: enrolment.map(|enrolment| enrolment.confirmed),
                stuck: enrolment.map(|enrolment| enrolment.stuck),
            },
            enrolment: enrolment.map(summarise_enrolment),
            renewal: totals.renewals.as_ref().map(|renewals| RenewalSummary {
                asked: enrolment.and_then(|enrolment| enrolment.renewals_asked),
                unsettled: enrolment.and_then(|enrolment| enrolment.unsettled()),
                left: renewals.left,
                back: renewals.back,
                renewed: renewals.nodes,
                repeated: renewals.repeated(),
                early: renewals.early,
                late: renewals.late,
                away_us: Latency::of(Some(&renewals.away)),
            }),
            connect: connect(plan, totals),
            rounds: totals
                .ops
                .iter()
                .filter(|(_, op)| op.counters.get(Counter::Expected).is_some())
                .map(|(key, op)| (key.to_string(), rounds(op)))
                .collect(),
            ops: totals
                .ops
                .iter()
                .map(|(key, op)| (key.to_string(), operation(op)))
                .collect(),
            memory: memory(totals),
            cpu_s: CpuSummary {
                nodes: totals.cpu_nodes_s,
                brokers: totals.cpu_brokers_s,
                provisioners: totals.cpu_provisioners_s,
            },
            storms: totals.storms.iter().map(StormSummary::from).collect(),
            faults: totals.faults.iter().map(FaultSummary::from).collect(),
            generator: generator(totals, &verdict.limits),
        }
    }
}

fn summarise_enrolment(enrolment: &Enrolment) -> EnrolmentSummary {
    let steps = enrolment.steps.iter().map(|step| {
        let summary = StepSummary {
            count: step.latency.count(),
            latency_us: Latency::of(Some(&step.latency)),
        };
        (step.step.clone(), summary)
    });
    let told = |hist: Option<&Hist>| hist.map(|hist| Latency::of(Some(hist)));
    EnrolmentSummary {
        confirmed: enrolment.confirmed,
        per_min: enrolment.per_min(),
        first_event_to_last_confirm_us: enrolment.first_event_to_last_confirm_us,
        certificates_issued: enrolment.certificates_issued,
        keys_signed_twice: enrolment.keys_signed_twice,
        to_restart_us: told(enrolment.to_restart.as_ref()),
        to_confirmed_us: told(enrolment.to_confirmed.as_ref()),
        errors: enrolment.errors_by_code.clone(),
        outcomes: enrolment.outcomes.clone(),
        steps: Steps(steps.collect()),
    }
}

/// Connections as they were counted apart, or as the `connect` operations counted them.
fn connect(plan: &Plan, totals: &Totals) -> Option<ConnectSummary> {
    if let Some(connect) = &totals.connect {
        return Some(ConnectSummary {
            ok: connect.ok,
            errors: connect.errors,
            duration_us: connect.duration_us,
            attempts: connect.attempts,
            ..layers(totals)
        });
    }
    let is_connect = |phase: &str, op: &str| {
        let phase = plan.scenario.phase(phase);
        let named = phase.and_then(|phase| phase.ops.iter().find(|other| other.name == op));
        named.is_some_and(|op| matches!(op.action, Action::Connect { .. }))
    };
    let ops: Vec<&OpTotal> = totals
        .ops
        .iter()
        .filter(|(key, _)| is_connect(&key.phase, &key.op))
        .map(|(_, op)| op)
        .collect();
    let sum = |counter| ops.iter().map(|op| op.counters.of(counter)).sum();
    (!ops.is_empty()).then(|| ConnectSummary {
        ok: sum(Counter::Ok),
        errors: sum(Counter::Errors),
        duration_us: ops
            .iter()
            .filter_map(|op| op.duration_us())
            .reduce(|a, b| a + b),
        attempts: ops
            .iter()
            .map(|op| op.counters.get(Counter::Attempts))
            .sum(),
        ..layers(totals)
    })
}

/// What the layers of first connections took, whichever operations made them.
fn layers(totals: &Totals) -> ConnectSummary {
    let merged = |series| {
        let mut all = Hist::new();
        let each = totals.ops.values().filter_map(|op| op.series.get(&series));
        each.for_each(|hist| all.merge(hist));
        Latency::of(Some(&all))
    };
    ConnectSummary {
        tcp_us: merged(Series::Tcp),
        tls_us: merged(Series::Tls),
        nats_us: merged(Series::Nats),
        ..ConnectSummary::default()
    }
}

fn rounds(op: &OpTotal) -> RoundsSummary {
    let of = |counter| op.counters.of(counter);
    let first_last = |series| {
        let hist = op.series.get(&series);
        FirstLast {
            p50: hist.and_then(|hist: &Hist| hist.quantile(Quantile::P50)),
            max: hist.and_then(Hist::max),
        }
    };
    RoundsSummary {
        rounds: of(Counter::Started),
        expected: of(Counter::Expected),
        replies: of(Counter::Replies),
        missing: of(Counter::Missing),
        interrupted: of(Counter::Interrupted),
        duplicate: of(Counter::Duplicate),
        late: of(Counter::LateReplies),
        failed: of(Counter::Failed),
        unknown: of(Counter::Unknown),
        first_us: first_last(Series::FirstReply),
        last_us: first_last(Series::LastReply),
    }
}

fn operation(op: &OpTotal) -> OpSummary {
    OpSummary {
        count: op.counters.of(Counter::Started),
        errors: op.counters.of(Counter::Errors),
        late: op.counters.of(Counter::Late),
        rate_per_s: op.rate_per_s(),
        latency_us: LatencyBases {
            intended: Latency::of(op.series.get(&Series::Intended)),
            actual: Latency::of(op.series.get(&Series::Actual)),
        },
        errors_by_kind: op.errors.clone(),
    }
}

fn memory(totals: &Totals) -> MemorySummary {
    let memory = &totals.memory;
    MemorySummary {
        nodes_rss_bytes: memory.nodes_rss_bytes,
        rss_bytes_per_node: memory.rss_bytes_per_node,
        brokers_rss_bytes: memory.brokers_rss_bytes,
        broker_rss_bytes_per_connection: memory.broker_rss_bytes_per_connection,
        provisioners_rss_bytes: memory.provisioners_rss_bytes,
    }
}

fn generator(totals: &Totals, limits: &[LimitResult]) -> GeneratorSummary {
    let all = totals.generator_over(|_| true);
    let own = |limit: &&LimitResult| limit.name != "wall_time";
    let measured = all.descriptors.samples() > 0 || !all.sched_lag.is_empty();
    let broken = limits.iter().filter(own).any(|limit| limit.broken);
    let word = if broken { "limited" } else { "healthy" };
    GeneratorSummary {
        health: measured.then(|| word.to_owned()),
        sched_lag_p99_us: all.sched_lag.quantile(Quantile::P99),
        cpu_pct_max: all.cpu_pct.max(),
        late_sends_pct: all.late_sends_pct(),
        descriptors_max: all.descriptors.max().map(|n| n as u64),
    }
}
