//! The task that tells: reads the log, publishes, waits for acknowledgements, remembers how far.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::jetstream::{Context, stream};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use server_core::words::{Backoff, Seed};

use super::{CloudEvent, place};
use crate::audit::{self, Follower, Line};
use crate::config::Events;
use crate::jetstream::{self, ACKNOWLEDGED, Access};
use crate::metrics::Metrics;
use crate::site::Site;

/// Between two looks at whether there is something to tell.
const LOOK: Duration = Duration::from_millis(500);
/// Lines told at once.
const AT_ONCE: usize = 256;
/// Pauses after what failed.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
/// How long the stream remembers what it was told, to drop it when told again.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How far the telling is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// The last line of the audit log that was told.
    pub told: u64,
    /// Why it does not go on.
    pub trouble: Option<String>,
}

/// Tells the stream what the log holds.
pub(crate) struct Teller {
    settings: Events,
    access: Access,
    state_dir: PathBuf,
    service: String,
    telling: Arc<Mutex<Telling>>,
}

impl Teller {
    /// The teller this site is configured to have, if any.
    pub(crate) fn of(site: &Site) -> Option<Self> {
        let settings = site.config.events.clone()?;
        let service = site.identity.to_string();
        Some(Self {
            access: Access::of(
                &site.production,
                &settings.servers,
                format!("{service} events"),
            ),
            settings,
            state_dir: site.config.state_dir.clone(),
            service,
            telling: Arc::default(),
        })
    }

    /// How far it is, for whoever asks.
    pub(crate) fn telling(&self) -> Arc<Mutex<Telling>> {
        Arc::clone(&self.telling)
    }

    /// Tells for ever. What fails is said once, and tried again.
    pub(crate) async fn tell(self, metrics: Metrics, seed: Seed) {
        let mut pauses = Backoff::custom(&PAUSES, seed);
        // One connection, which is made again by itself.
        let context = match self.access.connect().await {
            Ok(client) => jetstream::context(client, None, ACKNOWLEDGED),
            Err(error) => {
                let says = format!("[events] servers: {error}");
                tracing::error!("events are not told: {says}");
                self.trouble(&metrics, Some(says));
                return std::future::pending().await;
            }
        };
        loop {
            let Err(says) = self.tell_on(&context, &metrics, &mut pauses).await;
            if self.trouble(&metrics, Some(says.clone())) {
                tracing::warn!(stream = self.settings.stream, "events are not told: {says}");
            }
            tokio::time::sleep(pauses.next_delay()).await;
        }
    }

    async fn tell_on(
        &self,
        context: &Context,
        metrics: &Metrics,
        pauses: &mut Backoff,
    ) -> Result<std::convert::Infallible, String> {
        self.open(context).await?;
        let file = place::file_in(&self.state_dir);
        let told = place::read(&file)?;
        self.progress(metrics, told.as_ref().map_or(0, |told| told.seq));
        let mut log = Follower::behind(audit::folder_in(&self.state_dir), told);
        loop {
            let lines = next(&mut log)?;
            let Some(last) = lines.last() else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            self.publish(context, &lines).await?;
            place::write(&file, &last.anchor)?;
            self.progress(metrics, last.anchor.seq);
            if self.trouble(metrics, None) {
                tracing::info!(stream = self.settings.stream, "events are told again");
            }
            pauses.reset();
        }
    }

    /// Finds the stream, or makes it.
    async fn open(&self, context: &Context) -> Result<(), String> {
        let Events {
            stream,
            subject,
            keep,
            replicas,
            ..
        } = &self.settings;
        let config = stream::Config {
            name: stream.clone(),
            description: Some("what provisioners decided and did".to_owned()),
            subjects: vec![format!("{subject}.>")],
            max_age: *keep,
            num_replicas: *replicas,
            duplicate_window: REMEMBERED.min(*keep),
            storage: stream::StorageType::File,
            ..stream::Config::default()
        };
        let opened = context.get_or_create_stream(config).await;
        let opened = opened
            .map_err(|error| format!("the stream {stream:?}: {}", jetstream::explain(&error)))?;
        let subjects = &opened.cached_info().config.subjects;
        if subjects.iter().any(|taken| takes(taken, subject)) {
            return Ok(());
        }
        Err(format!(
            "the stream {stream:?} takes {}, and events are told on {subject}.>: add that to its \
             subjects, or change [events] subject",
            subjects.join(", ")
        ))
    }

    /// Returns once the stream holds all of them.
    async fn publish(&self, context: &Context, lines: &[Line]) -> Result<(), String> {
        let mut waiting = Vec::with_capacity(lines.len());
        for line in lines {
            let event = CloudEvent::of(line, &self.service).map_err(|error| error.to_string())?;
            let event = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, line.anchor.hash.as_str());
            headers.insert(NATS_EXPECTED_STREAM, self.settings.stream.as_str());
            headers.insert("Content-Type", CLOUDEVENT);
            let subject = format!("{}.{}", self.settings.subject, line.what);
            let sent = context.publish_with_headers(subject, headers, event.into());
            waiting.push(sent.await.map_err(|error| jetstream::explain(&error))?);
        }
        for acknowledged in join_all(waiting.into_iter().map(IntoFuture::into_future)).await {
            acknowledged.map_err(|error| jetstream::explain(&error))?;
        }
        Ok(())
    }

    fn progress(&self, metrics: &Metrics, told: u64) {
        metrics
            .service
            .told
            .set(i64::try_from(told).unwrap_or(i64::MAX));
        self.locked().told = told;
    }

    /// Remembers what keeps it from telling; says whether that is news.
    fn trouble(&self, metrics: &Metrics, says: Option<String>) -> bool {
        let mut telling = self.locked();
        let news = telling.trouble != says;
        metrics.service.untold.set(i64::from(says.is_some()));
        telling.trouble = says;
        news
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Telling> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The media type of an event (`CloudEvents` specification, JSON format §3).
const CLOUDEVENT: &str = "application/cloudevents+json";

/// The lines that are there, as many as are told at once.
fn next(log: &mut Follower) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    while lines.len() < AT_ONCE {
        match log.next().map_err(|error| error.to_string())? {
            Some(line) => lines.push(line),
            None => break,
        }
    }
    Ok(lines)
}

/// Whether a stream that takes `taken` takes every event told below `subject`.
fn takes(taken: &str, subject: &str) -> bool {
    let mut told = subject.split('.').chain([">"]);
    let mut taken = taken.split('.');
    loop {
        match (taken.next(), told.next()) {
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some("*"), Some(_)) => return taken.next().is_none(),
            (Some(taken), Some(told)) if taken == told => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_must_take_every_event() {
        for (taken, wanted) in [
            ("muster.provisioner.event.>", true),
            ("muster.provisioner.event.*", true),
            ("muster.>", true),
            (">", true),
            ("muster.*.event.>", true),
            ("muster.provisioner.event.signed", false),
            ("muster.provisioner.event", false),
            ("muster.provisioner.event.*.*", false),
            ("other.>", false),
        ] {
            assert_eq!(takes(taken, "muster.provisioner.event"), wanted, "{taken}");
        }
    }
}
