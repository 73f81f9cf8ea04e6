//! The running service: the one place that wires everything up.
//!
//! ```text
//! provisioning events ─┐                       ┌─ probe ─ enrol ─┐
//! sweep ───────────────┼─► queue ─► dispatcher ┤       …         ├─► ledger
//! ledger, at start ────┘                       └─ probe ─ enrol ─┘
//! production events ──► signals ──► whoever waits in `confirm`
//! ```

mod connect;
mod desk;
mod dispatch;
mod hook;
mod renewals;
mod roll_call;
mod shared;
mod sources;
mod watcher;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use server_core::bus::Dialer;
use server_core::words::{Clock, Seed, Shutdown};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::control;
use crate::crl::Publisher;
use crate::election::Campaign;
use crate::events::{Teller, Telling};
use crate::http;
use crate::ledger::{BucketError, Joining, Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::pipeline::admission::Gate;
use crate::pipeline::ask::Asker;
use crate::pipeline::queue::Queue;
use crate::pipeline::signals::Signals;
use crate::pipeline::{Context, Holds, Places, PromisedPlaces};
use crate::ready::Readiness;
use crate::site::Site;
use desk::Desk;
use hook::Watched;
use watcher::Watcher;

/// How long the last service may take to let go of the ledger.
const PATIENCE: Duration = Duration::from_secs(5);
/// Late answers that may wait to be heeded; further ones are as good as lost.
const LATE_ANSWERS: usize = 4_096;
/// Between two self-tests of a hook that fails them.
const SELF_TEST: Duration = Duration::from_secs(5);

/// Why the service ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The bucket of a shared ledger.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// Another service with another ledger.
    #[error(
        "{name} enrols on this network already, and its ledger is another ({theirs}; this one: \
         {own}): neither would know what the other decides. Stop one of them, or let both share \
         one with [ledger] kind = \"shared\" and the same bucket"
    )]
    Company {
        /// Who.
        name: String,
        /// Its ledger.
        theirs: String,
        /// Ours.
        own: String,
    },
    /// A group that presents itself to nodes in two ways.
    #[error("{0}")]
    Pair(String),
    /// The address of `[http] listen`.
    #[error("[http] listen = \"{address}\" cannot be used: {source}")]
    Http {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The status socket.
    #[error("the status socket in {} cannot be made: {source}", dir.display())]
    Socket {
        /// The state folder.
        dir: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A network that cannot be had by waiting.
    #[error("the {network} network: {source}")]
    Network {
        /// Which one.
        network: &'static str,
        /// Why.
        source: server_core::client::ClientError,
    },
    /// A connection is over for good.
    #[error("the connection to the {0} network is over")]
    Closed(&'static str),
    /// Something that runs for ever came to its end, as when the ledger did.
    #[error("{0} came to its end; the log says why")]
    Ended(&'static str),
}

/// What the service is given from outside.
pub struct Outside {
    /// Opens connections.
    pub dialer: Arc<dyn Dialer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness: serial numbers, jitter.
    pub seed: Seed,
    /// Where a test wants an enrolment to stand still, and for how long.
    pub hold: Option<(String, Duration)>,
}

/// Runs until `shutdown`. Everything under way is in the ledger, so stopping
/// waits for nobody.
///
/// # Errors
/// What cannot be repaired by waiting; brokers that are down are waited for.
pub async fn run(mut site: Site, outside: Outside, shutdown: Shutdown) -> Result<(), ServiceError> {
    let metrics = Metrics::new();
    let hook = hook::watched(&mut site, &metrics);
    let site = Arc::new(site);
    let ready = Arc::new(Readiness::default());
    let (ledger, joining) = open_ledger(&site, outside.seed, &metrics, &ready).await?;
    let group = ledger.group().cloned();
    let queue = Arc::new(Mutex::new(Queue::new(site.config.limits.queue)));

    let publisher = Publisher::of(&site, &ledger).map(Arc::new);
    let mut tasks = JoinSet::new();
    let seen = http::Seen {
        metrics: metrics.clone(),
        ready: Arc::clone(&ready),
        refresh: {
            let (metrics, ready) = (metrics.clone(), Arc::clone(&ready));
            let (queue, clock) = (Arc::clone(&queue), Arc::clone(&outside.clock));
            let told = Arc::clone(&hook);
            Arc::new(move || {
                told.gauge();
                dispatch::gauge(&metrics, &ready, &queue, clock.as_ref());
            })
        },
        list: publisher.as_ref().map(|publisher| publisher.current()),
    };
    let http = serve_http(&site, seen, &shutdown, &mut tasks).await?;
    if let Some(publisher) = &publisher {
        let (publisher, clock) = (Arc::clone(publisher), Arc::clone(&outside.clock));
        let metrics = metrics.clone();
        tasks.spawn(async move { publisher.keep(clock, metrics).await });
    }
    let dir = site.config.state_dir.clone();
    let socket =
        control::Server::bind(&dir).map_err(|source| ServiceError::Socket { dir, source })?;
    let queued = Arc::new(Notify::new());
    let campaign = Campaign::of(&site);
    let holds = Arc::new(Holds::default());
    holds.pause(ledger.store().pause()?.is_some());
    holds.stand_by(campaign.is_some());
    metrics.service.paused.set(i64::from(holds.is_paused()));
    let telling = tell_events(&site, outside.seed, &metrics, &mut tasks);
    let desk = Desk {
        ready: Arc::clone(&ready),
        metrics: metrics.clone(),
        http,
        publisher,
        group: group.clone(),
        queue: Arc::clone(&queue),
        queued: Arc::clone(&queued),
        holds: Arc::clone(&holds),
        campaign: campaign.clone(),
        telling,
        clock: Arc::clone(&outside.clock),
    };
    tasks.spawn(socket.serve(ledger.clone(), Arc::new(desk)));
    let shared = Shared {
        ledger,
        joining,
        hook,
        metrics,
        ready,
        queue,
        queued,
        holds,
        campaign: campaign.clone(),
    };

    let ended = {
        let ledger = shared.ledger.clone();
        tokio::select! {
            ended = enrol(site, outside, shared) => ended,
            () = shutdown.cancelled() => Ok(()),
            () = ledger.ended() => Err(LedgerError::Closed.into()),
        }
    };
    shutdown.cancel();
    tasks.shutdown().await;
    shared::leave(group).await;
    if let Some(campaign) = campaign {
        campaign.resign().await;
    }
    tracing::info!("stopped");
    ended
}

/// What enrolling shares with those who watch the service and tell it what to do.
struct Shared {
    ledger: Ledger,
    joining: Option<Joining>,
    hook: Arc<Watched>,
    metrics: Metrics,
    ready: Arc<Readiness>,
    queue: Arc<Mutex<Queue>>,
    queued: Arc<Notify>,
    holds: Arc<Holds>,
    campaign: Option<Arc<Campaign>>,
}

/// Connects, resumes what the ledger holds, and enrols for ever.
async fn enrol(site: Arc<Site>, outside: Outside, shared: Shared) -> Result<(), ServiceError> {
    let Shared {
        ledger,
        joining,
        hook,
        metrics,
        ready,
        queue,
        queued,
        holds,
        campaign,
    } = shared;
    let seed = outside.seed;
    hook::self_test(&hook, &ready).await;
    if joining.is_none() {
        durable(&ledger).await;
    }
    let clients = connect::both(&site, &outside, &ready).await?;
    let (late, late_answers) = mpsc::channel(LATE_ANSWERS);
    let token = site.node_token.clone();
    let provisioning = Asker::new(clients.provisioning.clone(), token.clone(), Some(late));
    let production = Asker::new(clients.production.clone(), token, None);
    let context = Arc::new(Context {
        places: Places::new(&site.config.limits, &site.config.ca.kind),
        provisioning: Arc::new(provisioning),
        production: Arc::new(production),
        ledger,
        clock: outside.clock,
        rng: Mutex::new(seed.stream(0)),
        placed: PromisedPlaces::default(),
        signals: Signals::default(),
        queue,
        gate: Gate::new(Arc::clone(&queued)),
        queued,
        holds,
        hold: outside.hold,
        site,
    });
    let sources = sources::Sources::new(Arc::clone(&context), metrics.clone());
    // Both networks are listened to before anything is asked or resumed.
    let production = sources.production().await?;
    let provisioning = sources.provisioning().await?;
    let company = shared::company(&context, &clients, seed, joining, &metrics, &ready);
    let (call, bucket) = company.await?;
    let successions = sources.successions();
    sources.resume()?;
    tracing::info!("enrolling");
    let ended = |what| Err(ServiceError::Ended(what));
    tokio::select! {
        ended = production => ended,
        ended = provisioning => ended,
        ended = sources.late(late_answers) => ended,
        ended = sources.sweep() => ended.map(|never| match never {}),
        ended = successions => ended,
        () = call.answer() => ended("the roll call"),
        () = shared::watch(bucket.as_ref(), &ready) => ended("the watch of the bucket"),
        () = shared::pauses(&context) => ended("the watch of pauses"),
        () = hook::watch(&hook, &ready) => ended("the watch of the hook"),
        () = dispatch::run(Arc::clone(&context)) => ended("taking nodes up"),
        () = connect::watch(&clients, &ready) => ended("the watch of the connections"),
        () = keep_signed(&context) => ended("the signing of the audit log"),
        () = stand(&context, campaign, &metrics, seed) => ended("the election"),
        () = renewals::run(Arc::clone(&context), metrics.clone()) => ended("renewal"),
    }
}

async fn open_ledger(
    site: &Site,
    seed: Seed,
    metrics: &Metrics,
    ready: &Arc<Readiness>,
) -> Result<(Ledger, Option<Joining>), ServiceError> {
    let begin = Instant::now();
    loop {
        let opened = match shared::open(site, seed) {
            Ok(None) => {
                let (dir, rules) = (&site.config.state_dir, site.config.rules());
                let watcher = Watcher::new(metrics, ready);
                Ledger::open(dir, rules, watcher).map(|ledger| (ledger, None))
            }
            Ok(Some((ledger, joining))) => Ok((ledger, Some(joining))),
            Err(error) => Err(error),
        };
        match opened {
            Err(LedgerError::InUse(_)) if begin.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => return Ok(other?),
        }
    }
}

/// Waits until something can be decided: without ledger and audit log nothing is.
async fn durable(ledger: &Ledger) {
    while ledger.probe().await.is_err() {
        tokio::time::sleep(SELF_TEST).await;
    }
}

/// Works while this service leads, where there is an election.
async fn stand(context: &Context, campaign: Option<Arc<Campaign>>, metrics: &Metrics, seed: Seed) {
    let Some(campaign) = campaign else {
        return std::future::pending().await;
    };
    let lead = |leads: bool| {
        context.holds.stand_by(!leads);
        metrics.service.leads.set(i64::from(leads));
        context.queued.notify_one();
    };
    campaign.run(seed, lead).await;
}

/// Tells a stream what is decided and done, where one is configured.
fn tell_events(
    site: &Site,
    seed: Seed,
    metrics: &Metrics,
    tasks: &mut JoinSet<()>,
) -> Option<Arc<Mutex<Telling>>> {
    let teller = Teller::of(site)?;
    let telling = teller.telling();
    let metrics = metrics.clone();
    tasks.spawn(async move { teller.tell(metrics, seed).await });
    Some(telling)
}

/// Keeps the end of the audit log signed, and readiness true to the disk, although
/// nothing happens.
async fn keep_signed(context: &Context) {
    let config = &context.site.config;
    loop {
        tokio::time::sleep(config.audit.checkpoint).await;
        durable(&context.ledger).await;
    }
}

async fn serve_http(
    site: &Site,
    seen: http::Seen,
    shutdown: &Shutdown,
    tasks: &mut JoinSet<()>,
) -> Result<Option<String>, ServiceError> {
    let Some(listen) = &site.config.http else {
        return Ok(None);
    };
    let bound = http::bind(listen)
        .await
        .map_err(|source| ServiceError::Http {
            address: listen.clone(),
            source,
        });
    let (listener, address) = bound?;
    tracing::info!(%address, "metrics are served");
    tasks.spawn(http::serve(listener, seen, shutdown.clone()));
    Ok(Some(address.to_string()))
}
