//! Who else enrols on this network, asked once at start and answered for ever.
//!
//! Two services with ledgers of their own would enrol the same nodes without knowing of each
//! other, and two with one caller are not even kept apart by the nodes' own lock. So services
//! announce which ledger they keep, and one that comes later with another does not start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use server_core::client::{Client, Watch};
use server_core::words::subject;
use tokio::time::Instant;

use super::ServiceError;

/// How long answers are waited for.
const WAIT: Duration = Duration::from_millis(300);
/// Messages that may wait to be read.
const WAITING: usize = 256;
/// Longest message that is read.
const LONGEST: usize = 1_024;

/// What a service says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Present {
    /// Its name among others.
    name: String,
    /// The ledger it keeps: equal texts are one ledger.
    ledger: String,
    /// It works; otherwise it is only about to.
    running: bool,
    /// Of two that start at the same time the lower one goes first.
    number: u64,
    /// It wants to know who else is there.
    asks: bool,
}

/// This service at the roll call.
pub(super) struct RollCall {
    own: Present,
    running: AtomicBool,
    heard: tokio::sync::Mutex<Watch>,
    client: Client,
}

impl RollCall {
    /// Asks who is there.
    ///
    /// # Errors
    /// A service with another ledger.
    pub(super) async fn hold(
        client: &Client,
        name: &str,
        ledger: &str,
        number: u64,
    ) -> Result<Self, ServiceError> {
        let network = "production";
        let failed = |source| ServiceError::Network { network, source };
        let heard = client.watch(subject::PROVISIONERS, WAITING).await;
        let call = Self {
            own: Present {
                name: name.to_owned(),
                ledger: ledger.to_owned(),
                running: false,
                number,
                asks: false,
            },
            running: AtomicBool::new(false),
            heard: tokio::sync::Mutex::new(heard.map_err(failed)?),
            client: client.clone(),
        };
        call.say(true).await;
        let until = Instant::now() + WAIT;
        while let Ok(heard) = tokio::time::timeout_at(until, call.next()).await {
            let Some(other) = heard else {
                return Err(ServiceError::Closed(network));
            };
            if yields(&call.own, &other) {
                let (own, other) = (call.own.ledger.clone(), other);
                return Err(ServiceError::Company {
                    name: other.name,
                    theirs: other.ledger,
                    own,
                });
            }
            if other.asks {
                call.say(false).await;
            }
        }
        call.running.store(true, Ordering::Relaxed);
        Ok(call)
    }

    /// Answers whoever asks, for ever.
    pub(super) async fn answer(&self) {
        while let Some(other) = self.next().await {
            if other.ledger != self.own.ledger {
                tracing::warn!(
                    other = other.name,
                    ledger = other.ledger,
                    "a provisioner with another ledger wants to enrol on this network"
                );
            }
            if other.asks {
                self.say(false).await;
            }
        }
        // The connection is over: whoever reads its events ends the service.
        std::future::pending().await
    }

    async fn say(&self, asks: bool) {
        let present = Present {
            running: self.running.load(Ordering::Relaxed),
            asks,
            ..self.own.clone()
        };
        let bytes = serde_json::to_vec(&present).unwrap_or_default();
        let said = self.client.publish_raw(subject::PROVISIONERS, bytes.into());
        if let Err(error) = said.await {
            tracing::debug!(%error, "the roll call was not heard");
        }
    }

    /// What another said; `None` when the connection is over.
    async fn next(&self) -> Option<Present> {
        let mut heard = self.heard.lock().await;
        loop {
            let message = heard.next().await?;
            let payload = message.payload.get(..message.payload.len().min(LONGEST))?;
            match serde_json::from_slice::<Present>(payload) {
                Ok(other) if other.number != self.own.number => return Some(other),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a roll call was not understood"),
            }
        }
    }
}

/// Whether `own`, which is about to start, does not because of `other`.
fn yields(own: &Present, other: &Present) -> bool {
    other.ledger != own.ledger && (other.running || other.number < own.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(ledger: &str, running: bool, number: u64) -> Present {
        Present {
            name: "p".to_owned(),
            ledger: ledger.to_owned(),
            running,
            number,
            asks: false,
        }
    }

    #[test]
    fn one_ledger_a_network_and_the_first_to_come_keeps_it() {
        let own = present("a", false, 5);
        assert!(yields(&own, &present("b", true, 9)));
        assert!(!yields(&own, &present("a", true, 9)));
        let other = present("b", false, 9);
        assert!(
            yields(&other, &own) && !yields(&own, &other),
            "one of two that start"
        );
    }
}
