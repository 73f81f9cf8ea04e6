//! One run from its scenario file to its exit code: the composition root.
//!
//! ```text
//! file ──► Scenario ──► Plan ──► preflight ──► Site ──► Drive ──► Verdict ──► folder, exit code
//! ```

mod signals;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::assert::judge_all;
use crate::coordinator::{Chronicle, Drive, Driven, Hold};
use crate::exit::Exit;
use crate::formation::nats_server::NatsServer;
use crate::guard::{Guard, RunMark};
use crate::measure::{BrokerSample, LogLine, RunState, Snapshot, Stage, TargetState, Totals};
use crate::plan::{Plan, Survivors};
use crate::preflight::{self, Finding, Machine};
use crate::results::{
    self, Ending, Host, Manifest, Outcome, RunFolder, Summary, Verdict, judge_limits,
};
use crate::scenario::{
    Behaviour, Capabilities, Check, Do, FaultKind, Format, Manage, OnFail, SourceAddress, Start,
};
use crate::site::{Programs, Site};
use crate::view::{self, Logs, Mode, Progress};
use crate::worker::clock::RunClock;

/// What this version can run; the format holds more, and says so where it is used.
pub const CAPABILITIES: Capabilities = Capabilities {
    ops: &[
        Do::Connect,
        Do::Provision,
        Do::Request,
        Do::Publish,
        Do::Disconnect,
        Do::Fault,
    ],
    broker_faults: &[],
    provisioner_faults: &[FaultKind::Kill, FaultKind::Restart],
    behaviours: &[Behaviour::Honest],
    starts: &[Start::Unprovisioned, Start::Production],
    brokers: &[Manage::Local],
    provisioners: &[Manage::Local, Manage::None],
    most_provisioners: 1,
    most_workers: 1,
    formations: &["single", "cluster"],
    sources: &[SourceAddress::Unbound],
    formats: &[Format::Json, Format::Csv, Format::Hlog],
    abort: false,
    baseline: false,
};

/// Where results go unless told otherwise.
pub const RESULTS: &str = "results";

/// Worker processes; the coordinator speaks to them by messages alone.
const WORKERS: u32 = 1;

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
}

/// The programs a plan needs, found and looked at.
///
/// # Errors
/// As findings that say what to do.
pub fn find_programs(plan: &Plan, options: &Options) -> (Option<Programs>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut note = |check, found: Result<String, String>| {
        let (ok, says) = match found {
            Ok(says) => (true, says),
            Err(says) => (false, says),
        };
        findings.push(Finding { check, ok, says });
    };
    let nats_server = NatsServer::find(options.nats_server.as_deref());
    let said = nats_server.as_ref().map(|server| {
        let path = server.path.display();
        format!("nats-server {} ({path})", server.version)
    });
    note("nats-server", said.map_err(ToString::to_string));
    let mut provisioner = None;
    if plan.scenario.provisioner.manage == Manage::Local {
        let found = crate::provisioner::find(options.provisioner.as_deref());
        let said = found.as_ref().map(|path| path.display().to_string());
        note("provisioner", said.map_err(ToString::to_string));
        provisioner = found.ok();
    }
    let programs = nats_server.ok().map(|nats_server| Programs {
        nats_server,
        provisioner,
    });
    (programs, findings)
}

/// Checks that this machine can hold the plan. `None` when the run must not go on; every refusal
/// has been told.
pub fn preflight(plan: &Plan, options: &Options, machine: &Machine) -> Preflight {
    let (programs, mut findings) = find_programs(plan, options);
    findings.extend(preflight::judge(&plan.needs(WORKERS), machine));
    findings.extend(plan.survivors.iter().filter_map(Survivors::finding));
    let wanted = &plan.scenario.preflight.require;
    let required = |finding: &Finding| {
        // Without its programs there is no run, whatever the scenario wants checked.
        let always = matches!(finding.check, "nats-server" | "provisioner");
        always
            || wanted
                .iter()
                .map(|check: &Check| check.word())
                .any(|word| word == finding.check)
    };
    let refused: Vec<Finding> = findings
        .iter()
        .filter(|finding| !finding.ok && required(finding))
        .cloned()
        .collect();
    let stop = plan.scenario.preflight.on_fail == OnFail::Stop;
    let go_on = programs.is_some() && (refused.is_empty() || !stop);
    Preflight {
        programs: programs.filter(|_| go_on),
        findings,
        refused,
    }
}

