//! The files that grow while a run lives: one append a second, flushed, never rewritten.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::measure::{LogLine, OpKey, Round, Snapshot};

/// The value that tells of faults, labelled `fault=kill target=hub-2`: 1 when it takes its target
/// away, 0 when that is back.
pub(crate) const FAULT_AWAY: &str = "fault.away";

/// `series.csv`, `latency.hlog`, `fanout.csv`, `events.ndjson`.
#[derive(Debug)]
pub(super) struct Logs {
    series: csv::Writer<File>,
    fanout: csv::Writer<File>,
    latency: File,
    events: File,
}

impl Logs {
    pub(super) fn open(folder: &Path, started: SystemTime) -> io::Result<Self> {
        let append = |name: &str| {
            let mut options = OpenOptions::new();
            options
                .create_new(true)
                .append(true)
                .open(folder.join(name))
        };
        let mut series = csv::Writer::from_writer(append("series.csv")?);
        series.write_record(["t", "phase", "worker", "name", "labels", "value"])?;
        series.flush()?;
        let mut fanout = csv::Writer::from_writer(append("fanout.csv")?);
        fanout.write_record([
            "phase",
            "op",
            "round",
            "warmup",
            "interrupted",
            "intended_us",
            "sent_us",
            "expected",
            "got",
            "missing",
            "duplicate",
            "late",
            "failed",
            "unknown",
            "first_us",
            "last_us",
        ])?;
        fanout.flush()?;
        let mut header = Vec::new();
        IntervalLogWriterBuilder::new()
            .add_comment("microseconds; Tag=phase/op/series, i from the intended start, s from the actual one")
            .with_start_time(started)
            .with_base_time(started)
            .begin_log_with(&mut header, &mut V2DeflateSerializer::new())?;
        let mut latency = append("latency.hlog")?;
        latency.write_all(&header)?;
        Ok(Self {
            series,
            fanout,
            latency,
            events: append("events.ndjson")?,
        })
    }

    /// Appends what a snapshot says.
    pub(super) fn append(&mut self, phase: &str, snapshot: &Snapshot) -> io::Result<()> {
        let at = snapshot.at_us as f64 / 1e6;
        let worker = snapshot.worker.to_string();
        let mut rows: Vec<(String, String, f64)> = Vec::new();
        for (key, op) in &snapshot.ops {
            for (counter, n) in op.counters.iter() {
                let name = serde_json::to_string(&counter)?;
                let name = name.trim_matches('"').to_owned();
                rows.push((name, format!("op={key}"), n as f64));
            }
        }
        for fleet in &snapshot.fleets {
            for (state, n) in &fleet.nodes {
                let labels = format!("fleet={} state={}", fleet.fleet, state.word());
                rows.push(("nodes".to_owned(), labels, *n as f64));
            }
        }
        let health = &snapshot.health;
        let own = [
            ("cpu_pct", health.cpu_pct),
            ("rss_bytes", health.rss_bytes.map(|n| n as f64)),
            ("descriptors", health.descriptors.map(|n| n as f64)),
            ("sched_lag_max_us", health.sched_lag.max().map(|n| n as f64)),
        ];
        for (name, value) in own {
            rows.extend(value.map(|value| (name.to_owned(), String::new(), value)));
        }
        for (name, labels, value) in rows {
            self.value(at, phase, &worker, &name, &labels, value)?;
        }
        self.series.flush()?;
        self.append_latency(snapshot)?;
        for (key, op) in &snapshot.ops {
            for round in &op.rounds {
                self.round(key, round)?;
            }
        }
        self.fanout.flush()?;
        self.append_events(&snapshot.log)
    }

    /// Appends one value of the run as a whole; call [`Logs::flush`] after the last of a second.
    pub(super) fn value(
        &mut self,
        at_s: f64,
        phase: &str,
        worker: &str,
        name: &str,
        labels: &str,
        value: f64,
    ) -> io::Result<()> {
        let (at, value) = (format!("{at_s:.3}"), value.to_string());
        let row = [at.as_str(), phase, worker, name, labels, value.as_str()];
        Ok(self.series.write_record(row)?)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.series.flush()
    }

    pub(super) fn append_events(&mut self, lines: &[LogLine]) -> io::Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&serde_json::to_string(line)?);
            text.push('\n');
        }
        self.events.write_all(text.as_bytes())
    }

    fn append_latency(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let start = Duration::from_micros(snapshot.at_us.saturating_sub(snapshot.span_us));
        let span = Duration::from_micros(snapshot.span_us);
        let mut lines = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer =
            IntervalLogWriterBuilder::new().begin_log_with(&mut lines, &mut serializer)?;
        for (key, op) in &snapshot.ops {
            for (series, hist) in &op.series {
                let tag = format!("{key}/{}", series.tag());
                writer
                    .write_histogram(hist.inner(), start, span, Tag::new(&tag))
                    .map_err(|error| io::Error::other(format!("{error:?}")))?;
            }
        }
        self.latency.write_all(&lines)
    }

    fn round(&mut self, key: &OpKey, round: &Round) -> io::Result<()> {
        let optional = |us: Option<u64>| us.map(|us| us.to_string()).unwrap_or_default();
        Ok(self.fanout.write_record([
            key.phase.clone(),
            key.op.clone(),
            round.index.to_string(),
            round.warmup.to_string(),
            round.interrupted.to_string(),
            round.intended_us.to_string(),
            round.sent_us.to_string(),
            round.expected.to_string(),
            round.replies.to_string(),
            round.missing.to_string(),
            round.duplicate.to_string(),
            round.late.to_string(),
            round.failed.to_string(),
            round.unknown.to_string(),
            optional(round.first_us),
            optional(round.last_us),
        ])?)
    }
}
