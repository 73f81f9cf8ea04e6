//! The ledger when no service of this folder runs: its file, or the bucket of a shared one,
//! which is told something by a member that only decides.

use std::sync::Arc;
use std::time::Duration;

use server_core::words::Seed;
use tokio::runtime::Builder;

use super::{Command, ControlError, Told, person, tell};
use crate::config::{Config, Ledger as Kind};
use crate::crl::Publisher;
use crate::ledger::{Broker, Committed, Group, Ledger, Pair, Store, read_bucket};
use crate::site::Site;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The ledger as it stands.
pub(super) fn read(config: &Config) -> Result<Store, ControlError> {
    if let Kind::Embedded = config.ledger {
        return Ok(Store::open(&config.state_dir)?);
    }
    let (_, broker) = broker(config)?;
    run(config, async {
        let read = read_bucket(&broker).await;
        read.map_err(|error| failed(config, &error))
    })
}

/// What is this service's alone: each member of a group keeps an audit log of its own, and
/// its replica knows how far that goes.
pub(super) fn own(config: &Config) -> Result<Store, ControlError> {
    Ok(match config.ledger {
        Kind::Embedded => Store::open(&config.state_dir)?,
        Kind::Shared(_) => Store::open_replica(&config.state_dir)?,
    })
}

/// Does what an operator tells.
pub(super) fn carry_out(config: &Config, command: &Command) -> Result<Told, ControlError> {
    match config.ledger {
        Kind::Embedded => {
            // Opened once for reading, which never makes a ledger that is not there.
            drop(own(config)?);
            let dir = &config.state_dir;
            let ledger = Ledger::open(dir, config.rules(), |_: &[Committed]| {})?;
            let publisher = publisher(config, command, &ledger)?;
            run(config, async {
                let by = person::here();
                let told = tell::carry_out(&ledger, command.clone(), by, None, publisher);
                Ok(told.await?)
            })
        }
        Kind::Shared(_) => {
            let (site, broker) = broker(config)?;
            run(config, in_bucket(config, &site, &broker, command))
        }
    }
}

/// Who makes lists of revoked certificates; only where that is told is all of the configuration
/// needed.
fn publisher(
    config: &Config,
    command: &Command,
    ledger: &Ledger,
) -> Result<Option<Arc<Publisher>>, ControlError> {
    match command {
        Command::List => {
            let site = Site::load(config.clone())?;
            Ok(Publisher::of(&site, ledger).map(Arc::new))
        }
        _ => Ok(None),
    }
}

/// The same as a member of the group for that moment.
async fn in_bucket(
    config: &Config,
    site: &Site,
    broker: &Broker,
    command: &Command,
) -> Result<Told, ControlError> {
    let seed = Seed::from_os();
    let me = Group::member("operator", seed);
    let client = broker.connect().await;
    let client = client.map_err(|error| failed(config, &error))?;
    let bucket = broker.open(&client, false).await;
    let bucket = bucket.map_err(|error| failed(config, &error))?;
    let (dir, rules) = (&config.state_dir, config.rules());
    let (ledger, joining) = Ledger::shared(dir, &me, Pair::of(site), rules)?;
    // It enrols nobody, and so no node is left to it.
    let joined = joining.join(bucket, || false, |_: &[Committed]| {}, seed);
    joined.await?;
    let publisher = Publisher::of(site, &ledger).map(Arc::new);
    let told = tell::carry_out(&ledger, command.clone(), person::here(), None, publisher).await;
    let group = ledger.group().map(Arc::clone);
    drop(ledger);
    if let Some(group) = group {
        group.left().await;
    }
    Ok(told?)
}

fn broker(config: &Config) -> Result<(Site, Broker), ControlError> {
    let site = Site::load(config.clone()).map_err(|mistakes| failed(config, &mistakes))?;
    let broker = site.bucket("provisioner");
    let broker = broker.ok_or_else(|| failed(config, &"its ledger is not shared"))?;
    Ok((site, broker))
}

fn run<T>(
    config: &Config,
    work: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    // A thread of its own drives what the ledger's thread waits for.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(ControlError::Runtime)?;
    let done = runtime.block_on(async { tokio::time::timeout(LIMIT, work).await });
    runtime.shutdown_background();
    done.map_err(|_| failed(config, &format!("its ledger took longer than {LIMIT:?}")))?
}

fn failed(config: &Config, says: &dyn std::fmt::Display) -> ControlError {
    ControlError::Bucket {
        state_dir: config.state_dir.clone(),
        says: says.to_string(),
    }
}
