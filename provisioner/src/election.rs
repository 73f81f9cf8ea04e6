//! Which of several services works, where they keep ledgers of their own: Choria's leader election
//! (streams/election of the original), so that one of them may be the original's provisioner.
//!
//! The key of the election in the bucket `CHORIA_LEADER_ELECTION` belongs to whoever created it, for
//! as long as it is updated: the bucket forgets keys after its time to live. `role` is the pure
//! part; `seat` writes the key; `Campaign` goes from one to the other.
//!
//! Compatible: bucket, key, value (the member's name) and the expected sequence numbers; and that
//! the winner waits for its first update before it works, so that one who was evicted has noticed.
//! Better than the original: a leader that ends removes its key at once, and one that cannot renew
//! stands back before the bucket forgets it.

mod role;
mod seat;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;
use serde::{Deserialize, Serialize};
use server_core::words::Seed;

use crate::config::{Election, Through};
use crate::jetstream::Access;
use crate::site::Site;
use role::Role;
use seat::{Seat, SeatError};

/// Between two tries to find the bucket.
const AGAIN: Duration = Duration::from_secs(2);
/// How long the bucket may remember a key (limits of the original).
const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Who leads, as far as this service knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// This service does, and works.
    pub leads: bool,
    /// The name in the key, where it was seen.
    pub leader: Option<String>,
    /// Why there is no election.
    pub trouble: Option<String>,
}

/// One service's part in an election.
#[derive(Debug)]
pub(crate) struct Campaign {
    access: Access,
    settings: Election,
    me: String,
    standing: Mutex<Standing>,
    /// The key while it is ours, and its sequence number.
    held: Mutex<Option<(Arc<Seat>, u64)>>,
}

impl Campaign {
    /// The part this site is configured to take, if any.
    pub(crate) fn of(site: &Site) -> Option<Arc<Self>> {
        let settings = site.config.election.clone()?;
        let network = match settings.through {
            Through::Production => &site.production,
            Through::Provisioning => &site.provisioning,
        };
        let me = site.identity.to_string();
        Some(Arc::new(Self {
            access: Access::of(network, &[], format!("{me} election")),
            settings,
            me,
            standing: Mutex::default(),
            held: Mutex::default(),
        }))
    }

    /// Who leads, as far as this service knows.
    pub(crate) fn standing(&self) -> Standing {
        locked(&self.standing).clone()
    }

    /// Stands in the election until the future is dropped. `lead` is told each time this service
    /// begins and ceases to lead.
    pub(crate) async fn run(&self, seed: Seed, lead: impl Fn(bool)) {
        let seat = Arc::new(self.find().await);
        let ttl = seat.ttl();
        tracing::info!(
            election = self.settings.name,
            ?ttl,
            "standing in the election"
        );
        let mut rng = seed.stream(7);
        let (mut role, mut led) = (Role::Candidate, false);
        loop {
            let asked = Instant::now();
            let outcome = seat.claim(role.revision()).await;
            role = role.after(&outcome, asked, ttl);
            *locked(&self.held) = role.holds().map(|held| (Arc::clone(&seat), held));
            let leads = role.leads(Instant::now());
            self.tell(leads, outcome.err());
            if leads != led {
                led = leads;
                tracing::info!(election = self.settings.name, leads, "the lead changed");
                lead(leads);
            }
            let splay = rng.random_range(0.75..1.25);
            tokio::time::sleep(role.pause(ttl).mul_f64(splay)).await;
        }
    }

    /// Gives the key back, so that the others need not wait until it is forgotten.
    pub(crate) async fn resign(&self) {
        let held = locked(&self.held).take();
        if let Some((seat, revision)) = held {
            seat.leave(revision).await;
        }
    }

    /// Waits until the bucket is there.
    async fn find(&self) -> Seat {
        let bucket = &self.settings.bucket;
        // One connection, which is made again by itself.
        let client = match self.access.connect().await {
            Ok(client) => client,
            Err(error) => {
                self.tell(false, Some(SeatError::Unknown(error.to_string())));
                return std::future::pending().await;
            }
        };
        loop {
            let says = match Seat::find(&client, &self.settings, &self.me).await {
                Ok(seat) if TTL.contains(&seat.ttl()) => return seat,
                Ok(seat) => format!(
                    "the bucket {bucket} keeps its keys for {}; elections need 1 s to 1 h: make it \
                     with `nats kv add {bucket} --ttl 60s --history 1`",
                    humantime::format_duration(seat.ttl()),
                ),
                Err(says) => says,
            };
            self.tell(false, Some(SeatError::Unknown(says)));
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn tell(&self, leads: bool, failed: Option<SeatError>) {
        let mut standing = locked(&self.standing);
        let (leader, trouble) = match failed {
            None => (Some(self.me.clone()), None),
            Some(SeatError::Held(name)) => (name, None),
            Some(SeatError::Unknown(says)) => (standing.leader.take(), Some(says)),
        };
        if let Some(says) = trouble.as_ref().filter(|_| standing.trouble != trouble) {
            tracing::warn!(election = self.settings.name, "{says}");
        }
        *standing = Standing {
            leads,
            leader,
            trouble,
        };
    }
}

/// A poisoned lock cannot leave these plain values inconsistent.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
