//! The hook that grants every node that was judged good: where an organization's issuer is all there is.

use async_trait::async_trait;

use super::{Decision, Hook, HookAnswer, HookError, HookRequest};
use crate::ca::ToBeSigned;

/// Grants everything; settings come from the configured templates, tokens from the issuer.
#[derive(Clone, Copy, Debug)]
pub struct GrantHook;

fn granted() -> HookAnswer {
    HookAnswer::new(Decision::Issue(Box::default()), String::new())
}

#[async_trait]
impl Hook for GrantHook {
    fn kind(&self) -> &'static str {
        "built-in"
    }

    fn self_test(&self) -> Result<(), HookError> {
        Ok(())
    }

    async fn decide(
        &self,
        _request: &HookRequest,
        _prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        Ok(granted())
    }

    async fn rehearse(&self, _request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        Ok(Some(granted()))
    }
}
