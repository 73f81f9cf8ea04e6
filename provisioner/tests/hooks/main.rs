//! Hooks outside the service: helpers that keep running, how everyone who signs may
//! fail, and keys in tokens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod authority;
#[path = "../common/authorities.rs"]
mod common;
mod conformance;
mod guard;
mod node;
mod pool;
mod real;
mod record;
mod secure;
mod server;
#[path = "../common/soon.rs"]
mod soon;
mod token;
