//! The folder of a run as it is found: each file read as far as it goes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ReportError;
use super::series::{Row, Series};
use crate::measure::LogLine;
use crate::results::{Host, ScenarioIdentity, Summary, Tool, Verdict};

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Its name, for a run that says nothing of itself.
    pub(super) name: String,
    pub(super) manifest: Option<ManifestRead>,
    pub(super) plan: Option<PlanRead>,
    pub(super) verdict: Option<Verdict>,
    pub(super) summary: Option<Summary>,
    pub(super) series: Option<Series>,
    pub(super) rounds: Option<Vec<RoundRow>>,
    pub(super) recovery: Option<Vec<RecoveryRow>>,
    pub(super) events: Option<Vec<LogLine>>,
    /// `latency.hlog` as it is; it is taken apart one operation at a time.
    pub(super) latency: Option<Vec<u8>>,
    /// What is not there, or only in part: file and why.
    pub(super) missing: Vec<(String, String)>,
}

/// What the page tells of `manifest.json`; older ones lack some of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ManifestRead {
    pub(super) run: String,
    pub(super) tool: Option<Tool>,
    pub(super) scenario: Option<ScenarioIdentity>,
    pub(super) command: Vec<String>,
    pub(super) started: Option<jiff::Timestamp>,
    pub(super) duration_us: Option<u64>,
    pub(super) state: String,
    pub(super) host: Host,
    pub(super) colocated: bool,
    pub(super) workers: u32,
    pub(super) placement: Vec<serde_json::Value>,
    pub(super) preflight: Vec<FindingRead>,
    pub(super) brokers: BTreeMap<String, serde_json::Value>,
    pub(super) settings: BTreeMap<String, serde_json::Value>,
}

/// One line of the preflight.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FindingRead {
    pub(super) check: String,
    pub(super) ok: bool,
    pub(super) says: String,
}

/// What the page tells of `plan.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PlanRead {
    pub(super) formation: String,
    pub(super) nodes: u64,
    pub(super) phases: Vec<PlanPhase>,
    pub(super) scenario: PlanScenario,
}

/// A phase of the plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PlanPhase {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) until: String,
}

/// The scenario in the plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PlanScenario {
    pub(super) name: String,
    pub(super) about: String,
}

/// A row of `fanout.csv`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RoundRow {
    pub(super) phase: String,
    pub(super) op: String,
    pub(super) round: u64,
    pub(super) warmup: bool,
    pub(super) interrupted: bool,
    pub(super) missing: u64,
    pub(super) first_us: Option<u64>,
    pub(super) last_us: Option<u64>,
}

/// A row of `reconnect.csv`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecoveryRow {
    pub(super) storm: usize,
    pub(super) phase: String,
    pub(super) fault: String,
    pub(super) t_ms: u64,
    pub(super) down: u64,
    pub(super) back: u64,
}

impl Folder {
    /// Reads what there is.
    ///
    /// # Errors
    /// When the folder cannot be read at all or is none of a run.
    pub(super) fn read(path: &Path) -> Result<Self, ReportError> {
        const TELLING: [&str; 3] = ["manifest.json", "summary.json", "series.csv"];
        fs::read_dir(path).map_err(|error| ReportError::Unreadable {
            folder: path.to_owned(),
            error,
        })?;
        if !TELLING.iter().any(|name| path.join(name).is_file()) {
            return Err(ReportError::NotARun(path.to_owned()));
        }
        let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = full.file_name().unwrap_or_default().to_string_lossy();
        let mut missing = Missing::default();
        let json = Files { path };
        let mut folder = Self {
            name: name.into_owned(),
            manifest: json.json("manifest.json", &mut missing),
            plan: json.json("plan.json", &mut missing),
            verdict: json.json("verdict.json", &mut missing),
            summary: json.json("summary.json", &mut missing),
            series: json
                .rows::<Row>("series.csv", &mut missing)
                .map(Series::new),
            events: json.lines("events.ndjson", &mut missing),
            latency: json.bytes("latency.hlog", &mut missing),
            ..Self::default()
        };
        folder.rounds = json.rows("fanout.csv", &mut missing);
        // Written at the end, and only where brokers were harmed.
        let told = folder.summary.as_ref();
        if told.is_none_or(|summary| !summary.storms.is_empty()) {
            folder.recovery = json.rows("reconnect.csv", &mut missing);
        }
        folder.missing = missing.0;
        Ok(folder)
    }
}

#[derive(Default)]
struct Missing(Vec<(String, String)>);

impl Missing {
    fn note(&mut self, file: &str, why: String) {
        self.0.push((file.to_owned(), why));
    }
}

struct Files<'a> {
    path: &'a Path,
}

impl Files<'_> {
    fn bytes(&self, name: &str, missing: &mut Missing) -> Option<Vec<u8>> {
        let why = match fs::read(self.path.join(name)) {
            Ok(bytes) => return Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "it is not there".to_owned(),
            Err(error) => format!("it cannot be read: {error}"),
        };
        missing.note(name, why);
        None
    }

    fn json<T: DeserializeOwned>(&self, name: &str, missing: &mut Missing) -> Option<T> {
        let bytes = self.bytes(name, missing)?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                missing.note(name, format!("it cannot be read: {error}"));
                None
            }
        }
    }

    /// The rows that can be read; the last one of a killed run may be torn.
    fn rows<T: DeserializeOwned>(&self, name: &str, missing: &mut Missing) -> Option<Vec<T>> {
        let bytes = self.bytes(name, missing)?;
        let mut torn = 0u64;
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let rows = reader
            .deserialize()
            .filter_map(|row| row.map_err(|_| torn += 1).ok());
        let rows = rows.collect();
        self.torn(name, "rows", torn, missing);
        Some(rows)
    }

    fn lines(&self, name: &str, missing: &mut Missing) -> Option<Vec<LogLine>> {
        let bytes = self.bytes(name, missing)?;
        let mut torn = 0u64;
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let lines =
            lines.filter_map(|line| serde_json::from_slice(line).map_err(|_| torn += 1).ok());
        let lines = lines.collect();
        self.torn(name, "lines", torn, missing);
        Some(lines)
    }

    fn torn(&self, name: &str, what: &str, torn: u64, missing: &mut Missing) {
        if torn > 0 {
            missing.note(
                name,
                format!("{torn} of its {what} cannot be read and are left out"),
            );
        }
    }
}
