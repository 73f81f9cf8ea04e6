//! Races for one enrolment, lost acknowledgements, and the replica.

#![allow(clippy::unwrap_used, reason = "tests")]

mod shipped;
mod writing;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use server_core::words::Seed;

use super::super::issuance::Issuance;
use super::super::order::{Order, Reprovision, Verb};
use super::super::record::{Act, Applied, Change, Evidence, Presented, Setback, Source, TokenUse};
use super::super::renewal::{Lapse, Policy};
use super::super::revocation::Reason;
use super::super::{Committed, Ledger, Rules, Store};
use super::bucket::{News, Shelf, ShelfError, node_key};
use super::group::{Group, Pair};
use super::turn::{Begin, Hands, turn};
use super::value::{Terms, Value};
use super::writer::{With, Writer};
use super::{replica, value};
use crate::audit::Audit;
use crate::code::Code;
use crate::judge::CsrReply;
use crate::step::{State, Step};

/// Values by key, with their revisions.
type Keys = HashMap<String, (u64, Bytes)>;

/// A bucket in memory. Of every write it is asked how its acknowledgement fares.
#[derive(Default)]
struct Bucket {
    keys: Mutex<(u64, Keys)>,
    fates: Mutex<Vec<Fate>>,
    /// Nothing can be read.
    away: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Told,
    StoredAndLost,
    Lost,
}

#[async_trait]
impl Shelf for Bucket {
    async fn read(&self, key: &str) -> Result<Option<(u64, Bytes)>, ShelfError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(ShelfError::Unknown("away".to_owned()));
        }
        Ok(self.keys.lock().unwrap().1.get(key).cloned())
    }

    async fn write(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, ShelfError> {
        tokio::task::yield_now().await;
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Told);
        let mut keys = self.keys.lock().unwrap();
        if keys.1.get(key).map_or(0, |found| found.0) != revision {
            return Err(ShelfError::Conflict);
        }
        if let Fate::Lost = fate {
            return Err(ShelfError::Unknown("lost".to_owned()));
        }
        keys.0 += 1;
        let revision = keys.0;
        keys.1.insert(key.to_owned(), (revision, value));
        match fate {
            Fate::Told => Ok(revision),
            _ => Err(ShelfError::Unknown("lost".to_owned())),
        }
    }

    async fn put(&self, _: &str, _: Bytes) -> Result<(), ShelfError> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), ShelfError> {
        Ok(())
    }

    async fn erase(&self, key: &str, revision: u64) -> Result<(), ShelfError> {
        let keys = &mut self.keys.lock().unwrap().1;
        if keys.get(key).is_some_and(|found| found.0 <= revision) {
            keys.remove(key);
        }
        Ok(())
    }
}

impl Bucket {
    fn value(&self, identity: &str) -> Option<(u64, Value)> {
        let keys = self.keys.lock().unwrap();
        let (revision, bytes) = keys.1.get(&node_key(identity))?;
        Some((*revision, serde_json::from_slice(bytes).unwrap()))
    }
}

fn member(bucket: &Arc<Bucket>, me: &str, others: &[&str]) -> Hands {
    let pair = Pair {
        sender: "p".to_owned(),
        caller: "choria=p".to_owned(),
    };
    let group = Group::new(me, pair);
    for other in others {
        let beat = group.own_beat(true);
        group.roll().beat(other, beat, std::time::Instant::now());
    }
    Hands {
        shelf: Arc::clone(bucket) as _,
        group: Arc::new(group),
        policy: policy(),
        seed: Seed(7),
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1_795_395_487_000 + ms)
}

fn wanted(identity: &str, act: Act) -> Change {
    Change {
        identity: identity.to_owned(),
        at: at(0),
        act,
    }
}

fn policy() -> Policy {
    Reprovision::Approval.into()
}

