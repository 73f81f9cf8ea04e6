//! Asks enrolled nodes back before their certificates end, by what the ledger says of them.
//!
//! Nothing is kept here that a kill could take: who is due, who was asked and who did not come is
//! in the ledger, and read from there again and again. A member of a group cares for the nodes it
//! is the first for, so what a dead member had asked is taken over by the next look.
//!
//! How many nodes are off the production network because of this is bounded: by `at_once`, by
//! `rate`, and by asking nobody while the service is paused or does not lead, or the authority is not
//! well. Who came and got stuck counts until it is enrolled again, whoever had asked it: the nodes
//! of the whole ledger are counted, though what other members of a group asked is only seen with
//! the next look.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{Quota, RateLimiter};
use jiff::Timestamp;
use server_core::words::Identity;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::code::{Code, Refusal};
use crate::config::Renewal;
use crate::ledger::{Act, Enrolment, Lapse, LedgerError, RenewalTerms, Turn};
use crate::metrics::Metrics;
use crate::pipeline::ask::Conversation;
use crate::pipeline::question::Question;
use crate::pipeline::{Context, Stop};

/// Between two looks at those who were asked, and at who may be asked next.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks through the whole ledger, at most.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// How long the authority's word that it is well is good.
const WELL_FOR: Duration = Duration::from_secs(10);
/// Due nodes that one look takes down; the most urgent ones.
const AT_HAND: usize = 4_096;

/// What a look through the ledger found.
#[derive(Default)]
struct Look {
    /// Who may be asked, the most urgent first.
    due: VecDeque<(Timestamp, Identity)>,
    /// How many there are, taken down or not.
    all_due: usize,
    /// Who was asked and is not enrolled again yet: by a service before this one, too.
    away: Vec<Identity>,
    /// Who was asked and did not come.
    unused: Vec<Identity>,
    /// How many wait for a person.
    waiting: usize,
}

