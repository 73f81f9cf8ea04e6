//! Keeps one helper: starts it, feeds it, hands on its answers, and starts it again.

use std::sync::Arc;
use std::time::Duration;

use server_core::words::{Backoff, Seed};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::HookError;
use super::super::contract;
use super::super::process::MAX_STDOUT;
use super::super::program::describe;
use super::desk::Desk;
use super::helper::{Heard, Helper};
use super::{Board, Job, Jobs, PoolSettings};
use crate::code::Code;

/// Pauses before a helper is started again, each with jitter.
const PAUSES: [Duration; 8] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// A helper that is asked nothing for this long is asked whether it can work.
const QUIET: Duration = Duration::from_secs(30);

/// The part of its time that a question needs to have left to be asked.
const LEAST: u32 = 4;

/// Why a helper is no longer asked.
enum Over {
    /// The service ends.
    Service,
    /// It ended, or closed its output.
    Closed,
    /// It left this many questions unanswered in their time.
    Hung(usize),
    /// It wrote what cannot be gone on with.
    Broken(HookError),
}

/// Keeps one helper until the service ends.
pub(super) async fn keep(
    settings: Arc<PoolSettings>,
    jobs: Jobs,
    board: watch::Sender<Board>,
    seed: Seed,
) {
    let mut backoff = Backoff::custom(&PAUSES, seed);
    loop {
        let mut desk = Desk::default();
        let error = match start(&settings).await {
            Ok(mut helper) => {
                let name = settings.program.name();
                tracing::info!(helper = name, "a pooled helper runs");
                board.send_modify(|board| board.live += 1);
                let over = serve(&settings, &jobs, &mut helper, &mut desk).await;
                board.send_modify(|board| board.live -= 1);
                finish(&settings, helper, over).await
            }
            Err(error) => Some(error),
        };
        let Some(error) = error else {
            return;
        };
        desk.close(&error);
        if desk.answered > 0 {
            backoff.reset();
        }
        let pause = backoff.next_delay();
        tracing::warn!(code = %error.code, ?pause, "a pooled helper is started again: {}", error.message);
        board.send_modify(|board| board.last_error = Some(error));
        sleep(pause).await;
    }
}

/// Starts a helper that says it can work.
async fn start(settings: &PoolSettings) -> Result<Helper, HookError> {
    let program = &settings.program;
    let limit = settings.start_timeout;
    let mut helper = Helper::start(program).map_err(|error| program.not_started(&error))?;
    let question = contract::health(limit);
    helper.say(&question.json);
    let error = match timeout(limit, helper.hear()).await {
        Ok(Ok(Heard::Line(line))) => match contract::read_health(&question, &line) {
            Ok(()) => return Ok(helper),
            Err(error) => error,
        },
        Ok(Ok(Heard::Closed)) => {
            HookError::new(Code::HookExit, "it ended before it answered `health`")
        }
        Ok(Ok(Heard::TooMuch(stream))) => too_much(stream),
        Ok(Err(error)) => HookError::new(Code::HookUnavailable, error.to_string()),
        Err(_) => HookError::new(
            Code::HookTimeout,
            format!("it did not answer `health` within {limit:?}"),
        ),
    };
    let (status, said) = helper.end().await;
    let what = match status {
        Ok(status) => format!(
            "could not be started ({}): {}",
            describe(status),
            error.message
        ),
        Err(_) => format!("could not be started: {}", error.message),
    };
    Err(HookError {
        unsigned: true,
        ..program.failed(error.code, &what, &said)
    })
}

/// Feeds one helper until it is over.
async fn serve(settings: &PoolSettings, jobs: &Jobs, helper: &mut Helper, desk: &mut Desk) -> Over {
    let mut hung = 0;
    let mut quiet = Instant::now() + QUIET;
    loop {
        if hung > 0 && desk.len() == 0 {
            return Over::Hung(hung);
        }
        let room = hung == 0 && desk.len() < settings.in_flight;
        let deadline = desk.deadline();
        tokio::select! {
            heard = helper.hear() => match heard {
                Ok(Heard::Line(line)) => {
                    if let Err(error) = desk.answer(line) {
                        return Over::Broken(error);
                    }
                    quiet = Instant::now() + QUIET;
                }
                Ok(Heard::Closed) | Err(_) => return Over::Closed,
                Ok(Heard::TooMuch(stream)) => return Over::Broken(too_much(stream)),
            },
            job = next(jobs), if room => match job {
                None => return Over::Service,
                Some(job) => {
                    // Whoever asked may have given up while the question waited, or is about to:
                    // a helper that could not answer in time would be taken for hung.
                    if job.claim(Instant::now(), settings.timeout / LEAST) {
                        helper.say(&desk.ask(job));
                    }
                }
            },
            () = sleep_until(deadline.unwrap_or(quiet)), if deadline.is_some() => {
                hung += desk.overdue(Instant::now());
            }
            () = sleep_until(quiet), if deadline.is_none() => {
                let limit = settings.timeout;
                let line = desk.ask_health(contract::health(limit), Instant::now() + limit);
                helper.say(&line);
            }
        }
    }
}

async fn next(jobs: &Jobs) -> Option<Job> {
    jobs.lock().await.recv().await
}

/// Ends a helper; why, unless it is the service that ends.
async fn finish(settings: &PoolSettings, helper: Helper, over: Over) -> Option<HookError> {
    let (status, said) = helper.end().await;
    let failed = |code, what: &str| Some(settings.program.failed(code, what, &said));
    match over {
        Over::Service => None,
        Over::Hung(questions) => {
            let limit = settings.timeout;
            let what = format!("left {questions} questions unanswered for {limit:?} and was ended");
            failed(Code::HookTimeout, &what)
        }
        Over::Broken(error) => failed(error.code, &format!("was ended, because {}", error.message)),
        Over::Closed => {
            let how = status.map_or_else(|error| error.to_string(), describe);
            failed(Code::HookExit, &format!("ended with {how}"))
        }
    }
}

fn too_much(stream: &str) -> HookError {
    let cap = MAX_STDOUT / 1024;
    let says = format!("it wrote more than {cap} KiB on {stream} in one go");
    HookError::new(Code::HookOutputTooLarge, says)
}
