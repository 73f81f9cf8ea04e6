//! The service as a process of its own, against real brokers and real nodes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod authorities;
#[path = "../common/authorities.rs"]
mod common;
mod enrol;
mod faults;
mod fleet;
mod group;
mod group_operators;
mod helpers;
mod hostile;
mod limited;
mod operators;
mod placed;
mod renewed;
mod revoked;
mod streams;
mod support;
mod tokens;
