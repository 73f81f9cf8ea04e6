//! What is promised to survive, survives; what must not happen twice, does not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod life;
mod shipped;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use super::Holding;
use super::{
    Act, Applied, Change, Evidence, Issuance, Lapse, Ledger, LedgerError, Order, Pause, Reason,
    Reprovision, Rules, Setback, Source, Store, TokenUse, Verb,
};
use crate::code::Code;
use crate::judge::CsrReply;
use crate::step::{State, Step};

fn at(ms: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1_795_395_487_000 + ms)
}

fn change(identity: &str, ms: i64, act: Act) -> Change {
    let identity = identity.to_owned();
    Change {
        identity,
        at: at(ms),
        act,
    }
}

fn requested(key: &str) -> Act {
    let csr = CsrReply {
        csr: "PEM".to_owned(),
        ..CsrReply::default()
    };
    Act::Requested {
        key: key.to_owned(),
        csr,
        says: String::new(),
        presented: Box::default(),
    }
}

fn signed(key: &str, serial: &str) -> Act {
    let issuance = Issuance {
        serial: serial.to_owned(),
        ..Issuance::default()
    };
    Act::Signed {
        key: key.to_owned(),
        issuance: Box::new(issuance),
    }
}

fn asked(key: &str) -> Act {
    let prepared = Some(b"to be signed".to_vec());
    Act::Asked {
        key: key.to_owned(),
        by: "built-in".to_owned(),
        prepared,
    }
}

fn open(dir: &std::path::Path) -> Ledger {
    // The writer of the ledger before lets go of the file when it ends.
    for _ in 0..200 {
        match Ledger::open(dir, Rules::default(), |_: &[super::Committed]| {}) {
            Err(LedgerError::InUse(_)) => std::thread::sleep(std::time::Duration::from_millis(10)),
            other => return other.unwrap(),
        }
    }
    panic!("the ledger stays in use");
}

async fn enrol(ledger: &Ledger, identity: &str, key: &str, serial: &str) {
    let acts = [
        Act::Arrived {
            source: Source::Startup,
            version: None,
        },
        Act::Taken { since: at(0) },
        Act::Inspected {
            says: String::new(),
        },
        requested(key),
        asked(key),
        signed(key, serial),
        Act::Configured {
            says: String::new(),
        },
        Act::Restarted {
            by: Evidence::Reply,
        },
        Act::Confirmed {
            by: Evidence::StartupAndPing,
        },
    ];
    for (ms, act) in (0..).step_by(10).zip(acts) {
        let applied = ledger.commit(change(identity, ms, act)).await.unwrap();
        assert_eq!(applied, Applied::Done);
    }
}

/// What told of it was untrue: it keeps its key and its certificate. But what a person decided
/// meanwhile stands.
#[tokio::test]
async fn an_enrolled_node_that_was_taken_up_for_nothing_stays_enrolled() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    enrol(&ledger, "n1", "k1", "01").await;
    let before = ledger.store().enrolment("n1").unwrap().unwrap();
    let arrived = || Act::Arrived {
        source: Source::Sweep,
        version: None,
    };
    let taken = || Act::Taken { since: at(0) };
    for act in [arrived(), taken(), Act::StillEnrolled] {
        let applied = ledger.commit(change("n1", 500, act)).await.unwrap();
        assert_eq!(applied, Applied::Done);
    }
    let after = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!(after.state, State::Confirmed);
    assert_eq!(after.enrolled_key, before.enrolled_key);
    assert_eq!(after.enrolled_until, before.enrolled_until);
    assert!(revoked(&ledger).is_empty());
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("done.confirm"), 1);
    assert_eq!(counters.get("state.confirmed"), 1);

    for act in [arrived(), taken()] {
        ledger.commit(change("n1", 600, act)).await.unwrap();
    }
    assert_eq!(told(&ledger, "n1", Verb::Evict).await, Ok(State::Working));
    let late = change("n1", 601, Act::StillEnrolled);
    let applied = ledger.commit(late).await.unwrap();
    assert_eq!(applied, Applied::NotNow(State::Working));
}

