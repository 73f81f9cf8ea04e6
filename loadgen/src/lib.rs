//! A load generator of real fleet nodes: scenarios in, believable numbers out.
//!
//! In reading order:

pub mod cli;
pub mod command;
pub mod coordinator;
pub mod exit;
pub mod formation;
pub mod guard;
pub mod handout;
pub mod measure;
pub mod preflight;
pub mod process;
pub mod provisioner;
pub mod resources;
pub mod view;
