//! Whole runs against real brokers, and runs that must be refused.

use std::path::Path;
use std::process::Child;

use super::support::{Stage, eventually, said};

/// Forty nodes that start in production, asked, publishing and leaving; no provisioner.
const PRODUCTION: &str = r#"
schema = 1
name   = "production"
about  = "nodes with certificates from the start"
seed   = 7

[topology]
manage = "local"

[[topology.broker]]
name = "hub"
tls  = "TLS"

[provisioner]
manage = "none"

[[fleet]]
name  = "nodes"
nodes = 40
start = "production"
facts = { site = ["ams", "fra"] }

[[phase]]
name    = "connect"
until   = { every = "connected", ratio = 1.0 }
timeout = "60s"
  [[phase.op]]
  do    = "connect"
  fleet = "*"
  pace  = { model = "open", kind = "constant", rate = "100/s" }

[[phase]]
name = "ask"
  [[phase.op]]
  do      = "request"
  name    = "ping"
  to      = "all"
  expect  = "one-reply-per-node"
  collect = "20s"
  pace    = { model = "open", kind = "every", every = "300ms", count = 3 }
  [[phase.op]]
  do      = "request"
  name    = "echo"
  to      = "random:5"
  agent   = "muster"
  action  = "echo"
  data    = { size = 16 }
  expect  = "one-reply-per-node"
  collect = "20s"
  pace    = { model = "closed", kind = "in-flight", limit = 1, count = 4 }

[[phase]]
name     = "steady"
duration = "2s"
  [[phase.op]]
  do    = "publish"
  name  = "event"
  fleet = "*"
  body  = "256B"
  pace  = { model = "open", kind = "poisson", rate = "50/s" }

[[phase]]
name = "leave"
  [[phase.op]]
  do    = "disconnect"
  fleet = "*"
  pace  = { model = "open", kind = "constant", rate = "200/s" }

[[assert]]
phase = "connect"
that  = ["connect.ok == 40", "connect.errors == 0"]

[[assert]]
phase = "ask"
that  = ["ping.missing == 0", "ping.duplicate == 0", "ping.rounds == 3", "echo.missing == 0", "echo.expected == 20"]

[[assert]]
phase = "steady"
that  = ["event.lost == 0", "event.errors == 0", "event.sent >= 20"]

[[assert]]
phase = "leave"
that  = ["disconnect.ok == 40"]
"#;

/// Processes that have `folder` on their command line: the brokers of a run in it.
fn left_in(folder: &Path) -> Vec<i32> {
    let wanted = folder.display().to_string();
    let all = procfs::process::all_processes().unwrap();
    all.flatten()
        .filter(|process| {
            let command = process.cmdline().unwrap_or_default();
            let own = command
                .first()
                .is_some_and(|first| first.contains("nats-server"));
            own && command.iter().any(|word| word.contains(&wanted))
        })
        .map(|process| process.pid)
        .collect()
}

#[test]
fn a_fleet_in_production_does_everything_it_is_asked_over_tls_and_plain() {
    for tls in ["mutual", "none"] {
        let stage = Stage::new(&PRODUCTION.replace("TLS", tls));
        let (summary, said) = stage.passes(&[]);
        assert!(said.contains("PASS  11 of 11 asserts"), "{said}");
        assert_eq!(summary["nodes"]["connected"], 40);
        assert_eq!(summary["rounds"]["ask/ping"]["replies"], 120);
        assert_eq!(left_in(stage.path()), [] as [i32; 0]);
    }
}

/// A fleet that is being held up; its announcement goes into the file `said`.
fn start_holding(stage: &Stage) -> Child {
    let args = ["up", "scenario.toml", "--out", "up", "--quiet"];
    let announcement = std::fs::File::create(stage.path().join("said")).unwrap();
    let mut command = stage.loadgen(&args);
    command.stdout(announcement).spawn().unwrap()
}

#[test]
fn a_fleet_is_held_up_until_ctrl_c_and_then_gone() {
    let stage = Stage::new(&PRODUCTION.replace("TLS", "none"));
    let child = start_holding(&stage);
    eventually("the whole fleet answers", || {
        let said = std::fs::read_to_string(stage.path().join("said")).unwrap();
        said.starts_with("40 nodes are up on ")
    });
    assert!(!left_in(stage.path()).is_empty());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(left_in(stage.path()), [] as [i32; 0]);
    let up = stage.path().join("up");
    for name in [
        "ca.pem",
        "nats.json",
        "operator.mcollective.key",
        "choria.conf",
    ] {
        assert!(up.join(name).is_file(), "{name}");
    }
}

#[test]
fn kill_minus_nine_leaves_nothing_behind() {
    let stage = Stage::new(&PRODUCTION.replace("TLS", "none"));
    let mut child = start_holding(&stage);
    eventually("the broker runs", || !left_in(stage.path()).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the broker is gone", || left_in(stage.path()).is_empty());
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_starts() {
    let stage = Stage::new(&PRODUCTION.replace("TLS", "mutual"));
    let file = "scenario.toml";
    let full = stage.path().join("full");
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("something"), "").unwrap();
    let huge = PRODUCTION
        .replace("TLS", "none")
        .replace("nodes = 40", "nodes = 5000000");
    std::fs::write(stage.path().join("huge.toml"), huge).unwrap();
    let settled = PRODUCTION
        .replace("TLS", "none")
        .replace("every = \"connected\"", "every = \"settled\"");
    std::fs::write(stage.path().join("settled.toml"), settled).unwrap();
    let cases: [(&[&str], i32, &str); 6] = [
        (
            &["run", file, "--nats-server", "/nowhere"],
            3,
            "--nats-server PATH",
        ),
        (&["run", file, "--out", "full"], 3, "is not empty"),
        (
            &["run", file, "--out", "/proc/nowhere"],
            3,
            "cannot be written",
        ),
        (&["run", "huge.toml"], 3, "ulimit -n"),
        (&["run", "settled.toml"], 2, "without a provisioner"),
        (&["run", "missing.toml"], 2, "missing.toml"),
    ];
    for (args, code, part) in cases {
        let output = stage.loadgen(args).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
    assert!(!stage.path().join("results").exists());
}
