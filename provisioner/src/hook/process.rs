//! One run of a helper program: bounded in time, in output, and in what it leaves behind.
//!
//! The program gets a process group of its own. Its output is read up to a cap and up to a
//! deadline, whether it has ended or only some grandchild keeps the pipe open. Whatever happens,
//! the whole group is ended and the program is reaped before the call returns.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// The most a program may print on standard output.
pub(super) const MAX_STDOUT: usize = 256 * 1024;
/// The most a program may print on standard error before it is taken for broken.
const MAX_STDERR: usize = 256 * 1024;
/// How much of the end of standard error is kept.
const KEPT_STDERR: usize = 64 * 1024;
/// How long a program has between being asked to end and being made to.
const GRACE: Duration = Duration::from_millis(250);
/// How long standard error is still read once the program has ended.
const DRAIN: Duration = Duration::from_millis(50);

/// How a run ended.
pub(super) enum Ended {
    /// The program ended by itself, with this status and output.
    Exited(ExitStatus, Zeroizing<Vec<u8>>),
    /// It was ended at the deadline.
    TimedOut,
    /// It was ended because it printed too much on the stream named.
    TooMuch(&'static str),
}

/// A run: how it ended and the end of what it said on standard error.
pub(super) struct Run {
    pub(super) ended: Ended,
    pub(super) stderr: Vec<u8>,
}

/// Runs `argv` with `input` on standard input and only `environment` in its environment.
///
/// # Errors
/// When the program cannot be started, or the system fails while it runs.
pub(super) async fn run(
    argv: &[String],
    environment: &[(OsString, OsString)],
    input: &[u8],
    limit: Duration,
) -> io::Result<Run> {
    let (mut child, group) = spawn(argv, environment)?;
    let mut stderr = VecDeque::new();
    let ended = match timeout(limit, talk(&mut child, input, &mut stderr)).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            // Whether it takes the hint or not, the group is killed next.
            let _ = timeout(GRACE, child.wait()).await;
            Ended::TimedOut
        }
    };
    drop(group);
    child.wait().await?;
    Ok(Run {
        ended,
        stderr: stderr.into(),
    })
}

/// Starts a program in a process group of its own, with pipes for its three streams.
///
/// # Errors
/// When it cannot be started.
pub(super) fn spawn(
    argv: &[String],
    environment: &[(OsString, OsString)],
) -> io::Result<(Child, Group)> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group::of(&child);
    Ok((child, group))
}

/// Ends a program and everything in its group, and reaps it: politely first, surely soon after.
///
/// # Errors
/// When the system cannot wait for it.
pub(super) async fn end(mut child: Child, group: Group) -> io::Result<ExitStatus> {
    if timeout(GRACE, child.wait()).await.is_err() {
        group.signal(Signal::SIGTERM);
        // Whether it takes the hint or not, the group is killed next.
        let _ = timeout(GRACE, child.wait()).await;
    }
    drop(group);
    child.wait().await
}

/// A program's process group, killed when this goes out of scope: also when the caller gives up.
#[derive(Debug)]
pub(super) struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
        )
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may be gone already, which is what is wanted.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Feeds the program and listens to it until it has closed its output and ended.
async fn talk(child: &mut Child, input: &[u8], stderr: &mut VecDeque<u8>) -> io::Result<Ended> {
    let (Some(mut stdin), Some(stdout), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("the program has no standard streams"));
    };
    let feed = async {
        // A program may answer without reading its input to the end.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        std::future::pending::<()>().await;
    };
    let answer = async {
        match read_all(stdout).await? {
            None => Ok::<_, io::Error>(Ended::TooMuch("standard output")),
            Some(output) => Ok(Ended::Exited(child.wait().await?, output)),
        }
    };
    let complaints = read_end(errors, stderr);
    tokio::pin!(feed, answer, complaints);
    let mut listening = true;
    loop {
        tokio::select! {
            () = &mut feed => {}
            ended = &mut answer => {
                if listening {
                    let _ = timeout(DRAIN, &mut complaints).await;
                }
                return ended;
            }
            read = &mut complaints, if listening => {
                listening = false;
                if !read? {
                    return Ok(Ended::TooMuch("standard error"));
                }
            }
        }
    }
}

/// Everything until the end of a stream; `None` when that is more than the cap.
async fn read_all(stream: impl AsyncRead + Unpin) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut output = Zeroizing::new(Vec::with_capacity(8 * 1024));
    let most = u64::try_from(MAX_STDOUT).unwrap_or(u64::MAX);
    stream.take(most + 1).read_to_end(&mut output).await?;
    Ok((output.len() <= MAX_STDOUT).then_some(output))
}

/// Reads a stream to its end and keeps the last of it; false when it is more than the cap.
async fn read_end(mut stream: impl AsyncRead + Unpin, kept: &mut VecDeque<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4 * 1024];
    let mut total = 0;
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(true);
        }
        total += read;
        kept.extend(&buffer[..read]);
        kept.drain(..kept.len().saturating_sub(KEPT_STDERR));
        if total > MAX_STDERR {
            return Ok(false);
        }
    }
}
