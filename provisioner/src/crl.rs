//! The list of revoked certificates as it is published: made anew when something was revoked and
//! well before it ends, in a file and for whoever fetches it.
//!
//! The number is durable before the list is signed, so no two lists ever have the same, and the
//! file is exchanged as a whole: a reader sees the old list or the new one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use server_core::words::Clock;
use tokio::sync::{Mutex, watch};

use crate::ca::{Authority, SignedList};
use crate::code::Refusal;
use crate::config::Crl;
use crate::ledger::{Ledger, LedgerError, Revocation};
use crate::metrics::Metrics;
use crate::pipeline;
use crate::site::Site;
use crate::whole;

/// Between two looks at whether a new list is due.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries to make one.
const AGAIN: Duration = Duration::from_secs(5);

/// Why there is no new list.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// Its number could not be taken.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It could not be signed.
    #[error(transparent)]
    Authority(#[from] Refusal),
    /// It could not be written; the one before stands.
    #[error("[ca.crl] file = {file:?} cannot be written: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A list that was published.
#[derive(Debug)]
pub struct Published {
    /// What was signed.
    pub list: SignedList,
    /// Where it was written.
    pub file: PathBuf,
    at: Timestamp,
    /// Revocations the ledger had counted by then.
    counted: u64,
}

/// Makes and publishes lists.
#[derive(Debug)]
pub struct Publisher {
    authority: Arc<Authority>,
    settings: Crl,
    ledger: Ledger,
    current: watch::Sender<Option<Arc<Published>>>,
    /// One list is made at a time, so that they are published in the order of their numbers.
    making: Mutex<()>,
}

impl Publisher {
    /// The publisher of a site, where it is to have one.
    #[must_use]
    pub fn of(site: &Site, ledger: &Ledger) -> Option<Self> {
        Some(Self {
            authority: Arc::clone(site.authority()?),
            settings: site.config.ca.crl.clone()?,
            ledger: ledger.clone(),
            current: watch::Sender::new(None),
            making: Mutex::new(()),
        })
    }

    /// The list that was published last, and each after it.
    #[must_use]
    pub fn current(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.current.subscribe()
    }

    /// Makes a new list and publishes it.
    ///
    /// # Errors
    /// [`CrlError`]; the list before stands.
    pub async fn make(&self, now: Timestamp) -> Result<Arc<Published>, CrlError> {
        let _alone = self.making.lock().await;
        let lifetime = SignedDuration::try_from(self.settings.lifetime);
        let lifetime = lifetime.unwrap_or(SignedDuration::MAX);
        let until = self.authority.list_end(now, lifetime);
        // Counted first: what is revoked meanwhile makes one more list.
        let counted = self.ledger.store().revoked()?;
        let number = self.ledger.list_number(now, until).await?.number;
        let store = Arc::clone(self.ledger.store());
        let authority = Arc::clone(&self.authority);
        let file = self.settings.file.value.clone();
        let making = tokio::task::spawn_blocking(move || {
            let listed = listed(store.revocations()?, now, lifetime);
            let list = authority.sign_list(number, now, until, &listed)?;
            // Everybody may read it.
            let written = whole::exchange(&file, list.pem.as_bytes(), 0o644);
            match written {
                Ok(()) => Ok((list, file)),
                Err(source) => Err(CrlError::File { file, source }),
            }
        });
        let (list, file) = making
            .await
            .map_err(|error| LedgerError::Bucket(error.to_string()))??;
        let published = Arc::new(Published {
            list,
            file,
            at: now,
            counted,
        });
        tracing::info!(
            number, entries = published.list.entries, until = %published.list.next_update,
            file = %published.file.display(), "list of revoked certificates made"
        );
        self.current.send_replace(Some(Arc::clone(&published)));
        Ok(published)
    }

    /// Makes lists for ever, each when it is due.
    pub async fn keep(&self, clock: Arc<dyn Clock>, metrics: Metrics) {
        let begin = pipeline::now(clock.as_ref());
        loop {
            let now = pipeline::now(clock.as_ref());
            let due = self.is_due(now);
            let pause = match due {
                Ok(false) => LOOK,
                Ok(true) => match self.make(now).await {
                    Ok(_) => LOOK,
                    Err(error) => late(&error),
                },
                Err(error) => late(&error.into()),
            };
            // Without a list of this service the one before may end at any time.
            let until = match &*self.current.borrow() {
                Some(published) => published.list.next_update,
                None => begin,
            };
            metrics.service.list_until.set(until.as_second());
            tokio::time::sleep(pause).await;
        }
    }

    fn is_due(&self, now: Timestamp) -> Result<bool, LedgerError> {
        let current = self.current.borrow().clone();
        let Some(current) = current else {
            return Ok(true);
        };
        let age = Duration::try_from(now.duration_since(current.at));
        // A clock that was set back makes one too: the old one would look as if it came from
        // the future.
        let old = age.map_or(true, |age| age >= self.settings.refresh);
        Ok(old
            || self.ledger.store().revoked()? != current.counted
            || !self.settings.file.value.exists())
    }
}

fn late(error: &CrlError) -> Duration {
    tracing::error!(%error, "no new list of revoked certificates; the one before stands");
    AGAIN
}

/// What a list made now has to hold: everything revoked that has not expired, and what has for
/// one list more (RFC 5280 §3.3).
fn listed(
    mut revoked: Vec<Revocation>,
    now: Timestamp,
    lifetime: SignedDuration,
) -> Vec<Revocation> {
    let gone = now.checked_sub(lifetime).unwrap_or(Timestamp::MIN);
    revoked.retain(|revoked| !revoked.is_past(gone));
    revoked.sort_by(|a, b| (a.at, &a.serial).cmp(&(b.at, &b.serial)));
    revoked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Reason;

    #[test]
    fn what_expired_stays_on_for_one_list_more() {
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000 + hours);
        let revocation = |serial: &str, end| Revocation {
            identity: "n1".to_owned(),
            key: "k1".to_owned(),
            serial: serial.to_owned(),
            not_after: end,
            at: at(0),
            reason: Reason::Superseded,
        };
        let all = vec![
            revocation("b", Some(at(10))),
            revocation("a", Some(at(99))),
            revocation("c", None),
        ];
        let serials = |now| {
            let listed = listed(all.clone(), now, SignedDuration::from_hours(24));
            listed.into_iter().map(|r| r.serial).collect::<String>()
        };
        assert_eq!(serials(at(1)), "abc");
        assert_eq!(serials(at(34)), "abc");
        assert_eq!(serials(at(35)), "ac");
        assert_eq!(serials(at(124)), "c");
    }
}
