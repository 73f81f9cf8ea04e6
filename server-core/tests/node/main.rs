//! Tests on real brokers and on the in-process one: the transport's contract, a node's whole way, and
//! the answers a captured fleet gave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

#[path = "../golden/behaviour.rs"]
mod behaviour;
#[path = "../golden/load.rs"]
mod load;

mod authority;
mod fleet;
mod support;

mod asking;
mod conduct;
mod enrolment;
mod events;
mod provisioning;
mod stand;
