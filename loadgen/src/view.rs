//! What a run looks like while it runs, and its last words.
//!
//! ```text
//! watch<Arc<RunState>> ──► screen (ratatui)      on a terminal of 80 × 24 and more
//!                     ├──► lines  (key=value)    anywhere else
//!                     └──► json   (one object a line)  --progress json
//! ```
//!
//! A view reads finished states and nothing else; it has a thread of its own and can only ask for
//! one thing, the end of the run. [`Logs`] keeps log lines off the terminal.

mod format;
mod json;
mod keys;
mod lines;
mod live;
mod logs;
mod look;
mod panes;
#[cfg(test)]
mod sample;
mod screen;
mod summary;
mod terminal;

pub use logs::Logs;
pub use screen::SMALLEST;
pub use summary::{Ending, summary};

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::json::Objects;
use self::lines::Lines;
use self::live::Writer;
use self::terminal::Screenful;
use crate::measure::RunState;

/// How long the end of a run waits for whoever reads its output.
const PATIENCE: Duration = Duration::from_secs(2);

/// Prints last words on standard output. A reader that has gone away is no reason to fail.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// How progress is shown: the values of `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The live view on a terminal that can show it, lines anywhere else
    #[default]
    Auto,
    /// The live view
    Live,
    /// One line a second
    Lines,
    /// One JSON object a line
    Json,
    /// Nothing until the end
    None,
}

impl Mode {
    /// The mode that `Auto` comes to here; every other stays what it is. The second value is what
    /// to tell the user about it, where that is not obvious.
    pub fn resolve(self) -> (Self, Option<String>) {
        let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let size = ratatui::crossterm::terminal::size().ok();
        self.resolve_for(terminal && !dumb, size)
    }

    fn resolve_for(self, terminal: bool, size: Option<(u16, u16)>) -> (Self, Option<String>) {
        if self != Self::Auto {
            return (self, None);
        }
        match size {
            _ if !terminal => (Self::Lines, None),
            Some((columns, rows)) if columns < SMALLEST.0 || rows < SMALLEST.1 => {
                let note = format!(
                    "this terminal has {columns}x{rows}; the live view needs {}x{}, so here are lines",
                    SMALLEST.0, SMALLEST.1
                );
                (Self::Lines, Some(note))
            }
            _ => (Self::Live, None),
        }
    }
}

/// A view that is running.
#[derive(Debug)]
pub struct Progress {
    end: SyncSender<()>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts to show the states that come through `states`. Keys that ask for the end cancel
    /// `stop`; so may anybody else, and the view goes on until [`Progress::finish`].
    ///
    /// # Errors
    /// When the terminal cannot be taken over, or no thread can be started.
    pub fn start(
        mode: Mode,
        states: watch::Receiver<Arc<RunState>>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        let (mode, note) = mode.resolve();
        if let Some(note) = note {
            tracing::info!("{note}");
        }
        let (end, ended) = sync_channel(1);
        let (done_sender, done) = sync_channel(1);
        // Taken here, so that a terminal that refuses is an error and not a silent thread.
        let screen = match mode {
            Mode::Live => Some(Screenful::take()?),
            _ => None,
        };
        let show = move || {
            let shown = match (screen, mode) {
                (Some(screen), _) => live::screen(&states, &stop, &ended, screen),
                (None, Mode::Json) => {
                    live::write(&states, &ended, Writer::Json(Objects::default()))
                }
                (None, Mode::None) => Ok(()),
                (None, _) => live::write(&states, &ended, Writer::Lines(Lines::default())),
            };
            if let Err(error) = shown {
                tracing::warn!(%error, "the run goes on without its view");
            }
            // Fails only when nobody waits any more.
            let _ = done_sender.try_send(());
        };
        let thread = std::thread::Builder::new()
            .name("view".into())
            .spawn(show)?;
        Ok(Self {
            end,
            done,
            thread: Some(thread),
        })
    }

    /// Shows the last state and gives the terminal back. Returns after two seconds at the latest,
    /// even when nobody reads the output.
    pub fn finish(mut self) {
        self.wind_up();
    }

    fn wind_up(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let _ = self.end.try_send(());
        let finished = !matches!(
            self.done.recv_timeout(PATIENCE),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        );
        if finished {
            // A panic in there has been printed by its hook.
            let _ = thread.join();
        }
        terminal::give_back();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.wind_up();
    }
}

/// Gives the terminal back at once, for whoever is about to end the process.
pub fn restore_terminal() {
    terminal::give_back();
}

#[cfg(test)]
mod tests;
