//! Numbers inside a run: what a worker counts, what the coordinator merges, what the screen draws.
//!
//! ```text
//! worker: Recorder ──take()──► Snapshot (what changed since the last one) ──► coordinator
//! coordinator: Totals::absorb(Snapshot) ──► asserts, results
//!                    └──► RunState ──► live view, line output, json progress
//! ```
//!
//! Three rules hold throughout. Durations are whole microseconds. Distributions are merged as HDR
//! histograms, so that no code path can average percentiles. What was not measured is `None`,
//! never 0.

mod enrolment;
mod gauge;
mod histogram;
mod links;
mod outcome;
mod recorder;
mod renewals;
mod snapshot;
mod state;
mod storm;
mod totals;

pub use enrolment::{Enrolment, StepLatency};
pub use gauge::Gauge;
pub use histogram::{Hist, Quantile, Quantiles};
pub use links::{LinkTick, Links};
pub use outcome::{FleetOutcome, worded};
pub use recorder::Recorder;
pub use renewals::{RenewalTime, Renewals};
pub use snapshot::{
    Counter, Counters, FleetCounts, Level, LogLine, NodeState, OpDelta, OpKey, Round, Series,
    Snapshot, WorkerHealth,
};
pub use state::{
    AssertView, BrokerView, FaultView, FleetView, GeneratorHealth, OpView, PhaseProgress,
    PhaseView, RateView, RunState, Stage, TargetState, WorkerView,
};
pub use storm::{CurvePoint, Fall, Storm, even_curve};
pub use totals::{
    BrokerSample, BrokerTotals, ConnectTotals, FaultRecord, GeneratorTotals, Memory, OpTotal,
    Totals,
};

use std::time::Duration;

/// Whole microseconds of a duration, saturating: the unit of every number that is kept.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
