//! The command line.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::command;
use crate::exit::{self, Exit};

/// Starts real fleet nodes from a scenario file and measures what they go through.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, propagate_version = true, after_help = help())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn help() -> String {
    format!(
        "Examples:\n  loadgen run scenarios/quickstart.toml            1,000 nodes: enrolled, pinged, judged\n  \
         loadgen up scenarios/quickstart.toml --nodes 200   a fleet to work with, until ctrl-c\n\n{}",
        exit::TABLE
    )
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(command::run::RunArgs),
    Up(command::up::UpArgs),
    Worker(command::worker::WorkerArgs),
    /// Tell every mistake of scenario files
    Validate(command::validate::ValidateArgs),
    /// Show what a scenario comes to, without starting anything
    Plan(command::plan::PlanArgs),
    Report(command::report::ReportArgs),
    /// Print the formats of scenarios and results
    Schema(command::schema::SchemaArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  loadgen completions bash > /etc/bash_completion.d/loadgen")]
    Completions {
        /// The shell to write for
        shell: clap_complete::Shell,
    },
    /// End what is left of a run when its standard input closes
    #[command(hide = true)]
    Guard(command::guard::GuardArgs),
}

/// Reads the command line, does what it says and tells how it went.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Run(args) => command::run::run(args),
        Command::Up(args) => command::up::up(args),
        Command::Worker(args) => command::worker::worker(args),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "loadgen", &mut std::io::stdout());
            Ok(Exit::Pass)
        }
        Command::Validate(args) => command::validate::validate(&args),
        Command::Plan(args) => command::plan::plan(&args),
        Command::Report(args) => command::report::report(&args),
        Command::Schema(args) => command::schema::schema(&args),
        Command::Guard(args) => command::guard::guard(&args),
    };
    match ended {
        Ok(exit) => exit.into(),
        // Whoever read our output has seen enough of it: `loadgen schema | head`.
        Err(error) if is_broken_pipe(&error) => Exit::Pass.into(),
        Err(error) => {
            eprintln!("loadgen: {error:#}");
            Exit::ToolError.into()
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
