//! The writer of the shared ledger: many turns at once, one at a time for each enrolment.
//!
//! What comes for an enrolment whose turn is under way waits and becomes its next turn, so
//! that changes noted along the way share a write. Nobody is answered before the bucket has
//! acknowledged and the replica shows it.

mod hear;
mod number;
mod tell;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use server_core::words::Seed;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::super::record::Applied;
use super::super::renewal::Policy;
use super::super::standing::Pause;
use super::super::store::{LedgerError, Store};
use super::super::writer::{Committed, Done, Job, Observer, Work, answer};
use super::bucket::{JetStream, News, PAUSE, Shelf, member_key, node_key};
use super::group::Group;
use super::replica;
use super::roll::BEAT;
use super::turn::{Begin, Hands, Turned, Wanted, turn};
use super::value::Value;
use crate::audit::{Anchor, Audit, Event};
use crate::step::State;
use tell::{Doubt, Untold};

/// Turns under way at most.
const TURNS: usize = 1_024;
/// Changes taken in one go.
const BATCH: usize = 1_024;
/// News that may wait to be taken in.
const WAITING_NEWS: usize = 4_096;
/// How long the others have to hear of a name that is erased.
const ERASE_AFTER: Duration = Duration::from_secs(5);

/// A turn under way.
type Turning = futures::future::BoxFuture<'static, Turned>;
/// Whether this member can enrol at the moment.
pub(crate) type Able = Arc<dyn Fn() -> bool + Send + Sync>;

/// What the writer of a shared ledger works with.
pub(in crate::ledger) struct With {
    pub(in crate::ledger) store: Arc<Store>,
    pub(in crate::ledger) group: Arc<Group>,
    pub(in crate::ledger) policy: Policy,
    pub(in crate::ledger) able: Able,
    pub(in crate::ledger) audit: Audit,
    pub(in crate::ledger) observer: Box<dyn Observer>,
    pub(in crate::ledger) seed: Seed,
}

/// Takes the bucket into the replica, then starts the writer on a thread of its own. It ends
/// when every sender of changes is gone.
pub(in crate::ledger) async fn start(
    with: With,
    bucket: JetStream,
    waiting: mpsc::Receiver<Job>,
) -> Result<(), LedgerError> {
    let (news, mut told) = mpsc::channel(WAITING_NEWS);
    tokio::spawn(bucket.clone().follow(news));
    let mut writer = Writer::new(with, Arc::new(bucket));
    while !writer.hear_some(&mut told).await? {}
    // Two members that start at the same time see each other before either works.
    let key = member_key(writer.hands.group.me());
    // A bucket that was only just made, or is between two leaders, takes nothing yet.
    while let Err(error) = writer.hands.shelf.put(&key, writer.beat()).await {
        tracing::warn!(?error, "the shared ledger does not take this member in yet");
        tokio::time::sleep(BEAT).await;
    }
    let failed = |error: std::io::Error| LedgerError::Bucket(error.to_string());
    let runtime = tokio::runtime::Handle::current();
    let joined = Arc::clone(&writer.hands.group);
    let run = move || runtime.block_on(writer.run(waiting, told));
    let thread = thread::Builder::new().name("ledger".to_owned()).spawn(run);
    thread.map(drop).map_err(failed)?;
    joined.has_joined();
    Ok(())
}

pub(super) struct Writer {
    store: Arc<Store>,
    hands: Hands,
    able: Able,
    audit: Audit,
    observer: Box<dyn Observer>,
    numbers: AtomicU64,
    /// Values of nodes this member works on, so that they need not be read back.
    hot: HashMap<String, (u64, Value)>,
    /// Enrolments whose turn is under way, with what waits for their next.
    busy: HashMap<String, Vec<Wanted>>,
    /// What the bucket has taken and the audit log has not: of the turns that were under way when it
    /// failed.
    untold: Vec<Untold>,
    /// What the bucket may have taken though nobody said so, by identity.
    doubts: HashMap<String, Doubt>,
    /// The replica could not be written.
    broken: bool,
}

impl Writer {
    pub(super) fn new(with: With, shelf: Arc<dyn Shelf>) -> Self {
        Self {
            store: with.store,
            hands: Hands {
                shelf,
                group: with.group,
                policy: with.policy,
                seed: with.seed,
            },
            able: with.able,
            audit: with.audit,
            observer: with.observer,
            numbers: AtomicU64::new(0),
            hot: HashMap::new(),
            busy: HashMap::new(),
            untold: Vec::new(),
            doubts: HashMap::new(),
            broken: false,
        }
    }

