//! Whole runs: the program itself, on real brokers and with a real provisioner.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod asserts;
mod enrol;
mod faults;
mod formation;
mod hostile;
mod links;
mod production;
mod shipped;
mod support;
mod workers;
