//! One helper process and its three streams: lines in, lines out, complaints beside them.

use std::collections::VecDeque;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, timeout};

use super::super::process::{self, Group, MAX_STDOUT};
use super::super::program::Program;
use super::super::redact::{Blackout, shown};

/// How much of the end of standard error is kept for messages.
const KEPT: usize = 4 * 1024;
/// A line of standard error is taken for complete when it is longer than this.
const LONGEST_LINE: usize = 16 * 1024;
/// The most a helper may complain within a [`WINDOW`] before it is taken for broken.
const MAX_COMPLAINTS: usize = 256 * 1024;
/// See [`MAX_COMPLAINTS`].
const WINDOW: Duration = Duration::from_secs(10);
/// How long the rest of standard error is read once a helper has ended.
const DRAIN: Duration = Duration::from_millis(50);

/// What a helper did.
pub(super) enum Heard {
    /// It wrote a line.
    Line(Vec<u8>),
    /// It closed its standard output.
    Closed,
    /// It wrote more than the cap on the stream named.
    TooMuch(&'static str),
}

/// A running helper.
pub(super) struct Helper {
    child: Child,
    group: Group,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: Complaints,
    /// Written by us, not yet taken by the helper.
    outbox: VecDeque<u8>,
    /// Written by the helper, the line not complete yet.
    inbox: Vec<u8>,
    /// How much of the inbox holds no line break.
    seen: usize,
}

impl Helper {
    /// Starts the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let (mut child, group) = process::spawn(&program.command, &program.environment())?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the program has no standard streams"));
        };
        Ok(Self {
            child,
            group,
            stdin,
            stdout,
            stderr: Complaints {
                stream: stderr,
                helper: program.name().to_owned(),
                open: true,
                line: Vec::new(),
                blackout: Blackout::default(),
                kept: VecDeque::new(),
                since: Instant::now(),
                total: 0,
            },
            outbox: VecDeque::new(),
            inbox: Vec::with_capacity(8 * 1024),
            seen: 0,
        })
    }

    /// Queues a line; [`Helper::hear`] writes it.
    pub(super) fn say(&mut self, line: &[u8]) {
        self.outbox.extend(line);
        self.outbox.push_back(b'\n');
    }

    /// Writes what is queued and reads until the helper has written a line. May be dropped and
    /// called again without losing anything.
    ///
    /// # Errors
    /// When the system fails; a helper that does not read is none of these.
    pub(super) async fn hear(&mut self) -> io::Result<Heard> {
        loop {
            if let Some(line) = self.line() {
                return Ok(Heard::Line(line));
            }
            if self.inbox.len() > MAX_STDOUT {
                return Ok(Heard::TooMuch("standard output"));
            }
            tokio::select! {
                // Who closes its input will close its output, or be overdue.
                written = self.stdin.write_buf(&mut self.outbox), if !self.outbox.is_empty() => {
                    if written.is_err() {
                        self.outbox.clear();
                    }
                }
                read = self.stdout.read_buf(&mut self.inbox) => {
                    if read? == 0 {
                        return Ok(Heard::Closed);
                    }
                }
                within = self.stderr.hear(), if self.stderr.open => {
                    if !within? {
                        return Ok(Heard::TooMuch("standard error"));
                    }
                }
            }
        }
    }

    /// The first complete line of the inbox.
    fn line(&mut self) -> Option<Vec<u8>> {
        let fresh = self.inbox.get(self.seen..)?;
        let Some(at) = fresh.iter().position(|byte| *byte == b'\n') else {
            self.seen = self.inbox.len();
            return None;
        };
        let rest = self.inbox.split_off(self.seen + at + 1);
        self.seen = 0;
        Some(std::mem::replace(&mut self.inbox, rest))
    }

    /// Ends the helper with everything it started; its status and what it said last.
    pub(super) async fn end(mut self) -> (io::Result<ExitStatus>, String) {
        // The end of its input is how a helper is asked to go.
        drop(self.stdin);
        drop(self.stdout);
        let status = process::end(self.child, self.group).await;
        let rest = async { while self.stderr.open && self.stderr.hear().await.is_ok() {} };
        let _ = timeout(DRAIN, rest).await;
        self.stderr.complete();
        let kept: Vec<u8> = self.stderr.kept.into();
        (status, shown(&kept, &[]))
    }
}

/// What a helper writes on standard error: into our log, its end kept for messages.
struct Complaints {
    stream: ChildStderr,
    helper: String,
    open: bool,
    /// Not complete yet.
    line: Vec<u8>,
    /// What a key in several lines hides of the next.
    blackout: Blackout,
    /// The end of all lines, without keys.
    kept: VecDeque<u8>,
    since: Instant,
    total: usize,
}

impl Complaints {
    /// Reads once; false when it is too much.
    async fn hear(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4 * 1024];
        let read = self.stream.read(&mut buffer).await?;
        let text = &buffer[..read];
        self.open = read > 0;
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend(part);
            if part.ends_with(b"\n") || self.line.len() > LONGEST_LINE {
                self.complete();
            }
        }
        if self.since.elapsed() > WINDOW {
            (self.since, self.total) = (Instant::now(), 0);
        }
        self.total += read;
        Ok(self.total <= MAX_COMPLAINTS)
    }

    /// Logs the line and keeps its end, but for what of it is of a private key.
    fn complete(&mut self) {
        let line = self.blackout.pass(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        if line.is_empty() {
            return;
        }
        tracing::info!(helper = self.helper, "{}", shown(line.as_bytes(), &[]));
        self.kept.extend(line.as_bytes());
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
    }
}
