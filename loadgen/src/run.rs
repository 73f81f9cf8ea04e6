//! One run from its scenario file to its exit code: the composition root.
//!
//! ```text
//! file ──► Scenario ──► Plan ──► preflight ──► Site ──► Drive ──► Verdict ──► folder, exit code
//! ```

mod chronicle;
mod crew;
mod ending;
mod refuse;
mod signals;
mod stage;

pub use chronicle::open_results;
pub use crew::CrewOptions;
pub use refuse::{Preflight, find_programs, preflight};
pub use signals::listen as listen_for_signals;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::assert::{Baselines, judge_all};
use crate::coordinator::Chronicle as _;
use crate::exit::Exit;
use crate::guard::{Guard, RunMark};
use crate::measure::{RunState, Stage, Totals};
use crate::plan::Plan;
use crate::results::{
    METRICS_FILE, Manifest, RunFolder, Summary, Verdict, judge_limits, metrics_json, reconnect_csv,
};
use crate::scenario::{
    Behaviour, Capabilities, Do, FaultKind, Format, Manage, SourceAddress, Start,
};
use crate::site::{Programs, Site};
use crate::view::{Logs, Mode, Progress};
use crate::worker::clock::RunClock;

use chronicle::Chronicler;
use ending::{close_manifest, exit_of, finish_picture, last_words};
use stage::Staging;

/// What this version can run; the format holds more, and says so where it is used.
pub const CAPABILITIES: Capabilities = Capabilities {
    ops: &[
        Do::Connect,
        Do::Provision,
        Do::Request,
        Do::Publish,
        Do::Disconnect,
        Do::Churn,
        Do::Fault,
    ],
    broker_faults: &[
        FaultKind::Kill,
        FaultKind::Restart,
        FaultKind::LameDuck,
        FaultKind::Freeze,
        FaultKind::CutLink,
        FaultKind::SlowLink,
    ],
    provisioner_faults: &[FaultKind::Kill, FaultKind::Restart, FaultKind::Freeze],
    behaviours: Behaviour::ALL,
    starts: &[Start::Unprovisioned, Start::Production],
    brokers: &[Manage::Local, Manage::External],
    provisioners: &[Manage::Local, Manage::External, Manage::None],
    most_provisioners: 8,
    formations: &["single", "cluster", "leafnodes", "gateways", "external"],
    sources: &[SourceAddress::Unbound, SourceAddress::BindNoPort],
    formats: &[Format::Json, Format::Csv, Format::Hlog, Format::Html],
};

/// Where results go unless told otherwise.
pub const RESULTS: &str = "results";

/// How a run is started.
#[derive(Debug)]
pub struct Options {
    /// How progress is shown.
    pub progress: Mode,
    /// The provisioner's program; the one beside this program when `None`.
    pub provisioner: Option<PathBuf>,
    /// nats-server; found when `None`.
    pub nats_server: Option<PathBuf>,
    /// Only the outcome is printed.
    pub quiet: bool,
    /// Over which processes the fleet is split.
    pub crew: CrewOptions,
}

/// What is done while everything is up, and for how long.
pub struct Holding<'a> {
    /// Called with the last picture and everything measured, once every phase is over.
    pub up: &'a mut (dyn FnMut(&RunState, &Totals) + Send),
    /// Called with the site before the first phase.
    pub ready: &'a mut (dyn FnMut(&Site) -> anyhow::Result<()> + Send),
    /// How long to hold; until asked to stop when `None`.
    pub within: Option<Duration>,
}

/// Everything that is decided before something is started.
pub struct Prepared<'a> {
    /// Identifier of the run.
    pub run: String,
    /// The plan.
    pub plan: Arc<Plan>,
    /// Workers in all.
    pub workers: u32,
    /// The programs.
    pub programs: Programs,
    /// Where brokers and provisioners have their files.
    pub site_folder: PathBuf,
    /// Where workers have their logs.
    pub workers_folder: PathBuf,
    /// The results folder, with its manifest; none for a fleet that is only held up.
    pub results: Option<(RunFolder, Manifest)>,
    /// Hold after the last phase.
    pub hold: Option<Holding<'a>>,
    /// The runs that asserts compare with.
    pub baselines: Baselines,
    /// The log of this process.
    pub logs: Logs,
}

