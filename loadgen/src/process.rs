//! A child process of a run: started in a process group of its own, its output in a log file,
//! marked with the run so that the [guard](crate::guard) finds it, and killed when dropped.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::Command;

use crate::guard::RunMark;

/// What can go wrong with a child process, told with the log that explains it.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The program could not be started at all.
    #[error("{name} could not be started from {program}: {source}", program = .program.display())]
    Spawn {
        /// The name the child has in the run.
        name: String,
        /// The program that was to be run.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The log file of the child could not be made.
    #[error("the log of {name} ({path}) cannot be written: {source}", path = .path.display())]
    Log {
        /// The name the child has in the run.
        name: String,
        /// The file that could not be opened.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What to start, and under which name.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The name the child has in the run: `hub-1`, `provisioner-1`.
    pub name: &'a str,
    /// The program to run.
    pub program: &'a Path,
    /// Its arguments.
    pub args: Vec<std::ffi::OsString>,
    /// The file that receives what it prints; appended to, so that a restart keeps the history.
    pub log: PathBuf,
}

/// A running child of this run. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    pid: u32,
    child: tokio::process::Child,
}

impl Process {
    /// Starts `launch`, marked as part of the run.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub fn start(launch: Launch<'_>, mark: &RunMark) -> Result<Self, ProcessError> {
        Self::start_with(launch, &[], mark)
    }

    /// Starts `launch` with more in its environment, marked as part of the run.
    ///
    /// # Errors
    /// When the log cannot be written or the program cannot be started.
    pub fn start_with(
        launch: Launch<'_>,
        environment: &[(&str, std::ffi::OsString)],
        mark: &RunMark,
    ) -> Result<Self, ProcessError> {
        let log_error = |source| ProcessError::Log {
            name: launch.name.to_owned(),
            path: launch.log.clone(),
            source,
        };
        let out = File::options()
            .create(true)
            .append(true)
            .open(&launch.log)
            .map_err(log_error)?;
        let err = out.try_clone().map_err(log_error)?;
        let spawn_error = |source| ProcessError::Spawn {
            name: launch.name.to_owned(),
            program: launch.program.to_owned(),
            source,
        };
        let mut command = Command::new(launch.program);
        command
            .args(&launch.args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            // ctrl-c in the terminal is for us; children are ended in order.
            .process_group(0)
            .kill_on_drop(true);
        mark.apply(&mut command);
        let child = command.spawn().map_err(spawn_error)?;
        let pid = child
            .id()
            .ok_or_else(|| spawn_error(io::Error::other("it ended before it had an id")))?;
        Ok(Self {
            name: launch.name.to_owned(),
            log: launch.log,
            pid,
            child,
        })
    }

    /// The name the child has in the run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operating system's id of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output is.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends the process group at once (SIGKILL) and waits for the process.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        // Only an error of the operating system is left to report here, and the process is gone.
        let _ = self.child.wait().await;
    }

    /// Asks the process to end (SIGTERM) and kills it when it has not after `grace`.
    /// Answers whether it ended by itself.
    pub async fn stop(&mut self, grace: Duration) -> bool {
        if self.ended().is_some() {
            return true;
        }
        self.signal(Signal::SIGTERM);
        // A frozen process hears SIGTERM only when it runs again.
        self.signal(Signal::SIGCONT);
        if tokio::time::timeout(grace, self.child.wait()).await.is_ok() {
            return true;
        }
        self.kill().await;
        false
    }

    /// Stops the process group where it stands (SIGSTOP), until [`Process::thaw`].
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen process group go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks the process to take leave of its users and end (SIGUSR2, as nats-server understands
    /// it), and waits for that no longer than `within`. Answers how it ended, when it did.
    pub async fn retire(&mut self, within: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGUSR2);
        let ended = tokio::time::timeout(within, self.child.wait()).await;
        ended.ok().and_then(Result::ok)
    }

    fn signal(&self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.pid) else {
            return;
        };
        // Reaped already means the id may belong to somebody else.
        if self.child.id().is_none() {
            return;
        }
        if killpg(Pid::from_raw(pid), signal).is_err() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// The last line of a log that says something, without what came before it.
///
/// Fatal lines win over later ones: a broker that dies says why and then says goodbye.
pub fn last_words(log: &Path) -> Option<String> {
    const TAIL_BYTES: u64 = 16 * 1024;
    let text = read_tail(log, TAIL_BYTES).ok()?;
    let said = |line: &&str| !line.trim().is_empty();
    let fatal = text
        .lines()
        .rev()
        .find(|line| line.contains("[FTL]") || line.contains("nats-server: "));
    fatal
        .or_else(|| text.lines().rev().find(said))
        .map(|line| line.trim().to_owned())
}

fn read_tail(path: &Path, bytes: u64) -> io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut tail = Vec::new();
    file.take(bytes).read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

/// `ExitStatus` in words: `exit status 1`, `signal 9`.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
