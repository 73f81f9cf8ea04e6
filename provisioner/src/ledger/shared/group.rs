//! What a member knows of the others and of who works on what.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rand::RngCore as _;
use server_core::words::Seed;
use tokio::sync::{Notify, watch};

use super::roll::{Beat, Roll};
use super::value::Value;
use crate::step::State;

/// How a group presents itself to nodes. A node being enrolled is locked to this pair, so all
/// members have to present the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The sender.
    pub sender: String,
    /// The caller that signs.
    pub caller: String,
}

/// Whose business a node that was heard of is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// This member's.
    Ours,
    /// Another living member has it.
    Theirs,
    /// Another living member should take it; if it does not, this one.
    StandBy,
}

/// One enrolment as far as deciding about it goes.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) revision: u64,
    holder: Option<String>,
    state: State,
    open: bool,
}

/// This member among the others.
#[derive(Debug)]
pub struct Group {
    me: String,
    pair: Pair,
    roll: Mutex<Roll>,
    known: RwLock<HashMap<String, Known>>,
    /// Names of which nothing need be known, by the revision of their last value.
    erased: Mutex<BTreeMap<u64, String>>,
    gone: watch::Sender<u64>,
    paused: watch::Sender<bool>,
    left: Notify,
    joined: AtomicBool,
}

impl Group {
    /// The name of a member, of its own for each seed.
    pub(crate) fn member(name: &str, seed: Seed) -> String {
        let epoch = seed.stream(1).next_u32();
        format!("{name}.{epoch:08x}")
    }

    pub(in crate::ledger) fn new(me: &str, pair: Pair) -> Self {
        Self {
            me: me.to_owned(),
            pair,
            roll: Mutex::new(Roll::new(me)),
            known: RwLock::default(),
            erased: Mutex::default(),
            gone: watch::Sender::new(0),
            paused: watch::Sender::new(false),
            left: Notify::new(),
            joined: AtomicBool::new(false),
        }
    }

    /// Changes each time a member dies or leaves: what it held may have to be taken over.
    #[must_use]
    pub fn gone(&self) -> watch::Receiver<u64> {
        self.gone.subscribe()
    }

    pub(super) fn one_is_gone(&self) {
        self.gone.send_modify(|times| *times += 1);
    }

    /// Whether the group takes up no new node.
    #[must_use]
    pub fn paused(&self) -> watch::Receiver<bool> {
        self.paused.subscribe()
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused
            .send_if_modified(|now| std::mem::replace(now, paused) != paused);
    }

    /// Returns once this member has taken leave of the others.
    pub async fn left(&self) {
        if self.joined.load(Ordering::Acquire) {
            self.left.notified().await;
        }
    }

    pub(super) fn has_joined(&self) {
        self.joined.store(true, Ordering::Release);
    }

    pub(super) fn has_left(&self) {
        self.left.notify_one();
    }

    /// Whether this member is the first to take a node that nobody holds.
    #[must_use]
    pub fn is_first_for(&self, identity: &str) -> bool {
        self.roll().is_first_for(identity)
    }

    /// This member's name: unique for each start of a service.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.me
    }

    /// Whether a member is alive.
    #[must_use]
    pub fn is_alive(&self, member: &str) -> bool {
        self.roll().is_alive(member)
    }

    /// The other members, as far as they are alive, and whether each takes up nodes.
    #[must_use]
    pub fn others(&self) -> Vec<(String, bool)> {
        let roll = self.roll();
        let others = roll.others();
        others
            .map(|(name, ready)| (name.to_owned(), ready))
            .collect()
    }

    /// Whose business a node is that was just heard of.
    #[must_use]
    pub fn duty(&self, identity: &str) -> Duty {
        let known = self.known().get(identity).cloned();
        match known
            .as_ref()
            .and_then(|known| known.holder.as_deref().map(|h| (known, h)))
        {
            Some((known, holder)) if known.open && holder == self.me => Duty::Ours,
            Some((known, holder)) if known.open && self.roll().cares(holder, known.state) => {
                Duty::Theirs
            }
            _ if self.roll().is_first_for(identity) => Duty::Ours,
            _ => Duty::StandBy,
        }
    }

    /// The other living member that has the node, if one does.
    #[must_use]
    pub fn held_by_other(&self, identity: &str) -> Option<String> {
        let known = self.known().get(identity).cloned()?;
        let holder = known.holder.as_ref().filter(|_| known.open)?;
        (*holder != self.me && self.is_alive(holder)).then(|| holder.clone())
    }

    /// Who held the node and is gone, where somebody did and it is not done with.
    #[must_use]
    pub fn orphaned_by(&self, identity: &str) -> Option<String> {
        let known = self.known().get(identity).cloned()?;
        let holder = known
            .holder
            .filter(|_| matches!(known.state, State::Queued | State::Working | State::Parked))?;
        (!self.is_alive(&holder)).then_some(holder)
    }

    /// Every enrolment that is not done with and whose holder is gone.
    #[must_use]
    pub fn orphans(&self) -> Vec<String> {
        let known: Vec<_> = self
            .known()
            .iter()
            .filter(|(_, known)| known.open)
            .map(|(identity, known)| (identity.clone(), known.holder.clone()))
            .collect();
        let roll = self.roll();
        let gone = |holder: Option<String>| holder.is_none_or(|holder| !roll.is_alive(&holder));
        let orphans = known
            .into_iter()
            .filter_map(|(id, holder)| gone(holder).then_some(id));
        orphans.collect()
    }

    /// Why this member cannot be one of the group, if it cannot.
    #[must_use]
    pub fn objection(&self) -> Option<String> {
        let roll = self.roll();
        let (name, other) = roll.stranger(&self.own_beat(false))?;
        Some(format!(
            "{name} presents itself to nodes as {} ({}), and this service as {} ({}). A node is \
             locked to one pair for two minutes, so all that share a ledger need the same \
             `identity` and the same certificate in [network.production]",
            other.sender, other.caller, self.pair.sender, self.pair.caller
        ))
    }

    pub(super) fn own_beat(&self, ready: bool) -> Beat {
        Beat {
            sender: self.pair.sender.clone(),
            caller: self.pair.caller.clone(),
            ready,
        }
    }

    pub(super) fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an enrolment; false where something newer is known.
    pub(super) fn learn(&self, identity: &str, revision: u64, value: &Value) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known
            .get(identity)
            .is_some_and(|known| known.revision >= revision)
        {
            return false;
        }
        if value.is_nothing() {
            self.erased().insert(revision, identity.to_owned());
        }
        let learned = Known {
            revision,
            holder: value.holder.clone(),
            state: value.enrolment.state,
            open: value.is_open(),
        };
        known.insert(identity.to_owned(), learned);
        true
    }

    /// Everything up to this revision was heard of. Names of which nothing need be known are only
    /// now let go of: what was written before they were erased would bring them back.
    pub(super) fn has_heard(&self, revision: u64) {
        let mut erased = self.erased();
        while let Some(first) = erased.first_entry().filter(|e| *e.key() <= revision) {
            let (last, identity) = first.remove_entry();
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if known.get(&identity).is_some_and(|it| it.revision == last) {
                known.remove(&identity);
            }
        }
    }

    fn erased(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.erased.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn revision(&self, identity: &str) -> Option<u64> {
        self.known().get(identity).map(|known| known.revision)
    }

    fn known(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