/// Starts, drives and ends a prepared run, and writes what it left.
///
/// # Errors
/// When the guard, the view or the runtime cannot be started, or results cannot be written.
pub fn execute(prepared: Prepared<'_>, options: &Options) -> anyhow::Result<Exit> {
    let mark = RunMark::unique();
    let guard = Guard::start(&std::env::current_exe()?, &mark)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(Box::pin(supervise(prepared, options, &mark)));
    runtime.shutdown_timeout(Duration::from_secs(2));
    guard.finish();
    ended
}

async fn supervise(
    prepared: Prepared<'_>,
    options: &Options,
    mark: &RunMark,
) -> anyhow::Result<Exit> {
    server_core::trust::install_crypto();
    let stop = CancellationToken::new();
    signals::listen(stop.clone())?;
    let clock = RunClock::start();
    let plan = Arc::clone(&prepared.plan);
    let (states, pictures) = watch::channel(Arc::new(first_picture(&prepared)));
    let mode = if options.quiet {
        Mode::None
    } else {
        options.progress
    };
    let progress = Progress::start(mode, pictures, stop.clone())?;
    let (mut results, manifest) = prepared.results.unzip();
    let mut chronicle = Chronicler {
        folder: results.as_mut(),
        broken: false,
    };
    let stage = Staging {
        run: &prepared.run,
        plan: &plan,
        workers: prepared.workers,
        crew: &options.crew,
        programs: &prepared.programs,
        folder: &prepared.site_folder,
        workers_folder: &prepared.workers_folder,
        mark,
        clock,
        stop: &stop,
        states: &states,
        baselines: &prepared.baselines,
        logs: &prepared.logs,
    };
    let driven = stage.play(&mut chronicle, prepared.hold).await;
    let elapsed = clock.now();
    let judged = judge_all(&plan.scenario.asserts, &driven.totals, &prepared.baselines);
    let limits = judge_limits(&plan.scenario.limits, &driven.totals, elapsed);
    let verdict = Verdict::decide(
        &driven.ending,
        &judged,
        limits,
        &driven.totals,
        driven.spoilt.clone(),
        driven.wrong.clone(),
    );
    let last_lines = prepared.logs.drain();
    chronicle.log(&last_lines);
    states.send_modify(|state| finish_picture(Arc::make_mut(state), &driven, &verdict));
    progress.finish();
    let folder = results.as_ref().map(|folder| folder.path().to_owned());
    if let (Some(folder), Some(manifest)) = (&results, manifest) {
        let manifest = close_manifest(manifest, &driven);
        let summary = Summary::new(&prepared.run, &plan, &driven.totals, &verdict);
        let elapsed_us = crate::measure::micros(elapsed);
        if !driven.totals.storms.is_empty() {
            folder.write("reconnect.csv", &reconnect_csv(&driven.totals.storms)?)?;
        }
        let metrics = metrics_json(&prepared.run, &plan.scenario, &driven.totals)?;
        folder.write(METRICS_FILE, &metrics)?;
        let manifest = folder.finish(manifest, &plan, &verdict, &summary, elapsed_us)?;
        if plan.scenario.output.formats.contains(&Format::Html) {
            chronicle::write_report(folder, manifest)?;
        }
    }
    last_words(options, &states.borrow(), &verdict, folder.as_deref());
    Ok(exit_of(&verdict))
}

fn first_picture(prepared: &Prepared<'_>) -> RunState {
    RunState {
        run: prepared.run.clone(),
        scenario: prepared.plan.scenario.name.clone(),
        seed: prepared.plan.scenario.seed,
        stage: Stage::Starting,
        doing: "starting brokers".to_owned(),
        expected_us: prepared.plan.expected_us,
        ..RunState::default()
    }
}
