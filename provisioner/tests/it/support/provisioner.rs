//! The provisioner as a child process, and its answers.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::until;

/// The binary under test.
pub(crate) fn provisioner() -> Command {
    Command::new(env!("CARGO_BIN_EXE_provisioner"))
}

/// A running `provisioner run`; killed when dropped.
pub(crate) struct Provisioner {
    child: Child,
    config: PathBuf,
    log: PathBuf,
}

impl Provisioner {
    /// Starts it; its log goes beside the configuration.
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_with(config, &[])
    }

    /// Starts it with these environment variables.
    pub(crate) fn start_with(config: &Path, variables: &[(&str, &str)]) -> Self {
        let log = config.with_extension("log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = provisioner()
            .args(["run", "--config"])
            .arg(config)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let config = config.to_owned();
        Self { child, config, log }
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; returns the exit status.
    pub(crate) async fn stop(&mut self) -> i32 {
        let id = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        let child = &mut self.child;
        until("the end of the provisioner", || child.try_wait().unwrap())
            .await
            .code()
            .unwrap()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Processor time it used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: u64 = [11, 12]
            .iter()
            .map(|&i| fields[i].parse::<u64>().unwrap())
            .sum();
        // Linux tells in hundredths of a second.
        Duration::from_millis(ticks * 10)
    }

    /// Memory it holds, KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        line.unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// A second process asks.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        self.try_ask(args)
            .unwrap_or_else(|said| panic!("{said}\n{}", self.log()))
    }

    fn try_ask(&self, args: &[&str]) -> Result<Value, String> {
        let done = provisioner()
            .args(args)
            .arg("--json")
            .arg("--config")
            .arg(&self.config)
            .output();
        let done = done.unwrap();
        if done.status.code().is_none_or(|code| code > 1) {
            return Err(String::from_utf8_lossy(&done.stderr).into_owned());
        }
        serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())
    }

    /// The status once it pleases.
    pub(crate) async fn status_when(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.ask_until(what, &["status"], wanted).await
    }

    /// What `show` says of a node once it pleases.
    pub(crate) async fn show_when(&self, node: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.ask_until(&format!("a state of {node}"), &["show", node], wanted)
            .await
    }

    /// Waits until what `/metrics` says pleases.
    pub(crate) async fn metrics_when(&self, wanted: impl Fn(&str) -> bool) -> String {
        let address = self.ask(&["status"])["http"].as_str().unwrap().to_owned();
        until("a metric", || {
            Some(metrics(&address)).filter(|text| wanted(text))
        })
        .await
    }

    async fn ask_until(&self, what: &str, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = std::time::Instant::now();
        loop {
            // There is no ledger yet in the first moments.
            let answer = self.try_ask(args).unwrap_or_else(|said| said.into());
            if wanted(&answer) {
                return answer;
            }
            assert!(
                begin.elapsed() < super::LONG,
                "waited in vain for {what}; last answer: {answer:#}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Provisioner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the provisioner\n{}", self.log());
        }
    }
}

fn metrics(address: &str) -> String {
    get(address, "/metrics")
}

/// One plain request, so that no client has to be a dependency.
pub(crate) fn get(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else {
        return String::new();
    };
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