#[tokio::test]
async fn a_serial_number_belongs_to_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    enrol(&ledger, "n1", "k1", "01").await;
    let act = Act::Arrived {
        source: Source::Startup,
        version: None,
    };
    for act in [
        act,
        Act::Taken { since: at(0) },
        requested("k2"),
        asked("k2"),
    ] {
        ledger.commit(change("n2", 0, act)).await.unwrap();
    }
    let again = ledger.commit(change("n2", 9, signed("k2", "01"))).await;
    assert_eq!(again.unwrap(), Applied::SerialUsed);
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("certificates"), 1);
    assert_eq!(counters.get("at.sign"), 1, "n2 waits there, n1 is done");
    let other = ledger.commit(change("n2", 9, signed("k2", "02"))).await;
    assert_eq!(other.unwrap(), Applied::Done);
    // The same certificate once more, as after a kill, is no second one.
    let same = ledger.commit(change("n2", 9, signed("k2", "02"))).await;
    assert_eq!(same.unwrap(), Applied::Done);
}

#[tokio::test]
async fn an_enrolment_is_all_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    enrol(&ledger, "n1", "k1", "01").await;
    drop(ledger);

    let ledger = open(dir.path());
    let store = ledger.store();
    let enrolment = store.enrolment("n1").unwrap().unwrap();
    assert_eq!(enrolment.state, State::Confirmed);
    assert_eq!(enrolment.enrolled_key.as_deref(), Some("k1"));
    let entries = store.entries("n1").unwrap();
    assert_eq!(entries.len(), 9);
    assert_eq!(
        entries[2].took_us,
        Some(10_000),
        "inspect is timed from queue"
    );
    assert_eq!(
        entries[5].took_us,
        Some(20_000),
        "sign is timed from csr, not from asked"
    );
    let counters = store.counters().unwrap();
    assert_eq!(counters.get("state.confirmed"), 1);
    assert_eq!(counters.get("state.working"), 0);
    assert_eq!(counters.get("certificates"), 1);
    assert_eq!(counters.get("keys_signed_twice"), 0);
    for step in Step::ALL {
        assert_eq!(counters.get(&format!("done.{step}")), 1, "{step}");
        assert_eq!(counters.get(&format!("at.{step}")), 0, "{step}");
    }
    let timed: u64 = store
        .latencies(Step::Csr)
        .unwrap()
        .iter()
        .map(|(_, n)| n)
        .sum();
    assert_eq!(timed, 1);
}

#[tokio::test]
async fn what_was_asked_is_known_until_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for act in [requested("k1"), asked("k1")] {
        ledger.commit(change("n1", 0, act)).await.unwrap();
    }
    drop(ledger);

    let ledger = open(dir.path());
    let key = ledger.store().key("k1").unwrap().unwrap();
    assert_eq!(
        key.open_ask().unwrap().prepared.as_deref(),
        Some("dG8gYmUgc2lnbmVk")
    );
    ledger
        .commit(change("n1", 1, signed("k1", "01")))
        .await
        .unwrap();
    let key = ledger.store().key("k1").unwrap().unwrap();
    assert!(key.open_ask().is_none());
    ledger
        .commit(change("n1", 2, signed("k1", "01")))
        .await
        .unwrap();
    assert_eq!(
        ledger.store().counters().unwrap().get("keys_signed_twice"),
        0
    );
    ledger
        .commit(change("n1", 3, signed("k1", "02")))
        .await
        .unwrap();
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("keys_signed_twice"), 1);
    assert_eq!(counters.get("certificates"), 2);
}

#[tokio::test]
async fn one_key_is_one_identity_and_an_enrolled_identity_keeps_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    enrol(&ledger, "n1", "k1", "01").await;
    let stolen = ledger
        .commit(change("n2", 0, requested("k1")))
        .await
        .unwrap();
    assert_eq!(stolen, Applied::KeyHeldBy("n1".to_owned()));
    let again = ledger
        .commit(change("n1", 0, requested("k2")))
        .await
        .unwrap();
    assert_eq!(again, Applied::EnrolledWith("k1".to_owned()));
    let same = ledger
        .commit(change("n1", 0, requested("k1")))
        .await
        .unwrap();
    assert_eq!(same, Applied::Done);

    ledger
        .commit(change("n3", 0, requested("k3")))
        .await
        .unwrap();
    let unconfirmed = ledger
        .commit(change("n3", 1, requested("k4")))
        .await
        .unwrap();
    assert_eq!(
        unconfirmed,
        Applied::Done,
        "a key that was never confirmed is no conflict"
    );
}

