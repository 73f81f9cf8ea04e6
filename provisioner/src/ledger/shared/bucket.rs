//! The bucket itself: thin I/O on `JetStream`, behind a trait so that races can be tested.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::{kv, stream::StorageType};
use async_nats::{Client, ConnectOptions, ServerAddr};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use rustls::ClientConfig;
use server_core::words::causes;
use tokio::sync::mpsc;

use crate::config::Secret;

/// Where an enrolment is.
const NODE: &str = "node.";
/// Whether the group is paused.
pub(super) const PAUSE: &str = "service.pause";
/// The number of the last list of revoked certificates.
pub(super) const LIST: &str = "service.revocation-list";
/// Where a member beats.
const MEMBER: &str = "member.";
/// How long the broker may take to acknowledge one write.
const ACKNOWLEDGED: Duration = Duration::from_secs(2);
/// Writes under way at most; beyond it a writer waits.
const IN_FLIGHT: usize = 2_048;
/// Between two tries to follow the bucket again.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Messages of a subscription that may wait to be read.
const WAITING: usize = 65_536;

/// Why the bucket cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BucketError {
    /// An address that is none.
    #[error("[ledger] servers: {server:?} is no broker address: {says}")]
    Address {
        /// The address.
        server: String,
        /// Why.
        says: String,
    },
    /// The bucket is not there, or not to be had.
    #[error("the bucket {bucket:?} of the shared ledger: {says}")]
    Bucket {
        /// Its name.
        bucket: String,
        /// Why.
        says: String,
    },
}

/// How the brokers that keep the bucket are reached.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Broker URLs.
    pub servers: Vec<String>,
    /// Transport security.
    pub tls: Option<Arc<ClientConfig>>,
    /// NATS user.
    pub user: Option<String>,
    /// NATS password.
    pub password: Option<Secret>,
    /// The name of the connection.
    pub name: String,
    /// The bucket.
    pub bucket: String,
    /// Copies of the bucket, where it has to be made.
    pub replicas: usize,
}

/// Why a write or read did not do what it was to do.
#[derive(Clone, Debug)]
pub(super) enum ShelfError {
    /// The key has another revision.
    Conflict,
    /// It may have happened or not.
    Unknown(String),
}

/// Keys with revisions.
#[async_trait]
pub(super) trait Shelf: Send + Sync {
    /// The value of a key and its revision.
    async fn read(&self, key: &str) -> Result<Option<(u64, Bytes)>, ShelfError>;
    /// Writes where the key has this revision still, 0 for a new key.
    async fn write(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, ShelfError>;
    /// Writes whatever is there.
    async fn put(&self, key: &str, value: Bytes) -> Result<(), ShelfError>;
    /// Removes a key.
    async fn remove(&self, key: &str) -> Result<(), ShelfError>;
}

/// What is heard of the bucket, in the order of its revisions.
#[derive(Debug)]
pub(super) enum News {
    /// An enrolment was written.
    Node {
        identity: String,
        revision: u64,
        value: Bytes,
    },
    /// A member beat.
    Beat { member: String, beat: Bytes },
    /// The group was told to pause or to resume.
    Pause { pause: Bytes },
    /// A member's key was removed.
    Left { member: String },
    /// Everything that was there at the beginning has been told.
    Current,
}

/// Where an enrolment lies.
pub(super) fn node_key(identity: &str) -> String {
    format!("{NODE}{identity}")
}

/// Where a member beats.
pub(super) fn member_key(member: &str) -> String {
    format!("{MEMBER}{member}")
}

/// The open bucket.
#[derive(Clone)]
pub struct JetStream {
    store: kv::Store,
    client: Client,
}

impl fmt::Debug for JetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStream").finish_non_exhaustive()
    }
}

impl Broker {
    /// A connection that is made, and made again, in the background.
    ///
    /// # Errors
    /// An address that is none.
    pub async fn connect(&self) -> Result<Client, BucketError> {
        let parse = |server: &String| -> Result<ServerAddr, BucketError> {
            server
                .parse()
                .map_err(|error: std::io::Error| BucketError::Address {
                    server: server.clone(),
                    says: error.to_string(),
                })
        };
        let servers = self
            .servers
            .iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        let mut options = ConnectOptions::new()
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
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            options = options.user_and_password(user.clone(), password.reveal().to_owned());
        }
        let connected = options.connect(servers).await;
        connected.map_err(|error| self.failed(&error))
    }

    /// Opens the bucket, making it when it is not there and `make` says so.
    ///
    /// # Errors
    /// The broker cannot be reached, has no `JetStream`, or refuses the bucket.
    pub async fn open(&self, client: &Client, make: bool) -> Result<JetStream, BucketError> {
        let context = ContextBuilder::new()
            .timeout(ACKNOWLEDGED)
            .ack_timeout(ACKNOWLEDGED)
            .max_ack_inflight(IN_FLIGHT)
            .build(client.clone());
        let opened = match context.get_key_value(&self.bucket).await {
            Err(_) if make => {
                let config = kv::Config {
                    bucket: self.bucket.clone(),
                    description: "enrolments, shared by provisioners".to_owned(),
                    history: 1,
                    storage: StorageType::File,
                    num_replicas: self.replicas,
                    ..kv::Config::default()
                };
                let made = context.create_key_value(config).await;
                made.map_err(|error| self.failed(&error))?
            }
            opened => opened.map_err(|error| self.failed(&error))?,
        };
        Ok(JetStream {
            store: opened,
            client: client.clone(),
        })
    }

    fn failed(&self, error: &dyn std::error::Error) -> BucketError {
        let mut says = causes(error);
        if says.contains("no responders") || says.contains("not enabled") {
            says.push_str(
                "; the broker must have JetStream: a `jetstream` block with a `store_dir` in its \
                 configuration, and in the account of this connection",
            );
        }
        BucketError::Bucket {
            bucket: self.bucket.clone(),
            says,
        }
    }
}

