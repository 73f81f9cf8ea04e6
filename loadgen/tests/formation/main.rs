//! Formations of real brokers: they come up linked, nodes live on them where the plan says, and
//! every node answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod coming_up;
mod external;
mod runs;
mod support;
