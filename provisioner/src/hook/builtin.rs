//! The built-in hook: every judged request is granted, by an authority in this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rand::RngCore;

use super::{Decision, Hook, HookAnswer, HookError, HookRequest, Issued};
use crate::ca::{Authority, ToBeSigned};
use crate::code::{Code, Refusal};

/// How long a token may take for a signature before its node is put off. What it signs later is
/// the same certificate, and is asked for again.
const PATIENCE: Duration = Duration::from_secs(15);

/// Grants every judged request; settings come from the configured templates.
#[derive(Debug)]
pub struct BuiltinHook {
    authority: Arc<Authority>,
}

impl BuiltinHook {
    /// A hook that signs with this authority.
    #[must_use]
    pub const fn new(authority: Arc<Authority>) -> Self {
        Self { authority }
    }

    /// Has the authority do its work beside the reactor: a token may take its time, or never come
    /// back. `undone` says what follows from that.
    async fn beside<T: Send + 'static>(
        &self,
        undone: &str,
        work: impl FnOnce(&Authority) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let authority = Arc::clone(&self.authority);
        let working = tokio::task::spawn_blocking(move || work(&authority));
        let failed = |why: &str| {
            let says = format!("{undone}: the token {why}");
            Refusal::new(Code::CaUnavailable, says)
        };
        match tokio::time::timeout(PATIENCE, working).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(failed("failed")),
            Err(_) => Err(failed(&format!("did not answer within {PATIENCE:?}"))),
        }
    }

    async fn sign_slowly(&self, what: &ToBeSigned) -> Result<String, Refusal> {
        let what = what.clone();
        self.beside("the certificate is not signed", move |authority| {
            authority.sign(&what)
        })
        .await
    }
}

#[async_trait]
impl Hook for BuiltinHook {
    fn kind(&self) -> &'static str {
        "built-in"
    }

    fn self_test(&self) -> Result<(), HookError> {
        Ok(self.authority.self_test(Timestamp::now())?)
    }

    /// Signs a throwaway certificate: a token that is away, or an authority whose own certificate
    /// has ended since this began, is found out before a node is asked back for nothing.
    async fn health(&self) -> Result<(), HookError> {
        let tested = self.beside("nothing can be signed", |authority| {
            authority.self_test(Timestamp::now())
        });
        Ok(tested.await?)
    }

    fn prepare(
        &self,
        request: &HookRequest,
        rng: &mut dyn RngCore,
    ) -> Result<Option<ToBeSigned>, HookError> {
        Ok(Some(self.authority.prepare(
            &request.request,
            request.now,
            rng,
        )?))
    }

    async fn decide(
        &self,
        request: &HookRequest,
        prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        let prepared = prepared.ok_or_else(|| {
            Refusal::new(
                Code::CaUnknownOutcome,
                "the built-in authority was asked without a recorded preparation",
            )
        })?;
        if prepared.spki != hex::encode(request.request.spki())
            || prepared.identity != request.request.identity()
        {
            return Err(Refusal::new(
                Code::CaUnknownOutcome,
                "the recorded preparation is for another request; the node is asked for a new key",
            )
            .into());
        }
        let certificate = if self.authority.is_slow() {
            self.sign_slowly(prepared).await?
        } else {
            // It takes well under a millisecond: not worth a thread of its own.
            self.authority.sign(prepared)?
        };
        Ok(issue(certificate))
    }

    async fn rehearse(&self, _request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        Ok(Some(issue(String::new())))
    }
}

fn issue(certificate: String) -> HookAnswer {
    let issued = Issued {
        certificate,
        ..Issued::default()
    };
    HookAnswer::new(Decision::Issue(Box::new(issued)), String::new())
}
