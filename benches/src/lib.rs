//! Benchmarks only: sees everything, nobody sees it.

pub mod faults;
pub mod floor;
