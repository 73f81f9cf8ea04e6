//! Benchmarks only: sees everything, nobody sees it.

pub mod floor;
