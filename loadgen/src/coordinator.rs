//! The coordinator: takes the run through its phases.

pub mod machine;
