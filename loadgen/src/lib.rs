//! A load generator of real fleet nodes: scenarios in, believable numbers out.
//!
//! ```text
//! scenario file ──► Scenario ──► Plan ──► run ──► Totals ──► verdict, summary, results folder
//! ```

pub mod measure;