#[tokio::test]
async fn a_setback_counts_and_may_void_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    ledger
        .commit(change("n1", 0, requested("k1")))
        .await
        .unwrap();
    let setback = Setback {
        step: Step::Sign,
        state: State::Parked,
        code: Code::CaUnknownOutcome,
        says: "asked, no answer".to_owned(),
        next_try: Some(at(5_000)),
        new_key: true,
    };
    ledger
        .commit(change("n1", 1, Act::SetBack(setback)))
        .await
        .unwrap();
    let enrolment = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!((enrolment.state, enrolment.key), (State::Parked, None));
    assert_eq!(enrolment.setbacks, 1);
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("code.ca.unknown_outcome"), 1);
    assert_eq!(counters.get("state.parked"), 1);
}

#[tokio::test]
async fn history_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for ms in 0..450 {
        let act = Act::Taken { since: at(0) };
        ledger.note(change("n1", ms, act)).await.unwrap();
    }
    ledger
        .commit(change("n1", 450, Act::Taken { since: at(0) }))
        .await
        .unwrap();
    assert_eq!(ledger.store().entries("n1").unwrap().len(), 200);
}

#[test]
fn a_second_process_is_told_and_a_missing_ledger_too() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Store::open(dir.path()).unwrap_err();
    assert!(matches!(missing, LedgerError::Missing(_)), "{missing}");
    let _first = Store::create(dir.path()).unwrap();
    let second = Store::create(dir.path()).unwrap_err();
    assert!(matches!(second, LedgerError::InUse(_)), "{second}");
}

/// Many flows at once share their flushes. The bound is far below what an idle
/// machine does, so that a busy one does not fail it.
#[tokio::test(flavor = "multi_thread")]
async fn many_changes_share_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let begin = Instant::now();
    let mut flows = tokio::task::JoinSet::new();
    for n in 0..300 {
        let ledger = ledger.clone();
        flows.spawn(async move {
            let (identity, key) = (format!("n{n}"), format!("k{n}"));
            enrol(&ledger, &identity, &key, &key).await;
        });
    }
    while let Some(flow) = flows.join_next().await {
        flow.unwrap();
    }
    let rate = 2_700.0 / begin.elapsed().as_secs_f64();
    println!("{rate:.0} durable changes a second");
    assert!(rate > 300.0, "{rate:.0} durable changes a second");
}

fn order(identity: &str, ms: i64, verb: Verb) -> Change {
    let order = Order {
        revoke: None,
        verb,
        by: "alice".to_owned(),
        why: "a test".to_owned(),
        in_advance: false,
    };
    change(identity, ms, Act::Ordered(order))
}

fn arrived() -> Act {
    Act::Arrived {
        source: Source::Startup,
        version: None,
    }
}

/// What an order made of a node; the sentence where it does not fit.
async fn told(ledger: &Ledger, identity: &str, verb: Verb) -> Result<State, String> {
    match ledger.commit(order(identity, 1_000, verb)).await.unwrap() {
        Applied::Ordered(ruling) => Ok(ruling.state),
        Applied::Unfit(says) => Err(says),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn a_tombstone_beats_everything_and_is_not_purged() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let unknown = told(&ledger, "n1", Verb::Ban).await;
    assert_eq!(unknown, Err("Unknown".to_owned()));
    assert_eq!(ledger.store().enrolment("n1").unwrap(), None);
    enrol(&ledger, "n1", "k1", "01").await;
    for (verb, state) in [
        (Verb::Ban, State::Banned),
        (Verb::Decommission, State::Decommissioned),
    ] {
        assert_eq!(told(&ledger, "n1", verb).await, Ok(state));
        for act in [
            arrived(),
            Act::Taken { since: at(0) },
            requested("k2"),
            signed("k1", "02"),
        ] {
            let applied = ledger.commit(change("n1", 0, act)).await.unwrap();
            assert_eq!(applied, Applied::NotNow(state));
        }
        for verb in [
            Verb::Purge,
            Verb::Retry,
            Verb::Approve,
            Verb::Evict,
            Verb::Refuse,
        ] {
            assert!(
                told(&ledger, "n1", verb).await.is_err(),
                "{verb} of {state}"
            );
        }
        assert_eq!(told(&ledger, "n1", Verb::Unban).await, Ok(State::Parked));
    }
    let entries = ledger.store().entries("n1").unwrap();
    let json = serde_json::to_value(entries.last().unwrap()).unwrap();
    assert_eq!(
        (&json["verb"], &json["by"], &json["why"]),
        (&"unban".into(), &"alice".into(), &"a test".into())
    );
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("code.identity.banned"), 1);
    assert_eq!(counters.get("state.parked"), 1);
    assert_eq!(counters.get("state.banned"), 0);
}

