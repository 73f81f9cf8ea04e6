//! The bucket itself: thin I/O on `JetStream`, behind a trait so that races can be tested.

use std::fmt;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::{kv, stream::StorageType};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use server_core::words::causes;
use tokio::sync::mpsc;

use super::roll::BEAT;
use crate::jetstream::{self, ACKNOWLEDGED, Access, AccessError};

/// Where an enrolment is.
const NODE: &str = "node.";
/// Whether the group is paused.
pub(super) const PAUSE: &str = "service.pause";
/// The number of the last list of revoked certificates.
pub(super) const LIST: &str = "service.revocation-list";
/// Where a member beats.
const MEMBER: &str = "member.";
/// Between two tries to follow the bucket again.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest time nothing is heard of the bucket while it is followed. A member hears its own beats too, so
/// silence is that of a consumer which a broker has forgotten, perhaps with its leader.
const SILENCE: Duration = BEAT.saturating_mul(8);

/// Why the bucket cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BucketError {
    /// Its brokers.
    #[error("[ledger] servers: {0}")]
    Access(#[from] AccessError),
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
    /// The brokers.
    pub access: Access,
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
    /// Leaves no trace of a key, unless it was written after this revision.
    async fn erase(&self, key: &str, revision: u64) -> Result<(), ShelfError>;
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
        Ok(self.access.connect().await?)
    }

    /// Opens the bucket, making it when it is not there and `make` says so.
    ///
    /// # Errors
    /// The broker cannot be reached, has no `JetStream`, or refuses the bucket.
    pub async fn open(&self, client: &Client, make: bool) -> Result<JetStream, BucketError> {
        let context = jetstream::context(client.clone(), None, ACKNOWLEDGED);
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
        BucketError::Bucket {
            bucket: self.bucket.clone(),
            says: jetstream::explain(error),
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

    async fn erase(&self, key: &str, revision: u64) -> Result<(), ShelfError> {
        let subject = format!("{}{key}", self.store.prefix);
        let purge = self.store.stream.purge();
        let erased = purge.sequence(revision + 1).filter(subject).await;
        erased.map(drop).map_err(|error| unknown(&error))
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
                next = tokio::time::timeout(SILENCE, messages.next()) => next,
                () = news.closed() => return Ok(()),
            };
            let next = next.map_err(|_| "nothing was heard for too long".to_owned())?;
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
