//! `loadgen validate`: is this a scenario, and if not, what is wrong with it, all of it.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::exit::Exit;
use crate::run::CAPABILITIES;
use crate::scenario::{self, Assignment, Mistakes, Scenario};
use crate::units::grouped;

/// Arguments of `loadgen validate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  loadgen validate scenarios/*.toml
  loadgen validate my.toml --set nodes=5000
  loadgen schema > scenario.schema.json     for editors that check while you write")]
pub struct ValidateArgs {
    /// Scenario files
    #[arg(required = true, value_name = "SCENARIO")]
    files: Vec<PathBuf>,
    /// Override a parameter of [params]
    #[arg(long = "set", value_name = "NAME=VALUE")]
    assignments: Vec<Assignment>,
    /// Print JSON: per file its mistakes with file, line and column
    #[arg(long)]
    json: bool,
}

/// Validates files and tells every mistake.
///
/// # Errors
/// When nothing can be printed.
pub fn validate(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    let mut exit = Exit::Pass;
    let mut answers = Vec::new();
    for file in &args.files {
        let loaded = scenario::load(file, &args.assignments);
        let unavailable = loaded
            .as_ref()
            .ok()
            .and_then(|scenario| CAPABILITIES.check(scenario).err());
        if loaded.is_err() {
            exit = Exit::BadScenario;
        }
        if args.json {
            answers.push(json!({
                "file": file,
                "valid": loaded.is_ok(),
                "mistakes": loaded.err().unwrap_or(Mistakes(Vec::new())),
                "unavailable": unavailable.unwrap_or(Mistakes(Vec::new())),
            }));
            continue;
        }
        match &loaded {
            Ok(scenario) => {
                writeln!(out, "{}: ok  {}", file.display(), in_a_line(scenario))?;
                if let Some(unavailable) = unavailable {
                    writeln!(out, "{unavailable}")?;
                }
            }
            Err(mistakes) => writeln!(out, "{mistakes}")?,
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answers)?)?;
    } else if exit != Exit::Pass {
        writeln!(
            std::io::stderr(),
            "every key and its meaning: loadgen schema; every metric: loadgen schema metrics"
        )?;
    }
    Ok(exit)
}

/// `1,000 nodes, 3 phases, 7 asserts`.
fn in_a_line(scenario: &Scenario) -> String {
    let asserts: usize = scenario
        .asserts
        .iter()
        .map(|assert| assert.that.len())
        .sum();
    let plural = |n: u64, word: &str| match n {
        1 => format!("1 {word}"),
        n => format!("{} {word}s", grouped(n)),
    };
    [
        plural(scenario.nodes(), "node"),
        plural(scenario.phases.len() as u64, "phase"),
        plural(asserts as u64, "assert"),
    ]
    .join(", ")
}
