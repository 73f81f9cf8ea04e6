//! Whether links between brokers stand, and whether they run where they are meant to.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::layout::Link;
use super::monitor::{Monitor, MonitorError, Peer};

/// How long relayed links may take to stand: at the start, and again once a fault lets go of them.
pub const TIED_WITHIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// One end of a relayed link, as its broker sees it.
#[derive(Clone, Debug)]
pub struct Tie {
    /// The broker.
    pub broker: String,
    /// The broker at the other end.
    pub peer: String,
    /// Its monitoring endpoint.
    pub monitor: Monitor,
    /// What it must be connected to.
    pub link: Link,
    /// The ports it may have dialled for that, where it is the one that dials.
    pub through: Option<Vec<u16>>,
}

/// A relayed link is not as it should be.
#[derive(Debug, Error)]
pub enum TieError {
    /// It does not stand.
    #[error("broker {broker}: {link} did not stand after {} s", TIED_WITHIN.as_secs())]
    Missing {
        /// The broker.
        broker: String,
        /// The link.
        link: Link,
    },
    /// It runs past its relay, so that faults would not reach it.
    #[error("broker {broker}: {link} runs over port {port}, past the relay that is to carry it")]
    Past {
        /// The broker.
        broker: String,
        /// The link.
        link: Link,
        /// Where it was dialled.
        port: u16,
    },
}

/// The connections of a broker for one link: none when it does not stand.
///
/// # Errors
/// When the broker does not answer.
pub async fn connections(monitor: &Monitor, link: &Link) -> Result<Vec<Peer>, MonitorError> {
    let (all, names) = match link {
        Link::Route(to) => (monitor.routes().await?, std::slice::from_ref(to)),
        Link::Hub(hubs) => (monitor.leaf_links().await?, hubs.as_slice()),
        Link::Gateway(to) => (monitor.gateways().await?, std::slice::from_ref(to)),
    };
    let mut all = all;
    all.retain(|peer| names.contains(&peer.name));
    Ok(all)
}

impl Tie {
    async fn check(&self) -> Result<(), TieError> {
        let (broker, link) = (self.broker.clone(), self.link.clone());
        // One that does not answer has no link either.
        let peers = connections(&self.monitor, &link).await.unwrap_or_default();
        if peers.is_empty() {
            return Err(TieError::Missing { broker, link });
        }
        let elsewhere = |peer: &&Peer| {
            let through = self.through.as_ref();
            through.is_some_and(|ports| !ports.contains(&peer.port))
        };
        match peers.iter().find(elsewhere) {
            Some(Peer { port, .. }) => Err(TieError::Past {
                broker,
                link,
                port: *port,
            }),
            None => Ok(()),
        }
    }
}

/// Waits until every link stands and runs through its relay; those that are not `wanted` (now) are
/// left out.
///
/// # Errors
/// The first that is not as it should be after [`TIED_WITHIN`].
pub async fn wait_tied(ties: &[Tie], wanted: impl Fn(&Tie) -> bool) -> Result<(), TieError> {
    let deadline = Instant::now() + TIED_WITHIN;
    for tie in ties {
        while wanted(tie) {
            match tie.check().await {
                Ok(()) => break,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }
    Ok(())
}
