//! Where log lines go during a run: a file in the run's folder and the log pane, never the
//! terminal that the screen is drawn on.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::measure::{Level, LogLine, micros};

/// Lines kept for a pane that is slow to fetch them; the oldest go first.
const KEPT_LINES: usize = 1_000;
/// Bytes kept until the file is known.
const KEPT_BYTES: usize = 1 << 20;
/// What is logged when nothing else is asked for.
const DEFAULT_FILTER: &str = "info,async_nats=warn,server_core::node::observer=warn";

/// The log of this process; clones share it.
#[derive(Clone, Debug)]
pub struct Logs(Arc<Mutex<Sink>>);

#[derive(Debug)]
struct Sink {
    started: Instant,
    /// The file, and before it is known what goes to its beginning.
    file: Option<File>,
    early: Vec<u8>,
    /// Lines for the pane, not yet fetched.
    lines: VecDeque<LogLine>,
}

impl Logs {
    /// Becomes the log of this process. `filter` is in the form of `RUST_LOG`; `None` takes that
    /// variable, and without it `info`.
    ///
    /// # Errors
    /// A filter that cannot be read, or a process that already has a log.
    pub fn install(filter: Option<&str>) -> Result<Self, String> {
        let filter = match filter {
            Some(given) => EnvFilter::try_new(given)
                .map_err(|error| format!("log filter `{given}`: {error}"))?,
            None => {
                EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER))
            }
        };
        let logs = Self::new();
        tracing_subscriber::registry()
            .with(filter)
            .with(logs.layers())
            .try_init()
            .map_err(|error| error.to_string())?;
        Ok(logs)
    }

    fn new() -> Self {
        Self(Arc::new(Mutex::new(Sink {
            started: Instant::now(),
            file: None,
            early: Vec::new(),
            lines: VecDeque::new(),
        })))
    }

    /// One layer that writes the file and one that fills the pane.
    fn layers<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let file = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(self.clone());
        file.and_then(PaneLayer(self.clone()))
    }

    /// From now on the log is written to `path`; what was logged before goes there first.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn to_file(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut sink = self.lock();
        file.write_all(&std::mem::take(&mut sink.early))?;
        sink.file = Some(file);
        Ok(())
    }

    /// From now on the log is written to standard error; what was logged before goes there first.
    ///
    /// # Errors
    /// When standard error cannot be written.
    pub fn to_stderr(&self) -> io::Result<()> {
        let mut file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let mut sink = self.lock();
        file.write_all(&std::mem::take(&mut sink.early))?;
        sink.file = Some(file);
        Ok(())
    }

    /// Lines of the pane tell their time from `start` on.
    pub fn count_from(&self, start: Instant) {
        self.lock().started = start;
    }

    /// The lines logged since the last call, for the log pane.
    pub fn drain(&self) -> Vec<LogLine> {
        self.lock().lines.drain(..).collect()
    }

    /// As [`Logs::drain`], the newest `most` of them.
    pub fn drain_some(&self, most: usize) -> Vec<LogLine> {
        let mut lines = self.drain();
        lines.split_off(lines.len().saturating_sub(most))
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        // A panic while logging leaves at worst half a line.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = self.lock();
        match &mut sink.file {
            Some(file) => file.write(bytes),
            None => {
                let room = KEPT_BYTES.saturating_sub(sink.early.len());
                sink.early
                    .extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().file.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

impl MakeWriter<'_> for Logs {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Turns events into lines of the log pane.
struct PaneLayer(Logs);

impl<S: Subscriber> Layer<S> for PaneLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > tracing::Level::INFO {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            _ => Level::Info,
        };
        let mut sink = self.0.lock();
        let at_us = micros(sink.started.elapsed());
        if sink.lines.len() == KEPT_LINES {
            sink.lines.pop_front();
        }
        sink.lines.push_back(LogLine {
            at_us,
            level,
            text: text.message + &text.fields,
        });
    }
}

/// The message of an event, and its fields as `key=value` after it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_to_the_pane_and_to_the_file_from_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loadgen.log");
        let logs = Logs::new();
        let subscriber = tracing_subscriber::registry().with(logs.layers());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(nodes = 3, "before the file");
            logs.to_file(&path).unwrap();
            tracing::warn!(code = "broker.gone", "after it");
            tracing::debug!("for the file only");
        });
        let pane: Vec<(Level, String)> = logs
            .drain()
            .into_iter()
            .map(|line| (line.level, line.text))
            .collect();
        assert_eq!(
            pane,
            [
                (Level::Info, "before the file nodes=3".to_owned()),
                (Level::Warn, "after it code=broker.gone".to_owned()),
            ]
        );
        assert!(logs.drain().is_empty());
        let file = std::fs::read_to_string(&path).unwrap();
        assert_eq!(file.lines().count(), 3, "{file}");
        assert!(
            file.lines()
                .next()
                .unwrap()
                .contains("before the file nodes=3")
        );
    }

    #[test]
    fn a_pane_that_never_fetches_costs_nothing_more() {
        let logs = Logs::new();
        let subscriber = tracing_subscriber::registry().with(logs.layers());
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..KEPT_LINES + 10 {
                tracing::info!("line {n}");
            }
        });
        let lines = logs.drain();
        assert_eq!(lines.len(), KEPT_LINES);
        assert_eq!(lines[0].text, "line 10");
    }
}
