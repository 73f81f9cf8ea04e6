//! What stands between the pipeline and any backend that is not in this process: a pace, and a
//! breaker.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use governor::clock::{Clock as _, MonotonicClock};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rand::{Rng as _, RngCore};
use rand_chacha::ChaCha8Rng;
use server_core::words::Seed;

pub use super::breaker::BreakerSettings;
use super::breaker::{Breaker, Shut, Standing};
use super::{Hook, HookAnswer, HookError, HookRequest};
use crate::ca::ToBeSigned;
use crate::code::Code;

/// How long a question may wait for its turn under the pace before its node is put off.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a backend is left alone that asks for a slower pace and does not say for how long.
const UNSAID: Duration = Duration::from_secs(5);

/// How fast a backend may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Questions a second.
    pub rate: NonZeroU32,
    /// Questions that may come at once after a quiet time.
    pub burst: NonZeroU32,
}

/// A hook, asked at a pace it can bear and left alone while it fails.
#[derive(Debug)]
pub struct Guarded<H> {
    hook: H,
    pace: Option<RateLimiter<NotKeyed, InMemoryState, MonotonicClock>>,
    /// Whoever waits for the pace holds this, so that the others wait in order.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<(Breaker, ChaCha8Rng)>,
}

impl<H: Hook> Guarded<H> {
    /// A guard for this hook; the seed spreads pauses.
    #[must_use]
    pub fn new(
        hook: H,
        breaker: BreakerSettings,
        pace: Option<Pace>,
        seed: impl Into<Seed>,
    ) -> Self {
        let limiter = |pace: Pace| {
            let quota = Quota::per_second(pace.rate).allow_burst(pace.burst);
            RateLimiter::direct_with_clock(quota, MonotonicClock)
        };
        Self {
            hook,
            pace: pace.map(limiter),
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new((Breaker::new(breaker), seed.into().stream(0))),
        }
    }

    fn with_breaker<T>(&self, act: impl FnOnce(&mut Breaker, f64) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (breaker, rng) = &mut *state;
        let chance = rng.random();
        act(breaker, chance)
    }

    /// Waits for a token of the bucket.
    async fn in_pace(&self) -> Result<(), HookError> {
        let Some(pace) = &self.pace else {
            return Ok(());
        };
        let begin = Instant::now();
        let _turn = tokio::time::timeout(PATIENCE, self.turn.lock())
            .await
            .map_err(|_| self.too_fast(PATIENCE))?;
        loop {
            let Err(early) = pace.check() else {
                return Ok(());
            };
            let wait = early.wait_time_from(MonotonicClock.now());
            if begin.elapsed() + wait > PATIENCE {
                return Err(self.too_fast(wait));
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn too_fast(&self, wait: Duration) -> HookError {
        let says = format!(
            "more nodes come than the configured pace of the {} hook lets through ([ca] rate)",
            self.hook.kind()
        );
        HookError::unsent(Code::CaThrottled, says).after(Some(wait))
    }

    fn left_alone(&self, shut: Shut) -> HookError {
        let kind = self.hook.kind();
        let (code, says, left) = match shut {
            Shut::Broken(left) => (
                Code::CaUnavailable,
                format!(
                    "the {kind} hook failed several times in a row and is left alone for \
                     {left:.1?}; its last error is in the log"
                ),
                left,
            ),
            Shut::Throttled(left) => (
                Code::CaThrottled,
                format!("the {kind} hook asked to be left alone for another {left:.1?}"),
                left,
            ),
        };
        HookError::unsent(code, says).after(Some(left))
    }

    /// Takes note of how the backend did.
    fn judge(&self, answer: &Result<HookAnswer, HookError>) {
        let kind = self.hook.kind();
        let Err(error) = answer else {
            if self.with_breaker(|breaker, _| breaker.succeeded()) {
                tracing::info!(hook = kind, "answers again");
            }
            return;
        };
        match error.code {
            Code::CaThrottled => {
                let pause = error.retry_after.unwrap_or(UNSAID);
                tracing::warn!(hook = kind, ?pause, "asks for a slower pace");
                self.with_breaker(|breaker, _| breaker.throttled(Instant::now(), pause));
            }
            // It answered; what it said is of no use for this node.
            Code::CaRefused | Code::HookKey | Code::HookUnsupported => {
                self.with_breaker(|breaker, _| breaker.succeeded());
            }
            _ => {
                if let Some(pause) = error.retry_after {
                    self.with_breaker(|breaker, _| breaker.throttled(Instant::now(), pause));
                }
                let opened =
                    self.with_breaker(|breaker, chance| breaker.failed(Instant::now(), chance));
                if let Some(pause) = opened {
                    tracing::warn!(
                        hook = kind, code = %error.code, ?pause,
                        "fails and is left alone for a while: {}", error.message
                    );
                }
            }
        }
    }
}

#[async_trait]
impl<H: Hook> Hook for Guarded<H> {
    fn kind(&self) -> &'static str {
        self.hook.kind()
    }

    fn standing(&self) -> Option<Standing> {
        Some(self.with_breaker(|breaker, _| breaker.standing(Instant::now())))
    }

    fn may_place(&self) -> bool {
        self.hook.may_place()
    }

    fn self_test(&self) -> Result<(), HookError> {
        self.hook.self_test()
    }

    /// Only looks at the breaker: the one question that tries a backend again is a node's.
    async fn health(&self) -> Result<(), HookError> {
        self.with_breaker(|breaker, _| breaker.look(Instant::now()))
            .map_err(|shut| self.left_alone(shut))?;
        self.hook.health().await
    }

    fn prepare(
        &self,
        request: &HookRequest,
        rng: &mut dyn RngCore,
    ) -> Result<Option<ToBeSigned>, HookError> {
        self.hook.prepare(request, rng)
    }

    async fn admit(&self) -> Result<(), HookError> {
        self.with_breaker(|breaker, _| breaker.admit(Instant::now()))
            .map_err(|shut| self.left_alone(shut))?;
        self.in_pace().await?;
        self.hook.admit().await
    }

    async fn decide(
        &self,
        request: &HookRequest,
        prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        let answer = self.hook.decide(request, prepared).await;
        self.judge(&answer);
        answer
    }

    async fn rehearse(&self, request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        self.hook.rehearse(request).await
    }
}