#[tokio::test]
async fn approval_frees_one_new_key() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    enrol(&ledger, "n1", "k1", "01").await;
    ledger.commit(change("n1", 0, arrived())).await.unwrap();
    let refused = ledger
        .commit(change("n1", 0, requested("k2")))
        .await
        .unwrap();
    assert_eq!(refused, Applied::EnrolledWith("k1".to_owned()));
    let setback = Setback {
        step: Step::Csr,
        state: State::Parked,
        code: Code::IdentityExists,
        says: "enrolled with another key".to_owned(),
        next_try: None,
        new_key: true,
    };
    ledger
        .commit(change("n1", 0, Act::SetBack(setback.clone())))
        .await
        .unwrap();
    assert!(told(&ledger, "n1", Verb::Retry).await.is_err());
    assert_eq!(told(&ledger, "n1", Verb::Approve).await, Ok(State::Queued));
    // That it did not work at once and was tried again takes nothing back.
    let silent = Setback {
        code: Code::RpcTimeout,
        ..setback
    };
    ledger
        .commit(change("n1", 0, Act::SetBack(silent)))
        .await
        .unwrap();
    assert_eq!(told(&ledger, "n1", Verb::Retry).await, Ok(State::Queued));
    enrol(&ledger, "n1", "k2", "02").await;
    let enrolment = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!(enrolment.enrolled_key.as_deref(), Some("k2"));
    let third = ledger
        .commit(change("n1", 0, requested("k3")))
        .await
        .unwrap();
    assert_eq!(
        third,
        Applied::EnrolledWith("k2".to_owned()),
        "one approval is for one key"
    );
    assert_eq!(told(&ledger, "n1", Verb::Evict).await, Ok(State::Parked));
    let free = ledger
        .commit(change("n1", 0, requested("k3")))
        .await
        .unwrap();
    assert_eq!(free, Applied::Done);
}

#[test]
fn reprovisioning_is_by_policy() {
    use Reprovision::{AfterExpiry, Approval, Never, SameKey};
    let until = Some(at(1_000));
    // (policy, same key, other key before expiry, after it, approved)
    for (policy, wanted) in [
        (Never, [false, false, false, false]),
        (SameKey, [true, false, false, false]),
        (Approval, [true, false, false, true]),
        (AfterExpiry, [true, false, true, true]),
    ] {
        let passes = |same, ms, approved| {
            let holding = Holding {
                enrolled: Some("k1"),
                until,
                coming: None,
                approved,
                renewal: None,
            };
            policy.passes(holding, same, at(ms))
        };
        let found = [
            passes(true, 0, false),
            passes(false, 0, false),
            passes(false, 1_000, false),
            passes(false, 0, true),
        ];
        assert_eq!(found, wanted, "{policy}");
    }
}

#[test]
fn every_policy_has_its_code() {
    let codes = Reprovision::ALL.iter().map(|policy| policy.code());
    let codes: std::collections::BTreeSet<_> = codes.collect();
    assert_eq!(codes.len(), Reprovision::ALL.len());
    for &policy in Reprovision::ALL {
        let code = policy.code();
        assert_eq!(code.class(), crate::code::Class::Conflict, "{policy}");
        let can_be_approved = matches!(code, Code::IdentityExists | Code::IdentityUnexpired);
        assert_eq!(policy.can_be_approved(), can_be_approved, "{policy}");
    }
}

