//! The folder of a run, written from made-up numbers and read back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use loadgen::assert::{Baselines, Breach, judge_all};
use loadgen::measure::{
    Counter, Enrolment, FaultRecord, FleetCounts, Hist, NodeState, OpKey, Recorder, Round, Series,
    Snapshot, StepLatency, Totals, WorkerHealth,
};
use loadgen::plan::Plan;
use loadgen::preflight::Machine;
use loadgen::results::{
    Ending, FolderError, Host, Manifest, Outcome, RunFolder, Summary, Verdict, judge_limits, run_id,
};
use loadgen::scenario;

fn plan() -> Plan {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/quickstart.toml");
    Plan::new(scenario::load(&path, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}")))
}

/// A worker's snapshot after one round of each request, `missing` nodes not answering.
fn snapshot(seq: u64, missing: u64) -> Snapshot {
    let mut recorder = Recorder::new();
    for (phase, op) in [("ping-all", "ping"), ("echo-256", "echo")] {
        let key = OpKey::new(phase, op);
        recorder.round(
            &key,
            Round {
                index: seq,
                intended_us: 1_000,
                sent_us: 1_500,
                expected: 1_000,
                replies: 1_000 - missing,
                missing,
                first_us: Some(2_000),
                last_us: Some(40_000 + seq * 100),
                ..Round::default()
            },
        );
        for _ in 0..1_000 - missing {
            recorder.time(&key, Series::Reply, Duration::from_millis(20));
        }
    }
    let mut lag = Hist::new();
    (0..200).for_each(|us| lag.record_us(100 + us));
    Snapshot {
        worker: 0,
        seq,
        at_us: (seq + 1) * 1_000_000,
        span_us: 1_000_000,
        ops: recorder.take(),
        fleets: vec![FleetCounts {
            fleet: "nodes".to_owned(),
            nodes: BTreeMap::from([(NodeState::Confirmed, 1_000)]),
            confirmed: 1_000,
        }],
        health: WorkerHealth {
            cpu_pct: Some(38.0),
            sched_lag: lag,
            judged: true,
            descriptors: Some(2_031),
            descriptors_limit: Some(20_000),
            ..WorkerHealth::default()
        },
        ..Snapshot::default()
    }
}

fn totals(missing: u64) -> Totals {
    let mut totals = Totals::new();
    for seq in 0..20 {
        // A snapshot travels as JSON; what arrives is what is counted.
        let sent = serde_json::to_string(&snapshot(seq, missing)).unwrap();
        let received: Snapshot = serde_json::from_str(&sent).unwrap();
        assert_eq!(totals.absorb("ping-all", &received), 0);
    }
    let mut step = Hist::new();
    (1..=1_000).for_each(|ms| step.record_us(ms * 100));
    totals.enrolment = Some(Enrolment {
        expected: 1_000,
        confirmed: 1_000,
        certificates_issued: Some(1_000),
        keys_signed_twice: Some(0),
        first_event_to_last_confirm_us: Some(2_857_000),
        steps: vec![
            StepLatency {
                step: "queue".to_owned(),
                latency: step.clone(),
            },
            StepLatency {
                step: "csr".to_owned(),
                latency: step,
            },
        ],
        ..Enrolment::default()
    });
    totals
}

fn decide(plan: &Plan, totals: &Totals, ending: &Ending) -> Verdict {
    let scenario = &plan.scenario;
    let judged = judge_all(&scenario.asserts, totals, &Baselines::default());
    let limits = judge_limits(&scenario.limits, totals, Duration::from_secs(26));
    Verdict::decide(ending, &judged, limits, totals, Vec::new(), Vec::new())
}

#[test]
fn a_passing_run_is_written_whole() {
    let (plan, totals) = (plan(), totals(0));
    let results = tempfile::tempdir().unwrap();
    let run = run_id(
        "2026-10-04T09:12:00Z".parse().unwrap(),
        "quickstart",
        0xa1b2,
    );
    assert_eq!(run, "20261004-0912-quickstart-a1b2");
    let mut folder = RunFolder::create(None, results.path(), &run).unwrap();
    let manifest = Manifest::begin(&run, &plan, 1, Host::look(&Machine::look()));
    folder.begin(&manifest, &plan).unwrap();
    for seq in 0..20 {
        folder.append("ping-all", &snapshot(seq, 0)).unwrap();
    }
    folder
        .append_values(
            1_000_000,
            "ping-all",
            &[("broker_connections", "broker=hub-1".to_owned(), 1_008.0)],
        )
        .unwrap();

    let verdict = decide(&plan, &totals, &Ending::Complete);
    assert_eq!(
        (verdict.outcome, verdict.exit_code),
        (Outcome::Pass, 0),
        "{:?}",
        verdict.reasons
    );
    assert_eq!(verdict.held(), (7, 7));
    let summary = Summary::new(&run, &plan, &totals, &verdict);
    folder
        .finish(manifest, &plan, &verdict, &summary, 26_000_000)
        .unwrap();

    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
    let written = json("summary.json");
    assert_eq!(written["rounds"]["ping-all/ping"]["expected"], 20_000);
    assert_eq!(written["rounds"]["ping-all/ping"]["last_us"]["max"], 41_919);
    assert_eq!(
        written["ops"]["ping-all/ping"]["latency_us"]["intended"]["p99"],
        serde_json::Value::Null
    );
    assert_eq!(written["enrolment"]["steps"]["queue"]["count"], 1_000);
    assert_eq!(
        written["connect"],
        serde_json::Value::Null,
        "what was not measured is null"
    );
    assert_eq!(
        serde_json::from_str::<Summary>(&read("summary.json")).unwrap(),
        summary
    );
    assert_eq!(
        serde_json::from_str::<Verdict>(&read("verdict.json")).unwrap(),
        verdict
    );
    assert_eq!(json("manifest.json")["state"], "pass");
    assert_eq!(json("plan.json")["formation"], "single");
    assert_eq!(read("scenario.toml"), &*plan.scenario.sources[0].text);
    assert_eq!(read("fanout.csv").lines().count(), 1 + 40);
    assert!(read("series.csv").contains("1.000,ping-all,,broker_connections,broker=hub-1,1008"));
    assert_eq!(
        fs::canonicalize(results.path().join("last-green")).unwrap(),
        fs::canonicalize(folder.path()).unwrap()
    );
    // What differs from run to run and machine to machine is not what this is about.
    let page = read("summary.md");
    let page = page.split("## Run it again").next().unwrap();
    let when = regex::Regex::new(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC").unwrap();
    let limit = regex::Regex::new(r"of [\d,]+ descriptors").unwrap();
    let page = when.replace(page, "[when]");
    insta::assert_snapshot!(limit.replace(&page, "of [limit] descriptors"));
}

#[test]
fn every_interval_of_the_log_adds_up_to_the_totals() {
    let results = tempfile::tempdir().unwrap();
    let mut folder =
        RunFolder::create(Some(&results.path().join("run")), results.path(), "r").unwrap();
    for seq in 0..20 {
        folder.append("ping-all", &snapshot(seq, 0)).unwrap();
    }
    let log = fs::read(folder.path().join("latency.hlog")).unwrap();
    let (mut merged, mut intervals) = (Hist::new(), 0);
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(interval) = entry.unwrap()
            && interval.tag().unwrap().as_str() == "ping-all/ping/i"
        {
            merged.merge(&Hist::from_base64(interval.encoded_histogram()).unwrap());
            intervals += 1;
        }
    }
    let totals = totals(0);
    assert_eq!(intervals, 20);
    assert_eq!(
        &merged,
        &totals.ops[&OpKey::new("ping-all", "ping")].series[&Series::Intended]
    );
}

#[test]
fn a_missing_reply_fails_the_run() {
    let (plan, totals) = (plan(), totals(1));
    let verdict = decide(&plan, &totals, &Ending::Complete);
    assert_eq!((verdict.outcome, verdict.exit_code), (Outcome::Fail, 10));
    assert_eq!(
        verdict.reasons,
        ["ping.missing == 0: it is 20", "echo.missing == 0: it is 20"]
    );
}

#[test]
fn what_was_not_measured_is_never_a_pass() {
    let plan = plan();
    let verdict = decide(&plan, &Totals::new(), &Ending::Complete);
    assert_eq!(
        (verdict.outcome, verdict.exit_code),
        (Outcome::Inconclusive, 13)
    );
    assert!(verdict.asserts.iter().all(|assert| assert.value.is_none()));
}

#[test]
fn a_worthless_measurement_cannot_fail_a_target() {
    let (plan, mut totals) = (plan(), totals(1));
    totals.faults.push(FaultRecord {
        kind: "kill".to_owned(),
        target: "provisioner-1".to_owned(),
        note: "every node was confirmed already".to_owned(),
        ..FaultRecord::default()
    });
    let verdict = decide(&plan, &totals, &Ending::Complete);
    assert_eq!((verdict.outcome, verdict.exit_code), (Outcome::Invalid, 12));
    assert!(
        verdict.reasons[0].contains("did not fall where it was meant to"),
        "{:?}",
        verdict.reasons
    );

    let scenario = &plan.scenario;
    let late = judge_limits(&scenario.limits, &totals, Duration::from_secs(301));
    assert!(
        late.iter()
            .any(|limit| limit.name == "wall_time" && limit.broken)
    );
}

#[test]
fn how_it_ended_comes_first() {
    let (plan, totals) = (plan(), totals(1));
    let why = || "why".to_owned();
    let breach = Breach {
        phase: Some("ping-all".to_owned()),
        that: "ping.missing == 0".to_owned(),
        value: 20.0,
        limit: 0.0,
        unit: "count".to_owned(),
        shown: "20".to_owned(),
        limit_shown: "0".to_owned(),
        since_us: 3_000_000,
        at_us: 4_000_000,
    };
    let endings = [
        (Ending::Interrupted, Outcome::Aborted, 130),
        (
            Ending::AbortedByAssert(Box::new(breach)),
            Outcome::Aborted,
            11,
        ),
        (Ending::FormationFailed(why()), Outcome::Error, 14),
        (Ending::Failed(why()), Outcome::Error, 1),
        (Ending::PhaseFailed(why()), Outcome::Fail, 10),
    ];
    for (ending, outcome, code) in endings {
        let verdict = decide(&plan, &totals, &ending);
        assert_eq!(
            (verdict.outcome, verdict.exit_code),
            (outcome, code),
            "{ending:?}"
        );
    }
}

#[test]
fn a_lost_snapshot_is_noticed() {
    let mut totals = Totals::new();
    assert_eq!(totals.absorb("ping-all", &snapshot(0, 0)), 0);
    assert_eq!(totals.absorb("ping-all", &snapshot(3, 0)), 2);
    assert_eq!(
        totals.ops[&OpKey::new("ping-all", "ping")]
            .counters
            .of(Counter::Started),
        2
    );
}

#[test]
fn a_folder_that_holds_something_is_refused() {
    let results = tempfile::tempdir().unwrap();
    fs::write(results.path().join("notes"), "mine").unwrap();
    let refused = RunFolder::create(Some(results.path()), results.path(), "r").unwrap_err();
    assert!(matches!(refused, FolderError::NotEmpty(_)), "{refused}");
    assert!(refused.to_string().contains("--out DIR"));
    let file = results.path().join("notes").join("run");
    let refused = RunFolder::create(Some(&file), results.path(), "r").unwrap_err();
    assert!(
        matches!(refused, FolderError::Unwritable { .. }),
        "{refused}"
    );
}
