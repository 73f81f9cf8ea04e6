//! One connection a network, made for ever with bounded delays.

use std::sync::Arc;

use server_core::bus::{Dial, DialProgress, DialStep, Reconnect};
use server_core::client::{Client, ClientConfig, Connection};
use server_core::trust::RequestSigner;

use super::{Outside, ServiceError};
use crate::ready::{Part, Readiness};
use crate::site::Site;

/// The two connections.
pub(super) struct Clients {
    pub(super) provisioning: Client,
    pub(super) production: Client,
}

/// Connects to both networks at once.
pub(super) async fn both(
    site: &Site,
    outside: &Outside,
    ready: &Arc<Readiness>,
) -> Result<Clients, ServiceError> {
    let (unprovisioned, enrolled) = (site.provisioning_signer(), Arc::clone(&site.signer));
    let provisioning = one(site, outside, ready, Part::Provisioning, unprovisioned);
    let production = one(site, outside, ready, Part::Production, enrolled);
    let (provisioning, production) = tokio::try_join!(provisioning, production)?;
    Ok(Clients {
        provisioning,
        production,
    })
}

async fn one(
    site: &Site,
    outside: &Outside,
    ready: &Arc<Readiness>,
    part: Part,
    signer: Arc<dyn RequestSigner>,
) -> Result<Client, ServiceError> {
    let to = match part {
        Part::Production => &site.production,
        _ => &site.provisioning,
    };
    let mut dial = Dial::new(to.servers.clone(), site.identity.to_string());
    dial.tls.clone_from(&to.tls);
    dial.user.clone_from(&to.user);
    dial.password = to.password.as_ref().map(|p| p.reveal().to_owned());
    dial.credential.clone_from(&to.credential);
    dial.reconnect = Reconnect::choria(outside.seed.0);
    dial.progress = Some(Arc::new(Progress {
        ready: Arc::clone(ready),
        part,
    }));
    let mut config = ClientConfig::new(to.collective.clone(), site.identity.clone(), signer);
    config.clock = Arc::clone(&outside.clock);
    let client = Client::connect(outside.dialer.as_ref(), dial, config).await;
    let client = client.map_err(|source| ServiceError::Network {
        network: name(part),
        source,
    })?;
    ready.met(part);
    tracing::info!(network = name(part), servers = ?to.servers, "connected");
    Ok(client)
}

/// Keeps readiness true to the connections.
pub(super) async fn watch(clients: &Clients, ready: &Readiness) {
    tokio::join!(
        watch_one(&clients.provisioning, ready, Part::Provisioning),
        watch_one(&clients.production, ready, Part::Production),
    );
}

async fn watch_one(client: &Client, ready: &Readiness, part: Part) {
    let mut connection = client.connection();
    loop {
        match &*connection.borrow_and_update() {
            Connection::Up { server, .. } => {
                if ready.met(part) {
                    tracing::info!(network = name(part), server, "connected again");
                }
            }
            Connection::Down => {
                if ready.missed(part, "the connection was lost") {
                    tracing::warn!(network = name(part), "the connection was lost");
                }
            }
            Connection::Closed => {
                ready.missed(part, "the connection is over");
            }
        }
        if connection.changed().await.is_err() {
            // Whoever reads the connection's events ends the service.
            return std::future::pending().await;
        }
    }
}

const fn name(part: Part) -> &'static str {
    match part {
        Part::Production => "production",
        _ => "provisioning",
    }
}

/// Says why a network is not there yet, once for each reason.
struct Progress {
    ready: Arc<Readiness>,
    part: Part,
}

impl DialProgress for Progress {
    fn step(&self, step: DialStep<'_>) {
        if let DialStep::Failed(error) = step
            && self.ready.missed(self.part, error.to_string())
        {
            tracing::warn!(network = name(self.part), %error, "not connected");
        }
    }
}