fn unknown(error: &dyn std::error::Error) -> ShelfError {
    ShelfError::Unknown(causes(error))
}

#[async_trait]
impl Shelf for JetStream {
    async fn read(&self, key: &str) -> Result<Option<(u64, Bytes)>, ShelfError> {
        // Of the leader, and so never older than a write that was refused.
        let subject = format!("{}{key}", self.store.prefix);
        let found = self
            .store
            .stream
            .get_last_raw_message_by_subject(&subject)
            .await;
        match found {
            Ok(message) => Ok(Some((message.sequence, message.payload))),
            Err(error) => match error.kind() {
                async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound => Ok(None),
                _ => Err(unknown(&error)),
            },
        }
    }

    async fn write(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, ShelfError> {
        let written = self.store.update(key, value, revision).await;
        written.map_err(|error| match error.kind() {
            kv::UpdateErrorKind::WrongLastRevision => ShelfError::Conflict,
            _ => unknown(&error),
        })
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<(), ShelfError> {
        let put = self.store.put(key, value).await;
        put.map(drop).map_err(|error| unknown(&error))
    }

    async fn remove(&self, key: &str) -> Result<(), ShelfError> {
        let removed = self.store.purge(key).await;
        removed.map_err(|error| unknown(&error))
    }
}

impl JetStream {
    /// Tells everything that is in the bucket and then everything that happens to it, until
    /// nobody listens.
    pub(super) async fn follow(self, news: mpsc::Sender<News>) {
        let (mut last, mut current) = (0, false);
        while !news.is_closed() {
            if let Err(says) = self.follow_once(&news, &mut last, &mut current).await {
                tracing::debug!(says, "the bucket is followed again");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow_once(
        &self,
        news: &mpsc::Sender<News>,
        last: &mut u64,
        current: &mut bool,
    ) -> Result<(), String> {
        let prefix = &self.store.prefix;
        let consumer = self.store.stream.create_consumer(push::OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            description: Some("a provisioner follows the shared ledger".to_owned()),
            filter_subjects: vec![
                format!("{prefix}{NODE}>"),
                format!("{prefix}{MEMBER}>"),
                format!("{prefix}{PAUSE}"),
            ],
            deliver_policy: match *last {
                0 => DeliverPolicy::LastPerSubject,
                last => DeliverPolicy::ByStartSequence {
                    start_sequence: last + 1,
                },
            },
            ..push::OrderedConfig::default()
        });
        let consumer = consumer.await.map_err(|error| causes(&error))?;
        let nothing = consumer.cached_info().num_pending == 0;
        let mut messages = consumer.messages().await.map_err(|error| causes(&error))?;
        if nothing && !*current {
            *current = true;
            let _ = news.send(News::Current).await;
        }
        loop {
            let next = tokio::select! {
                next = messages.next() => next,
                () = news.closed() => return Ok(()),
            };
            let Some(message) = next else {
                return Err("the stream of changes ended".to_owned());
            };
            let message = message.map_err(|error| causes(&error))?;
            let info = message.info().map_err(|error| error.to_string())?;
            let (sequence, pending) = (info.stream_sequence, info.pending);
            if let Some(told) = self.heard(sequence, &message) {
                let _ = news.send(told).await;
            }
            *last = sequence;
            if pending == 0 && !*current {
                *current = true;
                let _ = news.send(News::Current).await;
            }
        }
    }

    fn heard(&self, revision: u64, message: &async_nats::Message) -> Option<News> {
        let key = message.subject.strip_prefix(self.store.prefix.as_str())?;
        let headers = message.headers.as_ref();
        let removed = headers.is_some_and(|headers| headers.get("KV-Operation").is_some());
        if let Some(member) = key.strip_prefix(MEMBER) {
            let member = member.to_owned();
            let beat = message.payload.clone();
            return Some(match removed {
                true => News::Left { member },
                false => News::Beat { member, beat },
            });
        }
        if key == PAUSE {
            let pause = message.payload.clone();
            return Some(News::Pause { pause });
        }
        let identity = key.strip_prefix(NODE).filter(|_| !removed)?.to_owned();
        let value = message.payload.clone();
        Some(News::Node {
            identity,
            revision,
            value,
        })
    }
}
