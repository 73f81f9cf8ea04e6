//! Step 8, `confirm`: the node is seen on the production network.
//!
//! Confirmed is who published the `startup` event of component `server` there
//! and answers a directed discovery ping there. Where this service was not
//! listening for a while (it was restarted, or its connection was), the event
//! may have been missed, and the ping alone decides; the ledger says so.
//!
//! An event by which it came back to the provisioning network may be forged, or be the one of its
//! first arrival that waited behind many others: it came back if it answers there.

use std::sync::Arc;
use std::time::Duration;

use server_core::words::Identity;
use tokio::time::Instant;

use super::ask::{Asker, Conversation};
use super::question::Question;
use super::restart::Restarted;
use super::signals::Seen;
use super::{Context, Stop};
use crate::code::{Code, Refusal};
use crate::ledger::{Act, Evidence};

/// How long a ping may take.
const PING: Duration = Duration::from_secs(2);
/// By then a node that was told to restart has left; it stays for 2 s to answer.
const LEAVES: Duration = Duration::from_secs(4);
/// Between two pings of a node whose event may be lost: doubles up to `LATEST`.
const FIRST: Duration = Duration::from_millis(500);
const LATEST: Duration = Duration::from_secs(10);

/// A node that is enrolled.
#[derive(Debug)]
pub(crate) struct Confirmed {
    /// The node.
    pub(crate) node: Identity,
}

/// Waits for the node on the production network.
pub(crate) async fn run(context: &Context, restarted: Restarted) -> Result<Confirmed, Stop> {
    let Restarted {
        node,
        mut watch,
        since,
        mut gap,
        certain,
        place: _place,
    } = restarted;
    let limit = context.site.config.timeouts.confirm;
    let end = since + limit;
    let mut connection = context.production.client().connection();
    let first = connection.borrow_and_update().clone();
    let mut pause = FIRST;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let seen = watch.seen();
        gap |= *connection.borrow() != first;
        if (seen.started || gap) && answers(context, &node).await {
            let by = if seen.started {
                Evidence::StartupAndPing
            } else {
                Evidence::PingAfterGap
            };
            context.commit(&node, Act::Confirmed { by }).await?;
            return Ok(Confirmed { node });
        }
        if left.is_zero() {
            return Err(unconfirmed(limit, seen.started, certain));
        }
        let to_leave = LEAVES.saturating_sub(since.elapsed());
        if seen.returned && to_leave.is_zero() {
            if answers_on(&context.provisioning, &node).await {
                return Err(came_back());
            }
            watch.forget_return();
            continue;
        }
        let mut wait = if gap || seen.started {
            pause.min(left)
        } else {
            left
        };
        if seen.returned {
            wait = wait.min(to_leave);
        }
        let news = |now: &Seen| (now.returned && !seen.returned) || (now.started && !seen.started);
        tokio::select! {
            _ = watch.until(news) => {}
            _ = connection.changed(), if !gap => {}
            () = tokio::time::sleep(wait) => pause = (pause * 2).min(LATEST),
        }
    }
}

/// A directed discovery ping on the production network.
pub(crate) async fn answers(context: &Context, node: &Identity) -> bool {
    answers_on(&context.production, node).await
}

async fn answers_on(network: &Arc<Asker>, node: &Identity) -> bool {
    let mut conversation = Conversation::new(network, node.clone());
    let answer = conversation.ask(&Question::Ping, PING).await;
    answer.is_ok_and(|reply| reply.is_pong())
}

fn came_back() -> Stop {
    let says = "it came back to the provisioning network after its restart: \
                its new configuration did not take";
    Stop::with_new_key(Refusal::new(Code::NodeUnconfirmed, says))
}

fn unconfirmed(limit: Duration, started: bool, certain: bool) -> Stop {
    let limit = humantime::format_duration(limit);
    let says = if started {
        format!("it started on the production network but did not answer a ping within {limit}")
    } else if certain {
        format!("it did not show on the production network within {limit} of its restart")
    } else {
        format!(
            "it was told to restart, which neither a reply nor an event confirms, and did not show \
             on the production network within {limit}"
        )
    };
    Refusal::new(Code::NodeUnconfirmed, says).into()
}