#[tokio::test]
async fn a_forgotten_node_leaves_nothing_but_what_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for act in [arrived(), requested("k1")] {
        ledger.commit(change("n1", 0, act)).await.unwrap();
    }
    assert!(
        told(&ledger, "n1", Verb::Purge).await.is_err(),
        "it is on its way"
    );
    assert_eq!(told(&ledger, "n1", Verb::Refuse).await, Ok(State::Refused));
    let held = ledger.commit(change("n1", 0, asked("k1"))).await.unwrap();
    assert_eq!(
        held,
        Applied::NotNow(State::Refused),
        "what is refused is not signed"
    );
    assert_eq!(told(&ledger, "n1", Verb::Purge).await, Ok(State::Refused));
    let store = ledger.store();
    assert_eq!(store.enrolment("n1").unwrap(), None);
    assert_eq!(store.entries("n1").unwrap(), []);
    assert_eq!(store.key("k1").unwrap(), None);
    let counters = store.counters().unwrap();
    for &state in State::ALL {
        assert_eq!(counters.get(&format!("state.{state}")), 0, "{state}");
    }
}

/// A node in work that is frozen and let go on again makes a new key: what its flow of before
/// still brings is about a key it no longer has.
#[tokio::test]
async fn an_order_amid_the_work_is_not_overtaken_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for act in [arrived(), requested("k1"), asked("k1")] {
        ledger.commit(change("n1", 0, act)).await.unwrap();
    }
    assert_eq!(
        told(&ledger, "n1", Verb::Quarantine).await,
        Ok(State::Quarantined)
    );
    assert_eq!(told(&ledger, "n1", Verb::Approve).await, Ok(State::Queued));
    let confirmed = Act::Confirmed {
        by: Evidence::StartupAndPing,
    };
    for late in [asked("k1"), signed("k1", "01"), confirmed] {
        let applied = ledger.commit(change("n1", 1, late)).await.unwrap();
        assert_eq!(applied, Applied::NotNow(State::Queued));
    }
    enrol(&ledger, "n1", "k2", "02").await;
    let enrolment = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!(enrolment.enrolled_key.as_deref(), Some("k2"));
    let other = ledger.commit(change("n1", 2, requested("k3"))).await;
    assert_eq!(other.unwrap(), Applied::EnrolledWith("k2".to_owned()));
}

/// The certificate of a node that is banned or even forgotten by the time it comes back.
#[tokio::test]
async fn a_certificate_nobody_may_have_any_more_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for node in ["banned", "gone"] {
        for act in [arrived(), requested(node), asked(node)] {
            ledger.commit(change(node, 0, act)).await.unwrap();
        }
    }
    told(&ledger, "banned", Verb::Ban).await.unwrap();
    told(&ledger, "gone", Verb::Refuse).await.unwrap();
    told(&ledger, "gone", Verb::Purge).await.unwrap();
    for (node, state) in [("banned", State::Banned), ("gone", State::Queued)] {
        let late = ledger.commit(change(node, 1, signed(node, node))).await;
        assert_eq!(late.unwrap(), Applied::NotNow(state));
        let key = ledger.store().key(node).unwrap().unwrap();
        assert_eq!(key.serials, [node]);
        assert!(key.issuance.is_some() && key.open_ask().is_none());
    }
    assert_eq!(ledger.store().enrolment("gone").unwrap(), None);
    let entries = ledger.store().entries("banned").unwrap();
    let last = serde_json::to_value(entries.last().unwrap()).unwrap();
    assert_eq!(
        (&last["what"], &last["serial"]),
        (&"withheld".into(), &"banned".into())
    );
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("certificates"), 2);
    let files = std::fs::read_dir(crate::audit::folder_in(dir.path())).unwrap();
    let log = files
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let log = std::fs::read_to_string(log.unwrap()).unwrap();
    assert_eq!(log.matches("\"what\":\"withheld\"").count(), 2, "{log}");
}

#[tokio::test]
async fn a_name_that_never_answered_is_forgotten_once_it_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let silent = |next_try| {
        Act::SetBack(Setback {
            step: Step::Inspect,
            state: State::Parked,
            code: Code::RpcTimeout,
            says: String::new(),
            next_try,
            new_key: false,
        })
    };
    let inspected = Act::Inspected {
        says: String::new(),
    };
    for (node, act) in [
        ("made-up", arrived()),
        ("made-up", silent(Some(at(9)))),
        ("real", arrived()),
        ("real", inspected),
        ("real", silent(None)),
    ] {
        ledger.commit(change(node, 0, act)).await.unwrap();
    }
    assert!(ledger.store().enrolment("made-up").unwrap().is_some());
    ledger
        .commit(change("made-up", 1, silent(None)))
        .await
        .unwrap();
    let store = ledger.store();
    assert_eq!(store.enrolment("made-up").unwrap(), None);
    assert_eq!(store.entries("made-up").unwrap(), []);
    assert!(store.enrolment("real").unwrap().is_some());
    let counters = store.counters().unwrap();
    assert_eq!(counters.get("state.parked"), 1);
    assert_eq!(counters.get("code.rpc.timeout"), 3);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut rules = Rules::default();
    rules.audit.reserve = u64::MAX;
    let ledger = Ledger::open(dir.path(), rules, |_: &[super::Committed]| {}).unwrap();
    // Nothing about it is told in the audit log, and it needs room all the same.
    let refused = ledger.commit(change("n1", 0, arrived())).await;
    assert!(matches!(refused, Err(LedgerError::Audit(_))), "{refused:?}");
}

