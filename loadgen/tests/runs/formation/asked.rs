//! A scenario for every formation: nodes connect where they are planned, and all answer.

use serde_json::Value;

use crate::support::{Stage, said};

/// A scenario whose nodes start in production: they connect, stay for a look at the brokers, and
/// are all asked three times.
pub(crate) fn asked(topology: &str, fleets: &str) -> String {
    format!(
        r#"
schema = 1
name   = "formation"
about  = "every node of this formation answers"
seed   = 7

{topology}

[provisioner]
manage = "none"

{fleets}

[[phase]]
name    = "connect"
until   = {{ every = "connected", ratio = 1.0, settle = "2500ms" }}
timeout = "120s"
  [[phase.op]]
  do    = "connect"
  fleet = "*"
  pace  = {{ model = "open", kind = "constant", rate = "200/s" }}

[[phase]]
name = "ask"
  [[phase.op]]
  do      = "request"
  name    = "ping"
  to      = "all"
  expect  = "one-reply-per-node"
  collect = "30s"
  pace    = {{ model = "closed", kind = "in-flight", limit = 1, count = 3 }}

[[assert]]
phase = "ask"
that  = ["ping.missing == 0", "ping.duplicate == 0", "ping.rounds == 3"]
"#
    )
}

/// What a run printed and left.
pub(crate) struct Ran {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) said: String,
    stage: Stage,
}

/// Runs a scenario to its end.
pub(crate) fn run(stage: Stage) -> Ran {
    let output = stage.run(&[]).output().unwrap();
    Ran {
        code: output.status.code(),
        said: said(&output),
        stage,
    }
}

impl Ran {
    /// One of the files it wrote.
    pub(crate) fn json(&self, name: &str) -> Value {
        self.stage.json(name)
    }

    /// Whether it has written anything.
    pub(crate) fn began(&self) -> bool {
        self.stage.out().exists()
    }

    /// The most connections each broker was seen with.
    pub(crate) fn connections(&self, broker: &str) -> u64 {
        let series = std::fs::read_to_string(self.stage.out().join("series.csv")).unwrap();
        let label = format!("broker={broker}");
        let of_broker = series
            .lines()
            .filter(|line| line.contains("broker.connections") && line.contains(&label));
        let seen = of_broker.filter_map(|line| line.rsplit(',').next()?.parse::<f64>().ok());
        seen.map(|value| value as u64).max().unwrap_or_default()
    }

    /// It passed, nobody was lost, and every broker had the nodes that the plan gives it; beside
    /// them one may have had loadgen's own connection.
    pub(crate) fn assert_as_planned(&self) {
        assert_eq!(self.code, Some(0), "{}", self.said);
        let (plan, summary) = (self.json("plan.json"), self.json("summary.json"));
        let nodes = plan["nodes"].as_u64().unwrap();
        assert_eq!(summary["nodes"]["connected"].as_u64(), Some(nodes));
        assert_eq!(
            summary["rounds"]["ask/ping"]["replies"].as_u64(),
            Some(nodes * 3)
        );
        let brokers = plan["brokers"].as_array().unwrap();
        let mut beside = 0;
        for broker in brokers {
            let (name, planned) = (broker["name"].as_str().unwrap(), broker["nodes"].as_u64());
            let (live, planned) = (self.connections(name), planned.unwrap());
            assert!(
                live == planned || live == planned + 1,
                "{name}: {live} connections, {planned} planned"
            );
            beside += live - planned;
        }
        assert!(beside <= 1, "{beside} connections too many");
    }
}
