//! The alert rules and the dashboard of deploy/, judged by Prometheus' own tool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");
const ALERTS: &str = include_str!("../../../deploy/prometheus/muster-alerts.yaml");
const CASES: &str = include_str!("../../../deploy/prometheus/muster-alerts-test.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/muster-provisioner.json");

/// promtool where `make test` puts it, or on the path.
fn promtool() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/promtool");
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("promtool"));
    let found = [ours].into_iter().chain(found).find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no promtool; `make test` fetches it");
    }
    found
}

/// What promtool says, which has to be good.
fn passes(promtool: &Path, folder: &Path, arguments: &[&str]) {
    let mut command = Command::new(promtool);
    let done = command.args(arguments).current_dir(folder).output();
    let done = done.expect("promtool runs");
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(done.status.success(), "{arguments:?}: {said}");
    assert!(said.contains("SUCCESS"), "{arguments:?}: {said}");
}

#[test]
fn each_alert_fires_on_what_it_is_for_and_on_nothing_else() {
    let Some(promtool) = promtool() else { return };
    passes(
        &promtool,
        Path::new(FOLDER),
        &["check", "rules", "muster-alerts.yaml"],
    );
    passes(
        &promtool,
        Path::new(FOLDER),
        &["test", "rules", "muster-alerts-test.yaml"],
    );
}

#[test]
fn no_alert_is_without_a_case() {
    let after = |text: &'static str, start: &str| -> BTreeSet<&'static str> {
        let starts = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix(start));
        starts.collect()
    };
    let alerts = after(ALERTS, "- alert: ");
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(alerts, after(CASES, "- name: "));
}

#[test]
fn every_panel_asks_what_prometheus_understands() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let rules: Vec<_> = targets
        .enumerate()
        .map(|(n, target)| {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression.replace("$instance", ".+");
            serde_json::json!({ "record": format!("panel_{n}"), "expr": expression })
        })
        .collect();
    assert!(rules.len() > 20, "{} panels ask something", rules.len());
    let Some(promtool) = promtool() else { return };
    // YAML is a superset of JSON.
    let file = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("panels.yaml"), file.to_string()).unwrap();
    passes(&promtool, folder.path(), &["check", "rules", "panels.yaml"]);
}
