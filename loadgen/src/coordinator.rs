//! The coordinator: takes the run through its phases.
//!
//! ```text
//! Crew, ledger, brokers ──► Drive ──► Machine, Roll (pure) ──► Effect ──► Crew, faults
//!                                   └────► Totals, RunState (what views show)
//! ```

mod aborts;
pub mod board;
mod conduct;
pub mod drive;
pub mod faults;
pub mod ledger;
pub mod machine;
mod notes;
mod outcomes;
mod phases;
pub mod roll;
mod show;
mod storms;
pub mod usage;
mod views;
pub mod watch;
mod workers;

pub use drive::{Chronicle, Drive, Driven, Hold};
pub use workers::WorkerSeen;
