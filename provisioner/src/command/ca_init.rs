//! `provisioner ca init`: a root to lock away and an intermediate that signs.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rand::RngCore;

use super::Exit;
use crate::ca::init::{InitOutcome, InitSettings, init};

/// Make the authority of the built-in CA: a root and an intermediate that signs
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner ca init
  provisioner ca init --out /etc/muster --name \"Example Fleet\"
  provisioner ca init --root company-root.pem --root-key company-root.key

Nothing that exists is overwritten. Private keys are made for their owner alone (mode 0600).")]
pub struct CaInitArgs {
    /// The folder for the files; made when it is missing
    #[arg(
        long,
        short,
        value_name = "DIR",
        default_value = ".",
        visible_alias = "dir"
    )]
    pub out: PathBuf,
    /// The first part of the authorities' names
    #[arg(long, value_name = "NAME", default_value = "Muster")]
    pub name: String,
    /// How long the root is valid
    #[arg(long, value_name = "DURATION", default_value = "3650d", value_parser = humantime::parse_duration)]
    pub root_validity: Duration,
    /// How long the intermediate is valid
    #[arg(long, value_name = "DURATION", default_value = "1825d", value_parser = humantime::parse_duration)]
    pub intermediate_validity: Duration,
    /// Sign the intermediate with this root instead of making one
    #[arg(long, value_name = "FILE", requires = "root_key")]
    pub root: Option<PathBuf>,
    /// The private key of --root
    #[arg(long, value_name = "FILE", requires = "root")]
    pub root_key: Option<PathBuf>,
}

impl CaInitArgs {
    /// Makes the files and says what to do with them.
    ///
    /// # Errors
    /// When a file exists or cannot be written; nothing is overwritten.
    pub fn run(&self, rng: &mut dyn RngCore, out: &mut dyn Write) -> anyhow::Result<Exit> {
        anyhow::ensure!(
            !self.name.trim().is_empty() && self.name.len() <= 40,
            "--name must be 1 to 40 characters"
        );
        let outcome = init(
            &InitSettings {
                folder: self.out.clone(),
                name: self.name.clone(),
                root_validity: self.root_validity,
                intermediate_validity: self.intermediate_validity,
                root: self.root.clone().zip(self.root_key.clone()),
            },
            Timestamp::now(),
            rng,
        )
        .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        tell(&outcome, out)?;
        Ok(Exit::Success)
    }
}

fn tell(outcome: &InitOutcome, out: &mut dyn Write) -> std::io::Result<()> {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let root = outcome.root_not_after.map_or_else(
        || "the given root: trust anchor, sent to nodes".to_owned(),
        |time| {
            format!(
                "root, valid until {}: trust anchor, sent to nodes",
                day(time)
            )
        },
    );
    let path = |path: &PathBuf| path.display().to_string();
    let mut rows = vec![
        (path(&outcome.root_certificate), root),
        (
            path(&outcome.intermediate_certificate),
            format!(
                "intermediate, valid until {}: signs nodes' certificates",
                day(outcome.intermediate_not_after)
            ),
        ),
        (
            path(&outcome.intermediate_key),
            "its private key: stays here, mode 0600".to_owned(),
        ),
    ];
    if let Some(key) = &outcome.root_key {
        rows.push((
            path(key),
            "the root's private key: MOVE IT OFFLINE, nothing here needs it".to_owned(),
        ));
    }
    let width = rows.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    for (path, what) in &rows {
        writeln!(out, "{path:width$}  {what}")?;
    }
    writeln!(
        out,
        "\nnext: in provisioner.toml\n\n[ca]\nkind = \"built-in\"\ncertificate = {:?}\nkey = {:?}\n\
         roots = {:?}\n\nand let the production brokers trust {}.",
        outcome.intermediate_certificate,
        outcome.intermediate_key,
        outcome.root_certificate,
        outcome.root_certificate.display()
    )
}
