//! The enrolment service: nodes without credentials come in, nodes with a
//! certificate go out to the production network.
//!
//! In reading order:
//!
//! - [`config`]: `provisioner.toml`, read strictly
//! - [`report`]: what the service tells about itself

pub mod config;
pub mod report;
