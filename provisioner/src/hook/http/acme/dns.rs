//! Proofs by DNS (dns-01, RFC 8555 §8.4), through a command of the site's: it is called as lego
//! calls its `exec` provider, so that scripts for that one serve here.

use std::time::Duration;

use crate::code::Code;
use crate::hook::HookError;
use crate::hook::exec::Program;
use crate::hook::process::{self, Ended};
use crate::hook::program::describe;
use crate::hook::redact::shown;

/// Changes the DNS: `COMMAND present NAME VALUE`, and `COMMAND cleanup NAME VALUE` later.
#[derive(Clone, Debug)]
pub struct DnsCommand {
    /// The program and its own first arguments.
    pub program: Program,
    /// How long a run may take.
    pub timeout: Duration,
    /// How long a record takes until everybody sees it.
    pub wait: Duration,
}

/// One record of type TXT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its whole name, with the last dot.
    pub(super) name: String,
    value: String,
}

impl Record {
    /// The record that proves this name.
    pub(super) fn new(name: &str, value: String) -> Self {
        Self {
            name: format!("_acme-challenge.{}.", name.trim_end_matches('.')),
            value,
        }
    }
}

impl DnsCommand {
    pub(super) async fn present(&self, record: &Record) -> Result<(), HookError> {
        self.run("present", record).await
    }

    pub(super) async fn cleanup(&self, record: &Record) -> Result<(), HookError> {
        self.run("cleanup", record).await
    }

    async fn run(&self, verb: &str, record: &Record) -> Result<(), HookError> {
        let program = &self.program;
        let mut command = program.command.clone();
        command.extend([verb, &record.name, &record.value].map(str::to_owned));
        let run = process::run(&command, &program.environment(), b"", self.timeout).await;
        let run = run.map_err(|error| program.not_started(&error))?;
        let said = shown(&run.stderr, &[]);
        let (code, what) = match run.ended {
            Ended::Exited(status, _) if status.success() => return Ok(()),
            Ended::Exited(status, _) => (Code::HookExit, describe(status)),
            Ended::TimedOut => {
                let what = format!("no end within {:?} (`dns_timeout`)", self.timeout);
                (Code::HookTimeout, what)
            }
            Ended::TooMuch(stream) => (Code::HookOutputTooLarge, format!("too much on {stream}")),
        };
        let what = format!("{verb} {} ended with {what}", record.name);
        Err(HookError {
            unsigned: true,
            ..program.failed(code, &what, &said)
        })
    }
}