/// One change by a member that last read the bucket when it was as `known` says.
async fn act_on(
    hands: &Hands,
    known: Option<(u64, Value)>,
    number: u64,
    identity: &str,
    act: Act,
) -> Applied {
    let jobs = vec![(wanted(identity, act), None)];
    let known = Begin::Known(known);
    let turned = turn(hands.clone(), identity.to_owned(), known, jobs, number).await;
    let written = turned.result.map_err(|failed| failed.error).unwrap();
    written.outcomes[0].0.clone()
}

async fn act(bucket: &Bucket, hands: &Hands, number: u64, identity: &str, what: Act) -> Applied {
    act_on(hands, bucket.value(identity), number, identity, what).await
}

fn taken() -> Act {
    Act::Taken { since: at(0) }
}

fn requested(key: &str) -> Act {
    let says = String::new();
    let key = key.to_owned();
    let csr = CsrReply::default();
    let presented = Box::default();
    Act::Requested {
        key,
        csr,
        says,
        presented,
    }
}

fn ordered(verb: Verb) -> Act {
    Act::Ordered(Order {
        revoke: None,
        verb,
        by: "somebody".to_owned(),
        why: String::new(),
        in_advance: false,
    })
}

fn asked(key: &str) -> Act {
    Act::Asked {
        key: key.to_owned(),
        by: "built-in".to_owned(),
        prepared: Some(b"to be signed".to_vec()),
    }
}

fn signed(key: &str, serial: &str) -> Act {
    let issuance = Issuance {
        serial: serial.to_owned(),
        ..Issuance::default()
    };
    let issuance = Box::new(issuance);
    let key = key.to_owned();
    Act::Signed { key, issuance }
}

/// What hooks have nodes configured with is kept for the keys in use, whatever its size.
#[tokio::test]
async fn a_node_with_many_keys_and_large_settings_fits_the_broker() {
    let bucket = Arc::new(Bucket::default());
    let a = member(&bucket, "a", &[]);
    act(&bucket, &a, 0, "n1", taken()).await;
    for n in 0..12 {
        let key = format!("k{n}");
        act(&bucket, &a, 10 + n, "n1", requested(&key)).await;
        act(&bucket, &a, 30 + n, "n1", asked(&key)).await;
        let mut signed = signed(&key, &format!("{n:02}"));
        if let Act::Signed { issuance, .. } = &mut signed {
            let settings = [("large".to_owned(), "x".repeat(250 << 10))];
            issuance.configuration = Some(settings.into());
        }
        assert_eq!(act(&bucket, &a, 50 + n, "n1", signed).await, Applied::Done);
    }
    let (_, value) = bucket.value("n1").unwrap();
    assert!(value.keys["k11"].issuance.is_some() && value.keys["k0"].issuance.is_none());
    assert!(value.keys.values().all(|key| key.certificates() == 1));
    let bytes = serde_json::to_vec(&value).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

#[tokio::test]
async fn of_two_that_take_a_node_one_is_told_that_it_lost() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    let both = tokio::join!(
        act_on(&a, None, 1, "n1", taken()),
        act_on(&b, None, 1, "n1", taken())
    );
    let (winner, loser) = match both {
        (Applied::Done, _) => ("a", &b),
        _ => ("b", &a),
    };
    let held = Applied::HeldBy(winner.to_owned());
    assert!(both.0 == held || both.1 == held, "{both:?}");
    assert_eq!(act(&bucket, loser, 2, "n1", requested("k1")).await, held);
    let (_, value) = bucket.value("n1").unwrap();
    assert_eq!((value.enrolment.attempts, value.keys.len()), (1, 0));
}

