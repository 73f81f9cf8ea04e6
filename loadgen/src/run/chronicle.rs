//! The results folder of a run: opened before anything starts, written as things happen.

use std::path::Path;

use crate::assert::Baselines;
use crate::coordinator::Chronicle;
use crate::measure::{BrokerSample, LogLine, Snapshot};
use crate::plan::Plan;
use crate::preflight::{Finding, Machine};
use crate::report;
use crate::results::{self, Host, Manifest, RunFolder};

use super::RESULTS;

/// Opens the results folder of a run and writes what is known before anything starts.
///
/// # Errors
/// When the folder holds something or cannot be written.
pub fn open_results(
    out: Option<&Path>,
    run: &str,
    (plan, workers): (&Plan, u32),
    machine: &Machine,
    findings: &[Finding],
    baselines: &Baselines,
) -> Result<(RunFolder, Manifest), results::FolderError> {
    let folder = RunFolder::create(out, Path::new(RESULTS), run)?;
    let mut manifest = Manifest::begin(run, plan, workers, Host::look(machine));
    manifest.preflight = findings.to_vec();
    manifest.baselines = baselines.runs().cloned().collect();
    if baselines.is_skipped() {
        let value = serde_json::Value::from("not compared with");
        manifest.settings.insert("baseline".to_owned(), value);
    }
    // What makes our nodes cheaper than a fleet of processes is told.
    let verification = plan.scenario.generator.verification.to_string();
    for (setting, value) in [
        ("verification", verification.as_str()),
        ("key_exchange", "X25519"),
    ] {
        let value = serde_json::Value::from(value);
        manifest.settings.insert(setting.to_owned(), value);
    }
    let begun = folder.begin(&manifest, plan);
    begun.map_err(|error| results::FolderError::Unwritable {
        folder: folder.path().to_owned(),
        error,
    })?;
    Ok((folder, manifest))
}

/// Writes the page of the run, and the manifest again, which names it. A page that cannot be made
/// is told and spoils nothing: `loadgen report` makes it from the same files.
pub(super) fn write_report(folder: &RunFolder, manifest: Manifest) -> std::io::Result<()> {
    match report::page(folder.path()) {
        Ok(page) => folder.write(report::FILE, page.as_bytes())?,
        Err(error) => {
            eprintln!("loadgen: {error}");
            return Ok(());
        }
    }
    folder.close(manifest)
}

/// Writes into the results folder as things happen. A folder that cannot be written any more is
/// told once; the run goes on, as its verdict may still be worth having.
pub(super) struct Chronicler<'a> {
    pub(super) folder: Option<&'a mut RunFolder>,
    pub(super) broken: bool,
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

    fn fault(&mut self, at_us: u64, phase: &str, kind: &str, targets: &[String], away: bool) {
        let away = f64::from(u8::from(away));
        let labels = |target| format!("fault={kind} target={target}");
        let values: Vec<(&str, String, f64)> = targets
            .iter()
            .map(|target| (results::FAULT_AWAY, labels(target), away))
            .collect();
        self.write(|folder| folder.append_values(at_us, phase, &values));
    }

    fn log(&mut self, lines: &[LogLine]) {
        if !lines.is_empty() {
            self.write(|folder| folder.append_events(lines));
        }
    }
}
