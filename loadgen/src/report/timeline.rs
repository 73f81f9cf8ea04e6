//! When phases ran and when faults fell.

use serde::Serialize;

use super::axis::{Axis, Unit};
use super::chart::{WIDTH, number};
use super::folder::Folder;
use crate::results::FaultSummary;
use crate::units::brief_duration;

const LEFT: f64 = 150.0;
const RIGHT: f64 = 70.0;
const ROW: f64 = 24.0;
/// Most phases that are drawn.
const PHASES: usize = 60;

/// A phase that ran, in seconds since the run's start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) begin: f64,
    pub(super) end: f64,
}

/// What fell at one moment, in seconds since the run's start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// `F1`.
    pub(super) short: String,
    pub(super) label: String,
    pub(super) at: f64,
    pub(super) up: Option<f64>,
}

/// The phases and faults of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    phases: Vec<Phase>,
    faults: Vec<Fault>,
    end: f64,
}

/// A timeline, ready to be drawn.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Picture {
    desc: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    bars: Vec<Bar>,
    ticks: Vec<(String, String)>,
    marks: Vec<FaultMark>,
}

#[derive(Clone, Debug, Serialize)]
struct Bar {
    name: String,
    full: String,
    y: String,
    x: String,
    width: String,
    after: String,
    length: String,
}

#[derive(Clone, Debug, Serialize)]
struct FaultMark {
    x: String,
    width: String,
    short: String,
    label: String,
}

impl Timeline {
    pub(super) fn new(folder: &Folder) -> Self {
        let series = folder.series.as_ref();
        let phases = series
            .map(super::series::Series::phases)
            .unwrap_or_default();
        let phases = phases
            .into_iter()
            .map(|(name, begin, end)| Phase { name, begin, end });
        // A run that was killed has no summary; its series tells of faults as they fell.
        let told = folder.summary.as_ref();
        let fell = told.map_or_else(
            || series.map(super::series::Series::faults),
            |told| Some(told.faults.clone()),
        );
        let faults = faults(&fell.unwrap_or_default());
        let length = folder
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.duration_us);
        let end = series.and_then(super::series::Series::end);
        let end = end
            .or_else(|| length.map(|us| us as f64 / 1e6))
            .unwrap_or(0.0);
        Self {
            phases: phases.collect(),
            faults,
            end,
        }
    }

    pub(super) fn phases(&self) -> &[Phase] {
        &self.phases
    }

    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The last moment anything was told of, seconds.
    pub(super) fn end(&self) -> f64 {
        self.end
    }

    /// The phases as bars, the faults across them; none where nothing tells when they ran.
    pub(super) fn picture(&self) -> Option<Picture> {
        if self.phases.is_empty() {
            return None;
        }
        let phases = &self.phases[..self.phases.len().min(PHASES)];
        let axis = Axis::times(0.0, self.end);
        let across = |t: f64| LEFT + axis.place(t) * (WIDTH - LEFT - RIGHT);
        let bottom = 22.0 + ROW * phases.len() as f64;
        let bars = phases.iter().enumerate().map(|(row, phase)| {
            let (from, to) = (across(phase.begin), across(phase.end));
            let to = to.max(from + 2.0);
            Bar {
                name: shortened(&phase.name),
                full: phase.name.clone(),
                y: number(22.0 + ROW * row as f64),
                x: number(from),
                width: number(to - from),
                after: number(to + 6.0),
                length: span(phase.end - phase.begin),
            }
        });
        let marks = self.faults.iter().map(|fault| {
            let x = across(fault.at);
            FaultMark {
                x: number(x),
                width: number(across(fault.up.unwrap_or(fault.at)) - x),
                short: fault.short.clone(),
                label: fault.label.clone(),
            }
        });
        let told: Vec<String> = phases
            .iter()
            .map(|phase| format!("{} took {}", phase.name, span(phase.end - phase.begin)))
            .collect();
        let ticks = axis.ticks.iter();
        let ticks = ticks.map(|at| (number(across(*at)), Unit::Seconds.show(*at)));
        Some(Picture {
            desc: format!("{}.", told.join(", ")),
            width: WIDTH,
            height: bottom + 24.0,
            left: LEFT,
            right: WIDTH - RIGHT,
            bottom,
            bars: bars.collect(),
            ticks: ticks.collect(),
            marks: marks.collect(),
        })
    }
}

/// Faults that fell, those of the same moment together.
fn faults(told: &[FaultSummary]) -> Vec<Fault> {
    const TOGETHER_US: u64 = 500_000;
    let mut moments: Vec<(u64, Vec<&FaultSummary>)> = Vec::new();
    for fault in told {
        let Some(at) = fault.at_us else { continue };
        match moments.last_mut() {
            Some((first, these))
                if at.abs_diff(*first) < TOGETHER_US && these[0].kind == fault.kind =>
            {
                these.push(fault);
            }
            _ => moments.push((at, vec![fault])),
        }
    }
    let named = moments.into_iter().enumerate().map(|(index, (at, these))| {
        let targets: Vec<&str> = these.iter().map(|fault| fault.target.as_str()).collect();
        let up = these
            .iter()
            .filter_map(|fault| Some(fault.at_us? + fault.down_us?))
            .max();
        Fault {
            short: format!("F{}", index + 1),
            label: format!("{} {}", these[0].kind, targets.join(", ")),
            at: at as f64 / 1e6,
            up: up.map(|us| us as f64 / 1e6),
        }
    });
    named.collect()
}

fn span(seconds: f64) -> String {
    brief_duration(std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
}

/// A name that fits beside its bar.
fn shortened(name: &str) -> String {
    const MOST: usize = 20;
    match name.chars().count() {
        0..=MOST => name.to_owned(),
        _ => name.chars().take(MOST - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_one_moment_are_one_mark() {
        let fault = |target: &str, at_us, down_us| FaultSummary {
            kind: "kill".to_owned(),
            target: target.to_owned(),
            at_us,
            down_us,
            ..FaultSummary::default()
        };
        let marks = faults(&[
            fault("hub-2", Some(5_000_000), Some(10_000_000)),
            fault("hub-1", Some(30_000_000), Some(9_000_000)),
            fault("hub-3", Some(30_100_000), Some(11_000_000)),
            fault("hub-4", None, None),
        ]);
        let labels: Vec<&str> = marks.iter().map(|mark| mark.label.as_str()).collect();
        assert_eq!(labels, ["kill hub-2", "kill hub-1, hub-3"]);
        assert_eq!((marks[1].short.as_str(), marks[1].up), ("F2", Some(41.1)));
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(shortened("ping-all"), "ping-all");
        assert_eq!(shortened(&"ä".repeat(30)).chars().count(), 20);
    }
}
