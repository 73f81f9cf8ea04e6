//! The key of an election in its bucket.

use std::time::Duration;

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::Stream;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;

use crate::config::Election;
use crate::jetstream;

/// How long an answer of the bucket is waited for at most.
const PATIENCE: Duration = Duration::from_secs(2);

/// The header that marks a removed key.
const OPERATION: &str = "KV-Operation";

/// Why the key is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SeatError {
    /// Another has it, by this name where it was seen.
    Held(Option<String>),
    /// The bucket did not answer, or in an unknown way.
    Unknown(String),
}

/// The key, as one member writes it.
#[derive(Debug)]
pub(super) struct Seat {
    context: Context,
    stream: Stream,
    ttl: Duration,
    /// The key's subject, as it is stored and as it is published to.
    stored: String,
    subject: String,
    me: String,
}

/// How long one attempt may take: an unanswered one must not outlast the key.
pub(super) fn patience(ttl: Duration) -> Duration {
    PATIENCE.min(ttl / 3)
}

impl Seat {
    /// Finds the bucket. It is nobody's to make but the operator's: its time to live is everybody's.
    pub(super) async fn find(
        client: &Client,
        settings: &Election,
        me: &str,
    ) -> Result<Self, String> {
        let api = settings.api.as_deref();
        let context = jetstream::context(client.clone(), api, PATIENCE);
        let name = format!("KV_{}", settings.bucket);
        let stream = context.get_stream(&name).await.map_err(|error| {
            format!(
                "the bucket {} cannot be had: {}",
                settings.bucket,
                jetstream::explain(&error)
            )
        })?;
        let ttl = stream.cached_info().config.max_age;
        let stored = format!("$KV.{}.{}", settings.bucket, settings.name);
        let subject = match api {
            Some(prefix) => format!("{prefix}.{stored}"),
            None => stored.clone(),
        };
        Ok(Self {
            context: jetstream::context(client.clone(), api, patience(ttl)),
            stream,
            ttl,
            stored,
            subject,
            me: me.to_owned(),
        })
    }

    /// How long the bucket remembers a key.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Writes the own name into the key if its sequence number is still this one, 0 for a key that
    /// is not there; returns the new one.
    pub(super) async fn claim(&self, revision: u64) -> Result<u64, SeatError> {
        let lost = match self.write(revision).await {
            Err(SeatError::Held(_)) => self.look().await,
            other => return other,
        };
        match lost {
            // Who removed the key, as tools for evictions do, left a mark in its place.
            Ok(Seen::Mark(mark)) if revision == 0 => self.write(mark).await,
            Ok(Seen::Name(name)) => Err(SeatError::Held(Some(name))),
            // Where only the key may be written, its holder stays unknown.
            Ok(_) | Err(_) => Err(SeatError::Held(None)),
        }
    }

    /// Removes what was written, as `KV` removes a key: with a mark in its place.
    pub(super) async fn leave(&self, revision: u64) {
        let mut headers = expecting(revision);
        headers.insert(OPERATION, "DEL");
        let left = self.publish(headers, Bytes::new());
        // Where this fails the bucket forgets the key before long.
        if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, left).await {
            tracing::info!("left the election");
        }
    }

    async fn write(&self, revision: u64) -> Result<u64, SeatError> {
        let name = Bytes::from(self.me.clone());
        self.publish(expecting(revision), name).await
    }

    async fn publish(&self, headers: HeaderMap, payload: Bytes) -> Result<u64, SeatError> {
        let unknown = |error: &dyn std::error::Error| SeatError::Unknown(jetstream::explain(error));
        let subject = self.subject.clone();
        let sent = self.context.publish_with_headers(subject, headers, payload);
        let sent = sent.await.map_err(|error| unknown(&error))?;
        match sent.await {
            Ok(written) => Ok(written.sequence),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Err(SeatError::Held(None))
            }
            Err(error) => Err(unknown(&error)),
        }
    }

    async fn look(&self) -> Result<Seen, SeatError> {
        let found = self
            .stream
            .get_last_raw_message_by_subject(&self.stored)
            .await;
        let found = found.map_err(|error| SeatError::Unknown(jetstream::explain(&error)))?;
        if found.headers.get(OPERATION).is_some() {
            return Ok(Seen::Mark(found.sequence));
        }
        let name = String::from_utf8_lossy(&found.payload);
        Ok(Seen::Name(name.chars().take(256).collect()))
    }
}

/// Says which sequence number the key must have.
fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let revision = revision.to_string();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.as_str());
    headers
}

/// What stands in the key.
enum Seen {
    /// A name.
    Name(String),
    /// That it was removed.
    Mark(u64),
}
