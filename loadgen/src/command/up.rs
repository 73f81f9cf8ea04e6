//! `loadgen up`: the brokers, the provisioner and the fleet of a scenario, kept up to work with.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::assert::Baselines;
use crate::exit::Exit;
use crate::handout::{Access, Handout};
use crate::measure::{Counter, OpKey, RunState, Totals};
use crate::plan::Plan;
use crate::preflight::Machine;
use crate::run::{self, CrewOptions, Holding, Options, Prepared};
use crate::scenario::{ANSWER, Assignment, PING, Role, Tls};
use crate::site::Site;
use crate::units::{grouped, parse_duration};
use crate::view::{Logs, Mode};

use super::run::{ProgramArgs, load, new_run};

/// Keep a scenario's fleet up, to work with it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadgen up scenarios/quickstart.toml --nodes 200
  loadgen up scenarios/quickstart.toml --for 10m --out /tmp/fleet

It prints how to reach the fleet and writes what clients need into the folder: the CA, a client
certificate and key, a NATS context, a configuration for the choria command. ctrl-c takes
everything down.")]
pub struct UpArgs {
    /// The scenario
    file: PathBuf,
    /// How many nodes, in place of the scenario's parameter `nodes`
    #[arg(long, value_name = "N")]
    nodes: Option<u64>,
    /// Give a parameter of the scenario another value (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<Assignment>,
    /// Take everything down after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    within: Option<Duration>,
    /// The folder for what clients need [default: results/up]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = Mode::Lines, value_name = "HOW")]
    progress: Mode,
    #[command(flatten)]
    crew: CrewOptions,
    #[command(flatten)]
    programs: ProgramArgs,
    /// Print how to reach the fleet and nothing else
    #[arg(long, short)]
    quiet: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|why| format!("{text:?} {why}"))
}

