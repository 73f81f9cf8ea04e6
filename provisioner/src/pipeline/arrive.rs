//! Step 1, `arrive`: lifecycle events and sweeps become arrivals.
//!
//! An event is a hint and carries no authority. `startup` events out of time or
//! seen before are dropped; `alive` events repeat the id and time of the
//! process's start for ever and are judged by their arrival only.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use server_core::events::{Event, EventKind, PROVISION_MODE_SERVER};
use server_core::words::Identity;

use crate::code::Code;
use crate::ledger::Source;

/// Ids of events remembered to know a repetition.
const REMEMBERED: usize = 65_536;
/// Seconds an event may be late without the node's clock being blamed; a token's
/// times are forgiven as much.
const SKEW: i64 = 60;

/// A node was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The node.
    pub identity: Identity,
    /// How.
    pub source: Source,
    /// When we heard.
    pub at: Timestamp,
    /// The version it runs, where it said so.
    pub version: Option<String>,
}

/// What an event of the provisioning network means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A node wants to be enrolled.
    Arrival(Arrival),
    /// A node wants to be enrolled whose clock is so many seconds behind ours, or
    /// ahead where that is negative.
    Skewed(Arrival, i64),
    /// A node took its configuration.
    Provisioned(Identity),
    /// A node stops or restarts.
    Shutdown(Identity),
    /// Not about a node in provisioning mode.
    Nothing,
    /// Dropped, why and whose it was.
    Dropped(Code, Identity),
}

/// Judges events one by one.
#[derive(Debug)]
pub struct Listener {
    age: SignedDuration,
    seen: HashSet<String>,
    order: VecDeque<String>,
}

impl Listener {
    /// A listener for events at most this old.
    #[must_use]
    pub fn new(age: Duration) -> Self {
        Self {
            age: SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX),
            seen: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// What an event means.
    pub fn hear(&mut self, event: Event, now: Timestamp) -> Heard {
        if event.component != PROVISION_MODE_SERVER {
            return Heard::Nothing;
        }
        let (source, version) = match event.kind {
            EventKind::Startup { version } => (Source::Startup, version),
            EventKind::Alive { version } => (Source::Alive, version),
            EventKind::Provisioned => return Heard::Provisioned(event.identity),
            EventKind::Shutdown if self.is_timely(event.timestamp, now) => {
                return Heard::Shutdown(event.identity);
            }
            EventKind::Shutdown => return Heard::Dropped(Code::EventStale, event.identity),
            _ => return Heard::Nothing,
        };
        // Only the ids of startups are worth remembering: alive events repeat theirs for ever.
        let fresh = source != Source::Startup
            || (self.is_timely(event.timestamp, now) && self.is_new(&event.id));
        if !fresh {
            return Heard::Dropped(Code::EventStale, event.identity);
        }
        let arrival = Arrival {
            identity: event.identity,
            source,
            at: now,
            version: Some(version).filter(|v| !v.is_empty()),
        };
        let behind = now.as_second().saturating_sub(event.timestamp);
        if source == Source::Startup && behind.abs() > SKEW {
            return Heard::Skewed(arrival, behind);
        }
        Heard::Arrival(arrival)
    }

    fn is_timely(&self, seconds: i64, now: Timestamp) -> bool {
        Timestamp::from_second(seconds).is_ok_and(|then| now.duration_since(then).abs() <= self.age)
    }

    fn is_new(&mut self, id: &str) -> bool {
        if !self.seen.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    const NOW: i64 = 1_795_395_487;

    fn event(kind: EventKind, id: &str, timestamp: i64) -> Event {
        Event {
            id: id.to_owned(),
            identity: Identity::parse("n1.example.net").unwrap(),
            component: PROVISION_MODE_SERVER.to_owned(),
            timestamp,
            kind,
        }
    }

    fn startup(id: &str, timestamp: i64) -> Event {
        let version = "0.29.4".to_owned();
        event(EventKind::Startup { version }, id, timestamp)
    }

    fn hear(listener: &mut Listener, event: Event) -> Heard {
        listener.hear(event, Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn a_startup_is_an_arrival_once() {
        let mut listener = Listener::new(Duration::from_secs(300));
        let heard = hear(&mut listener, startup("a", NOW));
        assert!(matches!(heard, Heard::Arrival(a) if a.source == Source::Startup));
        let again = hear(&mut listener, startup("a", NOW));
        assert!(matches!(again, Heard::Dropped(Code::EventStale, _)));
        for then in [NOW - 301, NOW + 301, i64::MIN, i64::MAX] {
            let heard = hear(&mut listener, startup(&then.to_string(), then));
            assert!(
                matches!(heard, Heard::Dropped(Code::EventStale, _)),
                "{then}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_and_the_node_taken_in() {
        let mut listener = Listener::new(Duration::from_secs(300));
        for (then, wanted) in [
            (NOW - 60, None),
            (NOW - 61, Some(61)),
            (NOW + 200, Some(-200)),
        ] {
            let found = match hear(&mut listener, startup(&then.to_string(), then)) {
                Heard::Skewed(_, behind) => Some(behind),
                Heard::Arrival(_) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, wanted, "{then}");
        }
    }

    #[test]
    fn an_alive_may_repeat_itself_for_ever() {
        let mut listener = Listener::new(Duration::from_secs(300));
        for _ in 0..3 {
            let kind = EventKind::Alive {
                version: "1".to_owned(),
            };
            let heard = hear(&mut listener, event(kind, "a", NOW - 100_000));
            assert!(matches!(heard, Heard::Arrival(a) if a.source == Source::Alive));
        }
        assert!(listener.seen.is_empty() && listener.order.is_empty());
    }

    #[test]
    fn other_components_are_nobody_to_enrol() {
        let mut listener = Listener::new(Duration::from_secs(300));
        for component in ["server", "provisioner"] {
            let event = Event {
                component: component.to_owned(),
                ..startup(component, NOW)
            };
            assert_eq!(hear(&mut listener, event), Heard::Nothing);
        }
    }
}
