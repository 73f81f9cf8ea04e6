//! The provisioner of a run: a child process with a configuration made for it, watched through its
//! own `status` command, killed and started again by faults.

mod config;
mod status;

pub use config::{Helpers, Issues, ProvisionerConfig, ProvisioningSide, TokenFiles};
pub use status::{NodeReport, Status};

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;

use crate::guard::RunMark;
use crate::process::{Launch, Process, ProcessError, ending, last_words};

/// How long the service may take until it is ready to enrol.
pub const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to end when asked.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long one `status` may take.
const STATUS_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// The provisioner cannot be used, or is not doing what it should.
#[derive(Debug, Error)]
pub enum ProvisionerError {
    /// The program is nowhere.
    #[error(
        "the provisioner was not found beside this program ({path}): build it with `cargo build \
         -p provisioner`, or name it with --provisioner PATH",
        path = .path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Its process could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It ended before it was ready.
    #[error(
        "{name} ended with {status} before it was ready; its last words: {said} (log: {log})",
        log = .log.display()
    )]
    Died {
        /// Which one.
        name: String,
        /// How it ended.
        status: String,
        /// The last line of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
    /// It runs and is not ready.
    #[error(
        "{name} was not ready after {} s: {why} (log: {log})",
        READY_WITHIN.as_secs(),
        log = .log.display()
    )]
    NotReady {
        /// Which one.
        name: String,
        /// What `status` said last.
        why: String,
        /// The log.
        log: PathBuf,
    },
    /// `provisioner status --json` or the like failed or said something that is not understood.
    #[error("`provisioner {command} --json` {why}")]
    Status {
        /// What it was asked.
        command: &'static str,
        /// What went wrong.
        why: String,
    },
}

/// Finds the provisioner: `named`, or the one beside this program.
///
/// # Errors
/// When it is not there.
pub fn find(named: Option<&Path>) -> Result<PathBuf, ProvisionerError> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .unwrap_or_default()
            .with_file_name("provisioner"),
    };
    if path.is_file() {
        Ok(path)
    } else {
        Err(ProvisionerError::Missing { path })
    }
}

/// Asks for the status of a provisioner, or of several that share a ledger, whether they run or
/// not.
#[derive(Clone, Debug)]
pub struct StatusCommand {
    program: PathBuf,
    /// The one that answered last is asked first.
    configs: Vec<PathBuf>,
    last: Arc<AtomicUsize>,
}

impl StatusCommand {
    fn new(program: PathBuf, config: PathBuf) -> Self {
        Self {
            program,
            configs: vec![config],
            last: Arc::default(),
        }
    }

    /// Another that shares the same ledger is asked where this one does not run.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.configs.extend(other.configs.iter().cloned());
        Self {
            last: Arc::default(),
            ..self
        }
    }

    /// What the ledger says; also of a service that does not run.
    ///
    /// # Errors
    /// When the command fails or its answer is not understood.
    pub async fn ask(&self) -> Result<Status, ProvisionerError> {
        let (first, all) = (self.last.load(Ordering::Relaxed), self.configs.len());
        let mut answer = self.answer::<Status>("status", first).await;
        for place in (1..all).map(|step| (first + step) % all) {
            if answer.as_ref().is_ok_and(Status::is_running) {
                break;
            }
            answer = self.answer("status", place).await;
            self.last.store(place, Ordering::Relaxed);
        }
        answer
    }

    /// What the ledger says of every node.
    ///
    /// # Errors
    /// When the command fails or its answer is not understood.
    pub async fn nodes(&self) -> Result<Vec<NodeReport>, ProvisionerError> {
        let last = self.last.load(Ordering::Relaxed);
        self.answer("nodes", last).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        verb: &'static str,
        place: usize,
    ) -> Result<T, ProvisionerError> {
        let failed = |why: String| ProvisionerError::Status { command: verb, why };
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args([verb, "--json", "--config"])
            .arg(&self.configs[place])
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        let output = tokio::time::timeout(STATUS_WITHIN, command.output())
            .await
            .map_err(|_| failed(format!("took longer than {} s", STATUS_WITHIN.as_secs())))?
            .map_err(|error| failed(format!("did not start: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let status = ending(output.status);
            return Err(failed(format!("ended with {status}: {said}")));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| failed(format!("was not understood: {error}")))
    }
}

/// One provisioner of the run.
#[derive(Debug)]
pub struct Provisioner {
    name: String,
    command: StatusCommand,
    config: PathBuf,
    log: PathBuf,
    process: Option<Process>,
    metrics: Option<String>,
}

impl Provisioner {
    /// A provisioner that is not started yet, with its configuration in `config`.
    pub fn new(name: &str, program: PathBuf, config: PathBuf) -> Self {
        let log = config.with_file_name(format!("{name}.log"));
        Self {
            name: name.to_owned(),
            command: StatusCommand::new(program, config.clone()),
            config,
            log,
            process: None,
            metrics: None,
        }
    }

    /// Starts the service.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn launch(&mut self, mark: &RunMark) -> Result<(), ProvisionerError> {
        let launch = Launch {
            name: &self.name,
            program: &self.command.program,
            args: vec!["run".into(), "--config".into(), self.config.clone().into()],
            log: self.log.clone(),
        };
        self.process = Some(Process::start(launch, mark)?);
        Ok(())
    }

    /// Waits until the service is ready to enrol.
    ///
    /// # Errors
    /// When it ends instead, or takes longer than [`READY_WITHIN`].
    pub async fn wait_ready(&mut self) -> Result<(), ProvisionerError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(error) = self.died() {
                return Err(error);
            }
            let why = match self.command.ask().await {
                Ok(status) if status.is_ready() => {
                    self.metrics = status.http;
                    return Ok(());
                }
                Ok(status) if status.missing.is_empty() => {
                    format!("its status is {:?}", status.service)
                }
                Ok(status) => status.missing.join("; "),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(ProvisionerError::NotReady {
                    name: self.name.clone(),
                    why,
                    log: self.log.clone(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How to ask for its status.
    pub fn status(&self) -> &StatusCommand {
        &self.command
    }

    /// The error of a service that ended though nobody asked it to.
    pub fn died(&mut self) -> Option<ProvisionerError> {
        let status = self.process.as_mut()?.ended()?;
        Some(ProvisionerError::Died {
            name: self.name.clone(),
            status: ending(status),
            said: last_words(&self.log).map_or("none".to_owned(), |line| format!("{line:?}")),
            log: self.log.clone(),
        })
    }

    /// Kills it where it stands, as a fault does.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Lets it stand still, as a fault does, until [`Provisioner::thaw`].
    pub fn freeze(&self) {
        if let Some(process) = &self.process {
            process.freeze();
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        if let Some(process) = &self.process {
            process.thaw();
        }
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(STOP_WITHIN).await;
        }
    }

    /// The name: `provisioner-1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its metrics are: `127.0.0.1:PORT`, once it is ready.
    pub fn metrics(&self) -> Option<&str> {
        self.metrics.as_deref()
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The operating system's id of its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }
}