    /// Works until every sender of changes is gone, or the replica cannot be written.
    pub(super) async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Job>,
        mut told: mpsc::Receiver<News>,
    ) {
        let mut turns = FuturesUnordered::new();
        let mut jobs = Vec::with_capacity(BATCH);
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.broken {
            tokio::select! {
                taken = waiting.recv_many(&mut jobs, BATCH), if turns.len() < TURNS => {
                    if taken == 0 {
                        break;
                    }
                    turns.extend(self.begin(&mut jobs));
                }
                Some(turned) = turns.next(), if !turns.is_empty() => {
                    let mut over = vec![turned];
                    while let Some(Some(turned)) = turns.next().now_or_never() {
                        over.push(turned);
                    }
                    turns.extend(self.end(over));
                }
                heard = self.hear_some(&mut told) => {
                    if let Err(error) = heard {
                        self.break_off(&error);
                    }
                }
                _ = ticks.tick() => {
                    let (shelf, beat) = (Arc::clone(&self.hands.shelf), self.beat());
                    let key = member_key(self.hands.group.me());
                    // Late is as good as not at all: the next one comes soon.
                    tokio::spawn(async move {
                        let _ = tokio::time::timeout(BEAT * 2, shelf.put(&key, beat)).await;
                    });
                }
            }
        }
        // Whoever sends a change from now on is told that there is nobody to write it.
        waiting.close();
        while let Some(turned) = turns.next().await {
            turns.extend(self.end(vec![turned]));
        }
        for job in std::iter::from_fn(|| waiting.try_recv().ok()) {
            answer(job.done, Err(LedgerError::Closed));
        }
        self.leave().await;
        self.close();
        self.hands.group.has_left();
    }

    /// A replica that misses something would let this member decide by what is no longer so: it is
    /// made anew by the next start, and until then the others go on with what is held here.
    fn break_off(&mut self, error: &LedgerError) {
        if !self.broken {
            tracing::error!(%error, "the replica of the shared ledger cannot be written: the service ends");
            self.observer.failed(error);
        }
        self.broken = true;
    }

    /// Takes leave, so that nobody waits for this member's death.
    async fn leave(&self) {
        let key = member_key(self.hands.group.me());
        let _ = tokio::time::timeout(BEAT * 2, self.hands.shelf.remove(&key)).await;
    }

    fn beat(&self) -> bytes::Bytes {
        let beat = self.hands.group.own_beat((self.able)());
        // Three fields of plain types.
        serde_json::to_vec(&beat).unwrap_or_default().into()
    }

    /// Begins a turn for each enrolment that has none under way.
    fn begin(&mut self, jobs: &mut Vec<Job>) -> Vec<Turning> {
        let able = self.can_tell();
        if able.is_err() {
            self.observe(&able, &[]);
        }
        let mut fresh: HashMap<String, Vec<Wanted>> = HashMap::new();
        for Job { work, done } in jobs.drain(..) {
            let change = match work {
                Work::Change(change) => change,
                Work::Pause { on, pause } => {
                    self.pause(on, &pause, done);
                    continue;
                }
                Work::Number { at, until } => {
                    self.number(at, until, done);
                    continue;
                }
                Work::Probe => {
                    let told = self.tell(&[]);
                    let told = told.and_then(|anchor| self.absorb(&[], Some(&anchor)));
                    self.observe(&told, &[]);
                    answer(done, told.map(|()| Applied::Done));
                    continue;
                }
            };
            if let Err(error) = &able {
                answer(done, Err(error.clone()));
                continue;
            }
            match self.busy.get_mut(&change.identity) {
                Some(later) => later.push((change, done)),
                None => {
                    let first = fresh.entry(change.identity.clone()).or_default();
                    first.push((change, done));
                }
            }
        }
        let begun = fresh.into_iter().filter_map(|(identity, jobs)| {
            self.busy.insert(identity.clone(), Vec::new());
            self.turn(identity, jobs)
        });
        begun.collect()
    }

    fn turn(&mut self, identity: String, jobs: Vec<Wanted>) -> Option<Turning> {
        let known = match self.known(&identity) {
            Ok(known) => known,
            Err(error) => {
                self.busy.remove(&identity);
                for (_, done) in jobs {
                    answer(done, Err(error.clone()));
                }
                return None;
            }
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Some(turn(self.hands.clone(), identity, known, jobs, number).boxed())
    }

    /// Tells the whole group.
    fn pause(&mut self, on: bool, pause: &Pause, done: Option<Done>) {
        let event = (pause.since, Event::pause(on, pause));
        let told = self
            .tell(&[event])
            .and_then(|anchor| self.absorb(&[], Some(&anchor)));
        self.observe(&told, &[]);
        if let Err(error) = told {
            return answer(done, Err(error));
        }
        let shelf = Arc::clone(&self.hands.shelf);
        let value = serde_json::to_vec(&on.then_some(pause)).unwrap_or_default();
        tokio::spawn(async move {
            let put = shelf.put(PAUSE, value.into()).await;
            let failed = |error| LedgerError::Bucket(format!("{error:?}"));
            answer(done, put.map(|()| Applied::Done).map_err(failed));
        });
    }

    /// Takes values into the replica, with how far the audit log is.
    fn absorb(
        &mut self,
        batch: &[(String, u64, Value)],
        anchor: Option<&Anchor>,
    ) -> Result<(), LedgerError> {
        let absorbed = replica::absorb(&self.store, batch, anchor);
        match (&absorbed, anchor) {
            (Ok(()), Some(anchor)) => self.audit.known(anchor.clone()),
            (Ok(()), None) => {}
            (Err(error), _) => self.break_off(error),
        }
        absorbed
    }

    fn observe(&self, result: &Result<(), LedgerError>, committed: &[Committed]) {
        match result {
            Ok(()) => self.observer.committed(committed),
            Err(error) => {
                tracing::error!(code = %error.code(), %error, "the ledger cannot be written");
                self.observer.failed(error);
            }
        }
    }

    /// Takes a name out of the bucket of which nothing need be known, when the others have heard so.
    /// Where that fails it costs its bytes and nothing else.
    fn erase(&self, identity: &str, revision: u64) {
        let (shelf, key) = (Arc::clone(&self.hands.shelf), node_key(identity));
        tokio::spawn(async move {
            tokio::time::sleep(ERASE_AFTER).await;
            if let Err(error) = shelf.erase(&key, revision).await {
                tracing::debug!(key, ?error, "not erased");
            }
        });
    }

    fn known(&mut self, identity: &str) -> Result<Begin, LedgerError> {
        let hot = self.hot.remove(identity);
        if self.doubts.contains_key(identity) {
            return Ok(Begin::Read);
        }
        let Some(revision) = self.hands.group.revision(identity) else {
            return Ok(Begin::Known(None));
        };
        let known = match hot {
            Some(hot) if hot.0 == revision => Some(hot),
            _ => replica::value(&self.store, identity)?,
        };
        Ok(Begin::Known(known))
    }

    /// Ends turns: audit log and replica first, then whoever waits, then the next turns.
    fn end(&mut self, over: Vec<Turned>) -> Vec<Turning> {
        let mut batch = Vec::new();
        let mut committed = Vec::new();
        for turned in &over {
            let Ok(written) = &turned.result else {
                self.doubt(turned);
                continue;
            };
            self.resolve(&turned.identity, written.onto.as_ref());
            if let Some((revision, value)) = &written.current
                && self.hands.group.learn(&turned.identity, *revision, value)
            {
                batch.push((turned.identity.clone(), *revision, value.clone()));
            }
            committed.extend(written.outcomes.iter().filter_map(|(_, seen)| seen.clone()));
        }
        let told = self.tell_turns(&over);
        // What is in the bucket is known here, audited or not.
        let absorbed = self.absorb(&batch, told.as_ref().ok().and_then(Option::as_ref));
        let absorbed = told.map(drop).and(absorbed);
        for (identity, revision, value) in batch {
            if value.is_nothing() {
                self.erase(&identity, revision);
            }
            let ours = value.holder.as_deref() == Some(self.hands.group.me());
            if ours && value.enrolment.state == State::Working {
                self.hot.insert(identity, (revision, value));
            }
        }
        self.observe(&absorbed, &committed);
        let mut next = Vec::new();
        for turned in over {
            let result = turned.result.map_err(|failed| failed.error);
            match absorbed.clone().and(result) {
                Ok(written) => {
                    let outcomes = written.outcomes;
                    for ((_, done), (applied, _)) in turned.jobs.into_iter().zip(outcomes) {
                        answer(done, Ok(applied));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, node = turned.identity, "the shared ledger cannot be written");
                    for (_, done) in turned.jobs {
                        answer(done, Err(error.clone()));
                    }
                }
            }
            let later = self.busy.remove(&turned.identity).unwrap_or_default();
            if let Err(error) = &absorbed {
                for (_, done) in later {
                    answer(done, Err(error.clone()));
                }
            } else if !later.is_empty() {
                self.busy.insert(turned.identity.clone(), Vec::new());
                next.extend(self.turn(turned.identity, later));
            }
        }
        next
    }
}