/// What the preflight came to.
#[derive(Debug)]
pub struct Preflight {
    /// What to run with; `None` when the run is refused.
    pub programs: Option<Programs>,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
    /// What does not hold.
    pub refused: Vec<Finding>,
}

impl Preflight {
    /// Tells on standard error what does not hold.
    pub fn tell(&self) {
        let word = match self.programs {
            Some(_) => "warning",
            None => "refused",
        };
        for finding in &self.refused {
            eprintln!("loadgen: {word} ({}): {}", finding.check, finding.says);
        }
    }
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
    /// The programs.
    pub programs: Programs,
    /// Where brokers and provisioners have their files.
    pub site_folder: PathBuf,
    /// The results folder, with its manifest; none for a fleet that is only held up.
    pub results: Option<(RunFolder, Manifest)>,
    /// Hold after the last phase.
    pub hold: Option<Holding<'a>>,
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
        programs: &prepared.programs,
        folder: &prepared.site_folder,
        mark,
        clock,
        stop: &stop,
        states: &states,
        logs: &prepared.logs,
    };
    let driven = stage.play(&mut chronicle, prepared.hold).await;
    let elapsed = clock.now();
    let judged = judge_all(&plan.scenario.asserts, &driven.totals, |_, _| None);
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
        folder.finish(manifest, &plan, &verdict, &summary, elapsed_us)?;
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

/// What the stage is set with.
struct Staging<'a> {
    run: &'a str,
    plan: &'a Arc<Plan>,
    programs: &'a Programs,
    folder: &'a Path,
    mark: &'a RunMark,
    clock: RunClock,
    stop: &'a CancellationToken,
    states: &'a watch::Sender<Arc<RunState>>,
    logs: &'a Logs,
}

impl Staging<'_> {
    /// Starts the site, drives the run and takes the site down, whatever happens in between.
    async fn play(&self, chronicle: &mut dyn Chronicle, hold: Option<Holding<'_>>) -> Driven {
        let scenario = &self.plan.scenario;
        let starting = Site::start(scenario, self.run, self.folder, self.programs, self.mark);
        let started = tokio::select! {
            started = Box::pin(starting) => started,
            // What had been started is killed as it is let go.
            () = self.stop.cancelled() => return Driven::nothing(Ending::Interrupted),
        };
        let mut site = match started {
            Ok(site) => site,
            Err(error) => return Driven::nothing(Ending::FormationFailed(error.to_string())),
        };
        let driving = self.drive(&mut site, chronicle, hold);
        let driven = std::panic::AssertUnwindSafe(driving).catch_unwind().await;
        site.stop().await;
        driven.unwrap_or_else(|panic| {
            let why = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let why = why.unwrap_or_else(|| "without a word".to_owned());
            Driven::nothing(Ending::Failed(format!("loadgen panicked: {why}")))
        })
    }

    async fn drive(
        &self,
        site: &mut Site,
        chronicle: &mut dyn Chronicle,
        mut hold: Option<Holding<'_>>,
    ) -> Driven {
        if let Some(holding) = &mut hold
            && let Err(error) = (holding.ready)(site)
        {
            return Driven::nothing(Ending::Failed(format!("{error:#}")));
        }
        let within = hold.as_ref().and_then(|hold| hold.within);
        let mut up = hold.map(|hold| {
            let states = self.states.clone();
            let up = hold.up;
            move |totals: &Totals| up(&states.borrow(), totals)
        });
        let hold = up.as_mut().map(|up| Hold { up, within });
        let drive = Drive {
            run: self.run,
            plan: Arc::clone(self.plan),
            workers: WORKERS,
            site,
            mark: self.mark.clone(),
            clock: self.clock,
            stop: self.stop.clone(),
            states: self.states,
            logs: self.logs,
            chronicle,
            hold,
        };
        Box::pin(drive.run()).await
    }
}

/// Writes into the results folder as things happen. A folder that cannot be written any more is
/// told once; the run goes on, as its verdict may still be worth having.
struct Chronicler<'a> {
    folder: Option<&'a mut RunFolder>,
    broken: bool,
}

impl Chronicler<'_> {
    fn write(&mut self, work: impl FnOnce(&mut RunFolder) -> std::io::Result<()>) {
        let Some(folder) = self.folder.as_deref_mut() else {
            return;
        };
        if let Err(error) = work(folder)
            && !std::mem::replace(&mut self.broken, true)
        {
            tracing::error!(%error, "the results folder cannot be written any more");
        }
    }
}

