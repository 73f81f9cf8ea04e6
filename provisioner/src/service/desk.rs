//! What the running service does about what operators ask and tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use server_core::words::{Clock, Identity};
use tokio::sync::Notify;

use crate::control::Live;
use crate::crl::Publisher;
use crate::election::{Campaign, Standing};
use crate::events::Telling;
use crate::ledger::Group;
use crate::metrics::Metrics;
use crate::pipeline::queue::Queue;
use crate::pipeline::{self, Holds};
use crate::ready::Readiness;
use crate::report::Member;
use crate::step::State;

/// What answers and orders touch beside the ledger.
pub(super) struct Desk {
    pub(super) ready: Arc<Readiness>,
    pub(super) metrics: Metrics,
    pub(super) http: Option<String>,
    pub(super) publisher: Option<Arc<Publisher>>,
    pub(super) group: Option<Arc<Group>>,
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) queued: Arc<Notify>,
    pub(super) holds: Arc<Holds>,
    pub(super) campaign: Option<Arc<Campaign>>,
    pub(super) telling: Option<Arc<Mutex<Telling>>>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Live for Desk {
    fn now(&self) -> Timestamp {
        pipeline::now(self.clock.as_ref())
    }

    fn missing(&self) -> Vec<String> {
        self.ready.missing()
    }

    fn dropped(&self) -> BTreeMap<String, u64> {
        self.metrics.enrolment.dropped_so_far()
    }

    fn members(&self) -> Vec<Member> {
        let Some(group) = &self.group else {
            return Vec::new();
        };
        let own = Member {
            name: group.me().to_owned(),
            own: true,
            ready: self.ready.is_ready(),
        };
        let others = group.others().into_iter().map(|(name, ready)| Member {
            name,
            own: false,
            ready,
        });
        std::iter::once(own).chain(others).collect()
    }

    fn election(&self) -> Option<Standing> {
        self.campaign.as_ref().map(|campaign| campaign.standing())
    }

    fn telling(&self) -> Option<Telling> {
        let telling = self.telling.as_ref()?;
        Some(
            telling
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    fn publisher(&self) -> Option<Arc<Publisher>> {
        self.publisher.clone()
    }

    fn http(&self) -> Option<String> {
        self.http.clone()
    }

    /// The ledger has stopped whatever may not go on; the queue follows.
    fn decided(&self, node: &Identity, state: State) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match state {
            State::Queued => {
                queue.hasten(node, self.now());
            }
            State::Working | State::Confirmed => {}
            _ => queue.withdraw(node),
        }
        drop(queue);
        self.queued.notify_one();
    }

    fn paused(&self, paused: bool) {
        self.holds.pause(paused);
        self.metrics.service.paused.set(i64::from(paused));
        self.queued.notify_one();
    }
}
