//! The whole path: nodes without credentials are enrolled by a real provisioner, which is killed in
//! the middle of it, while dead nodes among them cost the others nothing.

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

/// A scenario of this project, made fit for a machine that is shared with other tests: how late
/// timers fire there says nothing.
fn scenario(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("scenarios").join(name)).unwrap();
    let judged_here = |line: &&str| !line.starts_with("gen_sched_lag_p99");
    let lines: Vec<&str> = text.lines().filter(judged_here).collect();
    lines.join("\n")
}

/// Runs a scenario in a folder; answers its summary once it has passed.
fn passes(folder: &Path, text: &str, nodes: u32) -> serde_json::Value {
    std::fs::write(folder.join("scenario.toml"), text).unwrap();
    let nats_server = loadgen::formation::nats_server::NatsServer::find(None);
    let output = Command::new(PROGRAM)
        .args(["run", "scenario.toml", "--out", "out"])
        .args(["--set", &format!("nodes={nodes}")])
        .arg("--provisioner")
        .arg(provisioner())
        .arg("--nats-server")
        .arg(std::path::absolute(nats_server.expect("run tools/bootstrap").path).unwrap())
        .args(["--progress", "lines"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{complained}");
    let summary = std::fs::read(folder.join("out/summary.json")).unwrap();
    serde_json::from_slice(&summary).unwrap()
}

#[test]
fn a_provisioner_killed_in_the_middle_loses_no_node_and_signs_no_key_twice() {
    // Sixty nodes must take long enough to arrive for the kill to fall among them, on any machine.
    let text = scenario("provisioner-killed.toml").replace("\"1000/s\"", "\"30/s\"");
    assert!(text.contains("\"30/s\""), "the scenario's pace changed");
    let folder = tempfile::tempdir().unwrap();
    let summary = passes(folder.path(), &text, 60);
    assert_eq!(summary["nodes"]["confirmed"], 60);
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["enrolment"]["keys_signed_twice"], 0);
    assert_eq!(summary["faults"][0]["happened"], true);
    assert_eq!(summary["rounds"]["ping-all/ping"]["missing"], 0);
}

/// A round of pings to everybody who is expected to answer.
const ASK: &str = r#"
[[phase]]
name = "ask"
  [[phase.op]]
  do      = "request"
  name    = "ping"
  to      = "all"
  expect  = "one-reply-per-node"
  collect = "20s"
  pace    = { model = "open", kind = "every", every = "1s", count = 1 }

[[assert]]
phase = "ask"
that  = ["ping.missing == 0"]
"#;

#[test]
fn dead_nodes_are_parked_and_keep_no_live_one_waiting() {
    // The phase goes on until the dead have been asked in vain, too.
    let barrier = "until   = { every = \"confirmed\", ratio = 1.0 }\ntimeout = \"15m\"";
    let settled =
        "until   = { every = \"confirmed\", ratio = 1.0, settle = \"4s\" }\ntimeout = \"90s\"";
    let text = scenario("provision-burst-20k.toml");
    assert!(text.contains(barrier), "the scenario's barrier changed");
    let folder = tempfile::tempdir().unwrap();
    let text = text.replace(barrier, settled) + ASK;
    let summary = passes(folder.path(), &text, 60);
    assert_eq!(summary["nodes"]["confirmed"], 48);
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["enrolment"]["certificates_issued"], 48);
    assert_eq!(summary["rounds"]["ask/ping"]["expected"], 48);
    assert_eq!(summary["rounds"]["ask/ping"]["replies"], 48);

    let site = folder.path().join("out/site");
    let output = Command::new(provisioner())
        .args(["nodes", "--json", "--config"])
        .arg(site.join("provisioner.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let nodes: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |fleet: &str| {
        let own = |node: &&serde_json::Value| node["identity"].as_str().unwrap().contains(fleet);
        nodes.iter().filter(own).collect::<Vec<_>>()
    };
    assert_eq!((of("dead").len(), of("alive").len()), (12, 48));
    for node in of("dead") {
        // Parked, or at this moment asked once more.
        let (state, code) = (node["state"].as_str(), node["code"].as_str());
        assert!(matches!(state, Some("parked" | "working")), "{node}");
        assert!(
            matches!(code, Some("node.silent" | "rpc.timeout")),
            "{node}"
        );
    }
    for node in of("alive") {
        assert_eq!(node["state"], "confirmed", "{node}");
    }
}
