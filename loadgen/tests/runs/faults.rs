//! Faults on real brokers, and what a fleet makes of them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{Stage, found, said};

/// A fleet on a cluster of three, watched while a fault falls: events of its nodes, and ten of them
/// asked over and over.
const FLEET: &str = r#"
schema = 1
name   = "faults"
about  = "What becomes of a fleet?"
seed   = 11

[params]
nodes = 60

[topology]
manage = "local"

[[topology.broker]]
name  = "hub"
count = 3
tls   = "none"

[provisioner]
manage = "none"

[[fleet]]
name      = "nodes"
nodes     = "${nodes}"
start     = "production"
reconnect = { policy = "jitter", min = "300ms", max = "2s", spread = "500ms" }

[[phase]]
name    = "connect"
until   = { every = "connected", ratio = 1.0 }
timeout = "60s"
  [[phase.op]]
  do    = "connect"
  fleet = "*"
  pace  = { model = "open", kind = "constant", rate = "200/s" }

[[phase]]
name     = "steady"
duration = "1s"
  [[phase.op]]
  do    = "publish"
  name  = "event"
  fleet = "*"
  body  = "128B"
  pace  = { model = "open", kind = "constant", rate = "40/s" }
  [[phase.op]]
  do      = "request"
  name    = "canary"
  to      = "random:10"
  collect = "1s"
  pace    = { model = "open", kind = "every", every = "500ms" }
"#;

