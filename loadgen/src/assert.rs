//! What must hold: `metric.stat op value`, resolved against the scenario and judged on totals.
//!
//! ```text
//! text ──parse──► Parsed ──resolve(phases, registry)──► Expression ──evaluate(Totals)──► Judged
//! ```
//!
//! A metric without samples is inconclusive, never a pass. A percentile is refused when the sample
//! is too small for it.

mod evaluate;
mod expression;
mod metrics;
mod resolve;
mod storms;

pub use evaluate::{AssertState, Judged, Measured, evaluate, judge_all, measure};
pub use expression::{Comparison, Expression, Target};
pub use metrics::{Domain, METRICS, Metric, MetricId, Shape, Stat, Unit};
pub(crate) use resolve::{Scope, resolve};
