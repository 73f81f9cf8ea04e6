//! The command line: flags and which command they mean.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::command::Exit;
use crate::command::audit::VerifyArgs;
use crate::command::ca_answer::CaAnswerArgs;
use crate::command::ca_crl::CaCrlArgs;
use crate::command::ca_init::CaInitArgs;
use crate::command::check::CheckArgs;
use crate::command::csr_check::CsrCheckArgs;
use crate::command::operate::{BanArgs, OrderArgs, RevokingArgs, ServiceArgs};
use crate::command::run::RunArgs;
use crate::command::simulate::SimulateArgs;
use crate::command::status::{NodesArgs, ShowArgs, StatusArgs};
use crate::command::token::TokenCommand;
use crate::config::{Config, ConfigError};
use crate::judge::RequestPolicy;
use crate::ledger::Verb;
use crate::site;

/// Enrols nodes: they come without credentials and leave with a certificate
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  provisioner ca init --out /etc/muster      an authority of your own
  provisioner check                          is the configuration in order?
  provisioner run                            the service
  provisioner nodes --state parked           who is stuck, and where
  provisioner show web17.example.net         why is this node not provisioned?
  provisioner retry web17.example.net        try it now

Exit status: 0 done, or the answer is yes; 1 the answer is no; 2 it could not be done."
)]
pub struct Cli {
    /// The configuration [default: ./provisioner.toml, then /etc/muster/provisioner.toml]
    #[arg(
        long,
        short,
        value_name = "FILE",
        global = true,
        env = "PROVISIONER_CONFIG"
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Status(StatusArgs),
    Nodes(NodesArgs),
    Show(ShowArgs),
    Simulate(SimulateArgs),
    /// Take up no new node; those on their way are finished
    #[command(after_help = "\
Example:
  provisioner pause --reason \"the authority's disk is replaced\"

Holds over restarts, until `provisioner resume`. Works on a stopped service too.
Exit status: 0 paused, 2 neither a service nor a ledger is there")]
    Pause(ServiceArgs),
    /// Take nodes up again after a pause
    #[command(after_help = "Example:\n  provisioner resume")]
    Resume(ServiceArgs),
    /// Try parked or refused nodes now
    #[command(after_help = "\
Examples:
  provisioner retry web17.example.net
  provisioner nodes --state parked --json | jq -r '.[] | select(.code == \"hook.exit\") | .identity' | \\
    xargs provisioner retry --reason \"helper repaired\"

Exit status: 0 done, 1 a node is unknown or cannot be retried, 2 it could not be told")]
    Retry(OrderArgs),
    /// Let a frozen node go on, or an enrolled one have a certificate for a new key
    #[command(after_help = "\
Examples:
  provisioner nodes --state quarantined
  provisioner approve web17.example.net --reason \"disk replaced, ticket 4711\"

Exit status: 0 done, 1 a node is unknown or [reprovision] forbids it, 2 it could not be told")]
    Approve(OrderArgs),
    /// Refuse what nodes ask for; they may announce themselves anew
    #[command(after_help = "\
Example:
  provisioner refuse web17.example.net --reason \"unknown machine\"

Exit status: 0 done, 1 a node is unknown or enrolled, 2 it could not be told")]
    Refuse(OrderArgs),
    /// Freeze nodes until somebody decides; no authority is asked for them
    #[command(after_help = "\
Example:
  provisioner quarantine web17.example.net --reason \"two machines with this name?\"

Exit status: 0 done, 1 a node is unknown or banned, 2 it could not be told")]
    Quarantine(OrderArgs),
    /// Never enrol nodes again, whatever happens
    #[command(after_help = "\
Examples:
  provisioner ban web17.example.net --reason \"stolen\"
  provisioner ban web99.example.net --in-advance

A ban beats everything else and is never pruned. The certificates of the node are revoked, which
lifting the ban does not undo: it comes back with a new key. evict lets a node enrol again at once;
decommission ends the life of one that served its time; ban keeps out one that must not return.
Exit status: 0 done, 1 a node is unknown, 2 it could not be told")]
    Ban(BanArgs),
    /// Lift a ban, or take a decommissioned node back
    #[command(
        after_help = "Example:\n  provisioner unban web17.example.net --reason \"found again\""
    )]
    Unban(OrderArgs),
    /// End the enrolment of nodes; they may enrol again, with any key
    #[command(after_help = "\
Example:
  provisioner evict web17.example.net --reason \"sold with its name\"
  provisioner evict web17.example.net --revoke=key-compromise

The certificate it holds lives on until it expires, unless it is revoked with --revoke.
Exit status: 0 done, 1 a node is unknown or not enrolled, 2 it could not be told")]
    Evict(RevokingArgs),
    /// End the life of nodes; their records stay
    #[command(after_help = "\
Example:
  provisioner decommission web17.example.net --reason \"end of lease\"

Its certificates are revoked; see `provisioner ca crl`.
Exit status: 0 done, 1 a node is unknown or banned, 2 it could not be told")]
    Decommission(RevokingArgs),
    /// Forget nodes that are parked or refused and hold no certificate
    #[command(after_help = "\
