//! What each subcommand does; one module each.

pub mod guard;
pub mod run;
pub mod up;
