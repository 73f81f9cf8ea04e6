//! The built-in hook: every judged request is granted, by an authority in this process.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rand::RngCore;

use super::{Decision, Hook, HookAnswer, HookError, HookRequest, Issued};
use crate::ca::{Authority, ToBeSigned};
use crate::code::{Code, Refusal};

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
}

#[async_trait]
impl Hook for BuiltinHook {
    fn kind(&self) -> &'static str {
        "built-in"
    }

    fn self_test(&self) -> Result<(), HookError> {
        Ok(self.authority.self_test(Timestamp::now())?)
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
        // A signature takes well under a millisecond: not worth a thread of its own.
        let certificate = self.authority.sign(prepared)?;
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