/// A file that can be made to fail.
#[derive(Debug)]
struct Failing {
    memory: redb::backends::InMemoryBackend,
    broken: Arc<AtomicBool>,
}

impl redb::StorageBackend for Failing {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
        }
        self.memory.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.memory.write(offset, data)
    }
}

/// The store writes no more after one failure, so that only a new start can help.
#[tokio::test]
async fn a_file_that_fails_ends_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let memory = redb::backends::InMemoryBackend::new();
    let file = Failing {
        memory,
        broken: Arc::clone(&broken),
    };
    let store = Arc::new(Store::on_backend("failing", file).unwrap());
    let (jobs, waiting) = tokio::sync::mpsc::channel(9);
    let writer = super::Writer {
        store: Arc::clone(&store),
        policy: Reprovision::Never.into(),
        audit: crate::audit::Audit::new(dir.path().to_path_buf(), None, Rules::default().audit),
        observer: |_: &[super::Committed]| {},
    };
    super::writer::start(writer, waiting).unwrap();
    let group = None;
    let ledger = Ledger { store, jobs, group };
    ledger.commit(change("n1", 0, arrived())).await.unwrap();
    broken.store(true, Ordering::Relaxed);
    let failed = ledger.commit(change("n2", 0, arrived())).await;
    assert!(
        matches!(failed, Err(LedgerError::File { .. })),
        "{failed:?}"
    );
    let ended = tokio::time::timeout(std::time::Duration::from_secs(9), ledger.ended());
    ended.await.unwrap();
    let closed = ledger.commit(change("n3", 0, arrived())).await;
    assert!(matches!(closed, Err(LedgerError::Closed)), "{closed:?}");
}

#[tokio::test]
async fn a_pause_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    assert_eq!(ledger.store().pause().unwrap(), None);
    let pause = Pause {
        since: at(0),
        by: "alice".to_owned(),
        why: String::new(),
    };
    ledger.set_pause(true, pause.clone()).await.unwrap();
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(ledger.store().pause().unwrap(), Some(pause.clone()));
    ledger.set_pause(false, pause.clone()).await.unwrap();
    assert_eq!(ledger.store().pause().unwrap(), None);
}

fn revoking(identity: &str, verb: Verb, revoke: Option<Reason>) -> Change {
    let Act::Ordered(order) = order(identity, 1_000, verb).act else {
        panic!("no order");
    };
    change(identity, 1_000, Act::Ordered(Order { revoke, ..order }))
}

/// What the ledger knows of revoked certificates, in words.
fn revoked(ledger: &Ledger) -> Vec<String> {
    let all = ledger.store().revocations().unwrap();
    let words = all
        .iter()
        .map(|r| format!("{} {} {}", r.serial, r.identity, r.reason));
    words.collect()
}

