//! The coordinator: takes the run through its phases.
//!
//! ```text
//! FromWorker, ledger, brokers ──► Drive ──► Machine (pure) ──► Effect ──► ToWorker, faults
//!                                   └────► Totals, RunState (what views show)
//! ```

pub mod board;
pub mod drive;
pub mod faults;
pub mod ledger;
pub mod machine;
pub mod usage;
pub mod watch;

pub use drive::{Chronicle, Drive, Driven, Hold};
