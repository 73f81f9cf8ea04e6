//! The part of a service that is one of several: joining the bucket, and staying in it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use rand::RngCore as _;
use server_core::trust::RequestSigner as _;
use server_core::words::Seed;

use super::connect::Clients;
use super::roll_call::RollCall;
use super::watcher::Watcher;
use super::{ServiceError, durable};
use crate::config::{Config, Ledger as Kind};
use crate::jetstream::Access;
use crate::ledger::{Broker, Group, Joining, Ledger, LedgerError, Pair};
use crate::metrics::Metrics;
use crate::pipeline::Context;
use crate::ready::{Part, Readiness};
use crate::site::Site;

/// Between two looks at the connection.
const LOOK: Duration = Duration::from_millis(500);
/// Between two tries to open the bucket.
const AGAIN: Duration = Duration::from_secs(1);
/// How long taking leave may take.
const LEAVE: Duration = Duration::from_secs(2);

/// The ledger the configuration asks for, and what is left to do where it is shared.
pub(super) fn open(site: &Site, seed: Seed) -> Result<Option<(Ledger, Joining)>, LedgerError> {
    if matches!(site.config.ledger, Kind::Embedded) {
        return Ok(None);
    }
    let pair = Pair::of(site);
    let me = name(&site.config, seed);
    tracing::info!(member = me, "the ledger is shared");
    Ledger::shared(&site.config.state_dir, &me, pair, site.config.rules()).map(Some)
}

/// A name of its own for each start, so that what a service held before it was killed is
/// never taken for what it holds now.
fn name(config: &Config, seed: Seed) -> String {
    let configured = match &config.ledger {
        Kind::Shared(shared) => shared.member.clone(),
        Kind::Embedded => None,
    };
    let host = || {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = host.to_string_lossy().chars().map(plain).take(64).collect();
        if name.is_empty() {
            "provisioner".to_owned()
        } else {
            name
        }
    };
    Group::member(&configured.unwrap_or_else(host), seed)
}

/// Which ledger it is, in words that are equal for two services exactly when the ledger is one.
fn ledger_name(config: &Config, me: &str) -> String {
    match &config.ledger {
        Kind::Shared(shared) => format!("shared, bucket {}", shared.bucket),
        Kind::Embedded => format!("embedded, of {me} alone"),
    }
}

/// Makes sure that one ledger is kept on this network, and joins it where it is shared.
pub(super) async fn company(
    context: &Context,
    clients: &Clients,
    seed: Seed,
    joining: Option<Joining>,
    metrics: &Metrics,
    ready: &Arc<Readiness>,
) -> Result<(RollCall, Option<async_nats::Client>), ServiceError> {
    let config = &context.site.config;
    let group = context.ledger.group();
    let me = match group {
        Some(group) => group.me().to_owned(),
        None => name(config, seed),
    };
    let own = ledger_name(config, &me);
    let number = seed.stream(2).next_u64();
    let call = RollCall::hold(&clients.production, &me, &own, number).await?;
    let bucket = match group.zip(joining) {
        Some((group, joining)) => {
            let client = join(&context.site, seed, group, joining, metrics, ready).await?;
            durable(&context.ledger).await;
            Some(client)
        }
        None => None,
    };
    ready.met(Part::Group);
    Ok((call, bucket))
}

/// Joins the bucket. Brokers that are down are waited for.
async fn join(
    site: &Site,
    seed: Seed,
    group: &Arc<Group>,
    joining: Joining,
    metrics: &Metrics,
    ready: &Arc<Readiness>,
) -> Result<async_nats::Client, ServiceError> {
    let Some(broker) = site.bucket(group.me()) else {
        return Err(LedgerError::Closed.into());
    };
    let client = broker.connect().await?;
    let bucket = loop {
        match broker.open(&client, true).await {
            Ok(bucket) => break bucket,
            Err(error) => {
                if ready.missed(Part::Group, error.to_string()) {
                    tracing::warn!(%error, "the shared ledger is not there yet");
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let able = Arc::clone(ready);
    let joined = joining.join(
        bucket,
        move || able.is_ready(),
        Watcher::new(metrics, ready),
        seed,
    );
    joined.await?;
    if let Some(says) = group.objection() {
        return Err(ServiceError::Pair(says));
    }
    let others: Vec<_> = group.others().into_iter().map(|(name, _)| name).collect();
    tracing::info!(bucket = broker.bucket, ?others, "joined the shared ledger");
    Ok(client)
}

/// Keeps readiness true to the connection.
pub(super) async fn watch(client: Option<&async_nats::Client>, ready: &Readiness) {
    let Some(client) = client else {
        return std::future::pending().await;
    };
    loop {
        match client.connection_state() {
            State::Connected => {
                if ready.met(Part::Group) {
                    tracing::info!("the shared ledger can be reached again");
                }
            }
            State::Disconnected | State::Pending => {
                if ready.missed(Part::Group, "the connection was lost") {
                    tracing::warn!("the shared ledger cannot be reached");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes up no new node while the group is paused, whoever of it was told so.
pub(super) async fn pauses(context: &Context) {
    let Some(group) = context.ledger.group() else {
        return std::future::pending().await;
    };
    let mut paused = group.paused();
    loop {
        let now = *paused.borrow_and_update();
        if context.holds.pause(now) != now {
            tracing::info!(paused = now, "the group was told to pause or to resume");
            context.queued.notify_one();
        }
        if paused.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Waits until the others know that this service is gone.
pub(super) async fn leave(group: Option<Arc<Group>>) {
    if let Some(group) = group {
        let _ = tokio::time::timeout(LEAVE, group.left()).await;
    }
}

impl Pair {
    /// The pair a service presents to nodes.
    pub(crate) fn of(site: &Site) -> Self {
        Self {
            sender: site.identity.to_string(),
            caller: site.signer.caller().to_owned(),
        }
    }
}

impl Site {
    /// How the brokers of the shared ledger are reached, where it is shared.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<Broker> {
        bucket(&self.config, &self.production, name)
    }
}

/// The same from the parts of a site.
pub(crate) fn bucket(
    config: &Config,
    production: &crate::site::Attachment,
    name: &str,
) -> Option<Broker> {
    let Kind::Shared(shared) = &config.ledger else {
        return None;
    };
    Some(Broker {
        access: Access::of(production, &shared.servers, format!("{name} ledger")),
        bucket: shared.bucket.clone(),
        replicas: shared.replicas,
    })
}
