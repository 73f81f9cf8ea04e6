//! Hostile nodes of every kind among honest ones, and what our provisioner makes of each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]
