//! `floor`: our nodes against a bare client, on the same brokers, with the same bytes.
//!
//! Started by `make floor`. Progress goes to standard error; the last line of standard output is
//! one line of JSON.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use benches::floor::asker::Asker;
use benches::floor::crew::{Credentials, Crew, serve};
use benches::floor::exchange::Exchange;
use benches::floor::ours::Ours;
use benches::floor::report::{Measured, Report, median};
use benches::floor::{brokers, ours};
use clap::Parser;
use loadgen::formation::Formation;
use loadgen::formation::certificates::NodeAuthority;
use loadgen::guard::{Guard, RunMark};
use loadgen::resources::{Usage, raise_descriptor_limit};
use loadgen::scenario::KeyKind;

/// Descriptors a process keeps for itself.
const BESIDES: u64 = 200;
/// Time between rounds, for the brokers to come to rest.
const REST: Duration = Duration::from_millis(200);
/// Rounds before the ones that count.
const WARM_UP: usize = 3;

/// Measures our nodes against a bare client: bare, ours, ours, bare.
#[derive(Parser)]
#[command(after_help = "Example:\n  floor --nodes 5000 --rounds 10")]
struct Args {
    /// Nodes, and bare connections
    #[arg(long, default_value_t = 50_000)]
    nodes: usize,
    /// How brokers and clients speak: `none` or `mutual`
    #[arg(long, default_value = "none")]
    tls: String,
    /// Rounds that count, of each run
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Dials under way at once, of both sides
    #[arg(long, default_value_t = 192)]
    dials: usize,
    /// The loadgen program; the one beside this program unless given
    #[arg(long)]
    loadgen: Option<PathBuf>,
    /// Measure the bare client alone
    #[arg(long)]
    bare: bool,
}

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("bare-worker") => {
            server_core::trust::install_crypto();
            raise_descriptor_limit();
            serve()
        }
        _ => measure(&Args::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> anyhow::Result<()> {
    server_core::trust::install_crypto();
    let mutual = match args.tls.as_str() {
        "none" => false,
        "mutual" => true,
        other => anyhow::bail!("--tls {other:?}: write none or mutual"),
    };
    let limit = raise_descriptor_limit().unwrap_or(1_024);
    let each = usize::try_from(limit.saturating_sub(BESIDES))?.max(1);
    let processes = args.nodes.div_ceil(each).max(1);
    let loadgen = match &args.loadgen {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("loadgen"),
    };
    anyhow::ensure!(
        loadgen.is_file(),
        "{} is not there: make build",
        loadgen.display()
    );
    let folder = tempfile::Builder::new().prefix("floor-").tempdir()?;
    let mark = RunMark::unique();
    let guard = Guard::start(&loadgen, &mark)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut formation = runtime.block_on(brokers::start(
        processes.max(3),
        mutual,
        &folder.path().join("brokers"),
        &mark,
    ))?;
    let caller = formation.authority.caller("loadgen.mcollective")?;
    let node = "nodes-00001.example.net";
    let url = formation.posts().next().context("no broker")?.url();
    let exchange = runtime.block_on(Exchange::ping(&caller, node, &url))?;
    eprintln!(
        "{} nodes, {} brokers, request {} bytes, reply {} bytes",
        args.nodes,
        formation.posts().count(),
        exchange.request.len(),
        exchange.reply.len()
    );
    let credentials = mutual.then(|| node_credentials(&formation)).transpose()?;
    let side = Side {
        args,
        formation: &formation,
        exchange: &exchange,
        processes,
        credentials,
    };
    let measured = side.all(&loadgen, folder.path());
    runtime.block_on(formation.stop());
    guard.finish();
    let (bare, ours) = measured?;
    let report = Report::of(args.nodes, &bare, &ours);
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// What a node has; all bare connections show the same.
fn node_credentials(formation: &Formation) -> anyhow::Result<Credentials> {
    let authority = &formation.authority;
    let now = time::OffsetDateTime::now_utc();
    let signing = NodeAuthority::of(authority.intermediate(), now)?;
    let issued = signing.node("nodes-00001.example.net", KeyKind::P256)?;
    Ok(Credentials {
        roots: authority.root().to_owned(),
        certificate: issued.certificate,
        key: issued.key,
    })
}

/// What both sides are measured with.
struct Side<'a> {
    args: &'a Args,
    formation: &'a Formation,
    exchange: &'a Exchange,
    processes: usize,
    credentials: Option<Credentials>,
}

impl Side<'_> {
    fn all(&self, loadgen: &Path, folder: &Path) -> anyhow::Result<(Vec<Measured>, Vec<Measured>)> {
        let mut bare = vec![self.bare()?];
        if self.args.bare {
            return Ok((bare, Vec::new()));
        }
        let ours = ours::Ours {
            loadgen,
            folder,
            formation: self.formation,
            nodes: self.args.nodes,
            rounds: self.args.rounds,
            warm_up: WARM_UP,
            dials: self.args.dials,
            mutual: self.credentials.is_some(),
        };
        let both = vec![self.ours(&ours, 1)?, self.ours(&ours, 2)?];
        bare.push(self.bare()?);
        Ok((bare, both))
    }

    fn ours(&self, ours: &Ours<'_>, number: usize) -> anyhow::Result<Measured> {
        let measured = ours.measure(number)?;
        tell("ours", &measured);
        Ok(measured)
    }

    /// CPU seconds of all brokers since they started.
    fn brokers_cpu(&self) -> f64 {
        let pids = self.formation.pids();
        pids.filter_map(|(_, pid)| Usage::of(pid).cpu_s).sum()
    }

    fn bare(&self) -> anyhow::Result<Measured> {
        let (nodes, rounds) = (self.args.nodes, self.args.rounds);
        let addresses = brokers::addresses(self.formation)?;
        let tls = self.credentials.as_ref().map(Credentials::client);
        let mut crew = Crew::start(
            self.exchange,
            &addresses,
            (nodes, self.processes, self.args.dials),
            self.credentials.as_ref(),
        )?;
        let before_cpu = self.brokers_cpu();
        let (connect, answer) = crew.connect()?;
        anyhow::ensure!(answer.up == nodes, "bare: {} connections lost", answer.lost);
        let up_cpu = self.brokers_cpu();
        let first = *addresses.first().context("no broker")?;
        let mut asker = Asker::connect(first, self.exchange, tls.transpose()?)?;
        let mut last = Vec::new();
        let mut missing = 0;
        for round in 0..WARM_UP + rounds {
            std::thread::sleep(REST);
            let round_of = asker.ask(nodes)?;
            if round >= WARM_UP {
                last.push(round_of.last);
                missing += (nodes - round_of.replies) as u64;
            }
        }
        let after = crew.report()?;
        let measured = Measured {
            connect,
            last,
            lost: missing + after.lost as u64,
            rss_per_connection: after.rss_bytes / nodes.max(1) as u64,
        };
        eprintln!(
            "bare: CPU connecting {:.1} s and brokers {:.1} s; then {:.1} s and brokers {:.1} s",
            answer.cpu_s,
            up_cpu - before_cpu,
            after.cpu_s - answer.cpu_s,
            self.brokers_cpu() - up_cpu
        );
        tell("bare", &measured);
        Ok(measured)
    }
}

fn tell(who: &str, measured: &Measured) {
    eprintln!(
        "{who}: connected in {:.2} s, last reply {:.3} s (median of {}), {} bytes each, {} lost",
        measured.connect.as_secs_f64(),
        median(measured.last.iter().copied()).as_secs_f64(),
        measured.last.len(),
        measured.rss_per_connection,
        measured.lost
    );
}
