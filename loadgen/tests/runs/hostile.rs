//! Hostile nodes of every kind among honest ones, and what our provisioner makes of each.

use std::collections::BTreeMap;

use loadgen::scenario::{Behaviour, Outcome};
use serde_json::json;

use super::support::{Stage, shipped};

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
    let program = super::support::provisioner();
    let args = ["--set", "honest=2", "--set", "each=1", "--provisioner"];
    let output = stage.run(&args).arg(program).output().unwrap();
    let said = super::support::said(&output);
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
