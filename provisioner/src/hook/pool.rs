//! The pool hook: a few helpers that keep running, asked line by line in our contract.
//!
//! ```text
//! decide ──► jobs (bounded) ──► keeper 1 ── helper process: one line in, one line out
//!   ▲                     └───► keeper 2 ── helper process
//!   └──── answer, by `request_id` ────┘
//! ```
//!
//! Each helper has a `keeper`, which starts it, asks whether it can work, hands it questions up
//! to a bound and its answers to whoever asked, and starts it again, later each time, when it
//! ends. A helper that leaves a question unanswered gets no more of them, keeps the chance to
//! answer the others in their time, and is then ended with its whole process group.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use server_core::words::Seed;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

mod desk;
mod helper;
mod keeper;

use super::contract::{self, Question};
use super::program::Program;
use super::{Hook, HookAnswer, HookError, HookRequest};
use crate::ca::ToBeSigned;
use crate::code::Code;

/// How helpers are kept.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// What is run.
    pub program: Program,
    /// The profile of the certificates, as the helpers know it.
    pub profile: String,
    /// How many run.
    pub helpers: usize,
    /// Questions one helper may have before it has answered the first of them.
    pub in_flight: usize,
    /// From a question to its answer, waiting for a free helper included.
    pub timeout: Duration,
    /// From the start of a helper to its first answer, that to `health`.
    pub start_timeout: Duration,
}

impl PoolSettings {
    /// Two helpers of this command with 32 questions each, ten seconds for an answer.
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        Self {
            program: Program::new(command),
            profile: "node".to_owned(),
            helpers: 2,
            in_flight: 32,
            timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
        }
    }
}

/// Asks helpers that keep running about each node.
#[derive(Debug)]
pub struct PoolHook {
    settings: Arc<PoolSettings>,
    seed: Seed,
    running: OnceLock<Running>,
}

/// One question on its way, and where its answer is awaited.
struct Job {
    request_id: String,
    line: Vec<u8>,
    deadline: Instant,
    /// Whether somebody has decided what becomes of the question: its keeper, who gives it to a
    /// helper, or whoever asked, and gives up. The first one counts.
    claimed: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Vec<u8>, HookError>>,
}

impl Job {
    /// Whether the question is to be given to a helper now: it has this much time left at least,
    /// and whoever asked it still waits and counts on it from here on.
    fn claim(&self, now: Instant, least: Duration) -> bool {
        self.deadline.duration_since(now) >= least && !self.claimed.swap(true, Ordering::AcqRel)
    }
}

/// Where keepers take their jobs from; one waits at a time, the others queue behind it.
type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;

/// What the keepers tell of their helpers.
#[derive(Clone, Debug, Default)]
struct Board {
    /// Helpers that answered `health` and still run.
    live: usize,
    /// Why the last helper ended or did not start.
    last_error: Option<HookError>,
}

#[derive(Debug)]
struct Running {
    jobs: mpsc::Sender<Job>,
    board: watch::Receiver<Board>,
    /// Aborted when this is dropped, which kills the helpers.
    _keepers: JoinSet<()>,
}

impl PoolHook {
    /// A hook that keeps these helpers from its first use on; the seed spreads their restarts.
    #[must_use]
    pub fn new(settings: PoolSettings, seed: impl Into<Seed>) -> Self {
        Self {
            settings: Arc::new(settings),
            seed: seed.into(),
            running: OnceLock::new(),
        }
    }

    /// The keepers, started at first use because that needs a runtime.
    fn running(&self) -> &Running {
        self.running.get_or_init(|| {
            let (jobs, taken) = mpsc::channel(self.settings.helpers * self.settings.in_flight);
            let taken = Arc::new(Mutex::new(taken));
            let (board, watched) = watch::channel(Board::default());
            let mut keepers = JoinSet::new();
            for number in 0..self.settings.helpers as u64 {
                keepers.spawn(keeper::keep(
                    Arc::clone(&self.settings),
                    Arc::clone(&taken),
                    board.clone(),
                    Seed(self.seed.0.wrapping_add(number)),
                ));
            }
            Running {
                jobs,
                board: watched,
                _keepers: keepers,
            }
        })
    }

