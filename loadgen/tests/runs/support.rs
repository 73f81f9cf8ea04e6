//! What every run needs: the programs, a folder with a scenario in it, and a look at what is left.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use loadgen::formation::nats_server::NatsServer;
use serde_json::Value;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_loadgen");

/// The broker's program.
pub(crate) fn nats_server() -> NatsServer {
    let mut found = NatsServer::find(None).expect("nats-server: run tools/bootstrap");
    found.path = std::path::absolute(found.path).unwrap();
    found
}

/// The provisioner beside the program. Tests of the whole workspace have built it before any test
/// runs; tests of this package alone build it where it is missing.
pub(crate) fn provisioner() -> PathBuf {
    let beside = Path::new(PROGRAM).with_file_name("provisioner");
    if !beside.is_file() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "provisioner"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let built = build.current_dir(root()).status().unwrap();
        assert!(built.success() && beside.is_file(), "{}", beside.display());
    }
    beside
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A scenario of this project, made fit for a machine that is shared with other tests: how late
/// timers fire there says nothing.
pub(crate) fn shipped(name: &str) -> String {
    let text = std::fs::read_to_string(root().join("scenarios").join(name)).unwrap();
    let judged_here = |line: &&str| !line.starts_with("gen_sched_lag_p99");
    let lines: Vec<&str> = text.lines().filter(judged_here).collect();
    lines.join("\n") + "\n"
}

/// The program, as a test starts it.
pub(crate) fn loadgen(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .env("NATS_SERVER", nats_server().path)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a program said on both its outputs.
pub(crate) fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

/// Waits until something is there.
pub(crate) fn found<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    found(what, || holds().then_some(()));
}

/// A folder with a scenario in it, and what a run leaves there.
pub(crate) struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    /// A folder of its own with the scenario `text`.
    pub(crate) fn new(text: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), text)
    }

    /// The same in a folder with more files.
    pub(crate) fn within(folder: tempfile::TempDir, text: &str) -> Self {
        std::fs::write(folder.path().join("scenario.toml"), text).unwrap();
        Self { folder }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the results are.
    pub(crate) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// The program in this folder.
    pub(crate) fn loadgen(&self, args: &[&str]) -> Command {
        let mut command = loadgen(args);
        command.current_dir(self.path());
        command
    }

    /// A run of the scenario that has not begun.
    pub(crate) fn run(&self, args: &[&str]) -> Command {
        let mut command = self.loadgen(&["run", "scenario.toml", "--out", "out"]);
        command.args(["--progress", "lines"]).args(args);
        command
    }

    /// Runs the scenario, which must pass; answers its summary and what it said.
    pub(crate) fn passes(&self, args: &[&str]) -> (Value, String) {
        let output = self.run(args).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        (self.json("summary.json"), said)
    }

    /// The same with a provisioner and so many nodes.
    pub(crate) fn enrols(&self, sets: &[&str]) -> Value {
        let program = provisioner();
        let mut args = vec!["--provisioner", program.to_str().unwrap()];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        self.passes(&args).0
    }

    /// One of the files of the results.
    pub(crate) fn json(&self, name: &str) -> Value {
        let text = std::fs::read(self.out().join(name)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// What the provisioner of the run says of each node, now that it is gone.
    pub(crate) fn nodes(&self) -> Vec<Value> {
        let output = Command::new(provisioner())
            .args(["nodes", "--json", "--config"])
            .arg(self.out().join("site/provisioner.toml"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}