#[tokio::test]
async fn verbs_revoke_what_they_say_and_it_outlives_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for n in 1..=4 {
        enrol(
            &ledger,
            &format!("n{n}"),
            &format!("k{n}"),
            &format!("0{n}"),
        )
        .await;
    }
    for (identity, verb, revoke) in [
        ("n1", Verb::Decommission, None),
        ("n2", Verb::Ban, Some(Reason::KeyCompromise)),
        ("n3", Verb::Evict, None),
        ("n4", Verb::Evict, Some(Reason::AffiliationChanged)),
    ] {
        let told = ledger.commit(revoking(identity, verb, revoke)).await;
        assert!(matches!(told, Ok(Applied::Ordered(_))), "{told:?}");
    }
    for identity in ["n3", "n4"] {
        let told = ledger.commit(revoking(identity, Verb::Purge, None)).await;
        assert!(matches!(told, Ok(Applied::Ordered(_))), "{told:?}");
    }
    let expected = [
        "01 n1 cessation-of-operation",
        "02 n2 key-compromise",
        "04 n4 affiliation-changed",
    ];
    assert_eq!(revoked(&ledger), expected);

    // A certificate that comes too late for a decision shares its fate.
    let late = ledger.commit(change("n1", 2_000, signed("k1", "05"))).await;
    assert_eq!(late.unwrap(), Applied::NotNow(State::Decommissioned));
    let numbers = async || ledger.list_number(at(0), at(9)).await.unwrap().number;
    let first = numbers().await;
    assert_eq!(numbers().await, first + 1);
    drop(ledger);
    let ledger = open(dir.path());
    assert_eq!(revoked(&ledger).len(), 4);
    assert_eq!(ledger.store().revoked().unwrap(), 4);
    assert_eq!(
        ledger.list_number(at(0), at(9)).await.unwrap().number,
        first + 2
    );

    // Taken back, it has nothing of what it had.
    told(&ledger, "n1", Verb::Unban).await.unwrap();
    let node = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!((node.key, node.enrolled_key), (None, None));
    assert!(node.certificates.is_empty());
}

#[tokio::test]
async fn the_old_certificate_stands_until_the_new_one_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    enrol(&ledger, "n1", "k1", "01").await;
    told(&ledger, "n1", Verb::Approve).await.unwrap();
    let acts = [
        arrived(),
        Act::Taken { since: at(0) },
        requested("k2"),
        asked("k2"),
        signed("k2", "02"),
    ];
    for act in acts {
        let applied = ledger.commit(change("n1", 2_000, act)).await.unwrap();
        assert_eq!(applied, Applied::Done);
    }
    assert!(revoked(&ledger).is_empty());
    let by = Evidence::StartupAndPing;
    let confirmed = change("n1", 3_000, Act::Confirmed { by });
    ledger.commit(confirmed).await.unwrap();
    assert_eq!(revoked(&ledger), ["01 n1 superseded"]);
}

/// The file of a service that was killed: copied while it is open, as a kill leaves it.
fn left_by_a_kill(dir: &std::path::Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let copy = tempfile::tempdir().unwrap();
    let file = Store::file_in(copy.path());
    std::fs::copy(Store::file_in(dir), &file).unwrap();
    let (from, to) = (dir.join("audit"), copy.path().join("audit"));
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (copy, file)
}

#[tokio::test]
async fn a_tail_that_was_being_written_is_no_part_of_the_ledger() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for n in 0..50 {
        enrol(&ledger, &format!("n{n}"), &format!("k{n}"), &n.to_string()).await;
    }
    let (copy, file) = left_by_a_kill(dir.path());
    let mut tail = std::fs::File::options().append(true).open(&file).unwrap();
    tail.write_all(&[0xa5; 10_000]).unwrap();
    let again = open(copy.path());
    for n in 0..50 {
        let found = again.store().enrolment(&format!("n{n}")).unwrap().unwrap();
        assert_eq!(found.state, State::Confirmed);
    }
    assert_eq!(again.store().counters().unwrap().get("certificates"), 50);
    enrol(&again, "n50", "k50", "50").await;
}

#[tokio::test]
async fn a_ledger_that_was_cut_or_overwritten_is_refused_and_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    for n in 0..20 {
        enrol(&ledger, &format!("n{n}"), &format!("k{n}"), &n.to_string()).await;
    }
    let damage: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.truncate(100),
        |bytes| bytes.clear(),
        |bytes| {
            let half = bytes.len() / 8;
            bytes[4_096..half].fill(0);
        },
    ];
    for (number, damage) in damage.into_iter().enumerate() {
        let (copy, file) = left_by_a_kill(dir.path());
        let mut bytes = std::fs::read(&file).unwrap();
        damage(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
        let opened = Ledger::open(copy.path(), Rules::default(), |_: &[super::Committed]| {});
        let known = match opened {
            Err(LedgerError::File { says, .. }) => {
                assert!(!says.is_empty());
                continue;
            }
            other => other
                .unwrap()
                .store()
                .counters()
                .unwrap()
                .get("certificates"),
        };
        assert_eq!(known, 20, "damage {number} is not noticed");
    }
}
