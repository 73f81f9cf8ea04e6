//! What must hold: `metric.stat op value`, resolved against the scenario and judged on totals.
//!
//! ```text
//! text ──parse──► Parsed ──resolve(phases, registry)──► Expression ──evaluate(Totals)──► Judged
//! ```
//!
//! An assert with `abort` is judged while the run goes on (`AbortWatch`); one with `baseline` takes
//! its limit from another run (`Baselines`), which has recorded every metric there is (`record`).
//!
//! A metric without samples is inconclusive, never a pass. A percentile is refused when the sample
//! is too small for it.

mod abort;
mod baseline;
mod catalogue;
mod evaluate;
mod expression;
mod metrics;
mod resolve;
mod storms;

pub use abort::{AbortWatch, Breach};
pub use baseline::{BaselineRun, BaselineValue, Baselines};
pub use catalogue::{Recorded, record};
pub use evaluate::{AssertState, Judged, Measured, evaluate, judge_all, measure};
pub use expression::{Comparison, Expression, Target};
pub use metrics::{Domain, METRICS, Metric, MetricId, Shape, Stat, Unit};
pub(crate) use resolve::{Scope, resolve};
