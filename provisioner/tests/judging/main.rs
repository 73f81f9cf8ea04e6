//! The judges against an adversarial corpus, forged here, and against what real nodes, helpers
//! and OpenSSL produce.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod alerts;
mod authority;
mod certificates;
mod commands;
mod encrypted;
mod forge;
mod helpers;
mod issuer;
mod keys;
mod names;
mod page;
mod requests;
mod revoked;
mod rules;
mod site;
#[path = "../common/soon.rs"]
mod soon;
mod untrusted;
