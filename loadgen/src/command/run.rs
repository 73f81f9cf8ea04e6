//! `loadgen run`: a scenario from its first broker to its verdict.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::assert::Baselines;
use crate::exit::Exit;
use crate::plan::Plan;
use crate::preflight::Machine;
use crate::results::{Host, load_baselines, run_id};
use crate::run::{self, CAPABILITIES, CrewOptions, Options, Prepared};
use crate::scenario::{self, Assignment, Scenario};
use crate::view::{Logs, Mode};

/// Run a scenario and judge it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadgen run scenarios/quickstart.toml
  loadgen run scenarios/quickstart.toml --set nodes=200 --out /tmp/first
  loadgen run my.toml --progress json | jq .phases
  loadgen run my.toml --workers 3                        three processes host the fleet
  loadgen run my.toml --no-baseline                      a first run, to compare later ones with

ctrl-c ends the run in order and still writes its summary; a second one ends it at once.")]
pub struct RunArgs {
    /// The scenario
    file: PathBuf,
    /// Give a parameter of the scenario another value (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<Assignment>,
    /// The run's folder; it must be empty or not be there [default: results/runs/RUN]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    progress: Mode,
    #[command(flatten)]
    crew: CrewOptions,
    #[command(flatten)]
    programs: ProgramArgs,
    /// Leave asserts out that compare with a baseline, as the first run must that is to become one
    #[arg(long)]
    no_baseline: bool,
    /// Print the outcome and nothing else
    #[arg(long, short)]
    quiet: bool,
}

/// Where the programs are.
#[derive(Debug, Args)]
pub struct ProgramArgs {
    /// The provisioner [default: the one beside this program]
    #[arg(long, value_name = "PATH")]
    pub provisioner: Option<PathBuf>,
    /// nats-server [default: $NATS_SERVER, .tools/nats-server, $PATH]
    #[arg(long, value_name = "PATH")]
    pub nats_server: Option<PathBuf>,
}

/// Runs a scenario.
///
/// # Errors
/// When loadgen itself fails; what the run came to is the exit code.
pub fn run(args: RunArgs) -> anyhow::Result<Exit> {
    let Some(scenario) = load(&args.file, &args.set) else {
        return Ok(Exit::BadScenario);
    };
    let machine = Machine::look();
    let Some(baselines) = baselines(&scenario, &machine, args.no_baseline) else {
        return Ok(Exit::BadScenario);
    };
    let logs = Logs::install(None).map_err(anyhow::Error::msg)?;
    let plan = Arc::new(Plan::new(scenario));
    let options = Options {
        progress: args.progress,
        provisioner: args.programs.provisioner,
        nats_server: args.programs.nats_server,
        quiet: args.quiet,
        crew: args.crew,
    };
    let preflight = run::preflight(&plan, &options, &machine);
    preflight.tell();
    let (findings, workers) = (preflight.findings, preflight.workers);
    let Some(programs) = preflight.programs else {
        return Ok(Exit::Preflight);
    };
    let run = new_run(&plan.scenario.name);
    let out = args.out.as_deref();
    let (folder, manifest) =
        match run::open_results(out, &run, (&plan, workers), &machine, &findings, &baselines) {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("loadgen: refused (results): {error}");
                return Ok(Exit::Preflight);
            }
        };
    logs.to_file(&folder.path().join("loadgen.log"))?;
    let prepared = Prepared {
        run,
        plan,
        workers,
        programs,
        site_folder: folder.path().join("site"),
        workers_folder: folder.path().join("workers"),
        results: Some((folder, manifest)),
        hold: None,
        baselines,
        logs,
    };
    run::execute(prepared, &options)
}

/// Reads a scenario and makes sure that this version can run it. Every mistake has been told when
/// there is none.
pub fn load(file: &std::path::Path, set: &[Assignment]) -> Option<Scenario> {
    let loaded = scenario::load(file, set).and_then(|scenario| {
        CAPABILITIES.check(&scenario)?;
        Ok(scenario)
    });
    match loaded {
        Ok(scenario) => Some(scenario),
        Err(mistakes) => {
            eprint!("{}", ended_by_newline(&mistakes.to_string()));
            None
        }
    }
}

/// Reads the runs that asserts compare with. Every mistake has been told when there is none.
fn baselines(scenario: &Scenario, machine: &Machine, skip: bool) -> Option<Baselines> {
    if skip {
        return Some(Baselines::skipped());
    }
    match load_baselines(scenario, &Host::look(machine)) {
        Ok(baselines) => Some(baselines),
        Err(mistakes) => {
            eprint!("{}", ended_by_newline(&mistakes.to_string()));
            None
        }
    }
}

fn ended_by_newline(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// An identifier for a run that begins now.
pub fn new_run(scenario: &str) -> String {
    run_id(jiff::Timestamp::now(), scenario, rand::random())
}
