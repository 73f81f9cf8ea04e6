//! What each subcommand does; one module each.

pub mod guard;
