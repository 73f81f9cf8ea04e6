//! The whole path: nodes without credentials are enrolled by a real provisioner, which is killed in
//! the middle of it, while dead nodes among them cost the others nothing.

use super::support::{Stage, shipped};

#[test]
fn a_provisioner_killed_in_the_middle_loses_no_node_and_signs_no_key_twice() {
    // Sixty nodes must take long enough to arrive for the kill to fall among them, on any machine.
    let text = shipped("provisioner-killed.toml").replace("\"1000/s\"", "\"30/s\"");
    assert!(text.contains("\"30/s\""), "the scenario's pace changed");
    let summary = Stage::new(&text).enrols(&["nodes=60"]);
    assert_eq!(summary["nodes"]["confirmed"], 60);
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["enrolment"]["keys_signed_twice"], 0);
    assert_eq!(summary["faults"][0]["happened"], true);
    assert_eq!(summary["rounds"]["ping-all/ping"]["missing"], 0);
}

#[test]
fn one_of_two_provisioners_is_killed_for_good_and_the_other_enrols_all() {
    let text = shipped("provisioner-failover.toml").replace("\"1000/s\"", "\"30/s\"");
    assert!(text.contains("\"30/s\""), "the scenario's pace changed");
    let summary = Stage::new(&text).enrols(&["nodes=60"]);
    assert_eq!(summary["nodes"]["confirmed"], 60);
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["enrolment"]["keys_signed_twice"], 0);
    assert_eq!(summary["faults"][0]["target"], "provisioner-1");
    assert_eq!(summary["faults"][0]["happened"], true);
    assert_eq!(summary["rounds"]["ping-all/ping"]["missing"], 0);
}

/// The same in a network of server tokens, which the members of a group issue in turn.
#[test]
fn one_of_two_issuers_of_tokens_is_killed_for_good_and_every_node_has_one() {
    let text = shipped("provisioner-failover.toml");
    let (mutual, server) = ("tls  = \"mutual\"", "tls  = \"server\"");
    let (two, tokens) = ("count  = 2", "count  = 2\nissues = \"tokens\"");
    for part in ["\"1000/s\"", mutual, two] {
        assert!(text.contains(part), "the scenario has no {part} any more");
    }
    let text = text.replace("\"1000/s\"", "\"30/s\"");
    let text = text.replace(mutual, server).replace(two, tokens);
    let summary = Stage::new(&text).enrols(&["nodes=60"]);
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
    let text = shipped("provision-burst-20k.toml");
    assert!(text.contains(barrier), "the scenario's barrier changed");
    let stage = Stage::new(&(text.replace(barrier, settled) + ASK));
    let summary = stage.enrols(&["nodes=60"]);
    assert_eq!(summary["nodes"]["confirmed"], 48);
    assert_eq!(summary["nodes"]["stuck"], 0);
    assert_eq!(summary["enrolment"]["certificates_issued"], 48);
    assert_eq!(summary["rounds"]["ask/ping"]["expected"], 48);
    assert_eq!(summary["rounds"]["ask/ping"]["replies"], 48);

    let nodes = stage.nodes();
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
