//! `manifest.json`: who ran what, where and with which seed. Written first, closed last.

use std::collections::BTreeMap;
use std::fs;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::assert::BaselineRun;
use crate::control::crew::Member;
use crate::formation::relay::LineSeen;
use crate::plan::Plan;
use crate::preflight::{Finding, Machine};
use crate::scenario::Scenario;

/// `manifest.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// Version of this file.
    pub schema: u32,
    /// Identifier of the run.
    pub run: String,
    /// The tool.
    pub tool: Tool,
    /// The scenario.
    pub scenario: ScenarioIdentity,
    /// The command line, secrets taken out.
    pub command: Vec<String>,
    /// Start, UTC.
    pub started: jiff::Timestamp,
    /// End, UTC; `null` while it runs, and for ever when it was killed.
    pub ended: Option<jiff::Timestamp>,
    /// Length on a clock that never steps, µs.
    pub duration_us: Option<u64>,
    /// `running`, and at the end the outcome.
    pub state: String,
    /// The exit code; `null` while it runs.
    pub exit_code: Option<u8>,
    /// The machine.
    pub host: Host,
    /// Brokers, nodes and generator share this machine: rates are not to be quoted.
    pub colocated: bool,
    /// Worker processes.
    pub workers: u32,
    /// Each of them: where it ran, what it hosted, how far its clock was off.
    pub placement: Vec<WorkerPlace>,
    /// What the preflight found.
    pub preflight: Vec<Finding>,
    /// Each broker: version and settings as it reports them.
    pub brokers: BTreeMap<String, serde_json::Value>,
    /// Links between brokers that ran through loadgen, so that faults could fall on them; all
    /// others ran from broker to broker.
    pub relayed: Vec<LineSeen>,
    /// The runs that asserts compared with.
    pub baselines: Vec<BaselineRun>,
    /// Switches of the run that change what is measured, e.g. `verification = "shared"`.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Files of this folder and their sizes, bytes.
    pub files: BTreeMap<String, u64>,
}

/// One worker process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerPlace {
    /// Its number, from 0. Worker 0 asks the fleet.
    pub worker: u32,
    /// Nodes it hosted.
    pub nodes: u64,
    /// CPU seconds it used.
    pub cpu_s: Option<f64>,
    /// Most memory it had, bytes.
    pub rss_bytes: Option<u64>,
    /// Most descriptors it had open.
    pub descriptors_most: Option<u64>,
    /// How late its timers fired, 99th percentile, µs.
    pub sched_lag_p99_us: Option<u64>,
    /// Who it was.
    #[serde(flatten)]
    pub member: Member,
    /// How it was lost, where it was.
    pub lost: Option<String>,
}

/// The tool that ran it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Revision it was built from, where the build told it.
    pub revision: Option<String>,
    /// `release` or `debug`.
    pub profile: String,
}

impl Tool {
    /// This one.
    pub fn this() -> Self {
        let profile = match cfg!(debug_assertions) {
            true => "debug",
            false => "release",
        };
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: crate::control::revision().map(str::to_owned),
            profile: profile.to_owned(),
        }
    }
}

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioIdentity {
    /// Name.
    pub name: String,
    /// The file.
    pub path: String,
    /// SHA-256 of its text, hexadecimal.
    pub sha256: String,
    /// SHA-256 of the plan, hexadecimal: equal for equal scenario, parameters and seed.
    pub plan_sha256: String,
    /// SHA-256 of what is done, whatever is asked of it, hexadecimal: equal for scenarios whose
    /// brokers, nodes and phases are the same. Older manifests lack it.
    #[serde(default)]
    pub workload_sha256: Option<String>,
    /// Parameters after `--set`.
    pub params: BTreeMap<String, serde_json::Value>,
    /// The seed.
    pub seed: u64,
}

/// The machine, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// SHA-256 of its name, the first 12 digits: tells machines apart without naming them.
    pub name_hash: Option<String>,
    /// Operating system and kernel.
    pub kernel: Option<String>,
    /// Processor.
    pub cpu_model: Option<String>,
    /// Cores this process may use.
    pub cores: Option<u64>,
    /// Memory, bytes.
    pub memory_bytes: Option<u64>,
    /// What keeps time.
    pub clocksource: Option<String>,
    /// Descriptors a process may have.
    pub descriptors: Option<u64>,
    /// First and last local port.
    pub port_range: Option<(u16, u16)>,
    /// Longest queue of connections not yet accepted.
    pub somaxconn: Option<u64>,
    /// Whether ports are used again early.
    pub tcp_tw_reuse: Option<u64>,
}

