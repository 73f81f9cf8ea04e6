//! The large scenarios, run small: what is asked of 50,000 nodes is asked of a few first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs a shipped scenario with other values; every assert must hold.
fn run_small(name: &str, values: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join("run");
    let found = loadgen::formation::nats_server::NatsServer::find(None);
    let nats_server = std::path::absolute(found.expect("nats-server: run tools/bootstrap").path);
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command
        .arg("run")
        .arg(root.join("scenarios").join(name))
        .arg("--out")
        .arg(&results)
        .env("NATS_SERVER", nats_server.unwrap())
        .current_dir(folder.path())
        .stdin(Stdio::null());
    for value in values {
        command.args(["--set", value]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    let verdict = std::fs::read_to_string(results.join("verdict.json"))
        .unwrap_or_else(|_| panic!("{name} left no verdict:\n{said}\n{why}"));
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    // A busy machine may make the measurement invalid; what nodes did must hold all the same.
    let asserts = verdict["asserts"].as_array().unwrap();
    assert!(!asserts.is_empty());
    for assert in asserts {
        assert_eq!(assert["state"], "ok", "{name}: {assert}\n{said}\n{why}");
    }
}

#[test]
fn a_fleet_on_plain_brokers() {
    run_small("fleet-50k-plain.toml", &["nodes=90", "rounds=3"]);
}

#[test]
fn a_fleet_behind_leaf_nodes() {
    run_small("leaf-edge-20k.toml", &["nodes=60", "rounds=3"]);
}

#[test]
fn a_fleet_in_two_regions() {
    run_small("gateways-10k.toml", &["nodes=60", "rounds=3"]);
}
