//! What a run leaves behind: a folder that other programs and other people can read.
//!
//! ```text
//! manifest.json    who, where, what, with which seed; written first, closed last
//! scenario.toml    as given; plan.json as worked out
//! series.csv       one row a second and value: t, phase, worker, name, labels, value
//! latency.hlog     one line a second and distribution, HdrHistogram V2 compressed
//! fanout.csv       one row a round
//! reconnect.csv    how nodes came back after faults on brokers, ten rows a second; at the end
//! events.ndjson    the log lines
//! verdict.json     each assert and limit, the outcome and the exit code
//! summary.json     the figures; summary.md the same for people
//! metrics.json     every metric an assert can name, with its value: what a baseline is read from
//! report.html      all of it as one page, made from the other files
//! ```
//!
//! What grows while the run lives is only ever appended to, so that a killed run can still be
//! read. `verdict.json` and `summary.json` are part of the product: fields are added, never
//! renamed. A value that was not measured is `null`, never 0.

mod baseline;
mod folder;
mod logs;
mod manifest;
mod markdown;
mod storms;
mod summary;
mod verdict;

pub use baseline::{METRICS_FILE, load_baselines, metrics_json};
pub use folder::{FolderError, RunFolder, run_id};
pub(crate) use logs::FAULT_AWAY;
pub use manifest::{Host, Manifest, ScenarioIdentity, Tool, WorkerPlace, name_hash};
pub(crate) use markdown::sentence;
pub use markdown::summary_page;
pub use storms::reconnect_csv;
pub use summary::{
    ConnectSummary, CpuSummary, EnrolmentSummary, FaultSummary, FirstLast, GeneratorSummary,
    Latency, LatencyBases, MemorySummary, NodesSummary, OpSummary, RenewalSummary, RoundsSummary,
    StepSummary, Steps, StormSummary, Summary,
};
pub use verdict::{AssertResult, Ending, LimitResult, Outcome, Verdict, judge_limits};
