//! The command line: flags and which command they mean.

use std::io::Write;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::command::Exit;
use crate::command::ca_init::CaInitArgs;
use crate::command::check::CheckArgs;
use crate::command::csr_check::CsrCheckArgs;
use crate::command::run::RunArgs;
use crate::command::status::{NodesArgs, ShowArgs, StatusArgs};
use crate::command::token::TokenCommand;
use crate::config::{Config, ConfigError};
use crate::judge::RequestPolicy;
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
enum CaCommand {
    /// Make an authority: a root and an intermediate that signs
    Init(CaInitArgs),
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
            Command::Run(args) => args.run(Config::load(named)?),
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
            Command::Ca(CaCommand::Init(args)) => args.run(&mut rng, out),
            Command::Csr(CsrCommand::Check(args)) => {
                let policy = match optional(Config::load(named))? {
                    Some(config) => config.csr.policy,
                    None => RequestPolicy::default(),
                };
                args.run(&policy, out)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
