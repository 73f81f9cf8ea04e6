//! `loadgen plan`: what a scenario comes to, and whether this machine can hold it.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::exit::Exit;
use crate::plan::{Plan, show};
use crate::preflight::{Finding, Machine, judge};
use crate::results::{Host, load_baselines};
use crate::run::CAPABILITIES;
use crate::scenario::{self, Assignment, OnFail};

/// Arguments of `loadgen plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  loadgen plan scenarios/quickstart.toml
  loadgen plan scenarios/quickstart.toml --set nodes=20000
  loadgen plan my.toml --json | jq .plan.brokers

Nothing is started. Exit code 2: a mistake in the scenario, a baseline that cannot be
compared with, or something this version cannot run; 3: this machine cannot hold it.")]
pub struct PlanArgs {
    /// Scenario file
    #[arg(value_name = "SCENARIO")]
    file: PathBuf,
    /// Override a parameter of [params]
    #[arg(long = "set", value_name = "NAME=VALUE")]
    assignments: Vec<Assignment>,
    /// Worker processes; from the descriptors each may have when left out
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,
    /// Leave asserts out that compare with a baseline
    #[arg(long)]
    no_baseline: bool,
    /// Print JSON: the plan and what the preflight finds
    #[arg(long)]
    json: bool,
}

/// Works a scenario out and shows it.
///
/// # Errors
/// When nothing can be printed.
pub fn plan(args: &PlanArgs) -> anyhow::Result<Exit> {
    let mut scenario = match scenario::load(&args.file, &args.assignments) {
        Ok(scenario) => scenario,
        Err(mistakes) => {
            writeln!(std::io::stderr(), "{mistakes}")?;
            return Ok(Exit::BadScenario);
        }
    };
    let machine = Machine::look();
    let mut mistakes = CAPABILITIES.check(&scenario).err().unwrap_or_default();
    if !args.no_baseline {
        let refused = load_baselines(&scenario, &Host::look(&machine)).err();
        mistakes.0.extend(refused.unwrap_or_default().0);
    }
    scenario.generator.workers = args.workers.or(scenario.generator.workers);
    let plan = Plan::new(scenario);
    let workers = plan.workers(machine.descriptors);
    let mut findings = judge(&plan.needs(workers), &machine);
    let survivors = plan.survivors.iter();
    findings.extend(survivors.flat_map(|left| left.findings(machine.descriptors)));
    let refused: Vec<&Finding> = findings.iter().filter(|finding| !finding.ok).collect();

    let mut out = std::io::stdout().lock();
    if args.json {
        let answer = json!({ "plan": plan, "preflight": findings });
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
    } else {
        write!(out, "{}", show(&plan, workers, machine.descriptors))?;
        if refused.is_empty() {
            writeln!(out, "this machine can hold it")?;
        }
    }
    for finding in &refused {
        writeln!(std::io::stderr(), "{}: {}", finding.check, finding.says)?;
    }
    if !mistakes.0.is_empty() {
        writeln!(std::io::stderr(), "{mistakes}")?;
        return Ok(Exit::BadScenario);
    }
    let stops = plan.scenario.preflight.on_fail == OnFail::Stop;
    Ok(match refused.is_empty() || !stops {
        true => Exit::Pass,
        false => Exit::Preflight,
    })
}
