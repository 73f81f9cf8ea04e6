//! Our side: `loadgen run` on the same brokers, measured by its own results.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use loadgen::formation::Formation;

use super::report::Measured;

/// What our side is measured with.
#[derive(Debug)]
pub struct Ours<'a> {
    /// The loadgen program.
    pub loadgen: &'a Path,
    /// Where scenario and results go.
    pub folder: &'a Path,
    /// The brokers.
    pub formation: &'a Formation,
    /// Nodes.
    pub nodes: usize,
    /// Rounds that count.
    pub rounds: usize,
    /// Rounds before those.
    pub warm_up: usize,
    /// Dials under way at once.
    pub dials: usize,
    /// Mutual TLS.
    pub mutual: bool,
}

impl Ours<'_> {
    /// Runs once and reads what came of it.
    ///
    /// # Errors
    /// When loadgen fails, or its results cannot be read.
    pub fn measure(&self, _number: usize) -> anyhow::Result<Measured> {
        let _ = (Stdio::null(), Command::new(self.loadgen), Duration::ZERO);
        None.context("not yet")
    }
}
