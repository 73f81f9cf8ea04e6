//! What nodes are heard of by: events, sweeps, and the ledger at start.
//!
//! All of them end in [`Sources::arrive`]: one code path, event for speed and
//! sweep for truth.

mod sweep;

use std::future::Future;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use server_core::client::{Client, Watch};
use server_core::events::{Event, EventKind, SERVER};
use server_core::words::{Identity, subject};
use tokio::sync::mpsc;

use super::ServiceError;
use crate::code::{Class, Code};
use crate::ledger::{Act, Duty, Enrolment, LedgerError, Source};
use crate::metrics::Metrics;
use crate::pipeline::Context;
use crate::pipeline::arrive::{Arrival, Heard, Listener};
use crate::pipeline::ask::Late;
use crate::pipeline::queue::{Offer, Parking, Queue};
use crate::pipeline::settle;
use crate::step::State;

/// Events that may wait to be read.
const WAITING_EVENTS: usize = 65_536;
/// An answer from before its restart does not make a node just confirmed one that came back.
const AFTERGLOW: SignedDuration = SignedDuration::from_secs(60);

/// How long the member of a group that is not the first for a node leaves it to the one that is.
const STAND_BY: SignedDuration = SignedDuration::from_secs(2);

/// The sources of arrivals.
pub(super) struct Sources {
    context: Arc<Context>,
    metrics: Metrics,
}

impl Sources {
    pub(super) fn new(context: Arc<Context>, metrics: Metrics) -> Self {
        Self { context, metrics }
    }

