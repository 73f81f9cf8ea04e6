//! Brokers whose `JetStream` is used: by the shared ledger, the stream of events, the election.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, ConnectOptions, ServerAddr};
use rustls::ClientConfig;
use server_core::bus::nats;
use server_core::trust::jwt::Credential;
use server_core::words::causes;

use crate::secret::Secret;
use crate::site::Attachment;

/// How long the broker may take to acknowledge one write.
pub(crate) const ACKNOWLEDGED: Duration = Duration::from_secs(2);
/// Writes under way at most; beyond it a writer waits.
pub(crate) const IN_FLIGHT: usize = 2_048;
/// Longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Messages of a subscription that may wait to be read.
const WAITING: usize = 65_536;

/// The brokers, and how they are spoken to.
#[derive(Clone, Debug)]
pub struct Access {
    /// Broker URLs.
    pub servers: Vec<String>,
    /// Transport security.
    pub tls: Option<Arc<ClientConfig>>,
    /// NATS user.
    pub user: Option<String>,
    /// NATS password.
    pub password: Option<Secret>,
    /// The service's token, where it has one.
    pub credential: Option<Arc<Credential>>,
    /// What the subjects of answers begin with; the client library's own where there is none.
    pub inbox: Option<String>,
    /// The name of the connection.
    pub name: String,
}

/// No connection can be made, however long it is waited for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    /// An address that is none.
    #[error("{server:?} is no broker address: {says}")]
    Address {
        /// The address.
        server: String,
        /// Why.
        says: String,
    },
    /// What the client library refuses.
    #[error("{0}")]
    Refused(String),
}

impl Access {
    /// The brokers of a network, or others that are spoken to as those are.
    pub(crate) fn of(network: &Attachment, others: &[String], name: String) -> Self {
        let servers = match others {
            [] => network.servers.clone(),
            others => others.to_vec(),
        };
        Self {
            servers,
            tls: network.tls.clone(),
            user: network.user.clone(),
            password: network.password.clone(),
            credential: network.credential.clone(),
            inbox: network.inbox.clone(),
            name,
        }
    }

    /// A connection that is made, and made again, in the background.
    ///
    /// # Errors
    /// An address that is none.
    pub async fn connect(&self) -> Result<Client, AccessError> {
        let parse = |server: &String| -> Result<ServerAddr, AccessError> {
            server
                .parse()
                .map_err(|error: std::io::Error| AccessError::Address {
                    server: server.clone(),
                    says: error.to_string(),
                })
        };
        let servers = self
            .servers
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        let password = self.password.as_ref().map(|p| p.reveal().to_owned());
        let base = match &self.credential {
            Some(credential) => nats::proven(credential, self.user.clone(), password.clone()),
            None => ConnectOptions::new(),
        };
        let mut options = base
            .name(&self.name)
            .retry_on_initial_connect()
            .ignore_discovered_servers()
            .subscription_capacity(WAITING)
            .client_capacity(IN_FLIGHT)
            .connection_timeout(Duration::from_secs(5))
            .ping_interval(Duration::from_secs(5))
            .reconnect_delay_callback(|attempt| {
                let doublings = u32::try_from(attempt).unwrap_or(u32::MAX).min(8);
                (Duration::from_millis(25) * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
            });
        if let Some(tls) = &self.tls {
            options = options.tls_client_config(tls.as_ref().clone());
            options = options.require_tls(true);
        }
        if let (Some(user), Some(password), None) = (&self.user, password, &self.credential) {
            options = options.user_and_password(user.clone(), password);
        }
        if let Some(inbox) = &self.inbox {
            options = options.custom_inbox_prefix(inbox);
        }
        let connected = options.connect(servers).await;
        connected.map_err(|error| AccessError::Refused(causes(&error)))
    }
}

/// `JetStream` of a connection; `api` is the prefix of its API where that is imported from another
/// account, as a Choria broker does for its provisioning account (`choria.streams`).
pub(crate) fn context(client: Client, api: Option<&str>, patience: Duration) -> Context {
    let builder = ContextBuilder::new()
        .timeout(patience)
        .ack_timeout(patience)
        .max_ack_inflight(IN_FLIGHT);
    match api {
        Some(prefix) => builder.api_prefix(prefix).build(client),
        None => builder.build(client),
    }
}

/// What went wrong, with what to do where the broker has no `JetStream`.
pub(crate) fn explain(error: &dyn std::error::Error) -> String {
    let mut says = causes(error);
    if says.contains("no responders") || says.contains("not enabled") {
        says.push_str(
            "; the broker must have JetStream: a `jetstream` block with a `store_dir` in its \
             configuration, and in the account of this connection",
        );
    }
    says
}