#[tokio::test]
async fn what_a_dead_member_began_goes_on_and_it_is_fenced_off() {
    let bucket = Arc::new(Bucket::default());
    let a = member(&bucket, "a", &[]);
    for (number, what) in (0..).zip([taken(), requested("k1"), asked("k1")]) {
        assert_eq!(act(&bucket, &a, number, "n1", what).await, Applied::Done);
    }
    let stale = bucket.value("n1");
    // To `b` it is dead: it has not beaten.
    let b = member(&bucket, "b", &[]);
    let from = "a".to_owned();
    let certificate = None;
    let over = act(&bucket, &b, 0, "n1", Act::TakenOver { from, certificate }).await;
    assert_eq!(over, Applied::Done);
    let (_, value) = bucket.value("n1").unwrap();
    let place = (value.enrolment.state, value.enrolment.step);
    assert_eq!(
        place,
        (State::Working, Step::Sign),
        "the step it had reached"
    );
    let ask = value.keys["k1"].open_ask().unwrap();
    assert_eq!(
        ask.prepared.as_deref(),
        Some("dG8gYmUgc2lnbmVk"),
        "the same bytes"
    );
    assert_eq!(
        act(&bucket, &b, 1, "n1", signed("k1", "01")).await,
        Applied::Done
    );
    // `a` was only paused, and comes with what it had signed.
    let late = act_on(&a, stale, 9, "n1", signed("k1", "02")).await;
    assert_eq!(late, Applied::HeldBy("b".to_owned()));
    let (_, value) = bucket.value("n1").unwrap();
    assert_eq!(value.keys["k1"].serials, ["01"]);
}

#[tokio::test]
async fn keys_and_serial_numbers_are_unique_among_all_members() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    act(&bucket, &a, 1, "n1", taken()).await;
    act(&bucket, &b, 1, "n2", taken()).await;
    assert_eq!(
        act(&bucket, &a, 2, "n1", requested("k1")).await,
        Applied::Done
    );
    let stolen = act(&bucket, &b, 2, "n2", requested("k1")).await;
    assert_eq!(stolen, Applied::KeyHeldBy("n1".to_owned()));
    assert_eq!(
        act(&bucket, &b, 3, "n2", requested("k2")).await,
        Applied::Done
    );
    assert_eq!(
        act(&bucket, &a, 3, "n1", signed("k1", "01")).await,
        Applied::Done
    );
    assert_eq!(
        act(&bucket, &a, 4, "n1", signed("k1", "01")).await,
        Applied::Done
    );
    let reused = act(&bucket, &b, 4, "n2", signed("k2", "01")).await;
    assert_eq!(reused, Applied::SerialUsed);
}

#[tokio::test]
async fn a_person_decides_about_a_node_whoever_works_on_it() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    act(&bucket, &a, 1, "n1", taken()).await;
    let setback = |state| {
        Act::SetBack(Setback {
            step: Step::Csr,
            state,
            code: Code::KeyReused,
            says: String::new(),
            next_try: None,
            new_key: false,
        })
    };
    let parked = act(&bucket, &b, 1, "n1", setback(State::Parked)).await;
    assert_eq!(parked, Applied::HeldBy("a".to_owned()));
    let frozen = act(&bucket, &b, 2, "n1", setback(State::Quarantined)).await;
    assert_eq!(frozen, Applied::Done);
    let goes_on = act(&bucket, &a, 2, "n1", requested("k1")).await;
    assert_eq!(goes_on, Applied::NotNow(State::Quarantined));
    // Who was told to let it go on goes on with it.
    act(&bucket, &b, 3, "n1", ordered(Verb::Approve)).await;
    let (_, value) = bucket.value("n1").unwrap();
    let now = (value.enrolment.state, value.holder.as_deref());
    assert_eq!(now, (State::Queued, Some("b")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However acknowledgements fare and whoever writes in between: what is told to be done is
    /// done once, and what is told to be lost is not done.
    #[test]
    fn nothing_is_lost_or_done_twice(
        fates in prop::collection::vec(0u8..6, 0..60),
        ops in prop::collection::vec((any::<bool>(), 0usize..5, 0u8..2), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let bucket = Arc::new(Bucket::default());
            let fate = |n: &u8| match n {
                0 => Fate::Lost,
                1 => Fate::StoredAndLost,
                _ => Fate::Told,
            };
            *bucket.fates.lock().unwrap() = fates.iter().map(fate).collect();
            let members = [member(&bucket, "a", &["b"]), member(&bucket, "b", &[])];
            let mut done = 0;
            let mut stale = None;
            for (number, (who, what, old)) in (0..).zip(ops) {
                let what = [taken(), requested("k1"), asked("k1"), signed("k1", "01"), Act::Inspected { says: String::new() }][what].clone();
                let known = if old == 0 { bucket.value("n1") } else { stale.take() };
                stale = bucket.value("n1");
                let applied = act_on(&members[usize::from(who)], known, number, "n1", what).await;
                done += u64::from(applied == Applied::Done);
                let held = bucket.value("n1").map(|(_, value)| value);
                let entries = held.as_ref().map_or(0, |value| value.enrolment.next_entry);
                assert_eq!(entries, done);
            }
        });
    }
}

