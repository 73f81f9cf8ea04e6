//! What each subcommand does; one module each.

pub mod guard;
pub mod plan;
pub mod report;
pub mod run;
pub mod schema;
pub mod up;
pub mod validate;
pub mod worker;
