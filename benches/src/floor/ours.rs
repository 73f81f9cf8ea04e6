//! Our side: `loadgen run` on the same brokers, measured by its own results.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use loadgen::formation::Formation;
use serde_json::Value;

use super::report::Measured;
use super::socket::SOURCES;

/// What our side is measured with.
#[derive(Debug)]
pub struct Ours<'a> {
    /// The loadgen program.
    pub loadgen: &'a Path,
    /// Where scenario and results go.
    pub folder: &'a Path,
    /// The brokers.
    pub formation: &'a Formation,
    /// Nodes.
    pub nodes: usize,
    /// Rounds that count.
    pub rounds: usize,
    /// Rounds before those.
    pub warm_up: usize,
    /// Dials under way at once.
    pub dials: usize,
    /// Mutual TLS.
    pub mutual: bool,
}

impl Ours<'_> {
    /// Runs once and reads what came of it.
    ///
    /// # Errors
    /// When loadgen fails, or its results cannot be read.
    pub fn measure(&self, number: usize) -> anyhow::Result<Measured> {
        let scenario = self.folder.join("floor.toml");
        std::fs::write(&scenario, self.scenario()?)?;
        let results = self.folder.join(format!("ours-{number}"));
        let status = Command::new(self.loadgen)
            .arg("run")
            .arg(&scenario)
            .arg("--out")
            .arg(&results)
            .stdin(Stdio::null())
            // Our own standard output is one line of JSON.
            .stdout(std::io::stderr())
            .status()
            .context("loadgen did not start")?;
        anyhow::ensure!(status.success(), "loadgen ended with {status}");
        self.read(&results)
    }

    fn scenario(&self) -> anyhow::Result<String> {
        let servers: Vec<String> = self.formation.posts().map(|post| post.url()).collect();
        let mut brokers = toml::Table::new();
        brokers.insert("name".to_owned(), "hub".into());
        brokers.insert("servers".to_owned(), servers.into());
        if self.mutual {
            for (key, file) in self.credentials()? {
                brokers.insert(key.to_owned(), file.display().to_string().into());
            }
        }
        let brokers = toml::to_string(&brokers)?;
        let (nodes, rounds, dials) = (self.nodes, self.rounds + self.warm_up, self.dials);
        let warm_up = self.warm_up;
        let sources: Vec<String> = (2..2 + SOURCES)
            .map(|last| format!("127.0.0.{last}"))
            .collect();
        let sources = format!("{sources:?}");
        Ok(format!(
            r#"# What do our nodes cost beside a bare client?
schema = 1
name   = "floor"
about  = "connect everybody, ask everybody"
seed   = 1

[generator]
source = "bind-no-port"
addrs  = {sources}

[topology]
manage = "external"

[[topology.broker]]
{brokers}
[provisioner]
manage = "none"

[[fleet]]
name  = "nodes"
nodes = {nodes}
start = "production"

[[phase]]
name    = "connect"
until   = {{ every = "connected", ratio = 1.0 }}
timeout = "10m"
  [[phase.op]]
  do    = "connect"
  fleet = "*"
  pace  = {{ model = "closed", kind = "in-flight", limit = {dials} }}

[[phase]]
name   = "ping-all"
warmup = {warm_up}
  [[phase.op]]
  do      = "request"
  name    = "ping"
  to      = "all"
  expect  = "one-reply-per-node"
  collect = "60s"
  pace    = {{ model = "closed", kind = "in-flight", limit = 1, count = {rounds} }}

[[assert]]
phase = "connect"
that  = ["connect.errors == 0"]
"#
        ))
    }

    /// The files with which nodes get certificates that these brokers trust.
    fn credentials(&self) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let authority = &self.formation.authority;
        let issuer = authority.intermediate();
        let files = [
            ("ca", "ca.pem", authority.root()),
            ("issuer", "issuer.pem", issuer.certificate.as_str()),
            ("issuer_key", "issuer.key", issuer.key.as_str()),
        ];
        files
            .into_iter()
            .map(|(key, name, text)| {
                let path = self.folder.join(name);
                loadgen::formation::files::write_secret(&path, text)?;
                Ok((key, path))
            })
            .collect()
    }

    fn read(&self, results: &Path) -> anyhow::Result<Measured> {
        let text = std::fs::read_to_string(results.join("summary.json"))?;
        let summary: Value = serde_json::from_str(&text)?;
        let number = |path: &str| {
            let found = summary.pointer(path).and_then(Value::as_u64);
            found.with_context(|| format!("{path} of {} is missing", results.display()))
        };
        let lost = number("/connect/errors")?
            + number("/rounds/ping-all~1ping/missing")?
            + number("/rounds/ping-all~1ping/late")?;
        Ok(Measured {
            connect: Duration::from_micros(number("/connect/duration_us")?),
            last: self.last_replies(&results.join("fanout.csv"))?,
            lost,
            rss_per_connection: number("/memory/rss_bytes_per_node")?,
        })
    }

    /// The last reply of each round that counts.
    fn last_replies(&self, fan_out: &Path) -> anyhow::Result<Vec<Duration>> {
        let mut reader = csv::Reader::from_path(fan_out)?;
        let headers = reader.headers()?.clone();
        let column = |name: &str| {
            let place = headers.iter().position(|header| header == name);
            place.with_context(|| format!("{} has no column {name}", fan_out.display()))
        };
        let (warm_up, last) = (column("warmup")?, column("last_us")?);
        let mut all = Vec::new();
        for record in reader.records() {
            let record = record?;
            if record.get(warm_up) == Some("false") {
                let micros: u64 = record.get(last).unwrap_or_default().parse()?;
                all.push(Duration::from_micros(micros));
            }
        }
        anyhow::ensure!(
            all.len() == self.rounds,
            "{} of {} rounds",
            all.len(),
            self.rounds
        );
        Ok(all)
    }
}
