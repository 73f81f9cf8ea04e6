//! What operators decide: `provisioner pause`, `resume`, `retry`, `approve`,
//! `refuse`, `quarantine`, `ban`, `unban`, `evict`, `decommission`, `purge`.

use std::io::Write;

use serde_json::json;

use super::Exit;
use crate::config::Config;
use crate::control::{self, Command, Told};
use crate::ledger::{Reason, Verb};

/// About nodes.
#[derive(Clone, Debug, clap::Args)]
pub struct OrderArgs {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
    #[command(flatten)]
    words: Words,
}

/// About nodes, heard of or not.
#[derive(Clone, Debug, clap::Args)]
pub struct BanArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// Also nodes nobody has heard of yet
    #[arg(long)]
    in_advance: bool,
    #[command(flatten)]
    revoking: Revoking,
}

/// About nodes, and their certificates.
#[derive(Clone, Debug, clap::Args)]
pub struct RevokingArgs {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    revoking: Revoking,
}

#[derive(Clone, Debug, clap::Args)]
struct Revoking {
    /// Revoke their certificates, for this reason: unspecified, key-compromise,
    /// affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn
    #[arg(
        long,
        value_name = "REASON",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "unspecified"
    )]
    revoke: Option<Reason>,
}

/// About the whole service.
#[derive(Clone, Debug, clap::Args)]
pub struct ServiceArgs {
    #[command(flatten)]
    words: Words,
}

#[derive(Clone, Debug, clap::Args)]
struct Words {
    /// Why: kept with who and when, shown by `show` and kept by the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Answer with one JSON object a line
    #[arg(long)]
    json: bool,
}

impl OrderArgs {
    /// Tells the service, or the ledger of one that is stopped, what was decided.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, verb: Verb, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        self.tell(verb, false, None, config, out)
    }

    fn tell(
        &self,
        verb: Verb,
        in_advance: bool,
        revoke: Option<Reason>,
        config: &Config,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        let mut exit = Exit::Success;
        for node in &self.nodes {
            let command = Command::Order {
                identity: node.clone(),
                verb,
                why: self.words.reason.clone(),
                in_advance,
                revoke,
            };
            let told = control::tell(config, &command)?;
            if !matches!(told, Told::Done(_)) {
                exit = Exit::Negative;
            }
            if self.words.json {
                let mut answer = serde_json::to_value(&told)?;
                answer["identity"] = json!(node);
                answer["verb"] = json!(verb);
                writeln!(out, "{answer}")?;
            } else {
                writeln!(out, "{}", sentence(node, verb, &told))?;
            }
        }
        Ok(exit)
    }
}

impl BanArgs {
    /// Bans the nodes.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let revoke = self.revoking.revoke;
        self.order
            .tell(Verb::Ban, self.in_advance, revoke, config, out)
    }
}

impl RevokingArgs {
    /// Tells the service, or the ledger of one that is stopped, what was decided.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, verb: Verb, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        self.order
            .tell(verb, false, self.revoking.revoke, config, out)
    }
}

impl ServiceArgs {
    /// Pauses the service, or has it go on.
    ///
    /// # Errors
    /// When neither a service nor a ledger is there.
    pub fn run(&self, pause: bool, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let why = self.words.reason.clone();
        let command = if pause {
            Command::Pause { why }
        } else {
            Command::Resume { why }
        };
        let told = control::tell(config, &command)?;
        let exit = match told {
            Told::Service { .. } => Exit::Success,
            _ => Exit::Negative,
        };
        if self.words.json {
            writeln!(out, "{}", serde_json::to_string(&told)?)?;
            return Ok(exit);
        }
        let says = match &told {
            Told::Service {
                paused: Some(p),
                already: true,
            } => {
                format!(
                    "paused already, since {} by {}",
                    p.since.strftime("%Y-%m-%d %H:%M:%S UTC"),
                    p.by
                )
            }
            Told::Service {
                paused: Some(_), ..
            } => "paused: nodes on their way are finished, no new one is begun".to_owned(),
            Told::Service {
                paused: None,
                already: true,
            } => "it was not paused".to_owned(),
            Told::Service { paused: None, .. } => "resumed: nodes are enrolled again".to_owned(),
            Told::Unfit { says } | Told::Invalid { says } => says.clone(),
            Told::Done(_) | Told::Unknown { .. } | Told::Listed { .. } => {
                "the service gave no answer to this".to_owned()
            }
        };
        writeln!(out, "{says}")?;
        Ok(exit)
    }
}

fn sentence(node: &str, verb: Verb, told: &Told) -> String {
    match told {
        Told::Done(ruling) => format!("{node}: {}", ruling.says),
        Told::Unfit { says } => format!("{node}: {verb} does not fit: {says}"),
        Told::Invalid { says } => says.clone(),
        Told::Unknown { nearest } => {
            let meant = nearest
                .as_ref()
                .map(|name| format!("; did you mean {name}?"));
            let advance = match verb {
                Verb::Ban => " (--in-advance bans it all the same)",
                _ => "",
            };
            format!(
                "{node} was never heard of{}{advance}",
                meant.unwrap_or_default()
            )
        }
        Told::Service { .. } | Told::Listed { .. } => {
            format!("{node}: the service gave no answer to this")
        }
    }
}
