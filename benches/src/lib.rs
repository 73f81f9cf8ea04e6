//! Benchmarks only: sees everything, nobody sees it.
