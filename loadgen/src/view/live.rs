//! The loops that show a run: a thread of their own, so that a slow terminal or a full pipe can
//! never hold the run back.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::json::Objects;
use super::keys::{Screen, Wish};
use super::lines::Lines;
use super::look::Look;
use super::terminal::{self, Screenful};
use crate::exit::Exit;
use crate::measure::RunState;

/// Between two drawings.
const FRAME: Duration = Duration::from_millis(250);
/// Between two looks at the keyboard and at the end.
const GLANCE: Duration = Duration::from_millis(50);

/// Draws until `end` says so. Keys ask for the end through `stop`.
///
/// # Errors
/// When the terminal refuses; the run goes on without a view.
pub(super) fn screen(
    states: &watch::Receiver<Arc<RunState>>,
    stop: &CancellationToken,
    end: &Receiver<()>,
    mut terminal: Screenful,
) -> io::Result<()> {
    let mut screen = Screen::new(Look::from_env(|name| std::env::var(name).ok()));
    let mut drawn: Option<Instant> = None;
    loop {
        let last = !matches!(
            end.recv_timeout(Duration::ZERO),
            Err(RecvTimeoutError::Timeout)
        );
        let state = Arc::clone(&states.borrow());
        // Somebody else may have asked for the end: a signal, an assert.
        screen.ending |= stop.is_cancelled();
        if last || drawn.is_none_or(|at| at.elapsed() >= FRAME) {
            terminal.draw(|frame| screen.draw(frame, &state))?;
            drawn = Some(Instant::now());
        }
        if last {
            return Ok(());
        }
        if !event::poll(GLANCE)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) => match screen.press(key, &state) {
                Wish::Nothing => {}
                Wish::End => stop.cancel(),
                Wish::EndAtOnce => end_at_once(),
            },
            Event::Resize(..) => {}
            _ => continue,
        }
        drawn = None;
    }
}

/// The second ctrl-c: nothing is waited for. What the run started ends with it, because it is
/// watched from outside this process.
fn end_at_once() -> ! {
    terminal::give_back();
    let _ = writeln!(
        io::stderr(),
        "ended at once; brokers, provisioners and workers end with this process"
    );
    std::process::exit(i32::from(Exit::Interrupted.code()))
}

/// How a run is written for a log or a program.
pub(super) enum Writer {
    /// `key=value` words.
    Lines(Lines),
    /// JSON objects.
    Json(Objects),
}

impl Writer {
    fn next(&mut self, state: &RunState) -> Vec<String> {
        match self {
            Self::Lines(lines) => lines.next(state),
            Self::Json(objects) => objects.next(state),
        }
    }

    /// What is written when it is over.
    fn end(&self, state: &RunState) -> Option<String> {
        match self {
            Self::Lines(_) => None,
            Self::Json(_) => Some(Objects::end(state)),
        }
    }
}

/// Writes to standard output until `end` says so, or nobody reads any more.
///
/// # Errors
/// When standard output cannot be written, a closed pipe included.
pub(super) fn write(
    states: &watch::Receiver<Arc<RunState>>,
    end: &Receiver<()>,
    mut writer: Writer,
) -> io::Result<()> {
    loop {
        let last = !matches!(end.recv_timeout(GLANCE), Err(RecvTimeoutError::Timeout));
        let state = Arc::clone(&states.borrow());
        let mut lines = writer.next(&state);
        if last {
            lines.extend(writer.end(&state));
        }
        if !lines.is_empty() {
            let mut out = io::stdout().lock();
            for line in &lines {
                writeln!(out, "{line}")?;
            }
            out.flush()?;
        }
        if last {
            return Ok(());
        }
    }
}