impl Host {
    /// Looks at this machine.
    pub fn look(machine: &Machine) -> Self {
        let read = |path: &str| {
            let text = fs::read_to_string(path).ok()?;
            Some(text.trim().to_owned())
        };
        let number = |path: &str| read(path)?.parse().ok();
        let after = |path: &str, key: &str| {
            let text = read(path)?;
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let kibibytes: Option<u64> = after("/proc/meminfo", "MemTotal")
            .and_then(|text| text.trim_end_matches("kB").trim().parse().ok());
        Self {
            name_hash: read("/proc/sys/kernel/hostname").map(|name| name_hash(&name)),
            kernel: read("/proc/sys/kernel/osrelease").map(|release| format!("Linux {release}")),
            cpu_model: after("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism()
                .ok()
                .map(|cores| cores.get() as u64),
            memory_bytes: kibibytes.map(|n| n * 1_024),
            clocksource: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            descriptors: machine.descriptors,
            port_range: machine.port_range,
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            tcp_tw_reuse: number("/proc/sys/net/ipv4/tcp_tw_reuse"),
        }
    }
}

impl Manifest {
    /// The manifest of a run that is about to start.
    pub fn begin(run: &str, plan: &Plan, workers: u32, host: Host) -> Self {
        let scenario = &plan.scenario;
        let source = scenario.sources.first();
        let text = source.map(|source| source.text.clone()).unwrap_or_default();
        Self {
            schema: 1,
            run: run.to_owned(),
            tool: Tool::this(),
            scenario: ScenarioIdentity {
                name: scenario.name.clone(),
                path: source
                    .map(|source| source.path.to_string())
                    .unwrap_or_default(),
                sha256: sha256(text.as_bytes()),
                plan_sha256: plan.sha256(),
                workload_sha256: Some(workload_sha256(scenario)),
                params: scenario.params.clone(),
                seed: scenario.seed,
            },
            command: without_secrets(std::env::args()),
            started: jiff::Timestamp::now(),
            ended: None,
            duration_us: None,
            state: "running".to_owned(),
            exit_code: None,
            host,
            colocated: scenario.topology.manage == crate::scenario::Manage::Local,
            workers,
            placement: Vec::new(),
            preflight: Vec::new(),
            brokers: BTreeMap::new(),
            relayed: Vec::new(),
            baselines: Vec::new(),
            settings: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}

/// The command line with the values of telling options replaced.
fn without_secrets(args: impl Iterator<Item = String>) -> Vec<String> {
    const TELLING: [&str; 4] = ["password", "token", "secret", "credential"];
    let telling = |name: &str| {
        TELLING
            .iter()
            .any(|word| name.to_lowercase().contains(word))
    };
    let mut hide_next = false;
    args.map(|arg| {
        if std::mem::take(&mut hide_next) {
            return "***".to_owned();
        }
        match arg.split_once('=') {
            Some((name, _)) if telling(name) => format!("{name}=***"),
            None if arg.starts_with("--") && telling(&arg) => {
                hide_next = true;
                arg
            }
            _ => arg,
        }
    })
    .collect()
}

/// The first 12 digits of the SHA-256 of a machine's name: tells machines apart without naming
/// them.
pub fn name_hash(name: &str) -> String {
    sha256(name.as_bytes())[..12].to_owned()
}

/// SHA-256 of what a scenario does: brokers, provisioners, nodes and phases. What it asks of them,
/// its limits, its name and its seed make no other work of it.
pub(super) fn workload_sha256(scenario: &Scenario) -> String {
    let Scenario {
        topology,
        provisioner,
        generator,
        fleets,
        phases,
        ..
    } = scenario;
    let work = (topology, provisioner, generator, fleets, phases);
    sha256(&serde_json::to_vec(&work).unwrap_or_default())
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn no_secret_of_the_command_line_is_kept() {
        let given = "loadgen run a.toml --token abc --set nodes=5 --set db_password=x --password=y";
        let kept = without_secrets(given.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(
            kept,
            "loadgen run a.toml --token *** --set nodes=5 --set db_password=*** --password=***"
        );
    }
}
