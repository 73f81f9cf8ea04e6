//! The folder of one run.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::logs::Logs;
use super::{Manifest, Outcome, Summary, Verdict, summary_page};
use crate::measure::{LogLine, Snapshot};
use crate::plan::Plan;

/// Why a results folder cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// `--out` names a folder that holds something.
    #[error("the results folder {0} is not empty; name another with --out DIR, or empty it first")]
    NotEmpty(PathBuf),
    /// It cannot be made or written.
    #[error("the results folder {folder} cannot be written: {error}; name another with --out DIR")]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// The folder of one run, open for writing.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Where a link to the last passing run is kept; only in the default place.
    green: Option<PathBuf>,
    logs: Logs,
}

/// An identifier of a run: `20261004-0912-quickstart-a1b2`, in UTC.
pub fn run_id(now: jiff::Timestamp, scenario: &str, random: u16) -> String {
    format!("{}-{scenario}-{random:04x}", now.strftime("%Y%m%d-%H%M"))
}

impl RunFolder {
    /// Makes the folder of a run: `out` itself where it is given, which must be empty or not be
    /// there, or `<results>/runs/<run>`.
    ///
    /// # Errors
    /// When the folder holds something or cannot be written.
    pub fn create(out: Option<&Path>, results: &Path, run: &str) -> Result<Self, FolderError> {
        let path = match out {
            Some(out) => out.to_owned(),
            None => results.join("runs").join(run),
        };
        let unwritable = |error| FolderError::Unwritable {
            folder: path.clone(),
            error,
        };
        match fs::read_dir(&path).map(|mut entries| entries.next().is_some()) {
            Ok(true) => return Err(FolderError::NotEmpty(path)),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&path).map_err(unwritable)?;
            }
            Err(error) => return Err(unwritable(error)),
        }
        let logs = Logs::open(&path, SystemTime::now()).map_err(unwritable)?;
        Ok(Self {
            green: out.is_none().then(|| results.join("last-green")),
            path,
            logs,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is known before anything starts: manifest, scenario and plan.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn begin(&self, manifest: &Manifest, plan: &Plan) -> io::Result<()> {
        self.write_json("manifest.json", manifest)?;
        let mut sources = plan.scenario.sources.iter();
        if let Some(scenario) = sources.next() {
            self.write("scenario.toml", scenario.text.as_bytes())?;
        }
        for (number, include) in sources.enumerate() {
            let name = Path::new(&*include.path).file_name().unwrap_or_default();
            let name = format!("scenario.include-{}-{}", number + 1, name.to_string_lossy());
            self.write(&name, include.text.as_bytes())?;
        }
        self.write_json("plan.json", plan)
    }

    /// Appends what a worker told, taken while `phase` was running.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn append(&mut self, phase: &str, snapshot: &Snapshot) -> io::Result<()> {
        self.logs.append(phase, snapshot)
    }

    /// Appends values of the run as a whole to the series: name, labels (`broker=hub-1`), value.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_values(
        &mut self,
        at_us: u64,
        phase: &str,
        values: &[(&str, String, f64)],
    ) -> io::Result<()> {
        for (name, labels, value) in values {
            self.logs
                .value(at_us as f64 / 1e6, phase, "", name, labels, *value)?;
        }
        self.logs.flush()
    }

    /// Appends lines to the log of events.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_events(&mut self, lines: &[LogLine]) -> io::Result<()> {
        self.logs.append_events(lines)
    }

    /// Writes verdict and summary, and closes the manifest. A passing run in the default place
    /// becomes `results/last-green`. Gives the manifest back as it was written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(
        &self,
        mut manifest: Manifest,
        plan: &Plan,
        verdict: &Verdict,
        summary: &Summary,
        elapsed_us: u64,
    ) -> io::Result<Manifest> {
        manifest.ended = Some(jiff::Timestamp::now());
        manifest.duration_us = Some(elapsed_us);
        manifest.exit_code = Some(verdict.exit_code);
        manifest.state = verdict.outcome.headline().to_lowercase();
        self.write_json("verdict.json", verdict)?;
        self.write_json("summary.json", summary)?;
        let page = summary_page(&manifest, plan, verdict, summary);
        self.write("summary.md", page.as_bytes())?;
        self.close(manifest.clone())?;
        if verdict.outcome == Outcome::Pass {
            self.mark_green()?;
        }
        Ok(manifest)
    }

    /// Writes the manifest with the files that are there now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn close(&self, mut manifest: Manifest) -> io::Result<()> {
        manifest.files = self.files()?;
        self.write_json("manifest.json", &manifest)
    }

    /// Puts a file in place as a whole: a reader never sees half of one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let readable = fs::Permissions::from_mode(0o644);
            file.as_file().set_permissions(readable)?;
        }
        file.persist(self.path.join(name))?;
        Ok(())
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    fn files(&self) -> io::Result<std::collections::BTreeMap<String, u64>> {
        let mut files = std::collections::BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if metadata.is_file() && name != "manifest.json" {
                files.insert(name, metadata.len());
            }
        }
        Ok(files)
    }

    #[cfg(unix)]
    fn mark_green(&self) -> io::Result<()> {
        let Some(green) = &self.green else {
            return Ok(());
        };
        let target = fs::canonicalize(&self.path)?;
        let next = green.with_extension("next");
        let _ = fs::remove_file(&next);
        std::os::unix::fs::symlink(target, &next)?;
        fs::rename(next, green)
    }

    #[cfg(not(unix))]
    fn mark_green(&self) -> io::Result<()> {
        Ok(())
    }
}
