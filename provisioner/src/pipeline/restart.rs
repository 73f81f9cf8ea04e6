//! Step 7, `restart`: the node is told to restart into its new configuration.
//!
//! Its reply and its `shutdown` event come in either order and settle the step
//! together; the event alone is enough. Where both are lost the node may have
//! restarted all the same, so it is awaited on the production network anyway.

use server_core::words::Identity;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::ask::NoAnswer;
use super::configure::Configured;
use super::question::Question;
use super::signals::Watch;
use super::{Context, Stop};
use crate::ledger::{Act, Evidence};

/// A node that is on its way to the production network.
#[derive(Debug)]
pub(crate) struct Restarted {
    pub(crate) node: Identity,
    /// Registered before the request left, so that no event is missed.
    pub(crate) watch: Watch,
    /// When the wait for it began; not by the wall clock, which may be set.
    pub(crate) since: Instant,
    /// Nobody listened for a while: its startup event may be gone.
    pub(crate) gap: bool,
    /// It said that it restarts. Where reply and event were both lost, the request may have been
    /// lost too, and the node still be where it was with what it was sent.
    pub(crate) certain: bool,
    /// Its place among those awaited.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Restarted {
    /// A node that was restarted before this service was.
    pub(crate) async fn resumed(context: &Context, node: Identity) -> Result<Self, Stop> {
        let place = Context::permit(&context.places.confirm).await?;
        Ok(Self {
            watch: context.signals.watch(&node),
            node,
            since: Instant::now(),
            gap: true,
            certain: true,
            place,
        })
    }
}

/// Restarts the node.
pub(crate) async fn run(context: &Context, configured: Configured) -> Result<Restarted, Stop> {
    let Configured {
        mut conversation,
        mut watch,
        place: working,
    } = configured;
    let node = conversation.node().clone();
    // Taken before the node leaves: it must not come up unawaited.
    let place = Context::permit(&context.places.confirm).await?;
    watch.reset();
    let by = settle(context, &mut conversation, &mut watch).await?;
    drop(working);
    context.queued.notify_one();
    let since = Instant::now();
    // What is not certain is not recorded: a service that goes on from here asks the node again,
    // and does not take one for returned that never left.
    if let Some(by) = by {
        context.commit(&node, Act::Restarted { by }).await?;
    }
    Ok(Restarted {
        node,
        watch,
        since,
        gap: by.is_none(),
        certain: by.is_some(),
        place,
    })
}

/// What said that it restarts; nothing where reply and event were both lost.
async fn settle(
    context: &Context,
    conversation: &mut super::ask::Conversation,
    watch: &mut Watch,
) -> Result<Option<Evidence>, Stop> {
    let limit = context.site.config.timeouts.restart;
    let node = conversation.node().clone();
    for _ in 0..2 {
        context.still_on(&node)?;
        let answer = tokio::select! {
            answer = conversation.ask(&Question::Restart, limit) => answer,
            _ = watch.until(|seen| seen.shutdown || seen.started) => return Ok(Some(Evidence::Event)),
        };
        match answer {
            Ok(reply) => {
                conversation.read(&Question::Restart, &reply)?;
                return Ok(Some(Evidence::Reply));
            }
            Err(NoAnswer::Silent { .. }) => {}
            Err(none) => {
                return Err(conversation
                    .refusal(&Question::Restart, limit, &none)
                    .into());
            }
        }
    }
    Ok(None)
}
