//! A load generator of real fleet nodes: scenarios in, believable numbers out.
//!
//! ```text
//! scenario file ──► Scenario ──► Plan ──► run ──► Totals ──► verdict, summary, results folder
//! ```
//!
//! In reading order:

pub mod cli;
pub mod command;
pub mod exit;

pub mod units;

pub mod scenario;

pub mod pace;

pub mod assert;

pub mod plan;

pub mod report;
pub mod results;
pub mod schema;

pub mod measure;

pub mod control;
pub mod message;

pub mod worker;

pub mod coordinator;
pub mod formation;
pub mod guard;
pub mod handout;
pub mod preflight;
pub mod process;
pub mod provisioner;
pub mod resources;
pub mod run;
pub mod site;
pub mod view;