/// Runs for ever; does nothing without `[renewal]`.
pub(super) async fn run(context: Arc<Context>, metrics: Metrics) {
    let config = &context.site.config;
    let (Some(renewal), Some(terms)) = (config.renewal, config.renewal_terms()) else {
        return std::future::pending().await;
    };
    let pace = RateLimiter::direct(pace(renewal.rate));
    let every = look_every(config.validity(), &renewal);
    let mut asking = JoinSet::new();
    let mut away: HashSet<Identity> = HashSet::new();
    let mut look = Look::default();
    let mut next_look = Instant::now();
    let mut well = Well::default();
    loop {
        while let Some(asked) = asking.try_join_next() {
            if let Err(error) = asked {
                tracing::error!(%error, "asking a node back ended by a defect of this service");
            }
        }
        if next_look <= Instant::now() {
            look = look_through(&context, &terms).await;
            metrics.service.renewals(look.all_due, look.waiting);
            away.extend(look.away.drain(..));
            for node in look.unused.drain(..) {
                unused(&context, &terms, &node).await;
            }
            next_look = Instant::now() + every;
        }
        let now = context.now();
        away.retain(|node| is_away(&context, node));
        let may = !context.holds.any() && !look.due.is_empty() && away.len() < renewal.at_once;
        let may = may && well.is_so(&context).await;
        while may && away.len() < renewal.at_once && pace.check().is_ok() {
            let Some((_, node)) = look.due.pop_front() else {
                break;
            };
            // The look may be a minute old.
            if !is_due(&context, &terms, &node) {
                continue;
            }
            let closes = now + terms.window;
            match context.commit(&node, Act::RenewalAsked { closes }).await {
                Ok(_) => {
                    tracing::info!(%node, until = %closes, "asked back to renew its certificate");
                    away.insert(node.clone());
                    asking.spawn(ask(Arc::clone(&context), terms, node));
                }
                Err(Stop::Ended) => return,
                Err(stop) => tracing::debug!(%node, ?stop, "not asked back"),
            }
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Whether the authority is well, asked now and then: a node that leaves production for a
/// certificate nobody makes is away for nothing.
#[derive(Default)]
struct Well(Option<(Instant, bool)>);

impl Well {
    async fn is_so(&mut self, context: &Context) -> bool {
        if let Some((since, well)) = self.0
            && since.elapsed() < WELL_FOR
        {
            return well;
        }
        let health = context.site.hook.health().await;
        if let Err(refusal) = &health {
            tracing::warn!(code = %refusal.code, "nobody is asked back: {}", refusal.message);
        }
        self.0 = Some((Instant::now(), health.is_ok()));
        health.is_ok()
    }
}

/// So many a minute, of whom those of one tick may be asked together.
fn pace(rate: u32) -> Quota {
    let ticks = u32::try_from(Duration::from_secs(60).as_millis() / TICK.as_millis());
    let of_a_tick = NonZeroU32::new(rate.div_ceil(ticks.unwrap_or(u32::MAX)));
    let rate = NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN);
    Quota::per_minute(rate).allow_burst(of_a_tick.unwrap_or(NonZeroU32::MIN))
}

/// A fleet of short certificates is looked through often, any other once a minute.
fn look_every(validity: Duration, renewal: &Renewal) -> Duration {
    let begin_to_end = validity * u32::from(renewal.left) / 100;
    (begin_to_end / 100).clamp(TICK, LONGEST_LOOK)
}

async fn look_through(context: &Arc<Context>, terms: &RenewalTerms) -> Look {
    let (context, terms) = (Arc::clone(context), *terms);
    // A hundred thousand records take a good part of a second.
    let looking = tokio::task::spawn_blocking(move || look(&context, &terms));
    match looking.await {
        Ok(Ok(look)) => look,
        Ok(Err(error)) => {
            tracing::error!(%error, "who is to be renewed cannot be read");
            Look::default()
        }
        Err(error) => {
            tracing::error!(%error, "looking for renewals ended by a defect of this service");
            Look::default()
        }
    }
}

fn look(context: &Context, terms: &RenewalTerms) -> Result<Look, LedgerError> {
    let (mut look, mut due) = (Look::default(), Vec::new());
    let now = context.now();
    context.ledger.store().each(|name, enrolment| {
        let Ok(node) = Identity::parse(name) else {
            return true;
        };
        if enrolment.is_away(now) {
            look.away.push(node.clone());
        }
        let group = context.ledger.group();
        if group.is_some_and(|group| !group.is_first_for(name)) {
            return true;
        }
        match enrolment.turn(name, terms, now) {
            Turn::Due { until } => {
                look.all_due += 1;
                due.push((until, node));
            }
            Turn::Unused => look.unused.push(node),
            Turn::Waits { .. } => look.waiting += 1,
            Turn::Open | Turn::Later(_) | Turn::Never => {}
        }
        // As many again are gathered before the least urgent are let go.
        if due.len() >= 2 * AT_HAND {
            due.sort_unstable();
            due.truncate(AT_HAND);
        }
        true
    })?;
    due.sort_unstable();
    due.truncate(AT_HAND);
    look.due = due.into();
    Ok(look)
}

fn is_due(context: &Context, terms: &RenewalTerms, node: &Identity) -> bool {
    let known = context.enrolment(node).ok().flatten();
    let turn = known.map(|known| known.turn(node.as_str(), terms, context.now()));
    matches!(turn, Some(Turn::Due { .. }))
}

fn is_away(context: &Context, node: &Identity) -> bool {
    let known = context.enrolment(node).ok().flatten();
    known.is_some_and(|known| known.is_away(context.now()))
}

/// Asks one node. Silence says nothing: it may have heard and be on its way.
async fn ask(context: Arc<Context>, terms: RenewalTerms, node: Identity) {
    let limit = context.site.config.timeouts.node;
    let mut conversation = Conversation::new(&context.production, node.clone());
    match conversation.call(&Question::Reprovision, limit, 0).await {
        Ok(_) => {}
        Err(refusal) if refusal.code == Code::RpcTimeout => {
            tracing::debug!(%node, "it did not say that it comes back");
        }
        Err(refusal) => lapse(&context, &terms, &node, refusal).await,
    }
}

async fn unused(context: &Context, terms: &RenewalTerms, node: &Identity) {
    let says = "it was asked back to renew its certificate and was not heard of in its time: is it \
                down, or does it not reach the provisioning network?";
    lapse(
        context,
        terms,
        node,
        Refusal::new(Code::RenewalUnused, says),
    )
    .await;
}

/// Records that a node was asked in vain, and when it is asked again.
async fn lapse(context: &Context, terms: &RenewalTerms, node: &Identity, refusal: Refusal) {
    let known = context.enrolment(node).ok().flatten();
    // On its way after all: how that ends is told where it ends.
    let Some(known) = known.filter(Enrolment::stands) else {
        return;
    };
    let next_try = known.ask_again(terms.window, context.now());
    let until = next_try.map(|at| at.to_string());
    tracing::warn!(%node, code = %refusal.code, next_try = until, "{}", refusal.message);
    let lapse = Lapse {
        code: refusal.code,
        says: refusal.message,
        next_try,
    };
    if let Err(stop) = context.commit(node, Act::RenewalLapsed(lapse)).await {
        tracing::debug!(%node, ?stop, "not recorded that it was asked in vain");
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, pace};

    #[test]
    fn the_rate_is_reached_though_nobody_looks_more_often_than_each_tick() {
        for (rate, together) in [(1, 1), (120, 1), (121, 2), (239, 2), (600, 5), (6_000, 50)] {
            assert_eq!(pace(rate).burst_size().get(), together, "{rate} a minute");
        }
        assert_eq!(pace(120).replenish_interval(), Duration::from_millis(500));
    }
}
