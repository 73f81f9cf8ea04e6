//! What all runs together came to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::check::Findings;
use super::plan::Plan;

/// `faults.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this file.
    pub schema: u32,
    /// What was built.
    pub revision: String,
    /// The seed.
    pub seed: u64,
    /// Whether nothing was lost, signed for twice or left untold.
    pub good: bool,
    /// How long all of it took, seconds.
    pub took_s: u64,
    /// Kills that hit something amid its work.
    pub kills: u64,
    /// The same by target.
    pub kills_by_target: BTreeMap<String, u64>,
    /// Kills that came too late to disturb anybody.
    pub missed: u64,
    /// Nodes that were to be enrolled.
    pub nodes: u64,
    /// Nodes that were not, or were not there afterwards.
    pub lost: u64,
    /// Public keys with more than one certificate.
    pub keys_signed_twice: u64,
    /// Nodes that were given more than one certificate.
    pub second_certificates: u64,
    /// Certificates of helpers whose answer was lost with a kill; no node was given them.
    pub undelivered: u64,
    /// Nodes whose certificate is in no audit log.
    pub untold: u64,
    /// Audit logs that are not as they were written.
    pub audits_broken: u64,
    /// Each run.
    pub runs: Vec<Row>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub number: u64,
    /// What enrolled.
    pub shape: String,
    /// How long it took, seconds.
    pub took_s: u64,
    /// What it came to.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Report {
    /// Writes `faults.json` into the folder of results.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(std::fs::write(folder.join("faults.json"), text + "\n")?)
    }

    /// A report of no runs.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            schema: 1,
            revision: option_env!("MUSTER_REVISION")
                .unwrap_or("unknown")
                .to_owned(),
            seed,
            good: true,
            took_s: 0,
            kills: 0,
            kills_by_target: BTreeMap::new(),
            missed: 0,
            nodes: 0,
            lost: 0,
            keys_signed_twice: 0,
            second_certificates: 0,
            undelivered: 0,
            untold: 0,
            audits_broken: 0,
            runs: Vec::new(),
        }
    }

    /// Takes in a run.
    pub fn add(&mut self, plan: &Plan, took: Duration, findings: Findings) {
        for (target, kills) in &findings.kills {
            *self.kills_by_target.entry(target.clone()).or_default() += kills;
        }
        self.kills += findings.killed();
        self.missed += findings.missed;
        self.nodes += findings.nodes;
        self.lost += findings.lost;
        self.keys_signed_twice += findings.keys_signed_twice;
        self.second_certificates += findings.second_certificates;
        self.undelivered += findings.undelivered;
        self.untold += findings.untold;
        self.audits_broken += findings.audits_broken;
        self.good &= findings.is_good();
        self.took_s += took.as_secs();
        self.runs.push(Row {
            number: plan.number,
            shape: plan.shape.word(),
            took_s: took.as_secs(),
            findings,
        });
    }

    /// All of it on one line.
    #[must_use]
    pub fn line(&self) -> String {
        let by = self.kills_by_target.iter();
        let by: Vec<String> = by
            .map(|(target, kills)| format!("{target} {kills}"))
            .collect();
        format!(
            "{}: {} kills ({}) in {} runs over {} nodes: {} lost, {} keys signed twice, {} second \
             certificates, {} untold, {} audit logs broken; seed {}, {} min",
            if self.good { "good" } else { "NOT GOOD" },
            self.kills,
            by.join(", "),
            self.runs.len(),
            self.nodes,
            self.lost,
            self.keys_signed_twice,
            self.second_certificates,
            self.untold,
            self.audits_broken,
            self.seed,
            self.took_s.div_ceil(60),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_run_is_enough() {
        let mut report = Report::new(1);
        let plan = Plan::new(1, 1, 100, 2);
        let mut findings = Findings {
            kills: [("hub".to_owned(), 2)].into(),
            nodes: 100,
            ..Findings::default()
        };
        report.add(&plan, Duration::from_secs(61), findings.clone());
        assert!(report.good);
        findings.lost = 1;
        findings.wrong.push("1 nodes are lost".to_owned());
        report.add(&plan, Duration::from_secs(61), findings);
        assert!(!report.good);
        assert_eq!((report.kills, report.nodes, report.lost), (4, 200, 1));
        let line = report.line();
        assert!(line.starts_with("NOT GOOD: 4 kills (hub 4) in 2 runs over 200 nodes: 1 lost,"));
    }
}
