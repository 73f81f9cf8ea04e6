//! `loadgen schema`: the formats of this tool, for editors and other programs.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use crate::exit::Exit;
use crate::schema;

/// Arguments of `loadgen schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  loadgen schema > scenario.schema.json
  loadgen schema metrics                    what an assert can name
  loadgen schema summary                    JSON Schema of summary.json")]
pub struct SchemaArgs {
    /// What to print
    #[arg(value_enum, default_value = "scenario")]
    of: Of,
    /// Print the metrics as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// JSON Schema of a scenario file
    Scenario,
    /// Every metric an assert can name
    Metrics,
    /// JSON Schema of verdict.json
    Verdict,
    /// JSON Schema of summary.json
    Summary,
}

/// Prints a format.
///
/// # Errors
/// When it cannot be printed.
pub fn schema(args: &SchemaArgs) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    let value = match args.of {
        Of::Scenario => schema::scenario(),
        Of::Verdict => schema::verdict(),
        Of::Summary => schema::summary(),
        Of::Metrics if args.json => schema::metrics(),
        Of::Metrics => {
            write!(out, "{}", schema::metrics_table())?;
            return Ok(Exit::Pass);
        }
    };
    writeln!(out, "{}", serde_json::to_string_pretty(&value)?)?;
    Ok(Exit::Pass)
}
