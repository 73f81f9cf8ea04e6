//! A hook that is counted: every question, answer and refusal to ask goes into the metrics,
//! and an answer that lays the fault on our own configuration is told to whoever tests the hook.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use rand::RngCore;
use tokio::sync::Notify;

use crate::ca::ToBeSigned;
use crate::code::Class;
use crate::hook::{Hook, HookAnswer, HookError, HookRequest, Standing};
use crate::metrics::HookMetrics;

/// Whichever hook it is, with its metrics.
#[derive(Debug)]
pub(crate) struct Watched {
    hook: Arc<dyn Hook>,
    metrics: HookMetrics,
    doubted: Notify,
}

impl Watched {
    pub(crate) fn new(hook: Arc<dyn Hook>, metrics: HookMetrics) -> Self {
        Self {
            hook,
            metrics,
            doubted: Notify::new(),
        }
    }

    /// Returns once an answer laid the fault on our own configuration.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Tells how the backend stands now.
    pub(crate) fn gauge(&self) {
        if let Some(standing) = self.hook.standing() {
            self.metrics.standing(self.hook.kind(), standing);
        }
    }
}

#[async_trait]
impl Hook for Watched {
    fn kind(&self) -> &'static str {
        self.hook.kind()
    }

    fn standing(&self) -> Option<Standing> {
        self.hook.standing()
    }

    fn may_place(&self) -> bool {
        self.hook.may_place()
    }

    fn self_test(&self) -> Result<(), HookError> {
        self.hook.self_test()
    }

    async fn health(&self) -> Result<(), HookError> {
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
        let admitted = self.hook.admit().await;
        if let Err(error) = &admitted {
            self.metrics.unasked(self.kind(), error.code);
        }
        admitted
    }

    async fn decide(
        &self,
        request: &HookRequest,
        prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        let _in_flight = self.metrics.asked(self.kind());
        let begin = Instant::now();
        let answer = self.hook.decide(request, prepared).await;
        self.metrics.answered(self.kind(), &answer, begin.elapsed());
        if let Err(error) = &answer
            && error.code.class() == Class::Fatal
        {
            self.doubted.notify_one();
        }
        answer
    }

    async fn rehearse(&self, request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        self.hook.rehearse(request).await
    }
}