/// Reading the replica of a bucket gives what the embedded ledger would hold.
#[tokio::test]
async fn the_replica_is_what_the_embedded_ledger_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Ledger::open(dir.path(), Rules::default(), |_: &[Committed]| {}).unwrap();
    let store = Store::in_memory("bucket").unwrap();
    let terms = Terms {
        me: "a",
        alive: &|_| true,
        policy: policy(),
        shipped_to: None,
    };
    let mut values: HashMap<String, Option<Value>> = HashMap::new();
    let setback = Setback {
        step: Step::Inspect,
        state: State::Parked,
        code: Code::RpcTimeout,
        says: "silent".to_owned(),
        next_try: Some(at(900)),
        new_key: true,
    };
    let source = Source::Startup;
    let version = None;
    let arrived = Act::Arrived { source, version };
    let by = Evidence::Reply;
    let script = [
        ("n1", arrived.clone()),
        ("n2", arrived.clone()),
        ("n1", taken()),
        ("n2", taken()),
        ("n1", requested("k1")),
        ("n2", Act::SetBack(setback.clone())),
        ("n1", asked("k1")),
        ("n1", signed("k1", "01")),
        ("n1", signed("k1", "02")),
        ("n2", arrived.clone()),
        ("n1", Act::Restarted { by }),
        ("n1", Act::Confirmed { by }),
        ("n1", arrived.clone()),
        ("n1", taken()),
        ("n1", Act::StillEnrolled),
        ("n3", arrived.clone()),
        ("n3", Act::SetBack(setback)),
        ("n3", ordered(Verb::Purge)),
        ("n2", ordered(Verb::Ban)),
        ("n2", arrived.clone()),
        ("n1", ordered(Verb::Evict)),
        ("n4", ordered(Verb::Retry)),
        ("n3", arrived),
    ];
    for (n, (identity, act)) in (0..).zip(script) {
        let change = Change {
            identity: identity.to_owned(),
            at: at(n * 10),
            act,
        };
        let value = values.entry(identity.to_owned()).or_default();
        let (applied, _) = value::change(value, &change, &terms);
        let revision = u64::try_from(n).unwrap();
        if let Some(value) = value.clone() {
            let batch = [(identity.to_owned(), revision, value)];
            replica::absorb(&store, &batch, None).unwrap();
        }
        assert_eq!(embedded.commit(change).await.unwrap(), applied);
    }
    let here = embedded.store();
    assert_eq!(
        serde_json::to_value(crate::report::status(&store).unwrap()).unwrap(),
        serde_json::to_value(crate::report::status(here).unwrap()).unwrap()
    );
    for identity in ["n1", "n2", "n3", "n4"] {
        assert_eq!(
            store.enrolment(identity).unwrap(),
            here.enrolment(identity).unwrap()
        );
        assert_eq!(
            store.entries(identity).unwrap(),
            here.entries(identity).unwrap()
        );
    }
    assert_eq!(store.key("k1").unwrap(), here.key("k1").unwrap());
}

