//! One run: loadgen as a child, its progress on the terminal, helpers killed beside it.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::hunt::hunt;
use super::plan::Plan;
use super::scenario;

/// Between two lines of progress where there is no terminal.
const SELDOM: Duration = Duration::from_secs(10);

/// What every run is made with.
#[derive(Clone, Debug)]
pub struct Means {
    /// The loadgen program.
    pub loadgen: PathBuf,
    /// The provisioner program.
    pub provisioner: PathBuf,
    /// The seed of the fault run.
    pub seed: u64,
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its folder: scenario, the helpers' book, and loadgen's results in `out`.
    pub folder: PathBuf,
    /// How loadgen ended.
    pub exit: Option<i32>,
    /// Helpers that were killed.
    pub helpers_killed: u64,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Loadgen's results.
    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// What loadgen said beside its progress.
    #[must_use]
    pub fn said(&self) -> PathBuf {
        self.folder.join("said.log")
    }

    /// What the helpers signed.
    #[must_use]
    pub fn book(&self) -> PathBuf {
        book(&self.folder)
    }
}

fn book(folder: &Path) -> PathBuf {
    folder.join("signed.jsonl")
}

/// Kills loadgen when it is let go too early; its guard ends everything it had started.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Means {
    /// Carries out a plan in `folder`.
    ///
    /// # Errors
    /// Files cannot be written, or loadgen cannot be started.
    pub fn carry_out(&self, plan: &Plan, folder: &Path) -> anyhow::Result<Ran> {
        std::fs::create_dir_all(folder)?;
        let folder = std::path::absolute(folder)?;
        let book = book(&folder);
        let file = folder.join("scenario.toml");
        let helper = scenario::helper(&self.provisioner, &book);
        std::fs::write(&file, scenario::render(plan, self.seed, &helper))?;
        let said = std::fs::File::create(folder.join("said.log"))?;
        let begin = Instant::now();
        let child = Command::new(&self.loadgen)
            .arg("run")
            .arg(&file)
            .arg("--out")
            .arg(folder.join("out"))
            .arg("--provisioner")
            .arg(&self.provisioner)
            .args(["--progress", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn();
        let child = child.with_context(|| format!("{}", self.loadgen.display()))?;
        let mut child = Held(child);
        let lines = child.0.stdout.take().context("no output")?;
        let over = AtomicBool::new(false);
        let helpers_killed = std::thread::scope(|scope| {
            let mut hunter = None;
            let mut told = Told::new(plan);
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let Ok(said) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if hunter.is_none() && said["type"] == "phase" && said["name"] == "enrol" {
                    let (begun, over, book) = (Instant::now(), &over, &book);
                    hunter =
                        Some(scope.spawn(move || {
                            hunt(plan, book, begun, &|| over.load(Ordering::Relaxed))
                        }));
                }
                told.hear(&said);
            }
            told.end();
            over.store(true, Ordering::Relaxed);
            hunter.and_then(|hunter| hunter.join().ok()).unwrap_or(0)
        });
        Ok(Ran {
            folder,
            exit: child.0.wait()?.code(),
            helpers_killed,
            took: begin.elapsed(),
        })
    }
}

/// What is told of a run while it runs.
struct Told {
    head: String,
    terminal: bool,
    last: Option<Instant>,
    fell: u64,
}

impl Told {
    fn new(plan: &Plan) -> Self {
        Self {
            head: format!("run {}: {}", plan.number, plan.shape.word()),
            terminal: std::io::stderr().is_terminal(),
            last: None,
            fell: 0,
        }
    }

    fn hear(&mut self, said: &Value) {
        self.fell += u64::from(said["type"] == "fault" && said["state"] == "fell");
        let due = self.terminal || self.last.is_none_or(|last| last.elapsed() >= SELDOM);
        if said["type"] != "progress" || !due {
            return;
        }
        self.last = Some(Instant::now());
        let phase = said["phase"].as_str().unwrap_or("starting");
        let confirmed = said["steps"]["confirm"].as_u64().unwrap_or(0);
        let up = said["up"].as_u64().unwrap_or(0);
        let line = format!(
            "{}: {phase}, {up} nodes up, {confirmed} in confirm, {} kills",
            self.head, self.fell
        );
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
