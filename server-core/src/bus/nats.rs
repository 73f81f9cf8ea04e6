//! Links over real NATS brokers, by the brokers' own client library.
//!
//! What is ours is the policy around it: every attempt, the first and any reconnect, is chosen, delayed,
//! bounded and counted here; and the buffers are sized for a process with thousands of connections.

mod attempts;
mod inbound;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{
    Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, PublishErrorKind, ServerAddr,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use super::{
    Bus, BusError, BusStats, Dial, DialLimit, DialStep, Dialer, Inbound, Link, SubscriptionId,
    is_subscribable,
};
use crate::trust::jwt::Credential;
use crate::words::causes;
use crate::words::subject::is_publishable;
use attempts::Attempts;
pub(super) use attempts::redact;
use inbound::{NatsInbound, Subscriptions};

/// Commands that may wait for the connection task; a full queue slows the sender down.
const SEND_QUEUE: usize = 64;
/// Initial read buffer of a connection; it grows with the messages.
const READ_BUFFER: u16 = 2048;
/// A queue towards the broker that is full for this long means a dead connection.
const STALL: Duration = Duration::from_secs(10);
/// How long a closing connection waits for the broker to have read its last messages.
const LAST_ROUND: Duration = Duration::from_secs(2);

/// Dials NATS brokers; shared by every connection of a process, bounded by its [`DialLimit`].
///
/// The client library reads the platform's root certificates at each TLS handshake even though it is
/// given a complete configuration. A process that opens thousands of connections should run with
/// `SSL_CERT_FILE` naming an empty file.
#[derive(Clone, Default)]
pub struct NatsDialer {
    limit: DialLimit,
}

impl NatsDialer {
    /// A dialer whose connections share `limit`.
    #[must_use]
    pub fn new(limit: DialLimit) -> Self {
        Self { limit }
    }
}

#[async_trait]
impl Dialer for NatsDialer {
    async fn dial(&self, dial: Dial) -> Result<Link, BusError> {
        let servers = addresses(&dial)?;
        let subscriptions = Arc::new(Subscriptions::default());
        let attempts = Attempts::new(&dial, self.limit.clone());
        let (changes, changed) = tokio::sync::mpsc::channel(8);
        let mut failed = 0u32;
        let client = loop {
            let options = options(&dial, &attempts, &subscriptions, changes.clone());
            match options.connect(servers.as_slice()).await {
                Ok(client) => break client,
                Err(error) => {
                    let error = attempts.failed(&error);
                    dial.report(DialStep::Failed(&error));
                    failed = failed.saturating_add(1);
                    if dial.give_up_after.is_some_and(|limit| failed >= limit) {
                        return Err(BusError::GaveUp {
                            attempts: failed,
                            last: Box::new(error),
                        });
                    }
                }
            }
        };
        attempts.connected();
        let inbound = Inbound::new(NatsInbound::new(Arc::clone(&subscriptions), changed));
        let bus = NatsBus {
            client,
            attempts,
            subscriptions,
            next: AtomicU64::new(1),
        };
        for subject in &dial.subscriptions {
            bus.subscribe(subject, None).await?;
        }
        Ok(Link {
            inbound,
            bus: Arc::new(bus),
        })
    }
}

/// Parses the configured addresses and refuses what could never connect.
pub(super) fn addresses(dial: &Dial) -> Result<Vec<ServerAddr>, BusError> {
    let refuse = |server: &str, why: &str| BusError::Address {
        server: server.to_owned(),
        why: why.to_owned(),
    };
    if dial.servers.is_empty() {
        return Err(refuse("", "no broker is configured"));
    }
    dial.servers
        .iter()
        .map(|server| {
            let parsed: ServerAddr = server
                .parse()
                .map_err(|error: std::io::Error| refuse(server, &error.to_string()))?;
            match (parsed.scheme(), &dial.tls) {
                ("tls", None) => Err(BusError::Tls {
                    server: server.clone(),
                    why: "the address asks for TLS and no TLS settings are given".to_owned(),
                }),
                ("tls" | "nats", _) if parsed.host().is_empty() => {
                    Err(refuse(server, "it names no host"))
                }
                ("tls" | "nats", _) => Ok(parsed),
                (other, _) => Err(refuse(
                    server,
                    &format!("the scheme {other} is neither tls nor nats"),
                )),
            }
        })
        .collect()
}

fn options(
    dial: &Dial,
    attempts: &Arc<Attempts>,
    subscriptions: &Arc<Subscriptions>,
    changes: tokio::sync::mpsc::Sender<inbound::Change>,
) -> ConnectOptions {
    let base = match &dial.credential {
        Some(credential) => proven(credential, dial.user.clone(), dial.password.clone()),
        None => ConnectOptions::new(),
    };
    let mut options = base
        .name(&dial.name)
        .connection_timeout(dial.connect_timeout)
        .subscription_capacity(dial.capacity.max(1))
        .client_capacity(SEND_QUEUE)
        .read_buffer_capacity(READ_BUFFER)
        .ping_interval(Duration::from_secs(120))
        .ignore_discovered_servers()
        .max_reconnects(dial.give_up_after.map(|limit| limit as usize))
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback({
            let (attempts, subscriptions) = (Arc::clone(attempts), Arc::clone(subscriptions));
            move |event| {
                let (attempts, subscriptions) = (Arc::clone(&attempts), Arc::clone(&subscriptions));
                let changes = changes.clone();
                async move { inbound::on_event(event, &attempts, &subscriptions, &changes).await }
            }
        })
        .reconnect_to_server_callback({
            let attempts = Arc::clone(attempts);
            move |pool, _| {
                let attempts = Arc::clone(&attempts);
                async move { attempts.next(&pool).await }
            }
        });
    if let Some(tls) = &dial.tls {
        options = options
            .tls_client_config(tls.as_ref().clone())
            .require_tls(true);
    }
    if dial.credential.is_some() {
        return options;
    }
    if let (Some(user), Some(password)) = (&dial.user, &dial.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &dial.token {
        options = options.token(token.clone());
    }
    options
}

/// Options that show a token of an organization at every connection: the broker reads it as the
/// authentication token and takes the signature over its nonce for proof. User and password go along.
#[must_use]
pub fn proven(
    credential: &Arc<Credential>,
    user: Option<String>,
    password: Option<String>,
) -> ConnectOptions {
    let credential = Arc::clone(credential);
    ConnectOptions::with_auth_callback(move |nonce| {
        let signature = credential.sign(&nonce);
        let mut auth = Auth::new();
        auth.token = Some(credential.token().to_owned());
        auth.jwt.clone_from(&auth.token);
        (auth.username, auth.password) = (user.clone(), password.clone());
        async move {
            auth.signature = Some(signature.map_err(AuthError::new)?);
            Ok(auth)
        }
    })
}

struct NatsBus {
    client: Client,
    attempts: Arc<Attempts>,
    subscriptions: Arc<Subscriptions>,
    next: AtomicU64,
}

impl NatsBus {
    fn alive(&self) -> Result<(), BusError> {
        if self.subscriptions.is_closed() {
            return Err(BusError::Closed);
        }
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Disconnected | State::Pending => Err(BusError::Disconnected),
        }
    }

    /// Returns when the broker has read everything published before.
    ///
    /// The library's own flush ends when all is written, and a socket closed with something unread is
    /// reset: what the broker had not read by then would be lost.
    async fn round(&self) -> Option<()> {
        let inbox = self.client.new_inbox();
        let mut echo = self.client.subscribe(inbox.clone()).await.ok()?;
        self.client.publish(inbox, Bytes::new()).await.ok()?;
        echo.next().await.map(drop)
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        if !is_publishable(subject) {
            return Err(BusError::Subject(subject.to_owned()));
        }
        self.alive()?;
        let size = payload.len();
        let sent = self.client.publish(subject.to_owned(), payload);
        match tokio::time::timeout(STALL, sent).await {
            Err(_) => Err(BusError::Stalled(STALL)),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => BusError::TooLarge {
                    size,
                    limit: self.client.max_payload(),
                },
                PublishErrorKind::InvalidSubject => BusError::Subject(subject.to_owned()),
                PublishErrorKind::Send => BusError::Closed,
            }),
        }
    }

    async fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<SubscriptionId, BusError> {
        if !is_subscribable(subject) {
            return Err(BusError::Subject(subject.to_owned()));
        }
        if self.subscriptions.is_closed() {
            return Err(BusError::Closed);
        }
        let subscriber = match queue {
            None => self.client.subscribe(subject.to_owned()).await,
            Some(queue) => {
                let queue = queue.to_owned();
                self.client.queue_subscribe(subject.to_owned(), queue).await
            }
        }
        .map_err(|_| BusError::Closed)?;
        let id = SubscriptionId(self.next.fetch_add(1, Ordering::Relaxed));
        self.subscriptions.add(id, subscriber);
        Ok(id)
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        self.subscriptions.remove(id);
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.alive()?;
        match tokio::time::timeout(STALL, self.client.flush()).await {
            Err(_) => Err(BusError::Stalled(STALL)),
            Ok(flushed) => flushed.map_err(|_| BusError::Closed),
        }
    }

    async fn close(&self) {
        let connected = self.client.connection_state() == State::Connected;
        self.attempts.close();
        if !connected {
            return self.subscriptions.abandon();
        }
        self.subscriptions.close();
        // A broker that forbids the round trip leaves it unanswered; the queue is then at least written.
        let _ = tokio::time::timeout(LAST_ROUND, self.round()).await;
        if tokio::time::timeout(STALL, self.client.drain())
            .await
            .is_err()
        {
            self.subscriptions.abandon();
        }
    }

    fn server(&self) -> String {
        match self.client.connection_state() {
            State::Connected => self.attempts.server(),
            State::Disconnected | State::Pending => "unknown".to_owned(),
        }
    }

    fn stats(&self) -> BusStats {
        let counted = self.client.statistics();
        BusStats {
            in_msgs: counted.in_messages.load(Ordering::Relaxed),
            out_msgs: counted.out_messages.load(Ordering::Relaxed),
            in_bytes: counted.in_bytes.load(Ordering::Relaxed),
            out_bytes: counted.out_bytes.load(Ordering::Relaxed),
            reconnects: counted.connects.load(Ordering::Relaxed).saturating_sub(1),
            attempts: self.attempts.made(),
            dropped: self.subscriptions.dropped(),
        }
    }
}

/// Sorts the library's reasons into those an operator can act on.
fn explain(server: &str, error: &async_nats::ConnectError) -> BusError {
    let (server, why) = (server.to_owned(), causes(error));
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            BusError::Refused { server, why }
        }
        ConnectErrorKind::Tls => BusError::Tls { server, why },
        ConnectErrorKind::ServerParse => BusError::Address { server, why },
        // A certificate the broker or we refuse surfaces as an I/O error of the handshake.
        _ if why.contains("certificate") || why.contains("alert") => BusError::Tls { server, why },
        _ => BusError::Unreachable { server, why },
    }
}
