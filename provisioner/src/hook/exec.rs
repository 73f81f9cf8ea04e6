//! The exec hook: one run of a helper program per node, in the Choria helper contract.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use nix::unistd::{AccessFlags, access};
use rand::RngCore;
use serde_json::Value;

use super::choria;
use super::process::{self, Ended, MAX_STDOUT};
use super::redact::shown;
use super::{Hook, HookAnswer, HookError, HookRequest};
use crate::ca::ToBeSigned;
use crate::code::{Code, Refusal};

/// The environment a helper gets unless told otherwise: what a script needs to find its
/// interpreter and to read text, nothing of the service.
pub const DEFAULT_ENVIRONMENT: &[&str] = &["PATH", "LANG", "LC_ALL", "TZ"];

/// How a helper is run.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// The program and its arguments; never a shell line.
    pub command: Vec<String>,
    /// How long one run may take, between a second and two minutes.
    pub timeout: Duration,
    /// The names of the environment variables that are passed on.
    pub environment: Vec<String>,
}

impl ExecSettings {
    /// A command with the default limit of ten seconds and the default environment.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        Self {
            command,
            timeout: Duration::from_secs(10),
            environment: DEFAULT_ENVIRONMENT
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        }
    }
}

/// Asks a helper program about each node.
#[derive(Debug)]
pub struct ExecHook {
    settings: ExecSettings,
}

impl ExecHook {
    /// A hook that runs this helper.
    #[must_use]
    pub const fn new(settings: ExecSettings) -> Self {
        Self { settings }
    }

    /// The helper's name for messages.
    fn name(&self) -> &str {
        self.settings.command.first().map_or("", String::as_str)
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        self.settings
            .environment
            .iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .collect()
    }

    fn failed(&self, code: Code, identity: &str, what: &str, said: &str) -> HookError {
        let said = if said.is_empty() {
            String::new()
        } else {
            format!("; it said: \"{said}\"")
        };
        Refusal::new(
            code,
            format!("helper {} {what} for {identity}{said}", self.name()),
        )
    }

    /// A program that cannot be started: for good, or only now.
    fn not_started(&self, identity: &str, error: &std::io::Error) -> HookError {
        use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied};
        let code = match error.kind() {
            NotFound | PermissionDenied | InvalidInput => Code::HookConfig,
            _ => Code::HookUnavailable,
        };
        self.failed(code, identity, &format!("could not be run ({error})"), "")
    }
}

#[async_trait]
impl Hook for ExecHook {
    fn kind(&self) -> &'static str {
        "exec"
    }

    fn self_test(&self) -> Result<(), HookError> {
        let path = find(self.name())?;
        let about = |what: String| {
            Refusal::new(
                Code::HookConfig,
                format!("helper {}: {what}", path.display()),
            )
        };
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

    fn prepare(
        &self,
        _request: &HookRequest,
        _rng: &mut dyn RngCore,
    ) -> Result<Option<ToBeSigned>, HookError> {
        Ok(None)
    }

    async fn decide(
        &self,
        request: &HookRequest,
        _prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        let identity = request.request.identity();
        let question = choria::question(request)?;
        let started = Instant::now();
        let run = process::run(
            &self.settings.command,
            &self.environment(),
            &question,
            self.settings.timeout,
        )
        .await
        .map_err(|error| self.not_started(identity, &error))?;
        let said = shown(&run.stderr, &secrets(&request.claims));
        let took = started.elapsed().as_secs_f64();
        match run.ended {
            Ended::Exited(status, output) if status.success() => choria::read_answer(&output)
                .map(|answer| choria::without_idle_upgrade(answer, &request.inventory))
                .map_err(|refusal| {
                    let what = format!("answered wrongly after {took:.1} s");
                    let mut error = self.failed(refusal.code, identity, &what, &said);
                    error.message = format!("{}: {}", error.message, refusal.message);
                    error
                }),
            Ended::Exited(status, _) => {
                let what = format!("ended with {} after {took:.1} s", describe(status));
                Err(self.failed(Code::HookExit, identity, &what, &said))
            }
            Ended::TimedOut => {
                let what = format!(
                    "did not finish its answer within {:?} and was ended",
                    self.settings.timeout
                );
                Err(self.failed(Code::HookTimeout, identity, &what, &said))
            }
            Ended::TooMuch(stream) => {
                let what = format!(
                    "printed more than {} KiB on {stream} and was ended",
                    MAX_STDOUT / 1024
                );
                Err(self.failed(Code::HookOutputTooLarge, identity, &what, ""))
            }
        }
    }
}

/// What of the token's claims a helper was told and must not be repeated in a log.
fn secrets(claims: &Value) -> Vec<&str> {
    ["cht", "chpwd"]
        .iter()
        .filter_map(|claim| claims.get(claim)?.as_str())
        .collect()
}

fn describe(status: ExitStatus) -> String {
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
        return Err(Refusal::new(
            Code::HookConfig,
            "the helper's command is empty",
        ));
    }
    if program.contains('/') {
        return Ok(Path::new(program).to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Refusal::new(
                Code::HookConfig,
                format!("helper {program} is in no folder of PATH; write its whole path"),
            )
        })
}
