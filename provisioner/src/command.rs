//! What a person meets: one file a command.
//!
//! Each is a set of arguments and a function that writes its answer to what it is given, so that
//! the composition root only has to wire them up.

use std::process::ExitCode;

pub mod audit;
pub mod ca_answer;
pub mod ca_crl;
pub mod ca_init;
pub mod check;
pub mod csr_check;
pub mod operate;
mod pin;
pub mod run;
pub mod simulate;
pub mod status;
pub mod token;

pub use pin::PinArgs;

/// How a command that could do its work ended. One that could not is an error, exit status 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Status 0: done, or the answer is yes.
    Success,
    /// Status 1: the answer is no.
    Negative,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Negative => Self::from(1),
        }
    }
}