/// Brings a fleet up and holds it.
///
/// # Errors
/// When loadgen itself fails.
pub fn up(args: UpArgs) -> anyhow::Result<Exit> {
    let mut set = args.set;
    if let Some(nodes) = args.nodes {
        set.push(Assignment {
            name: "nodes".to_owned(),
            value: nodes.to_string(),
        });
    }
    let Some(mut scenario) = load(&args.file, &set) else {
        return Ok(Exit::BadScenario);
    };
    scenario.only_bring_up();
    let logs = Logs::install(None).map_err(anyhow::Error::msg)?;
    let plan = Arc::new(Plan::new(scenario));
    let options = Options {
        progress: args.progress,
        provisioner: args.programs.provisioner,
        nats_server: args.programs.nats_server,
        quiet: args.quiet,
        crew: args.crew,
    };
    let preflight = run::preflight(&plan, &options, &Machine::look());
    preflight.tell();
    let workers = preflight.workers;
    let Some(programs) = preflight.programs else {
        return Ok(Exit::Preflight);
    };
    let named = args.out.is_some();
    let folder = args
        .out
        .unwrap_or_else(|| Path::new(run::RESULTS).join("up"));
    let folder = match UpFolder::open(&folder, named) {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("loadgen: refused (results): {error:#}");
            return Ok(Exit::Preflight);
        }
    };
    logs.to_file(&folder.path.join("loadgen.log"))?;
    let node = plan.node(0).map_or(String::new(), |node| node.identity);
    let mut told = None;
    let slot = std::sync::Mutex::new(&mut told);
    let mut ready = |site: &Site| {
        let handed = hand_out(site)?;
        if let Ok(mut slot) = slot.lock() {
            **slot = Some(handed);
        }
        Ok(())
    };
    let mut is_up = |_: &RunState, totals: &Totals| {
        if let Ok(slot) = slot.lock()
            && let Some(handed) = slot.as_ref()
        {
            let text = announcement(answered(totals), handed, &node);
            // Nobody reading it is no reason to take the fleet down.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    };
    let prepared = Prepared {
        run: new_run(&plan.scenario.name),
        plan,
        workers,
        programs,
        site_folder: folder.path.clone(),
        workers_folder: folder.path.join("workers"),
        results: None,
        hold: Some(Holding {
            up: &mut is_up,
            ready: &mut ready,
            within: args.within,
        }),
        baselines: Baselines::skipped(),
        logs,
    };
    run::execute(prepared, &options)
}

/// The folder of a fleet that is held up: its own again at every start, and nobody else's
/// meanwhile.
#[derive(Debug)]
struct UpFolder {
    path: PathBuf,
    /// Held for as long as the fleet is up.
    _lock: File,
}

impl UpFolder {
    /// Marks a folder as one of ours, which may be emptied.
    const LOCK: &'static str = ".loadgen-up";

    fn open(path: &Path, named: bool) -> anyhow::Result<Self> {
        let shown = path.display();
        let unwritable = || format!("{shown} cannot be written; name another with --out DIR");
        std::fs::create_dir_all(path).with_context(unwritable)?;
        let lock_path = path.join(Self::LOCK);
        let is_ours = lock_path.is_file();
        let is_empty = std::fs::read_dir(path)
            .with_context(unwritable)?
            .next()
            .is_none();
        if named && !is_ours && !is_empty {
            anyhow::bail!("{shown} is not empty; name another with --out DIR, or empty it first");
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .with_context(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another fleet is up in {shown}; take it down first, or name another with --out DIR"
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(unwritable),
        }
        for entry in std::fs::read_dir(path).with_context(unwritable)? {
            let entry = entry.with_context(unwritable)?;
            if entry.file_name() == Self::LOCK {
                continue;
            }
            let removed = match entry.file_type().with_context(unwritable)?.is_dir() {
                true => std::fs::remove_dir_all(entry.path()),
                false => std::fs::remove_file(entry.path()),
            };
            removed.with_context(unwritable)?;
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }
}

/// What is told once the fleet is up.
struct HandedOut {
    handout: Handout,
    production: Vec<String>,
    provisioning: Vec<String>,
    ca: PathBuf,
    operator: [PathBuf; 2],
    provisioner: Option<PathBuf>,
    metrics: Option<String>,
}

fn hand_out(site: &Site) -> anyhow::Result<HandedOut> {
    let production: Vec<_> = site.formation.of_role(Role::Production).collect();
    let tls = production.first().map_or(Tls::Mutual, |post| post.tls);
    let callers = &site.callers;
    let access = Access {
        brokers: production.iter().map(|post| post.address.clone()).collect(),
        tls,
        ca: &callers.ca,
        operator: &callers.operator,
    };
    let config = site.folder().join("provisioner.toml");
    Ok(HandedOut {
        handout: Handout::write(site.folder(), &access)?,
        production: site.urls(Role::Production),
        provisioning: site.urls(Role::Provisioning),
        ca: callers.ca.clone(),
        operator: callers.operator.files().map(Path::to_owned),
        provisioner: config.is_file().then_some(config),
        metrics: site.metrics(),
    })
}

/// How many nodes answered the last question, of how many.
fn answered(totals: &Totals) -> (u64, u64) {
    let ping = totals.ops.get(&OpKey::new(ANSWER, PING));
    let of = |counter| ping.map_or(0, |ping| ping.counters.of(counter));
    (of(Counter::Replies), of(Counter::Expected))
}

fn announcement((up, total): (u64, u64), handed: &HandedOut, node: &str) -> String {
    let (up, total, at) = (grouped(up), grouped(total), handed.production.join(", "));
    let mut text = match up == total {
        true => format!("{total} nodes are up on {at}.\n"),
        false => format!("only {up} of {total} nodes answer on {at}.\n"),
    };
    let mut line = |what: &str, value: String| text.push_str(&format!("  {what:<18}{value}\n"));
    if !handed.provisioning.is_empty() {
        line("provisioning", handed.provisioning.join(", "));
    }
    for (client, command) in handed.handout.commands(node) {
        line(&format!("with {client}"), command);
    }
    if let Some(config) = &handed.provisioner {
        let config = config.display();
        line(
            "enrolments",
            format!("provisioner status --config {config}"),
        );
    }
    if let Some(address) = &handed.metrics {
        line("with curl", format!("curl -s {address}/metrics"));
    }
    line(
        "credentials",
        format!(
            "{} {} {}",
            handed.ca.display(),
            handed.operator[0].display(),
            handed.operator[1].display()
        ),
    );
    text.push_str("ctrl-c takes it down.\n");
    text
}
