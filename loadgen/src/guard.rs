//! The guard: a small process that ends everything a run started once loadgen itself is gone,
//! however it went (a normal end, a panic, `kill -9`).
//!
//! Every child carries the run's mark in its environment. The guard holds the reading end of a
//! pipe whose only writing end is in loadgen; when loadgen is gone the pipe closes, and the guard
//! ends every process that carries the mark. Nothing has to be registered, so there is no moment
//! in which a child is started and not yet guarded, and grandchildren are found too.

use std::io::Read;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::all_processes;

/// The environment variable that marks a process as part of a run.
pub const MARK: &str = "LOADGEN_RUN";

/// How long a marked process may take to end after SIGTERM before it is killed.
pub const GRACE: Duration = Duration::from_secs(3);

/// The mark of one run: unique, and known to every child of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMark(String);

impl RunMark {
    /// A mark nobody else has.
    pub fn unique() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The mark given on a guard's command line.
    pub fn given(mark: &str) -> Self {
        Self(mark.to_owned())
    }

    /// Marks a command that is about to be started.
    pub fn apply(&self, command: &mut tokio::process::Command) {
        command.env(MARK, &self.0);
    }

    /// The processes that carry this mark now, this one excepted.
    pub fn processes(&self) -> Vec<Pid> {
        let own = std::process::id();
        let Ok(all) = all_processes() else {
            return Vec::new();
        };
        all.flatten()
            .filter(|process| u32::try_from(process.pid).is_ok_and(|pid| pid != own))
            .filter(|process| self.marks(process))
            .map(|process| Pid::from_raw(process.pid))
            .collect()
    }

    fn marks(&self, process: &procfs::process::Process) -> bool {
        // Processes of other users cannot be read, and are not ours.
        process.environ().is_ok_and(|variables| {
            variables
                .get(std::ffi::OsStr::new(MARK))
                .is_some_and(|mark| mark.to_str() == Some(self.0.as_str()))
        })
    }
}

/// The running guard of this process. Letting go of it (or dying) sets the guard to work.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts `program guard MARK` (loadgen itself, its hidden subcommand).
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(program: &Path, mark: &RunMark) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let mut child = Command::new(program)
            .args(["guard", &mark.0])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's reach: ctrl-c must not end the guard before its work.
            .process_group(0)
            .spawn()
            .with_context(|| format!("the guard process {} did not start", program.display()))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// Lets the guard end what is left of the run, and waits for it.
    pub fn finish(mut self) {
        self.pipe.take();
        // The guard bounds its own work; what it could not end it cannot end later either.
        let _ = self.child.wait();
    }
}

/// The guard process: waits until the pipe on `input` closes, then ends every marked process.
///
/// # Errors
/// When a marked process survives even SIGKILL for [`GRACE`].
pub fn watch(mark: &RunMark, mut input: impl Read) -> anyhow::Result<()> {
    let mut byte = [0_u8; 64];
    loop {
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    sweep(mark)
}

/// Ends every process of the run: first asked, then killed. Looks until two looks in a row find
/// nobody, as a process may be between fork and exec at the first one.
///
/// # Errors
/// When a process survives SIGKILL for [`GRACE`].
pub fn sweep(mark: &RunMark) -> anyhow::Result<()> {
    const LOOK: Duration = Duration::from_millis(50);
    let started = Instant::now();
    let mut asked: Vec<Pid> = Vec::new();
    let mut empty = 0;
    while empty < 2 {
        let left = mark.processes();
        if left.is_empty() {
            empty += 1;
        } else {
            empty = 0;
            for pid in left {
                end(pid, started.elapsed() > GRACE, &mut asked);
            }
            anyhow::ensure!(
                started.elapsed() < GRACE * 2,
                "processes of the run are still there after SIGKILL: {:?}",
                mark.processes()
            );
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn end(pid: Pid, kill_now: bool, asked: &mut Vec<Pid>) {
    // A process that ended meanwhile answers ESRCH, which is what we want.
    if kill_now {
        let _ = kill(pid, Signal::SIGKILL);
    } else if !asked.contains(&pid) {
        asked.push(pid);
        let _ = kill(pid, Signal::SIGTERM);
        let _ = kill(pid, Signal::SIGCONT);
    }
}
