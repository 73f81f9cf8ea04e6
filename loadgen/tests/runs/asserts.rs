//! Asserts that look beyond one finished run: at one that goes on, and at an earlier one.

use std::path::Path;

use super::support::{Stage, said};

const ASK: &str = include_str!("../data/ask.toml");

const ASSERTS: &str = r#"
[[phase]]
name     = "after"
duration = "1s"
  [[phase.op]]
  do   = "request"
  name = "last"

[[assert]]
phase    = "ask"
baseline = "base"
that     = ["ping.missing <= baseline * 2", "ping.rounds <= baseline * 1.5"]

[[assert]]
phase = "ask"
that  = ["ping.rounds <= ${most}"]
abort = { grace = "250ms", lasting = "500ms" }
"#;

#[test]
fn a_breached_assert_ends_the_run_and_a_passing_one_is_what_it_is_compared_with() {
    let text = ASK.replace("nodes = 10", "nodes = 10\nmost = 1_000");
    // Long enough for the breach to last on a machine that is busy with other tests.
    let text = text.replace("duration = \"3s\"", "duration = \"6s\"");
    let stage = Stage::new(&format!("{text}{ASSERTS}"));
    let run = |out: &str, args: &[&str]| {
        let mut command = stage.loadgen(&["run", "scenario.toml", "--out", out]);
        let output = command.args(args).output().unwrap();
        (output.status.code(), said(&output))
    };
    let read = |out: &str, name: &str| -> serde_json::Value {
        let text = std::fs::read(stage.path().join(out).join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    };

    let (code, told) = run("none", &[]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("baseline = \"base\": there is no such folder"),
        "{told}"
    );
    assert!(!stage.path().join("none").exists());

    let (code, told) = run("base", &["--no-baseline"]);
    assert_eq!(code, Some(0), "{told}");
    let rounds = read("base", "metrics.json")["metrics"]["ask/ping.rounds"]["value"].clone();
    assert!(rounds.as_f64().unwrap() >= 8.0, "{rounds}");
    assert_eq!(
        read("base", "manifest.json")["settings"]["baseline"],
        "not compared with"
    );

    let (code, told) = run("other", &["--set", "nodes=20"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(
        told.contains("did other work: nodes = 10 there, 20 here"),
        "{told}"
    );

    let (code, told) = run("ended", &["--set", "most=3"]);
    assert_eq!(code, Some(11), "{told}");
    assert!(
        told.contains("ping.rounds <= 3 (phase ask) ended the run: it is"),
        "{told}"
    );
    let verdict = read("ended", "verdict.json");
    assert_eq!(
        (&verdict["outcome"], &verdict["exit_code"]),
        (&"aborted".into(), &11.into())
    );
    let by = &verdict["aborted_by"];
    let lasted = by["at_us"].as_u64().unwrap() - by["since_us"].as_u64().unwrap();
    assert!((500_000..2_000_000).contains(&lasted), "{by}");
    assert!(
        by["value"].as_f64().unwrap() > 3.0 && by["limit"] == 3.0,
        "{by}"
    );
    let against = &verdict["asserts"][1];
    assert_eq!(against["baseline"]["value"], rounds);
    assert_eq!(
        against["limit"].as_f64().unwrap(),
        rounds.as_f64().unwrap() * 1.5
    );
    let manifest = read("ended", "manifest.json");
    assert_eq!(
        manifest["baselines"][0]["run"],
        read("base", "manifest.json")["run"]
    );
    assert_eq!(manifest["state"], "aborted");
    // What had not begun did not begin, and what ran until then is told.
    let summary = read("ended", "summary.json");
    assert!(summary["ops"]["after/last"].is_null() && summary["rounds"]["ask/ping"].is_object());
    assert!(left_of(stage.path()).is_empty());
}

/// Brokers of a run in this folder that are still there.
fn left_of(folder: &Path) -> Vec<i32> {
    let wanted = folder.display().to_string();
    let all = procfs::process::all_processes().unwrap().flatten();
    let own = all.filter(|process| {
        let command = process.cmdline().unwrap_or_default().join(" ");
        command.contains("nats-server") && command.contains(&wanted)
    });
    own.map(|process| process.pid).collect()
}
