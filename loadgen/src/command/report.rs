//! `loadgen report`: the page of a run, from its folder alone.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::exit::Exit;
use crate::report::{self, ReportError};

/// Make the page of a run from its results folder
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadgen report results/last-green                      writes report.html there
  loadgen report results/runs/RUN --out page.html
  loadgen report results/reference/quickstart --out -    prints the page

The page is one file that needs nothing else. It is made from the files of the folder alone; of
a run that was killed it shows what there is, and says what is missing.

Exit codes: 0 the page is written, whatever the run came to; 1 it cannot be written; 2 the folder
cannot be read or holds no run.")]
pub struct ReportArgs {
    /// The run's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Where to write it; - prints it [default: DIR/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Makes the page.
///
/// # Errors
/// When it cannot be written.
pub fn report(args: &ReportArgs) -> anyhow::Result<Exit> {
    let page = match report::page(&args.folder) {
        Ok(page) => page,
        Err(error @ (ReportError::NotARun(_) | ReportError::Unreadable { .. })) => {
            eprintln!("loadgen: {error}");
            return Ok(Exit::BadScenario);
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = std::io::stdout().lock();
    let file = match &args.out {
        Some(file) if file.as_os_str() == "-" => {
            out.write_all(page.as_bytes())?;
            return Ok(Exit::Pass);
        }
        Some(file) => file.clone(),
        None => args.folder.join(report::FILE),
    };
    fs::write(&file, page).with_context(|| {
        format!(
            "{} cannot be written; name another file with --out",
            file.display()
        )
    })?;
    writeln!(out, "{}", file.display())?;
    Ok(Exit::Pass)
}
