//! The sweep: who is there? Asked at intervals, and soon after anything may have been missed.

use std::convert::Infallible;
use std::time::Duration;

use server_core::client::{Connection, Discovery};
use server_core::wire::Filter;

use super::{Sources, one_is_gone};
use crate::ledger::Source;
use crate::pipeline::arrive::Arrival;
use crate::service::ServiceError;

/// Longest a sweep may take while answers keep coming.
const LONGEST_SWEEP: Duration = Duration::from_secs(60);
/// A sweep is put off while so many nodes wait for their turn, so often at most.
const CROWD: usize = 2_000;
const PUT_OFF: usize = 5;
/// Sweeps after a gap in what was heard, each this much later than the one before: nodes that lost
/// their connection at the same time come back over half a minute.
const AFTER_GAP: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

impl Sources {
    /// Asks who is there, at start and at intervals; less often while a crowd waits, and soon
    /// after the connection was lost, as what nodes said meanwhile was heard by nobody.
    pub(in crate::service) async fn sweep(&self) -> Result<Infallible, ServiceError> {
        let sweep = self.context.site.config.sweep;
        let mut gone = self.context.ledger.group().map(|group| group.gone());
        let mut connection = self.context.provisioning.client().connection();
        connection.mark_unchanged();
        // A service that goes on after a kill may have been away when nodes announced themselves.
        let mut soon = AFTER_GAP.iter();
        if self.knows_nobody() {
            soon = [].iter();
        }
        loop {
            self.context.holds.lead().await;
            let until = Discovery::Window {
                first: sweep.window,
                gap: sweep.window,
                max: LONGEST_SWEEP,
            };
            let client = self.context.provisioning.client();
            match client.discover(Filter::empty(), None, until).await {
                Ok(found) => {
                    let (nodes, complete) = (found.nodes.len(), found.complete());
                    tracing::info!(nodes, complete, "sweep");
                    for identity in found.nodes {
                        let at = self.context.now();
                        let arrival = Arrival {
                            identity,
                            source: Source::Sweep,
                            at,
                            version: None,
                        };
                        self.arrive(arrival).await?;
                    }
                }
                Err(error) => tracing::warn!(%error, "the sweep could not be made"),
            }
            let pause = soon
                .next()
                .map_or(sweep.interval, |soon| sweep.interval.min(*soon));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = is_back(&mut connection) => {
                    soon = AFTER_GAP.iter();
                    continue;
                }
                // What it heard and nobody else did is heard again.
                () = one_is_gone(&mut gone) => {}
            }
            // Every node that waits would answer, in the middle of the work, only to be known already.
            for _ in 0..PUT_OFF {
                let crowd = self.context.with_queue(|queue| queue.waiting()) >= CROWD;
                // A crowd that does not answer is made up: the sweep finds who is really there.
                if !crowd || !self.context.gate.with(|figures| figures.is_believable()) {
                    break;
                }
                tokio::time::sleep(sweep.interval).await;
            }
        }
    }

    /// Whether the ledger is empty.
    fn knows_nobody(&self) -> bool {
        let mut nobody = true;
        let seen = self.context.ledger.store().each(|_, _| {
            nobody = false;
            false
        });
        seen.is_ok() && nobody
    }
}

/// Returns when a lost connection is there again.
async fn is_back(connection: &mut tokio::sync::watch::Receiver<Connection>) {
    let up = |state: &Connection| matches!(state, Connection::Up { .. });
    if connection.changed().await.is_err() || connection.wait_for(up).await.is_err() {
        std::future::pending().await
    }
}
