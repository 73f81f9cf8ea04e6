//! `validate`, `plan` and `schema` as a user meets them: what they print and how they end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use assert_cmd::Command;
use predicates::prelude::{PredicateBooleanExt as _, predicate};
use serde_json::Value;

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/quickstart.toml");
const WRONG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/wrong/many.toml");
const LARGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/hub3-leaf6-50k.toml"
);

fn loadgen(args: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("loadgen").unwrap().args(args).assert()
}

fn json(args: &[&str]) -> Value {
    let output = loadgen(args).get_output().stdout.clone();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn validate_tells_what_is_right_and_what_is_wrong() {
    loadgen(&["validate", QUICKSTART])
        .success()
        .stdout(predicate::str::contains(
            "ok  1,000 nodes, 3 phases, 7 asserts",
        ));
    loadgen(&["validate", QUICKSTART, WRONG])
        .code(2)
        .stdout(predicate::str::contains(
            "many.toml:31:3: unknown key `nodse` in [[fleet]]; did you mean `nodes`?",
        ));
    let told = json(&["validate", "--json", WRONG]);
    assert_eq!(told[0]["valid"], false);
    let lines = told[0]["mistakes"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|mistake| mistake["line"] == 31 && mistake["column"] == 3)
    );
}

#[test]
fn plan_works_a_scenario_out() {
    loadgen(&["plan", QUICKSTART, "--set", "nodes=200"])
        .success()
        .stdout(
            predicate::str::contains("200 nodes enrolled")
                .and(predicate::str::contains("needs: 1 worker")),
        );
    let planned = json(&["plan", "--json", QUICKSTART]);
    assert_eq!(planned["plan"]["formation"], "single");
    assert_eq!(planned["plan"]["scenario"]["fleets"][0]["agents"], 5);
    assert!(
        planned["preflight"]
            .as_array()
            .unwrap()
            .iter()
            .all(|finding| finding["ok"] == true)
    );
}

#[test]
fn plan_refuses_what_no_machine_can_hold() {
    loadgen(&["plan", QUICKSTART, "--set", "nodes=9_000_000"])
        .code(3)
        .stderr(
            predicate::str::contains("ports:")
                .and(predicate::str::contains("give its tier more brokers")),
        );
}

#[test]
fn plan_shows_and_then_refuses_what_this_version_cannot_run() {
    loadgen(&["plan", LARGE])
        .code(2)
        .stdout(predicate::str::contains(
            "with hub-2 down, 15,000 on each of 2",
        ))
        .stderr(predicate::str::contains(
            "is not available in this version; available: ",
        ));
}

#[test]
fn mistakes_of_the_command_line_are_told_like_those_of_a_file() {
    loadgen(&["plan", QUICKSTART, "--set", "nodse=5"])
        .code(2)
        .stderr(predicate::str::contains(
            "--set nodse=5: nodse is not in [params]; did you mean `nodes`?",
        ));
    loadgen(&["plan", QUICKSTART, "--set", "nodes"])
        .code(2)
        .stderr(predicate::str::contains("write name=value"));
    loadgen(&["plan", "no-such-file.toml"])
        .code(2)
        .stderr(predicate::str::contains(
            "no-such-file.toml: there is no such file",
        ));
}

#[test]
fn schemas_are_json_and_metrics_a_page() {
    assert_eq!(json(&["schema"])["properties"]["fleet"]["type"], "array");
    assert_eq!(json(&["schema", "verdict"])["type"], "object");
    assert!(
        json(&["schema", "metrics", "--json"])
            .as_array()
            .unwrap()
            .len()
            > 50
    );
    loadgen(&["schema", "metrics"])
        .success()
        .stdout(predicate::str::contains("last_reply"));
}
