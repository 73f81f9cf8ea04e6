//! States of a made-up run, for the tests of everything that shows one.

use std::collections::BTreeMap;

use crate::measure::{
    AssertView, BrokerView, FleetView, GeneratorHealth, Level, LogLine, NodeState, OpView,
    PhaseProgress, PhaseView, Quantiles, RateView, RunState, Stage, TargetState, WorkerView,
};

/// 1,000 nodes in the middle of their enrolment.
pub(super) fn enrolling() -> RunState {
    RunState {
        run: "20261122-1403-quickstart-7c1e".into(),
        scenario: "quickstart".into(),
        seed: 1,
        stage: Stage::Running,
        doing: String::new(),
        elapsed_us: 5_200_000,
        expected_us: Some(35_000_000),
        phases: vec![
            phase(
                "connect",
                PhaseProgress::Ok,
                (1_000, 1_000),
                400_000,
                "1000/1000",
            ),
            phase(
                "enrol",
                PhaseProgress::Running,
                (512, 1_000),
                4_100_000,
                "to restart p50 84 ms",
            ),
            phase("ping-all", PhaseProgress::Queued, (0, 20), 0, ""),
            phase("echo-256", PhaseProgress::Queued, (0, 20), 0, ""),
        ],
        fleets: vec![
            fleet(
                "nodes",
                800,
                &[
                    (NodeState::Waiting, 88),
                    (NodeState::Csr, 31),
                    (NodeState::Restarting, 201),
                    (NodeState::Connected, 28),
                    (NodeState::Confirmed, 452),
                ],
            ),
            fleet(
                "edge",
                200,
                &[
                    (NodeState::Confirmed, 60),
                    (NodeState::Arrived, 138),
                    (NodeState::Down, 2),
                ],
            ),
        ],
        steps: [
            ("queue", 120),
            ("inspect", 18),
            ("csr", 31),
            ("sign", 0),
            ("restart", 201),
            ("confirm", 28),
        ]
        .map(|(step, n)| (step.to_owned(), n))
        .to_vec(),
        ops: vec![
            op(
                "connect",
                1_000,
                Some(3_100),
                Some("p99 <= 2s"),
                TargetState::Ok,
            ),
            op("enrol", 512, Some(2_400_000), None, TargetState::Waiting),
        ],
        rates: vec![
            RateView {
                name: "enrolled".into(),
                now: 243.0,
                history: (0..120)
                    .map(|at| {
                        if at < 115 {
                            0.0
                        } else {
                            f64::from(at - 114) * 50.0
                        }
                    })
                    .collect(),
            },
            RateView {
                name: "errors".into(),
                now: 0.0,
                history: vec![0.0; 120],
            },
        ],
        faults: Vec::new(),
        brokers: vec![broker("provisioning", "up", 548), broker("hub", "up", 541)],
        workers: vec![WorkerView {
            worker: 0,
            nodes: 1_000,
            cpu_pct: Some(38.0),
            sched_lag_p99_us: Some(400),
            rss_bytes: Some(61 * 1024 * 1024),
            descriptors: Some(2_031),
            descriptors_limit: Some(20_000),
        }],
        health: GeneratorHealth::Healthy,
        asserts: vec![
            assert(
                "connect",
                "connect.ok_ratio >= 0.9999",
                Some("1"),
                TargetState::Ok,
            ),
            assert("enrol", "enrol.errors == 0", Some("2"), TargetState::Warned),
            assert("ping-all", "ping.missing == 0", None, TargetState::Waiting),
        ],
        log: vec![
            LogLine {
                at_us: 400_000,
                level: Level::Info,
                text: "phase enrol begins: 1,000 nodes at 1000/s".into(),
            },
            LogLine {
                at_us: 3_000_000,
                level: Level::Warn,
                text: "node-00041: connection lost, attempt 2\u{1b}[2J".into(),
            },
        ],
        log_total: 2,
    }
}

/// The same run, five seconds later: everybody is up and pinged.
pub(super) fn pinging() -> RunState {
    let mut state = enrolling();
    state.elapsed_us = 10_400_000;
    state.phases[1] = phase(
        "enrol",
        PhaseProgress::Ok,
        (1_000, 1_000),
        4_900_000,
        "1000/1000",
    );
    state.phases[2] = phase(
        "ping-all",
        PhaseProgress::Running,
        (2, 20),
        1_100_000,
        "0 missing",
    );
    state.fleets = vec![fleet("nodes", 1_000, &[(NodeState::Confirmed, 1_000)])];
    state.steps = Vec::new();
    state.rates[0].now = 0.0;
    state.ops.push(op(
        "ping.reply",
        40_000,
        Some(12_340),
        None,
        TargetState::Live,
    ));
    state.ops.push(op(
        "ping.last",
        2,
        None,
        Some("max <= 3.5s"),
        TargetState::Live,
    ));
    state
}

fn phase(
    name: &str,
    state: PhaseProgress,
    (done, of): (u64, u64),
    elapsed_us: u64,
    note: &str,
) -> PhaseView {
    PhaseView {
        name: name.into(),
        state,
        done,
        of,
        unit: if of == 20 { "rounds" } else { "nodes" }.into(),
        started_us: (state != PhaseProgress::Queued).then_some(300_000),
        elapsed_us,
        expected_us: Some(8_000_000),
        note: note.into(),
    }
}

fn fleet(name: &str, total: u64, nodes: &[(NodeState, u64)]) -> FleetView {
    FleetView {
        name: name.into(),
        total,
        nodes: nodes.iter().copied().collect::<BTreeMap<_, _>>(),
    }
}

fn op(
    name: &str,
    count: u64,
    p50: Option<u64>,
    target: Option<&str>,
    target_state: TargetState,
) -> OpView {
    let quantiles = Quantiles {
        count,
        p50,
        p90: p50.map(|us| us * 2),
        p99: (count >= 1_000).then_some(88_200),
        p999: (count >= 10_000).then_some(410_300),
        max: Some(1_204_000),
    };
    OpView {
        phase: "enrol".into(),
        name: name.into(),
        intended: quantiles,
        actual: Quantiles {
            p50: p50.map(|us| us / 2),
            ..quantiles
        },
        errors: 0,
        late: 0,
        target: target.map(str::to_owned),
        target_state,
    }
}

fn broker(name: &str, state: &str, connections: u64) -> BrokerView {
    BrokerView {
        name: name.into(),
        tier: name.into(),
        address: "tls://127.0.0.1:41224".into(),
        state: state.into(),
        connections: Some(connections),
        subscriptions: Some(connections * 6),
        in_per_s: Some(610.0),
        out_per_s: Some(1_702.4),
        slow_consumers: Some(0),
        mem_bytes: Some(65 * 1024 * 1024),
        cpu_pct: Some(31.2),
    }
}

fn assert(phase: &str, that: &str, value: Option<&str>, state: TargetState) -> AssertView {
    AssertView {
        phase: phase.into(),
        that: that.into(),
        value: value.map(str::to_owned),
        state,
    }
}
