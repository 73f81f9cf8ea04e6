//! One request to many nodes, with an account of every answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Account, Answered, Call, Client, ClientError, NodeReply, NodeSet, Prepared};
use crate::wire::Limits;
use crate::wire::rpc::{StatusCode, status_of};

/// How a request reaches its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// One message to all that have the agent.
    Broadcast,
    /// One message to each node, the same signed request in all.
    Directed,
}

/// One round to run.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// What is asked.
    pub call: Call,
    /// Who is expected to answer.
    pub targets: Arc<NodeSet>,
    /// How they are reached.
    pub route: Route,
    /// How long answers count as in time.
    pub collect: Duration,
    /// How long to listen on once everybody answered, or the time is over, for duplicates and late ones.
    pub linger: Duration,
}

/// What a round was.
#[derive(Debug, Clone)]
pub struct FanOutReport {
    /// The request's id.
    pub request_id: String,
    /// Who answered what.
    pub account: Account,
    /// Requests that could not be handed to the network.
    pub unsent: u64,
    /// Replies nobody can read, or that answer another request.
    pub refused: u64,
    /// Replies lost because this client was too slow: the round says nothing about the nodes then.
    pub lost: u64,
    /// From the first publication until the last was handed to the network.
    pub published: Duration,
    /// From the first publication to the first and the last counted answer.
    pub first: Option<Duration>,
    /// See `first`.
    pub last: Option<Duration>,
    /// Whether the connection was lost during the round.
    pub disconnected: bool,
}

impl Client {
    /// Runs one round. It ends early once every expected node has answered.
    ///
    /// # Errors
    /// When the request cannot be signed, or the connection is over before it is sent.
    pub async fn fan_out(&self, round: &FanOut) -> Result<FanOutReport, ClientError> {
        self.fan_out_with(round, |_, _| {}).await
    }

    /// The same, and tells of every reply as it comes.
    ///
    /// # Errors
    /// As [`Client::fan_out`].
    pub async fn fan_out_with(
        &self,
        round: &FanOut,
        mut heard: impl FnMut(&NodeReply, Answered) + Send,
    ) -> Result<FanOutReport, ClientError> {
        let request = self.prepare(&round.call)?;
        // Room for every answer once and a good share of duplicates.
        let capacity = round.targets.len() * 2 + 64;
        let mut replies = self.listen(&request, capacity).await?;
        let mut report = FanOutReport {
            request_id: request.id.clone(),
            account: Account::new(Arc::clone(&round.targets)),
            unsent: 0,
            refused: 0,
            lost: 0,
            published: Duration::ZERO,
            first: None,
            last: None,
            disconnected: false,
        };
        let start = Instant::now();
        let sending = self.send(&request, round, start);
        tokio::pin!(sending);
        let mut sent = false;
        let mut deadline = start + round.collect + round.linger;
        loop {
            tokio::select! {
                biased;
                outcome = &mut sending, if !sent => {
                    sent = true;
                    (report.unsent, report.published) = outcome;
                    if round.targets.is_empty() {
                        deadline = Instant::now() + round.linger;
                    }
                }
                next = tokio::time::timeout_at(deadline, replies.next()) => match next {
                    Err(_) => break,
                    Ok(None) => {
                        report.disconnected = true;
                        break;
                    }
                    Ok(Some(reply)) => {
                        let answered = enter(&mut report, &reply, round, start, &self.config().limits);
                        heard(&reply, answered);
                        if report.account.is_complete() && answered != Answered::Duplicate {
                            deadline = deadline.min(Instant::now() + round.linger);
                        }
                    }
                }
            }
        }
        report.refused = replies.refused();
        report.lost = replies.dropped();
        Ok(report)
    }

    async fn send(&self, request: &Prepared, round: &FanOut, start: Instant) -> (u64, Duration) {
        let mut unsent = 0;
        match round.route {
            Route::Broadcast => {
                unsent += u64::from(self.publish_broadcast(request).await.is_err());
            }
            Route::Directed => {
                for node in round.targets.nodes() {
                    unsent += u64::from(self.publish_to(request, node).await.is_err());
                }
            }
        }
        (unsent, start.elapsed())
    }
}

fn enter(
    report: &mut FanOutReport,
    reply: &NodeReply,
    round: &FanOut,
    start: Instant,
    limits: &Limits,
) -> Answered {
    let after = Instant::from_std(reply.at).saturating_duration_since(start);
    let succeeded = reply.is_pong() || status_of(&reply.payload, limits) == Ok(StatusCode::Ok);
    let answered = report
        .account
        .enter(&reply.sender, after, round.collect, !succeeded);
    if matches!(answered, Answered::Expected | Answered::Late) {
        report.first = Some(report.first.map_or(after, |first| first.min(after)));
        report.last = Some(report.last.map_or(after, |last| last.max(after)));
    }
    answered
}