    /// Subscribes to the events of the provisioning network; the future reads them.
    pub(super) async fn provisioning(
        &self,
    ) -> Result<impl Future<Output = Result<(), ServiceError>> + '_, ServiceError> {
        let network = "provisioning";
        let client = self.context.provisioning.client();
        let mut watch = watch(client, network).await?;
        let mut listener = Listener::new(self.context.site.config.timeouts.event_age);
        Ok(async move {
            while let Some(event) = self.next(&mut watch, client).await {
                self.heard(listener.hear(event, self.context.now())).await?;
            }
            Err(ServiceError::Closed(network))
        })
    }

    /// The same for the production network.
    pub(super) async fn production(
        &self,
    ) -> Result<impl Future<Output = Result<(), ServiceError>> + '_, ServiceError> {
        let network = "production";
        let client = self.context.production.client();
        let mut watch = watch(client, network).await?;
        Ok(async move {
            while let Some(event) = self.next(&mut watch, client).await {
                if event.component == SERVER && matches!(event.kind, EventKind::Startup { .. }) {
                    self.started(&event.identity);
                }
            }
            Err(ServiceError::Closed(network))
        })
    }

    /// A node started on the production network: whoever waits for it there hears of it, and one
    /// that was given up before is looked for now.
    fn started(&self, node: &Identity) {
        let context = &self.context;
        if context.signals.tell(node, |seen| seen.started = true) {
            return;
        }
        let now = context.now();
        if context.with_queue(|queue| queue.rouse(node, now)) {
            context.queued.notify_one();
        }
    }

    /// Nodes that answered after they were given up: they are there, only slow.
    pub(super) async fn late(&self, mut answers: mpsc::Receiver<Late>) -> Result<(), ServiceError> {
        while let Some(Late { node, took }) = answers.recv().await {
            self.context.gate.with(|figures| figures.sample(took));
            let (source, at) = (Source::Late, self.context.now());
            let arrival = Arrival {
                identity: node,
                source,
                at,
                version: None,
            };
            self.arrive(arrival).await?;
        }
        Err(ServiceError::Closed("provisioning"))
    }

    /// Takes up what the ledger holds: what was queued or worked on is queued,
    /// what was parked is parked. What is in a shared ledger is taken up by
    /// [`Sources::successions`].
    pub(super) fn resume(&self) -> Result<(), LedgerError> {
        let context = &self.context;
        if context.ledger.group().is_some() {
            return Ok(());
        }
        let (mut queued, mut parked) = (0_u64, 0_u64);
        context.ledger.store().each(|name, enrolment| {
            let Ok(identity) = Identity::parse(name) else {
                return true;
            };
            let Some(owed) = Owed::of(&enrolment, context.now()) else {
                return true;
            };
            let count = match enrolment.state {
                State::Parked => &mut parked,
                _ => &mut queued,
            };
            *count += 1;
            context.with_queue(|queue| owed.restore(queue, &identity));
            true
        })?;
        if queued + parked > 0 {
            tracing::info!(queued, parked, "taken up from the ledger");
        }
        Ok(())
    }

    /// Goes on with what other members of a group had begun, each time one of them is gone.
    pub(super) fn successions(&self) -> impl Future<Output = Result<(), ServiceError>> + '_ {
        let mut gone = self.context.ledger.group().map(|group| group.gone());
        async move {
            loop {
                self.take_up()?;
                one_is_gone(&mut gone).await;
            }
        }
    }

    /// Queues what nobody alive holds: at once where this member is the first for it.
    fn take_up(&self) -> Result<(), LedgerError> {
        let context = &self.context;
        let Some(group) = context.ledger.group() else {
            return Ok(());
        };
        let (mut queued, mut left) = (0_u64, 0_u64);
        for name in group.orphans() {
            let Ok(identity) = Identity::parse(&name) else {
                continue;
            };
            let Some(enrolment) = context.ledger.store().enrolment(&name)? else {
                continue;
            };
            let now = context.now();
            let Some(mut owed) = Owed::of(&enrolment, now) else {
                continue;
            };
            let first = group.is_first_for(&name);
            if !first {
                owed.due = owed.due.max(now) + STAND_BY;
                owed.parking = Parking::Firm;
            }
            let count = if first { &mut queued } else { &mut left };
            *count += 1;
            context.with_queue(|queue| owed.restore(queue, &identity));
        }
        if queued + left > 0 {
            tracing::info!(queued, left_to_others = left, "taken over");
            context.queued.notify_one();
        }
        Ok(())
    }

    async fn next(&self, watch: &mut Watch, client: &Client) -> Option<Event> {
        loop {
            let message = watch.next().await?;
            match Event::parse(&message.payload, &client.config().limits) {
                Ok(event) => return Some(event),
                Err(error) => {
                    let identity = error.code() == "event.identity";
                    let code = if identity {
                        Code::EventIdentity
                    } else {
                        Code::EventParse
                    };
                    self.metrics.enrolment.dropped(code);
                    tracing::debug!(%error, "an event was dropped");
                }
            }
        }
    }

    async fn heard(&self, heard: Heard) -> Result<(), ServiceError> {
        let signals = &self.context.signals;
        match heard {
            Heard::Skewed(arrival, behind) => {
                self.metrics.enrolment.dropped(Code::NodeClockSkew);
                tracing::debug!(
                    node = %arrival.identity, code = %Code::NodeClockSkew, behind_s = behind,
                    "its clock is off; it is enrolled all the same"
                );
                Box::pin(self.heard(Heard::Arrival(arrival))).await?;
            }
            Heard::Arrival(arrival) => {
                if arrival.source == Source::Startup {
                    signals.tell(&arrival.identity, |seen| seen.returned = true);
                }
                self.arrive(arrival).await?;
            }
            Heard::Provisioned(node) => {
                signals.tell(&node, |seen| seen.provisioned = true);
            }
            Heard::Shutdown(node) => {
                signals.tell(&node, |seen| seen.shutdown = true);
            }
            Heard::Dropped(code, node) => {
                self.metrics.enrolment.dropped(code);
                tracing::debug!(%node, %code, "an event was dropped");
            }
            Heard::Nothing => {}
        }
        Ok(())
    }

    /// Queues a node, unless it is another service's, or the ledger says it is none of ours to enrol.
    async fn arrive(&self, arrival: Arrival) -> Result<(), LedgerError> {
        let context = &self.context;
        if context.holds.stands_by() {
            return Ok(());
        }
        let known = context
            .ledger
            .store()
            .enrolment(arrival.identity.as_str())?;
        if let Some(known) = known.as_ref().filter(|known| is_settled(known, &arrival)) {
            if known.state.is_tombstone() {
                let code = known.code.unwrap_or(Code::IdentityBanned);
                self.metrics.enrolment.dropped(code);
                tracing::debug!(node = %arrival.identity, %code, "a node came back that is not enrolled again");
            }
            return Ok(());
        }
        // It waits for nothing but itself: another member was told so, and this one's queue not.
        if known.is_some_and(|it| it.state == State::Parked && it.next_try.is_none()) {
            context.with_queue(|queue| queue.unpark(&arrival.identity));
        }
        let name = arrival.identity.as_str();
        let group = context.ledger.group();
        let offer = match group.map_or(Duty::Ours, |group| group.duty(name)) {
            Duty::Ours => context.with_queue(|queue| queue.offer(&arrival)),
            Duty::Theirs => return Ok(()),
            Duty::StandBy => {
                let until = context.now() + STAND_BY;
                match context.with_queue(|queue| queue.stand_by(&arrival, until)) {
                    Offer::Queued => return Ok(()),
                    other => other,
                }
            }
        };
        match offer {
            Offer::Known => return Ok(()),
            Offer::Full => return self.shed(&arrival, Code::QueueFull),
            Offer::Limited => return self.shed(&arrival, Code::EventRateLimited),
            Offer::Queued => {}
        }
        self.metrics.enrolment.arrived(arrival.source);
        let (source, version) = (arrival.source, arrival.version);
        let noted = context
            .note(&arrival.identity, Act::Arrived { source, version })
            .await;
        context.queued.notify_one();
        match noted {
            Err(crate::pipeline::Stop::Ledger(error)) => Err(error),
            Err(_) => Err(LedgerError::Closed),
            Ok(()) => Ok(()),
        }
    }
}

