//! The load agent: answers of a wanted size, after a wanted delay, failing as often as wanted.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Agent, AgentContext, Answer, Call, Metadata};
use crate::wire::rpc::StatusCode;

/// The largest reply, in bytes: what fits a broker's default payload limit after two layers of JSON.
const MAX_SIZE: u64 = 512 * 1024;
/// The longest work: a little below the agent's timeout.
const MAX_DELAY: Duration = Duration::from_secs(55);

pub(super) struct Muster(Metadata);

impl Muster {
    pub(super) fn new() -> Self {
        let metadata = Metadata::new("muster", "Answers for load tests", &["echo", "work"]);
        Self(metadata.timeout(60))
    }
}

/// Arguments of both actions.
#[derive(Deserialize)]
#[serde(default)]
struct Work {
    /// Bytes of `data` in the reply.
    size: u64,
    /// Milliseconds before the reply.
    delay: u64,
    /// Share of calls that answer code 1, from 0 to 1.
    fail_ratio: f64,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            size: 0,
            delay: 0,
            fail_ratio: 0.0,
        }
    }
}

#[async_trait]
impl Agent for Muster {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    async fn handle(&self, context: &AgentContext<'_>, call: &Call) -> Answer {
        let work: Work = match call.input() {
            Ok(work) => work,
            Err(answer) => return answer,
        };
        if work.size > MAX_SIZE {
            return invalid(format!("size {} is more than {MAX_SIZE}", work.size));
        }
        if call.action == "work" {
            let delay = Duration::from_millis(work.delay);
            if delay > MAX_DELAY {
                let limit = MAX_DELAY.as_millis();
                return invalid(format!("delay {} ms is more than {limit} ms", work.delay));
            }
            if !(0.0..=1.0).contains(&work.fail_ratio) {
                return invalid(format!(
                    "fail_ratio {} is not within 0 and 1",
                    work.fail_ratio
                ));
            }
            tokio::time::sleep(delay).await;
            if context.chance(work.fail_ratio) {
                return Answer::aborted("failed as asked");
            }
        }
        let size = usize::try_from(work.size).unwrap_or_default();
        Answer::ok(json!({ "data": "x".repeat(size) }))
    }
}

fn invalid(message: String) -> Answer {
    Answer::refused(StatusCode::InvalidData, message)
}