Example:
  provisioner purge never-seen-again.example.net

Bans and decommissioned nodes are never forgotten. A certificate that was signed and never used
lives on until it expires, unless it is revoked with --revoke.
Exit status: 0 done, 1 a node is unknown or in use, 2 it could not be told")]
    Purge(RevokingArgs),
    /// The audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Certificate authorities
    #[command(subcommand)]
    Ca(CaCommand),
    /// Certificate requests
    #[command(subcommand)]
    Csr(CsrCommand),
    /// Provisioning tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  provisioner completions bash > /etc/bash_completion.d/provisioner"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(VerifyArgs),
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Make an authority: a root and an intermediate that signs
    Init(CaInitArgs),
    Crl(CaCrlArgs),
    Answer(CaAnswerArgs),
}

#[derive(Debug, Subcommand)]
enum CsrCommand {
    Check(CsrCheckArgs),
}

impl Cli {
    /// Does what was asked, writing answers to `out`.
    ///
    /// # Errors
    /// When it could not be done.
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let named = self.config.as_deref();
        let mut rng = ChaCha20Rng::from_os_rng();
        match self.command {
            Command::Run(args) => match Config::load(named) {
                Ok(config) => args.run(config),
                Err(ConfigError::Mistakes(mistakes)) => {
                    eprintln!("{mistakes}");
                    Ok(Exit::Negative)
                }
                Err(error) => Err(error.into()),
            },
            Command::Check(args) => match Config::load(named) {
                Ok(config) => args.run(config, out),
                Err(ConfigError::Mistakes(mistakes)) => {
                    writeln!(out, "{mistakes}")?;
                    Ok(Exit::Negative)
                }
                Err(error) => Err(error.into()),
            },
            Command::Status(args) => args.run(&Config::load(named)?, out),
            Command::Nodes(args) => args.run(&Config::load(named)?, out),
            Command::Show(args) => args.run(&Config::load(named)?, out),
            Command::Simulate(args) => args.run(Config::load(named)?, out),
            Command::Pause(args) => args.run(true, &Config::load(named)?, out),
            Command::Resume(args) => args.run(false, &Config::load(named)?, out),
            Command::Retry(args) => args.run(Verb::Retry, &Config::load(named)?, out),
            Command::Approve(args) => args.run(Verb::Approve, &Config::load(named)?, out),
            Command::Refuse(args) => args.run(Verb::Refuse, &Config::load(named)?, out),
            Command::Quarantine(args) => args.run(Verb::Quarantine, &Config::load(named)?, out),
            Command::Ban(args) => args.run(&Config::load(named)?, out),
            Command::Unban(args) => args.run(Verb::Unban, &Config::load(named)?, out),
            Command::Evict(args) => args.run(Verb::Evict, &Config::load(named)?, out),
            Command::Decommission(args) => args.run(Verb::Decommission, &Config::load(named)?, out),
            Command::Purge(args) => args.run(Verb::Purge, &Config::load(named)?, out),
            Command::Audit(AuditCommand::Verify(args)) if args.is_copy() => args.run(None, out),
            Command::Audit(AuditCommand::Verify(args)) => {
                args.run(Some(&Config::load(named)?), out)
            }
            Command::Ca(CaCommand::Init(args)) => args.run(&mut rng, out),
            Command::Ca(CaCommand::Crl(args)) => args.run(&Config::load(named)?, out),
            Command::Ca(CaCommand::Answer(args)) => {
                let mut input = std::io::stdin().lock();
                args.run(
                    policy(named)?,
                    &jiff::Timestamp::now,
                    &mut rng,
                    &mut input,
                    out,
                )
            }
            Command::Csr(CsrCommand::Check(args)) => args.run(&policy(named)?, out),
            Command::Token(TokenCommand::New(args)) => args.run(&mut rng, out),
            Command::Token(TokenCommand::Key(args)) => args.run(out),
            Command::Token(TokenCommand::Check(args)) => {
                if !args.key.is_empty() {
                    return args.run(None, out);
                }
                let config = optional(Config::load(named))?;
                let configured = config.map(|config| site::token_keys(&config)).transpose()?;
                let configured = configured
                    .as_ref()
                    .map(|(keys, rules)| (keys.as_slice(), rules));
                args.run(configured, out)
            }
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "provisioner", out);
                Ok(Exit::Success)
            }
        }
    }
}

/// Commands that work without a configuration use one that is there.
fn optional(loaded: Result<Config, ConfigError>) -> Result<Option<Config>, ConfigError> {
    match loaded {
        Ok(config) => Ok(Some(config)),
        Err(ConfigError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is granted to a request that is looked at without a service.
fn policy(named: Option<&Path>) -> Result<RequestPolicy, ConfigError> {
    let config = optional(Config::load(named))?;
    Ok(config.map_or_else(RequestPolicy::default, |config| config.csr.policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