    /// Has one line answered by one helper.
    async fn ask(&self, question: &Question, about: &str) -> Result<Vec<u8>, HookError> {
        let limit = self.settings.timeout;
        let deadline = Instant::now() + limit;
        let claimed = Arc::new(AtomicBool::new(false));
        let (answer, answered) = oneshot::channel();
        let job = Job {
            request_id: question.request_id.clone(),
            line: question.json.clone(),
            deadline,
            claimed: Arc::clone(&claimed),
            answer,
        };
        let sent = timeout_at(deadline, self.running().jobs.send(job)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(self.nobody_free(about));
        }
        match timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            _ if !claimed.swap(true, Ordering::AcqRel) => Err(self.nobody_free(about)),
            Ok(Err(_)) if Instant::now() < deadline => Err(self.settings.program.failed(
                Code::HookUnavailable,
                &format!("was ended with the service while it was asked about {about}"),
                "",
            )),
            // The keeper's clock may be the first to strike.
            _ => Err(self.settings.program.failed(
                Code::HookTimeout,
                &format!("did not answer within {limit:?} for {about}"),
                "",
            )),
        }
    }

    fn nobody_free(&self, about: &str) -> HookError {
        let board = self.running().board.borrow();
        let (live, all) = (board.live, self.settings.helpers);
        let why = match &board.last_error {
            Some(error) if live < all => format!("; the last that ended: {}", error.message),
            _ => String::new(),
        };
        let says = format!(
            "no helper was free within {:?} for {about}: {live} of {all} run{why}",
            self.settings.timeout
        );
        HookError::unsent(Code::HookUnavailable, says)
    }

    async fn ask_about(
        &self,
        request: &HookRequest,
        dry_run: bool,
    ) -> Result<HookAnswer, HookError> {
        let PoolSettings {
            profile, timeout, ..
        } = self.settings.as_ref();
        let identity = request.request.identity();
        let question = contract::sign(request, profile, *timeout, dry_run)?;
        let answer = self.ask(&question, identity).await?;
        contract::read_answer(&question, &answer).map_err(|error| HookError {
            message: format!(
                "helper {} answered wrongly for {identity}: {}",
                self.settings.program.name(),
                error.message
            ),
            ..error
        })
    }
}

#[async_trait]
impl Hook for PoolHook {
    fn kind(&self) -> &'static str {
        "pool"
    }

    fn may_place(&self) -> bool {
        true
    }

    fn self_test(&self) -> Result<(), HookError> {
        self.settings.program.check()
    }

    /// Waits until one helper runs and said that it can work, or could not be started.
    async fn health(&self) -> Result<(), HookError> {
        let mut board = self.running().board.clone();
        let news = board.wait_for(|board| board.live > 0 || board.last_error.is_some());
        match timeout(self.settings.start_timeout, news).await {
            Ok(Ok(board)) if board.live > 0 => return Ok(()),
            _ => {}
        }
        let last = board.borrow().last_error.clone();
        Err(last.unwrap_or_else(|| {
            HookError::unsent(
                Code::HookUnavailable,
                format!(
                    "helper {} did not answer `health` within {:?}",
                    self.settings.program.name(),
                    self.settings.start_timeout
                ),
            )
        }))
    }

    async fn decide(
        &self,
        request: &HookRequest,
        _prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        self.ask_about(request, false).await
    }

    async fn rehearse(&self, request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        self.ask_about(request, true).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_claimed_once_and_in_time() {
        let now = Instant::now();
        let (second, least) = (Duration::from_secs(1), Duration::from_millis(250));
        let job = |claimed| Job {
            request_id: "1".to_owned(),
            line: Vec::new(),
            deadline: now + second,
            claimed: Arc::new(AtomicBool::new(claimed)),
            answer: oneshot::channel().0,
        };
        assert!(!job(true).claim(now, least), "whoever asked gave up");
        let late = job(false);
        assert!(!late.claim(now + second * 2, least) && !late.claim(now + second, least));
        assert!(!late.claimed.load(Ordering::Acquire), "nobody was asked");
        let job = job(false);
        assert!(job.claim(now + second * 3 / 4, least));
        assert!(!job.claim(now, least));
    }
}
