//! `provisioner audit verify`: is the log as it was written?

use std::io::Write;
use std::path::PathBuf;

use super::Exit;
use crate::audit::{self, Verdict};
use crate::config::Config;
use crate::control;

/// Follow the audit log and find whatever was changed, cut, swapped or removed
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner audit verify
  provisioner audit verify --public-key kept-elsewhere.pub --json | jq .finding
  jq -r 'select(.event.what == \"ordered\") | [.at, .event.by, .event.verb, .event.node] | @tsv' state/audit/*.jsonl

Every record holds the hash of the one before it, and checkpoints are signed. Keep a copy of
audit/signing.pub where nobody who can write the log can write it.
Works beside a running service, after it stopped, and on a copy (--dir).
Exit status: 0 it is as it was written, 1 it is not, 2 it cannot be read")]
pub struct VerifyArgs {
    /// The public key, in place of the one beside the log
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// A copy of the folder, judged without its ledger
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// Whether the log is read without a configuration.
    #[must_use]
    pub const fn is_copy(&self) -> bool {
        self.dir.is_some()
    }

    /// Follows the log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn run(&self, config: Option<&Config>, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let (dir, ledger) = match (&self.dir, config) {
            (Some(dir), _) => (dir.clone(), None),
            (None, Some(config)) => {
                let ledger = control::anchor(config)?;
                (audit::folder_in(&config.state_dir), ledger)
            }
            (None, None) => {
                anyhow::bail!("there is no configuration that names the log; see --dir")
            }
        };
        let verdict = audit::verify(&dir, self.public_key.as_deref(), ledger)?;
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&verdict)?)?;
        } else {
            print(out, &verdict)?;
        }
        Ok(if verdict.ok {
            Exit::Success
        } else {
            Exit::Negative
        })
    }
}

fn print(out: &mut dyn Write, verdict: &Verdict) -> std::io::Result<()> {
    let signed = match &verdict.signed {
        Some(signed) => format!(
            "signed up to record {} ({} checkpoints, the last of {})",
            signed.seq,
            verdict.checkpoints,
            signed.at.strftime("%Y-%m-%d %H:%M:%S UTC")
        ),
        None => "no checkpoint".to_owned(),
    };
    let records = verdict.records;
    match &verdict.finding {
        None => {
            writeln!(out, "{records} records in order; {signed}")?;
            let held = match &verdict.ledger {
                Some(_) => "held by the chain and by the ledger",
                None => "held by the chain alone: no ledger was asked",
            };
            writeln!(out, "{} records after that, {held}", verdict.unsigned)
        }
        Some(finding) => {
            let place = match finding.line {
                0 => finding.file.display().to_string(),
                line => format!("{}:{line}", finding.file.display()),
            };
            writeln!(out, "record {}: {} ({place})", finding.record, finding.says)?;
            writeln!(out, "{records} records before it are in order; {signed}")
        }
    }
}
