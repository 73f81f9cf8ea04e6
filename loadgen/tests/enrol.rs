//! The whole path: nodes without credentials are enrolled by a real provisioner, which is killed in
//! the middle of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadgen");

/// The provisioner beside this program. Tests of the whole workspace have built it before any test runs;
/// tests of this package alone build it where it is missing.
fn provisioner() -> PathBuf {
    let beside = Path::new(PROGRAM).with_file_name("provisioner");
    if !beside.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "provisioner"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let built = build.current_dir(workspace).status().unwrap();
        assert!(built.success() && beside.is_file(), "{}", beside.display());
    }
    beside
}

#[test]
fn a_provisioner_killed_in_the_middle_loses_no_node_and_signs_no_key_twice() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let scenario = std::fs::read_to_string(root.join("scenarios/provisioner-killed.toml")).unwrap();
    // A test shares its machine with others; how late timers fire there says nothing.
    let judged_here = |line: &&str| !line.starts_with("gen_sched_lag_p99");
    let lines: Vec<&str> = scenario.lines().filter(judged_here).collect();
    // Sixty nodes must take long enough to arrive for the kill to fall among them, on any machine.
    let text = lines.join("\n").replace("\"1000/s\"", "\"30/s\"");
    assert!(text.contains("\"30/s\""), "the scenario's pace changed");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("killed.toml");
    std::fs::write(&file, text).unwrap();

    let nats_server = loadgen::formation::nats_server::NatsServer::find(None);
    let output = Command::new(PROGRAM)
        .args(["run", "killed.toml", "--set", "nodes=60", "--out", "out"])
        .arg("--provisioner")
        .arg(provisioner())
        .arg("--nats-server")
        .arg(std::path::absolute(nats_server.expect("run tools/bootstrap").path).unwrap())
        .args(["--progress", "lines"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");
    let summary = std::fs::read(folder.path().join("out/summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(summary["nodes"]["confirmed"], 60);
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["enrolment"]["keys_signed_twice"], 0);
    assert_eq!(summary["faults"][0]["happened"], true);
    assert_eq!(summary["rounds"]["ping-all/ping"]["missing"], 0);
}
