//! Hostile nodes of every kind among honest ones, and what our provisioner makes of each.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use loadgen::scenario::{Behaviour, Outcome};
use serde_json::json;

use super::support::{Stage, eventually, provisioner, said, shipped};

#[test]
fn every_kind_of_hostile_node_gets_its_own_answer_and_the_honest_are_enrolled() {
    let stage = Stage::new(&shipped("hostile-nodes.toml"));
    let summary = stage.enrols(&["honest=20", "each=1"]);
    assert_eq!(summary["nodes"]["confirmed"], 21, "honest and slow ones");
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["rounds"]["ping-all/ping"]["expected"], 63);
    let told = summary["enrolment"]["outcomes"].as_array().unwrap();
    assert_eq!(told.len(), Behaviour::ALL.len(), "a fleet of each");

    // The provisioner's own word, asked after the run.
    let nodes = stage.nodes();
    let by_name: BTreeMap<&str, (&str, Option<&str>)> = nodes
        .iter()
        .map(|node| {
            let name = node["identity"].as_str().unwrap();
            (
                name,
                (node["state"].as_str().unwrap(), node["code"].as_str()),
            )
        })
        .collect();
    assert_eq!(nodes.len(), 20 + Behaviour::ALL.len() - 1);
    for behaviour in Behaviour::ALL {
        let name = format!("{behaviour}-00001.example.net");
        let (state, code) = by_name[name.as_str()];
        let (outcome, reason) = behaviour.outcome();
        assert_eq!(code, reason, "{name}");
        match outcome {
            // A parked node may be at its next try at this moment.
            Outcome::Parked => assert!(["parked", "queued", "working"].contains(&state)),
            other => assert_eq!(state, other.word(), "{name}"),
        }
    }
}

#[test]
fn another_outcome_than_the_expected_one_fails_the_run_and_is_told() {
    // The provisioner is right to park this node; the scenario says that it must enrol it.
    let fleet = "nodes     = \"${each}\"\nbehaviour = \"wrong-name\"\n";
    let text = shipped("hostile-nodes.toml");
    assert!(text.contains(fleet), "the scenario's fleet changed");
    let wanted = format!("{fleet}code      = \"csr.pem_format\"\n");
    let text = text.replace(fleet, &wanted).replace("\"90s\"", "\"8s\"");
    let stage = Stage::new(&text);
    let args = ["--set", "honest=2", "--set", "each=1", "--provisioner"];
    let output = stage.run(&args).arg(provisioner()).output().unwrap();
    let said = said(&output);
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("phase enrol timed out at 17 of 18 nodes"),
        "{said}"
    );
    let summary = stage.json("summary.json");
    let told = summary["enrolment"]["outcomes"].as_array().unwrap();
    let of = told.iter().find(|of| of["fleet"] == "wrong-name").unwrap();
    assert_eq!(of["as_expected"], 0);
    assert_eq!(of["found"], json!({ "parked csr.identity_mismatch": 1 }));
}

#[test]
fn a_provisioner_of_somebody_else_is_judged_by_who_gets_to_production() {
    let text = shipped("hostile-nodes.toml")
        .replace(
            "[provisioner]\nmanage = \"local\"",
            "[provisioner]\nmanage = \"external\"",
        )
        .replace(
            "every = \"settled\", ratio = 1.0",
            "every = \"confirmed\", settle = \"3s\"",
        )
        .replace(", \"enrol.keys_signed_twice == 0\"", "");
    let stage = Stage::new(&text);
    let run = stage
        .run(&["--set", "honest=10", "--set", "each=1"])
        .spawn()
        .unwrap();
    // Here somebody else is our own, started by hand with what the run has written for it.
    let config = stage.out().join("site/provisioner.toml");
    eventually("the run's provisioner.toml is written", || config.is_file());
    let mut theirs = Command::new(provisioner())
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = run.wait_with_output().unwrap();
    theirs.kill().unwrap();
    theirs.wait().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = stage.json("summary.json");
    assert_eq!(summary["nodes"]["confirmed"], 11, "{said}");
    assert!(summary["enrolment"]["certificates_issued"].is_null());
    let told = summary["enrolment"]["outcomes"].as_array().unwrap();
    let of = told.iter().find(|of| of["fleet"] == "wrong-name").unwrap();
    assert_eq!(of["found"], json!({ "not enrolled": 1 }));
}