impl Chronicle for Chronicler<'_> {
    fn snapshot(&mut self, phase: &str, snapshot: &Snapshot) {
        self.write(|folder| folder.append(phase, snapshot));
    }

    fn broker(&mut self, at_us: u64, phase: &str, name: &str, sample: &BrokerSample) {
        let labels = format!("broker={name}");
        let values = [
            ("broker.connections", sample.connections.map(|n| n as f64)),
            (
                "broker.subscriptions",
                sample.subscriptions.map(|n| n as f64),
            ),
            ("broker.mem_bytes", sample.mem_bytes.map(|n| n as f64)),
            (
                "broker.slow_consumers",
                sample.slow_consumers.map(|n| n as f64),
            ),
            ("broker.cpu_pct", sample.cpu_pct),
        ];
        let known: Vec<(&str, String, f64)> = values
            .into_iter()
            .filter_map(|(metric, value)| Some((metric, labels.clone(), value?)))
            .collect();
        self.write(|folder| folder.append_values(at_us, phase, &known));
    }

    fn log(&mut self, lines: &[LogLine]) {
        if !lines.is_empty() {
            self.write(|folder| folder.append_events(lines));
        }
    }
}

fn finish_picture(state: &mut RunState, driven: &Driven, verdict: &Verdict) {
    use crate::assert::AssertState;
    state.stage = Stage::Done;
    state.doing = String::new();
    if !driven.phases.is_empty() {
        state.phases.clone_from(&driven.phases);
    }
    for (view, result) in state.asserts.iter_mut().zip(&verdict.asserts) {
        view.value = result.value.map(|_| result.shown.clone());
        view.state = match result.state {
            AssertState::Ok => TargetState::Ok,
            AssertState::Failed => TargetState::Failed,
            AssertState::Warned => TargetState::Warned,
            AssertState::Inconclusive => TargetState::Inconclusive,
        };
    }
}

fn close_manifest(mut manifest: Manifest, driven: &Driven) -> Manifest {
    for (name, varz) in &driven.varz {
        let value = serde_json::to_value(varz).unwrap_or_default();
        manifest.brokers.insert(name.clone(), value);
    }
    manifest
}

fn last_words(options: &Options, state: &RunState, verdict: &Verdict, folder: Option<&Path>) {
    for reason in &verdict.reasons {
        eprintln!("loadgen: {reason}");
    }
    let (mode, _) = options.progress.resolve();
    if folder.is_none() || mode == Mode::Json {
        return;
    }
    let outcome = verdict.outcome.headline().to_lowercase();
    let ending = view::Ending {
        outcome: &outcome,
        folder,
    };
    let words = view::summary(state, &ending);
    if options.quiet {
        print!(
            "{}",
            words
                .lines()
                .last()
                .map_or(String::new(), |line| format!("{line}\n"))
        );
    } else {
        print!("{words}");
    }
}

fn exit_of(verdict: &Verdict) -> Exit {
    match verdict.outcome {
        Outcome::Pass => Exit::Pass,
        Outcome::Fail => Exit::AssertFailed,
        Outcome::Invalid => Exit::Invalid,
        Outcome::Inconclusive => Exit::Inconclusive,
        Outcome::Aborted if verdict.exit_code == Exit::Interrupted.code() => Exit::Interrupted,
        Outcome::Aborted => Exit::Aborted,
        Outcome::Error if verdict.exit_code == Exit::Formation.code() => Exit::Formation,
        Outcome::Error => Exit::ToolError,
    }
}

/// Opens the results folder of a run and writes what is known before anything starts.
///
/// # Errors
/// When the folder holds something or cannot be written.
pub fn open_results(
    out: Option<&Path>,
    run: &str,
    plan: &Plan,
    machine: &Machine,
    findings: &[Finding],
) -> Result<(RunFolder, Manifest), results::FolderError> {
    let folder = RunFolder::create(out, Path::new(RESULTS), run)?;
    let mut manifest = Manifest::begin(run, plan, WORKERS, Host::look(machine));
    manifest.preflight = findings.to_vec();
    // Broadcasts are verified once for all nodes of a process; it is cheaper than what a fleet of
    // processes pays together, and is told so.
    let shared = serde_json::Value::from("shared");
    manifest.settings.insert("verification".to_owned(), shared);
    let begun = folder.begin(&manifest, plan);
    begun.map_err(|error| results::FolderError::Unwritable {
        folder: folder.path().to_owned(),
        error,
    })?;
    Ok((folder, manifest))
}