impl Sources {
    /// Does not take an arrival in; the next sweep brings the node back.
    fn shed(&self, arrival: &Arrival, code: Code) -> Result<(), LedgerError> {
        self.metrics.enrolment.dropped(code);
        tracing::debug!(node = %arrival.identity, %code, "shed");
        Ok(())
    }
}

/// What the ledger says is to be done for a node that was let in before.
struct Owed {
    due: Timestamp,
    parking: Parking,
    /// It never answered.
    hearsay: bool,
}

impl Owed {
    /// `None` where nothing is, or only the node can bring itself back.
    fn of(enrolment: &Enrolment, now: Timestamp) -> Option<Self> {
        let (due, parking, hearsay) = match enrolment.state {
            State::Queued | State::Working => (enrolment.mark.min(now), Parking::Firm, false),
            State::Parked => {
                let parking = enrolment.code.map_or(Parking::Eager, settle::parking);
                (enrolment.next_try?, parking, !enrolment.answered)
            }
            _ => return None,
        };
        Some(Self {
            due,
            parking,
            hearsay,
        })
    }

    fn restore(&self, queue: &mut Queue, node: &Identity) {
        if queue.restore(node, self.due, self.parking) && self.hearsay {
            queue.doubt(node);
        }
    }
}

/// Returns when a member of the group is gone; never where there is no group.
async fn one_is_gone(gone: &mut Option<tokio::sync::watch::Receiver<u64>>) {
    if let Some(gone) = gone
        && gone.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Whether hearing of a node changes nothing.
fn is_settled(known: &Enrolment, arrival: &Arrival) -> bool {
    match known.state {
        State::Banned | State::Decommissioned | State::Quarantined => true,
        State::Refused => arrival.source != Source::Startup,
        // Late is only news of a node that was given up.
        State::Queued | State::Working => arrival.source == Source::Late,
        State::Confirmed => {
            let lately = arrival.at.duration_since(known.since) < AFTERGLOW;
            lately && arrival.source != Source::Startup
        }
        // Asking it again changes nothing before somebody approves, or time passes; but one that
        // was asked back is expected, whoever was there in its name before.
        State::Parked => {
            known
                .code
                .is_some_and(|code| code.class() == Class::Conflict)
                && known.renewal.is_none()
                && arrival.source != Source::Startup
        }
    }
}

async fn watch(client: &Client, network: &'static str) -> Result<Watch, ServiceError> {
    let watch = client.watch(subject::LIFECYCLE_ALL, WAITING_EVENTS).await;
    watch.map_err(|source| ServiceError::Network { network, source })
}
