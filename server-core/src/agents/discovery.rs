//! The discovery agent: says `pong` to any payload that holds `ping`. The request's filter selects.

use async_trait::async_trait;

use super::{Agent, AgentContext, Answer, Call, Metadata};

pub(super) struct Discovery(Metadata);

impl Discovery {
    pub(super) fn new() -> Self {
        Self(Metadata::new("discovery", "Discovery Agent", &[]).timeout(2))
    }
}

#[async_trait]
impl Agent for Discovery {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    fn authorized_by_policy(&self) -> bool {
        false
    }

    async fn handle(&self, _: &AgentContext<'_>, call: &Call) -> Answer {
        match call.payload.windows(4).any(|word| word == b"ping") {
            true => Answer::raw(&b"pong"[..]),
            false => Answer::silent(),
        }
    }
}
