//! A helper program on this machine: where it is, and whether it can be run.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::unistd::{AccessFlags, access};

use super::HookError;
use crate::code::Code;

/// The environment a helper gets unless told otherwise: what a script needs to find its
/// interpreter and to read text, nothing of the service.
pub const DEFAULT_ENVIRONMENT: &[&str] = &["PATH", "LANG", "LC_ALL", "TZ"];

/// A program, its arguments, and the names of the environment variables that are passed on.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments; never a shell line.
    pub command: Vec<String>,
    /// The names of the environment variables that are passed on.
    pub environment: Vec<String>,
}

impl Program {
    /// A command with the default environment.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        Self {
            command,
            environment: DEFAULT_ENVIRONMENT
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        }
    }

    /// The program's name for messages.
    pub(super) fn name(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    /// The variables that are passed on, with their values.
    pub(super) fn environment(&self) -> Vec<(OsString, OsString)> {
        self.environment
            .iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .collect()
    }

    /// Whether the program is there and can be run, as far as that shows without running it.
    ///
    /// # Errors
    /// `hook.config`, saying what to repair.
    pub(super) fn check(&self) -> Result<(), HookError> {
        let path = find(self.name())?;
        let about = |what: String| config(format!("helper {}: {what}", path.display()));
        let metadata =
            std::fs::metadata(&path).map_err(|error| about(format!("cannot be used: {error}")))?;
        if !metadata.is_file() {
            return Err(about("is not a file".to_owned()));
        }
        access(&path, AccessFlags::X_OK)
            .map_err(|_| about(format!("is not executable; chmod +x {}", path.display())))?;
        match interpreter(&path) {
            Some(missing) if !missing.exists() => Err(about(format!(
                "its first line names the interpreter {}, which does not exist",
                missing.display()
            ))),
            _ => Ok(()),
        }
    }

    /// What went wrong with this helper, and what it said on standard error.
    pub(super) fn failed(&self, code: Code, what: &str, said: &str) -> HookError {
        let said = if said.is_empty() {
            String::new()
        } else {
            format!("; it said: \"{said}\"")
        };
        HookError::new(code, format!("helper {} {what}{said}", self.name()))
    }

    /// A program that cannot be started: for good, or only now.
    pub(super) fn not_started(&self, error: &std::io::Error) -> HookError {
        use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied};
        let code = match error.kind() {
            NotFound | PermissionDenied | InvalidInput => Code::HookConfig,
            _ => Code::HookUnavailable,
        };
        let says = format!("helper {} could not be run ({error})", self.name());
        HookError::unsent(code, says)
    }
}

/// How a program ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The interpreter a script names in its first line.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    File::open(script)
        .ok()?
        .take(256)
        .read_to_end(&mut start)
        .ok()?;
    let line = start
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.split_whitespace().next().map(PathBuf::from)
}

/// Where a program is: a path as it stands, a bare name in the folders of `PATH`.
fn find(program: &str) -> Result<PathBuf, HookError> {
    if program.is_empty() {
        return Err(config("the helper's command is empty".to_owned()));
    }
    if program.contains('/') {
        return Ok(Path::new(program).to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            config(format!(
                "helper {program} is in no folder of PATH; write its whole path"
            ))
        })
}

fn config(says: String) -> HookError {
    HookError::unsent(Code::HookConfig, says)
}
