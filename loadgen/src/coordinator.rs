//! The coordinator: takes the run through its phases.
//!
//! ```text
//! FromWorker, ledger, brokers ──► Drive ──► Machine (pure) ──► Effect ──► ToWorker, faults
//!                                   └────► Totals, RunState (what views show)
//! ```

pub mod board;
mod conduct;
pub mod drive;
pub mod faults;
pub mod ledger;
pub mod machine;
mod phases;
mod show;
pub mod usage;
mod views;
pub mod watch;

pub use drive::{Chronicle, Drive, Driven, Hold};
