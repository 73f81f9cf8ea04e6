//! `faults`: fleets are enrolled while provisioners, brokers and helpers are killed.
//!
//! Started by `make faults`. Progress goes to standard error; the last line of standard output says
//! what it came to, and `faults.json` in the folder of results says it to programs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use benches::faults::check::check;
use benches::faults::drive::Means;
use benches::faults::plan::Plan;
use benches::faults::report::Report;
use clap::Parser;
use server_core::words::Seed;

/// Kills provisioners, brokers and helpers at random moments and looks whether anything was lost.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  faults --kills 20 --nodes 500
  faults --kills 200 --seed 7 --out /tmp/faults

Exit status: 0 nothing was lost, 1 something was, 2 it could not be run")]
struct Args {
    /// Kills in all, over as many runs as it takes
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Nodes of each run
    #[arg(long, default_value_t = 2_000)]
    nodes: u64,
    /// Kills in one run, 1 to 50: more would take longer than a run may
    #[arg(long, default_value_t = 10, value_parser = kills_of_one)]
    per_run: usize,
    /// What decides who is killed when; drawn unless given
    #[arg(long)]
    seed: Option<u64>,
    /// The first run: a plan of the same seed can be taken up in its midst
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// The folder of results [default: results/runs/faults-SEED]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep the folders of good runs too
    #[arg(long)]
    keep: bool,
    /// The folder of loadgen and provisioner; that of this program unless given
    #[arg(long)]
    programs: Option<PathBuf>,
}

fn kills_of_one(text: &str) -> Result<usize, String> {
    let kills = text.parse().ok().filter(|kills| (1..=50).contains(kills));
    kills.ok_or_else(|| format!("{text:?} is no number from 1 to 50"))
}

fn main() -> ExitCode {
    server_core::trust::install_crypto();
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<bool> {
    let own = std::env::current_exe()?;
    let folder = args
        .programs
        .clone()
        .unwrap_or_else(|| own.with_file_name(""));
    let program = |name: &str| {
        let path = folder.join(name);
        anyhow::ensure!(
            path.is_file(),
            "{} is not there: make build",
            path.display()
        );
        Ok(path)
    };
    let seed = args
        .seed
        .unwrap_or_else(|| u64::from(Seed::from_os().0 as u32));
    let means = Means {
        loadgen: program("loadgen")?,
        provisioner: program("provisioner")?,
        seed,
    };
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("results/runs/faults-{seed}")),
    };
    anyhow::ensure!(
        !out.exists(),
        "{} is there already; name another folder with --out",
        out.display()
    );
    std::fs::create_dir_all(&out).with_context(|| format!("{}", out.display()))?;
    eprintln!(
        "{} kills, {} a run of {} nodes, seed {seed}; results in {}",
        args.kills,
        args.per_run,
        args.nodes,
        out.display()
    );
    let report = all(args, &means, &out)?;
    report.write(&out)?;
    println!("{}", report.line());
    Ok(report.good)
}

fn all(args: &Args, means: &Means, out: &std::path::Path) -> anyhow::Result<Report> {
    let mut report = Report::new(means.seed);
    // Kills that come too late are made up for, within reason.
    let most = 2 + 2 * args.kills.div_ceil(args.per_run) as u64;
    for number in args.first..args.first + most {
        let left = args.kills.saturating_sub(usize::try_from(report.kills)?);
        if left == 0 {
            break;
        }
        // Always as many, so that a plan follows from the seed and its number alone.
        let plan = Plan::new(means.seed, number, args.nodes, args.per_run);
        let folder = out.join(format!("run-{number:02}"));
        let ran = means.carry_out(&plan, &folder)?;
        let findings = check(&plan, &ran, &means.provisioner)
            .with_context(|| format!("run {number}, see {}", folder.display()))?;
        eprintln!(
            "run {number}: {}: {} kills, {} of {} nodes, {} s{}",
            plan.shape.word(),
            findings.killed(),
            findings.enrolled,
            findings.nodes,
            ran.took.as_secs(),
            match findings.wrong.as_slice() {
                [] => String::new(),
                wrong => format!("; {}; see {}", wrong.join("; "), folder.display()),
            }
        );
        if findings.is_good() && !args.keep {
            std::fs::remove_dir_all(&folder)?;
        }
        report.add(&plan, ran.took, findings);
        // What a later run cannot tell must not take along what the earlier ones told.
        report.write(out)?;
    }
    if report.kills < args.kills as u64 {
        report.good = false;
        eprintln!("only {} kills hit something", report.kills);
    }
    Ok(report)
}
