//! Which nodes are there: a broadcast ping, and when to stop waiting for its answers.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{Call, Client, ClientError};
use crate::wire::Filter;
use crate::words::Identity;

/// When a discovery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// After exactly this time. Silently finds a part of a large fleet when too short.
    Fixed(Duration),
    /// Once no new answer came for `gap`; the first may take `first`, the whole at most `max`.
    Window {
        /// Longest wait for the first answer.
        first: Duration,
        /// Longest silence between answers.
        gap: Duration,
        /// Longest wait in all.
        max: Duration,
    },
}

impl Default for Discovery {
    /// A window of 2 s for the first answer, 500 ms between answers, 30 s in all.
    fn default() -> Self {
        Self::Window {
            first: Duration::from_secs(2),
            gap: Duration::from_millis(500),
            max: Duration::from_secs(30),
        }
    }
}

/// How a discovery ended, which says how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryEnd {
    /// Answers stopped coming: as complete as a broadcast can be.
    Quiet,
    /// The time was over; whether answers were still coming is unknown.
    Time,
    /// The longest time was over while answers still came: there are more nodes.
    StillComing,
    /// The connection was lost.
    Disconnected,
}

/// What a discovery found.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The nodes, sorted.
    pub nodes: Vec<Identity>,
    /// How it ended.
    pub end: DiscoveryEnd,
    /// Further answers of nodes that had answered.
    pub duplicate: u64,
    /// Answers that were lost or refused; more than none means there are more nodes.
    pub lost: u64,
    /// From the broadcast to the last answer.
    pub last: Option<Duration>,
}

impl Discovered {
    /// Whether every node that was connected and answered is in the list, as far as can be known.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.end == DiscoveryEnd::Quiet && self.lost == 0
    }
}

impl Client {
    /// Asks every node that matches the filter, and has the agent where one is named, for its name.
    ///
    /// # Errors
    /// When the request cannot be signed or sent.
    pub async fn discover(
        &self,
        filter: Filter,
        agent: Option<&str>,
        until: Discovery,
    ) -> Result<Discovered, ClientError> {
        let filter = match agent {
            Some(agent) => filter.with_agent(agent),
            None => filter,
        };
        let request = self.prepare(&Call::ping().filter(filter))?;
        let mut replies = self.listen(&request, self.config().capacity).await?;
        self.publish_broadcast(&request).await?;
        let start = Instant::now();
        let mut nodes = BTreeSet::new();
        let (mut duplicate, mut last) = (0, None);
        let end = loop {
            let (deadline, end) = wait(until, start, last);
            match tokio::time::timeout_at(deadline, replies.next()).await {
                Err(_) => break end,
                Ok(None) => break DiscoveryEnd::Disconnected,
                Ok(Some(reply)) if !reply.is_pong() => {}
                Ok(Some(reply)) => {
                    let at = Instant::from_std(reply.at);
                    match nodes.insert(reply.sender) {
                        true => last = Some(at),
                        false => duplicate += 1,
                    }
                }
            }
        };
        Ok(Discovered {
            nodes: nodes.into_iter().collect(),
            end,
            duplicate,
            lost: replies.dropped() + replies.refused(),
            last: last.map(|at| at.saturating_duration_since(start)),
        })
    }
}

/// Until when to wait for the next answer, and what it means if none comes.
fn wait(until: Discovery, start: Instant, last: Option<Instant>) -> (Instant, DiscoveryEnd) {
    match until {
        Discovery::Fixed(time) => (start + time, DiscoveryEnd::Time),
        Discovery::Window { first, gap, max } => {
            let quiet = last.map_or(start + first, |last| last + gap);
            match quiet <= start + max {
                true => (quiet, DiscoveryEnd::Quiet),
                false => (start + max, DiscoveryEnd::StillComing),
            }
        }
    }
}
