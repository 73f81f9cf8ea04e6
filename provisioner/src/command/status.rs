//! `provisioner status`, `nodes` and `show`: what a service did, beside it while
//! it runs and from its ledger after it stopped.

use std::io::Write;

use jiff::Timestamp;

use super::Exit;
use crate::config::Config;
use crate::control;
use crate::report;
use crate::step::State;

/// How the service and its nodes are doing
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner status
  provisioner status --json | jq .states

Works beside a running service and after it stopped.")]
pub struct StatusArgs {
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
}

/// List nodes
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner nodes --state parked
  provisioner nodes --json | jq -r '.[] | select(.code == \"node.token\") | .identity'

States: queued, working, parked, quarantined, refused, confirmed, banned, decommissioned.")]
pub struct NodesArgs {
    /// Only nodes in this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<State>,
    /// Answer with a JSON list
    #[arg(long)]
    pub json: bool,
}

/// Everything about one node: every step, when, how long, why not
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner show web17.example.net
  provisioner show web17.example.net --json | jq -r .certificate.chain | openssl x509 -text

Exit status: 0 shown, 1 the node was never heard of, 2 neither a service nor a ledger is there")]
pub struct ShowArgs {
    /// The node
    pub identity: String,
    /// Answer with one JSON object, the certificate chain that was sent included
    #[arg(long)]
    pub json: bool,
}

impl StatusArgs {
    /// Prints the status.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let status = control::status(config)?;
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&status)?)?;
        } else {
            report::print_status(out, &status)?;
        }
        Ok(Exit::Success)
    }
}

impl NodesArgs {
    /// Prints the nodes.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let nodes = control::nodes(config, self.state)?;
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&nodes)?)?;
        } else {
            report::print_nodes(out, &nodes, Timestamp::now())?;
        }
        Ok(Exit::Success)
    }
}

impl ShowArgs {
    /// Prints one node.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Some(show) = control::show(config, &self.identity)? else {
            if self.json {
                writeln!(out, "null")?;
            } else {
                let nearest = control::nearest(config, &self.identity)?;
                let meant = nearest.map(|name| format!(" Did you mean {name}?"));
                writeln!(
                    out,
                    "{} was never heard of: no event came from it and no sweep found it. \
                     Does it connect to the provisioning network?{}",
                    self.identity,
                    meant.unwrap_or_default()
                )?;
            }
            return Ok(Exit::Negative);
        };
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&show)?)?;
        } else {
            report::print_show(out, &show, Timestamp::now())?;
        }
        Ok(Exit::Success)
    }
}