/// A phase in which `fault` falls under the traffic of the phase before.
fn storm(name: &str, fault: &str) -> String {
    format!(
        "\n[[phase]]\nname = \"{name}\"\nkeep = [\"steady\"]\n\
         until = {{ every = \"connected\", ratio = 1.0, settle = \"1s\" }}\ntimeout = \"90s\"\n\
         [[phase.op]]\ndo = \"fault\"\n{fault}\n"
    )
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

/// The recovery curve of one storm: t_ms, down, back, lost, attempts, failed.
fn curve(folder: &Path, storm: &str) -> Vec<[u64; 6]> {
    let mut rows = csv::Reader::from_path(folder.join("out/reconnect.csv")).unwrap();
    let rows = rows.records().map(Result::unwrap);
    let own = rows.filter(|row| &row[0] == storm);
    own.map(|row| [3, 4, 5, 6, 7, 8].map(|column| row[column].parse().unwrap()))
        .collect()
}

#[test]
fn a_third_of_the_fleet_loses_its_broker_and_comes_back_to_the_others() {
    let fault = "kind = \"kill\"\ntarget = \"hub-2\"\nat = \"1s\"\ndown = \"3s\"";
    let asserts = r#"
[[assert]]
phase = "storm"
that  = [
  "reconnect.affected >= 15", "reconnect.affected <= 25", "reconnect.back_ratio == 1",
  "reconnect.fall_to_all <= 2s", "reconnect.time_to_all == 0s",
  "reconnect.attempts_per_node.mean <= 1.2", "broker.slow_consumers.delta == 0",
  "canary.first_ok_after_up <= 3s", "fault.happened == 1", "event.sent >= 40",
]
"#;
    let scenario = format!("{FLEET}{}{asserts}", storm("storm", fault));
    let stage = Stage::new(&scenario);
    let (summary, said) = stage.passes(&[]);
    for part in [
        "fault=kill target=hub-2 state=fell",
        "fault=kill target=hub-2 state=up away=3",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let storm = &summary["storms"][0];
    assert_eq!(storm["targets"], serde_json::json!(["hub-2"]));
    assert!(number(&storm["down_us"]) >= 3_000_000, "{storm}");
    assert_eq!(storm["moved"], 0);
    assert!(number(&storm["back_us"]["p50"]) <= number(&storm["back_us"]["max"]));
    let curve = curve(stage.path(), "1");
    assert!(curve.len() >= 30, "{curve:?}");
    for pair in curve.windows(2) {
        assert_eq!(pair[1][0] - pair[0][0], 100, "a row every 100 ms");
        for column in [2, 3, 4, 5] {
            assert!(pair[0][column] <= pair[1][column], "{pair:?}");
        }
    }
    let last = curve.last().unwrap();
    assert_eq!((last[1], last[2]), (0, number(&storm["affected"])));
    assert_eq!(last[4], number(&storm["attempts"]));
    let tcp = &summary["connect"]["tcp_us"];
    assert!(number(&tcp["max"]) > 0 && summary["connect"]["tls_us"]["max"].is_null());
}

#[test]
fn a_frozen_broker_keeps_its_nodes_and_a_restarted_one_gets_none_back_by_force() {
    let freeze = "kind = \"freeze\"\ntarget = \"hub-1\"\nat = \"500ms\"\ndown = \"3s\"";
    let restart = "kind = \"restart\"\ntarget = \"hub-3\"\nat = \"500ms\"\ndown = \"1s\"";
    let asserts = r#"
[[assert]]
phase = "frozen"
that  = ["reconnect.affected == 0", "canary.missing >= 0"]

[[assert]]
phase = "restarted"
that  = ["reconnect.affected >= 10", "reconnect.back_ratio == 1"]
"#;
    let phases = storm("frozen", freeze) + &storm("restarted", restart);
    let stage = Stage::new(&format!("{FLEET}{phases}{asserts}"));
    let (summary, _) = stage.passes(&[]);
    // Nodes on the frozen broker were asked and did not answer, or the caller was on it itself.
    let canary = &summary["rounds"]["frozen/canary"];
    let disturbed = number(&canary["missing"]) + number(&canary["interrupted"]);
    assert!(disturbed > 0, "{canary}");
    assert_eq!(summary["rounds"]["steady/canary"]["missing"], 0);
}

#[test]
fn a_lame_duck_is_left_in_time_by_every_node() {
    let fault = "kind = \"lame-duck\"\ntarget = \"hub-1\"\nat = \"200ms\"\ndown = \"100ms\"";
    let asserts = r#"
[[assert]]
phase = "goodbye"
that  = ["reconnect.affected >= 3", "reconnect.back_ratio == 1", "reconnect.attempts_per_node.mean == 1", "event.lost == 0", "event.errors == 0"]
"#;
    let scenario = format!("{FLEET}{}{asserts}", storm("goodbye", fault));
    let scenario = scenario.replace("nodes = 60", "nodes = 24");
    let stage = Stage::new(&scenario);
    let (summary, _) = stage.passes(&[]);
    let storm = &summary["storms"][0];
    assert_eq!(storm["moved"], storm["affected"], "{storm}");
}

#[test]
fn a_fleet_without_any_broker_returns_when_they_do() {
    let fault = "kind = \"kill\"\ntarget = \"hub-*\"\nat = \"500ms\"\ndown = \"3s\"";
    let asserts = r#"
[[assert]]
phase = "dark"
that  = ["reconnect.affected == 60", "reconnect.back == 60", "reconnect.time_to_all <= 15s", "reconnect.failed >= 60", "canary.interrupted >= 0"]
"#;
    let scenario = format!("{FLEET}{}{asserts}", storm("dark", fault));
    let stage = Stage::new(&scenario);
    let (summary, said) = stage.passes(&[]);
    assert_eq!(summary["storms"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(summary["faults"].as_array().unwrap().len(), 3);
    assert_eq!(curve(stage.path(), "1").last().unwrap()[1], 0);
}

#[test]
fn a_broker_that_does_not_come_back_fails_the_run_with_its_last_words() {
    let fault = "kind = \"kill\"\ntarget = \"hub-2\"\nat = \"100ms\"\ndown = \"4s\"";
    let scenario = format!("{FLEET}{}", storm("storm", fault));
    let stage = Stage::new(&scenario);
    let child = stage.run(&[]).spawn().unwrap();
    let port = found("the broker listens", || port_of(stage.path(), "hub-2.conf"));
    // It is held as soon as the killed broker lets go of it.
    let taken = found("its port is free", || {
        TcpListener::bind(("127.0.0.1", port)).ok()
    });
    let output = child.wait_with_output().unwrap();
    drop(taken);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(14), "{said}");
    assert!(
        said.contains("broker hub-2 ended with exit status 1"),
        "{said}"
    );
    assert!(said.contains("address already in use"), "{said}");
}

#[test]
fn nodes_that_leave_and_come_back_are_all_there_in_the_end() {
    let phases = r#"
[[phase]]
name     = "churning"
duration = "4s"
  [[phase.op]]
  do    = "churn"
  fleet = "*"
  away  = "300ms"
  pace  = { model = "open", kind = "constant", rate = "15/s" }

[[phase]]
name    = "settled"
until   = { every = "connected", ratio = 1.0, settle = "500ms" }
timeout = "30s"
  [[phase.op]]
  do      = "request"
  name    = "roll-call"
  to      = "all"
  collect = "10s"
  pace    = { model = "open", kind = "every", every = "1s", count = 1 }

[[assert]]
phase = "churning"
that  = ["churn.left >= 20", "churn.errors == 0"]

[[assert]]
phase = "settled"
that  = ["roll-call.missing == 0", "roll-call.expected == 60"]
"#;
    let stage = Stage::new(&format!("{FLEET}{phases}"));
    let (summary, said) = stage.passes(&[]);
    let churn = &summary["ops"]["churning/churn"];
    assert!(number(&churn["count"]) >= 20, "{churn}");
    // Leaving on purpose is no loss.
    assert_eq!(summary["storms"], serde_json::json!([]), "{said}");
    assert!(!said.contains("lost_per_s"), "{said}");
}

/// The port of clients in a broker's configuration, once its broker listens there.
fn port_of(folder: &Path, name: &str) -> Option<u16> {
    let file = find(folder, name)?;
    let config: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    let port: u16 = config["listen"]
        .as_str()?
        .rsplit_once(':')?
        .1
        .parse()
        .ok()?;
    std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    Some(port)
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries.map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            find(&path, name)
        } else {
            path.ends_with(name).then_some(path)
        }
    })
}
