//! The enrolment service: nodes without credentials come in, nodes with a
//! certificate go out to the production network.
//!
//! In reading order:
//!
//! - [`code`]: the stable codes of everything that can keep a node out
//! - [`secret`]: values that must never be printed
//! - [`config`]: `provisioner.toml`, read strictly
//! - [`judge`]: requests, tokens and settings, judged by pure functions
//! - [`ca`]: the built-in authority, and the judgement of every certificate
//! - [`issuer`]: server tokens, where nodes get those and no certificates
//! - [`hook`]: who decides about a node: the built-in authority or a helper
//! - [`template`]: what a node is sent
//! - [`site`]: everything the configuration names, loaded
//! - [`placement`]: which target a node goes to
//! - [`step`]: the words of an enrolment: its eight steps and its states
//! - [`audit`]: what was decided, in a chain that shows every change
//! - [`ledger`]: what was decided, signed, delivered and confirmed, on disk
//! - [`pipeline`]: the road of a node, one module a step
//! - [`crl`]: the list of revoked certificates, always a fresh one
//! - [`service`]: the running service, where everything is wired up
//! - [`ready`], [`metrics`], `http`: how the service is watched
//! - [`events`]: what was decided, told to a stream for others
//! - [`election`]: which of several services works, where one of them is not ours
//! - [`jetstream`]: brokers that keep something
//! - [`report`]: what the service tells about itself
//! - [`control`]: asking it from another process
//! - `whole`: files that are there as a whole or not at all
//! - [`untrusted`]: every parser of bytes somebody else wrote, for fuzzing
//! - [`cli`], [`command`]: what a person meets on the command line

pub mod audit;
pub mod ca;
pub mod cli;
pub mod code;
pub mod command;
pub mod config;
pub mod control;
pub mod crl;
pub mod election;
pub mod events;
pub mod hook;
mod http;
pub mod issuer;
pub mod jetstream;
pub mod judge;
pub mod ledger;
pub mod metrics;
pub mod pipeline;
pub mod placement;
pub mod ready;
pub mod report;
pub mod secret;
pub mod service;
pub mod site;
pub mod step;
pub mod template;
pub mod untrusted;
mod whole;
