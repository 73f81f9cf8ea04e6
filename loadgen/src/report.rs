//! The page of a run: everything its folder holds, in one HTML file that needs nothing else.
//!
//! ```text
//! folder ──► Folder (what could be read) ──► Report (tables, charts) ──► report.html
//! ```
//!
//! The page is made from the files alone, so that it can be made again from a copied folder, and
//! of a run that was killed: what is not there is said on the page. It holds no script and asks
//! the network for nothing. Curves are thinned to at most [`MOST_POINTS`] points each: the time is
//! cut into equal buckets, and of each bucket its smallest and its largest value are kept.

mod axis;
mod cell;
mod chart;
mod environment;
mod figures;
mod folder;
mod latency;
mod page;
mod plots;
mod series;
mod tables;
mod thin;
mod timeline;

use std::io;
use std::path::{Path, PathBuf};

use folder::Folder;

pub use thin::MOST_POINTS;

/// The page's name in the folder of a run.
pub const FILE: &str = "report.html";

/// Why there is no page. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder holds no file of a run.
    #[error(
        "{0} is no results folder: it holds neither manifest.json nor summary.json nor series.csv; \
         name the folder of a run, such as results/last-green"
    )]
    NotARun(PathBuf),
    /// The folder cannot be read.
    #[error("the results folder {folder} cannot be read: {error}")]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The page could not be put together.
    #[error("the page of the run cannot be put together: {0}")]
    Template(#[from] minijinja::Error),
}

/// The page of the run whose results are in `folder`.
///
/// # Errors
/// When the folder cannot be read or is none of a run. Files that are missing or broken are no
/// error: the page says so.
pub fn page(folder: &Path) -> Result<String, ReportError> {
    let folder = Folder::read(folder)?;
    Ok(page::render(&page::Report::new(&folder))?)
}
