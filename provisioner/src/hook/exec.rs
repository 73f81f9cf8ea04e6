//! The exec hook: one run of a helper program per node, in the Choria helper contract or in ours.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;

use super::choria::{self, Wanted};
use super::process::{self, Ended, MAX_STDOUT};
use super::program::describe;
pub use super::program::{DEFAULT_ENVIRONMENT, Program};
use super::redact::shown;
use super::{Hook, HookAnswer, HookError, HookRequest, contract};
use crate::ca::ToBeSigned;
use crate::code::Code;

/// Which contract a helper speaks; never guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelperContract {
    /// The Choria provisioner's.
    Choria {
        /// The authority behind it may make a node's key.
        makes_keys: bool,
    },
    /// Ours, for certificates of this profile.
    Muster {
        /// The profile, as the helper knows it.
        profile: String,
    },
}

/// How a helper is run.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// What is run.
    pub program: Program,
    /// How long one run may take, between a second and two minutes.
    pub timeout: Duration,
    /// What it reads and writes.
    pub contract: HelperContract,
}

impl ExecSettings {
    /// A command in the Choria contract, with the default limit of ten seconds.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        Self {
            program: Program::new(command),
            timeout: Duration::from_secs(10),
            contract: HelperContract::Choria { makes_keys: false },
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

    /// Runs the helper on one question and gives its output to `read`.
    async fn ask(
        &self,
        request: &HookRequest,
        question: &[u8],
        read: impl FnOnce(&[u8]) -> Result<HookAnswer, HookError> + Send,
    ) -> Result<HookAnswer, HookError> {
        let program = &self.settings.program;
        let identity = request.request.identity();
        let started = Instant::now();
        let run = process::run(
            &program.command,
            &program.environment(),
            question,
            self.settings.timeout,
        )
        .await
        .map_err(|error| {
            let mut error = program.not_started(&error);
            error.message = format!("{} for {identity}", error.message);
            error
        })?;
        let said = shown(&run.stderr, &secrets(&request.claims));
        let took = started.elapsed().as_secs_f64();
        let failed = |code, what: String| program.failed(code, &what, &said);
        match run.ended {
            Ended::Exited(status, output) if status.success() => read(&output).map_err(|error| {
                let what = format!("answered wrongly after {took:.1} s for {identity}");
                let says = failed(error.code, what).message;
                HookError {
                    message: format!("{says}: {}", error.message),
                    ..error
                }
            }),
            Ended::Exited(status, _) => Err(failed(
                Code::HookExit,
                format!(
                    "ended with {} after {took:.1} s for {identity}",
                    describe(status)
                ),
            )),
            Ended::TimedOut => Err(failed(
                Code::HookTimeout,
                format!(
                    "did not finish its answer within {:?} and was ended for {identity}",
                    self.settings.timeout
                ),
            )),
            Ended::TooMuch(stream) => {
                let what = format!(
                    "printed more than {} KiB on {stream} and was ended for {identity}",
                    MAX_STDOUT / 1024
                );
                Err(program.failed(Code::HookOutputTooLarge, &what, ""))
            }
        }
    }

    async fn ask_ours(
        &self,
        request: &HookRequest,
        profile: &str,
        dry_run: bool,
    ) -> Result<HookAnswer, HookError> {
        let question = contract::sign(request, profile, self.settings.timeout, dry_run)?;
        let read = |output: &[u8]| contract::read_answer(&question, output);
        self.ask(request, &question.json, read).await
    }
}

#[async_trait]
impl Hook for ExecHook {
    fn kind(&self) -> &'static str {
        "exec"
    }

    fn may_place(&self) -> bool {
        matches!(self.settings.contract, HelperContract::Muster { .. })
    }

    fn self_test(&self) -> Result<(), HookError> {
        self.settings.program.check()
    }

    async fn decide(
        &self,
        request: &HookRequest,
        _prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        match &self.settings.contract {
            HelperContract::Muster { profile } => self.ask_ours(request, profile, false).await,
            HelperContract::Choria { makes_keys } => {
                let question = choria::question(request)?;
                let wanted = match (request.csr.ed25519.is_some(), makes_keys) {
                    (true, _) => Wanted::Claims,
                    (false, true) => Wanted::CertificateOrKey,
                    (false, false) => Wanted::Certificate,
                };
                self.ask(request, &question, |output| {
                    choria::read_answer(output, wanted)
                })
                .await
                .map(|answer| choria::without_idle_upgrade(answer, &request.inventory))
            }
        }
    }

    async fn rehearse(&self, request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        match &self.settings.contract {
            HelperContract::Choria { .. } => Ok(None),
            HelperContract::Muster { profile } => {
                self.ask_ours(request, profile, true).await.map(Some)
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