/// A replica made after a node was forgotten knows the keys that were signed for.
#[test]
fn a_replica_made_later_knows_the_keys_of_a_forgotten_node() {
    let mut value = None;
    let terms = Terms {
        me: "a",
        alive: &|_| true,
        policy: policy(),
        shipped_to: None,
    };
    let source = Source::Startup;
    let arrived = Act::Arrived {
        source,
        version: None,
    };
    let setback = Setback {
        step: Step::Sign,
        state: State::Parked,
        code: Code::HookTimeout,
        says: "silent".to_owned(),
        next_try: None,
        new_key: true,
    };
    let story = [
        arrived.clone(),
        taken(),
        requested("k1"),
        asked("k1"),
        signed("k1", "01"),
        Act::SetBack(setback),
        ordered(Verb::Purge),
    ];
    for act in story {
        value::change(&mut value, &wanted("n1", act), &terms);
    }
    assert!(value.as_ref().unwrap().forgotten);
    let store = Store::in_memory("bucket").unwrap();
    for (revision, act) in [(7, None), (8, Some(arrived))] {
        if let Some(act) = act {
            value::change(&mut value, &wanted("n1", act), &terms);
        }
        let batch = [("n1".to_owned(), revision, value.clone().unwrap())];
        replica::absorb(&store, &batch, None).unwrap();
        let known = store.key("k1").unwrap().unwrap();
        assert_eq!((known.identity.as_str(), known.serials.len()), ("n1", 1));
    }
}

/// What a value no longer carries is still counted.
#[test]
fn a_long_history_is_counted_though_it_does_not_travel() {
    let mut value = None;
    let terms = Terms {
        me: "a",
        alive: &|_| true,
        policy: policy(),
        shipped_to: None,
    };
    for n in 0..500 {
        let identity = "n1".to_owned();
        let (at, act) = (at(n), taken());
        let change = Change { identity, at, act };
        value::change(&mut value, &change, &terms);
    }
    let value = value.unwrap();
    assert_eq!(value.counts()["done.queue"], 500);
    assert!(serde_json::to_vec(&value).unwrap().len() < 16_384);
}

#[tokio::test]
async fn what_is_revoked_is_known_to_every_member_and_outlives_the_node() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    let by = Evidence::StartupAndPing;
    let way = [
        taken(),
        requested("k1"),
        asked("k1"),
        signed("k1", "01"),
        Act::Confirmed { by },
    ];
    for (number, what) in (0..).zip(way) {
        assert_eq!(act(&bucket, &a, number, "n1", what).await, Applied::Done);
    }
    let Act::Ordered(order) = ordered(Verb::Evict) else {
        return;
    };
    let evict = Act::Ordered(Order {
        revoke: Some(Reason::KeyCompromise),
        ..order
    });
    act(&bucket, &b, 1, "n1", evict).await;
    act(&bucket, &b, 2, "n1", ordered(Verb::Purge)).await;
    let (revision, value) = bucket.value("n1").unwrap();
    assert!(value.forgotten);
    let dir = tempfile::tempdir().unwrap();
    let store = replica::open(dir.path()).unwrap();
    replica::absorb(&store, &[("n1".to_owned(), revision, value)], None).unwrap();
    let known = store.revocation("01").unwrap().unwrap();
    assert_eq!(
        (known.reason, known.identity.as_str()),
        (Reason::KeyCompromise, "n1")
    );
    assert_eq!(store.revoked().unwrap(), 1);
    assert_eq!(store.enrolment("n1").unwrap(), None);

    // Heard of again, it does not lose what is known of its former certificate.
    act(&bucket, &b, 3, "n1", taken()).await;
    let (_, value) = bucket.value("n1").unwrap();
    assert!(!value.forgotten && value.revoked.contains_key("01"));
}

/// Both found the holder dead; the second one's write comes when the first has taken the node over,
/// and once more when it is enrolled.
#[tokio::test]
async fn of_two_that_take_over_from_the_dead_one_goes_on() {
    let bucket = Arc::new(Bucket::default());
    let dead = member(&bucket, "dead", &[]);
    for (number, what) in (0..).zip([taken(), requested("k1"), asked("k1"), signed("k1", "01")]) {
        act(&bucket, &dead, number, "n1", what).await;
    }
    let seen = bucket.value("n1");
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    let over = || Act::TakenOver {
        from: "dead".to_owned(),
        certificate: None,
    };
    assert_eq!(act(&bucket, &a, 1, "n1", over()).await, Applied::Done);
    let late = act_on(&b, seen.clone(), 1, "n1", over()).await;
    assert_eq!(late, Applied::HeldBy("a".to_owned()));
    let by = Evidence::StartupAndPing;
    act(&bucket, &a, 2, "n1", Act::Confirmed { by }).await;
    let later = act_on(&b, seen, 2, "n1", over()).await;
    assert_eq!(later, Applied::NotNow(State::Confirmed));
    let stood_by = act_on(&b, None, 3, "n1", taken()).await;
    assert_eq!(stood_by, Applied::NotNow(State::Confirmed));
    let came_back = Act::Taken { since: at(1) };
    assert_eq!(act(&bucket, &b, 4, "n1", came_back).await, Applied::Done);
}

/// Two members, each with a node that shows the same token for one: compare and set lets one in.
#[tokio::test]
async fn of_two_nodes_with_a_token_for_one_one_is_let_in() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    let with_token = |key: &str, uses: u32| {
        let id = "f".repeat(64);
        let token = Some(TokenUse { id, uses });
        Act::Requested {
            key: key.to_owned(),
            csr: CsrReply::default(),
            says: String::new(),
            presented: Box::new(Presented {
                token,
                ..Presented::default()
            }),
        }
    };
    act(&bucket, &a, 1, "n1", taken()).await;
    act(&bucket, &b, 1, "n2", taken()).await;
    let both = tokio::join!(
        act(&bucket, &a, 2, "n1", with_token("k1", 1)),
        act(&bucket, &b, 2, "n2", with_token("k2", 1))
    );
    let (winner, loser) = match both {
        (Applied::Done, _) => ((&a, "n1"), "n1"),
        _ => ((&b, "n2"), "n2"),
    };
    let held = Applied::TokenHeldBy(loser.to_owned());
    assert!(both.0 == held || both.1 == held, "{both:?}");
    let again = act(&bucket, winner.0, 3, winner.1, with_token("k3", 1)).await;
    assert_eq!(again, Applied::Done, "the same node comes back with it");
    // For three nodes it is enough for one more, whoever asks.
    let mut let_in = 0;
    for node in ["n3", "n4", "n5", "n6", "n3", "n4", "n5", "n6"] {
        act(&bucket, &a, 10, node, taken()).await;
        let applied = act(&bucket, &a, 11, node, with_token(&format!("k-{node}"), 3)).await;
        let_in += usize::from(applied == Applied::Done);
    }
    assert_eq!(let_in, 4, "two more, twice each: one has a use of before");
}

#[tokio::test]
async fn one_member_asks_a_node_back_and_another_closes_what_it_left_open() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    let by = Evidence::StartupAndPing;
    let enrolled = [
        taken(),
        requested("k1"),
        asked("k1"),
        signed("k1", "01"),
        Act::Confirmed { by },
    ];
    for (number, what) in (0..).zip(enrolled) {
        assert_eq!(act(&bucket, &a, number, "n1", what).await, Applied::Done);
    }
    let known = bucket.value("n1");
    let ask = || Act::RenewalAsked { closes: at(1_000) };
    let both = tokio::join!(
        act_on(&a, known.clone(), 20, "n1", ask()),
        act_on(&b, known, 20, "n1", ask())
    );
    let refused = Applied::NotNow(State::Confirmed);
    assert!(both == (Applied::Done, refused.clone()) || both == (refused, Applied::Done));
    let lapse = Lapse {
        code: Code::RenewalUnused,
        says: String::new(),
        next_try: None,
    };
    let closed = act(&bucket, &b, 30, "n1", Act::RenewalLapsed(lapse)).await;
    assert_eq!(closed, Applied::Done);
    let (_, value) = bucket.value("n1").unwrap();
    assert_eq!(value.enrolment.renewal.unwrap().tries, 1);
    assert_eq!(value.enrolment.state, State::Confirmed);
}
