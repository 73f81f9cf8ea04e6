//! Keys that authorities made: one is one identity's, like those that nodes ask with.

use super::*;
use crate::ledger::SealedKey;

fn shipped(key: &str, serial: &str, made: &str) -> Act {
    let issuance = Issuance {
        serial: serial.to_owned(),
        sealed_key: Some(SealedKey {
            pem: "PEM".to_owned(),
            ours: "01".to_owned(),
            theirs: "02".to_owned(),
            spki_sha256: made.to_owned(),
        }),
        ..Issuance::default()
    };
    Act::Signed {
        key: key.to_owned(),
        issuance: Box::new(issuance),
    }
}

/// Commits and tells what became of it.
async fn commit(ledger: &Ledger, node: &str, act: Act) -> Applied {
    ledger.commit(change(node, 0, act)).await.unwrap()
}

/// Has a node ask with a key of its own.
async fn ask(ledger: &Ledger, node: &str, key: &str) {
    for act in [arrived(), requested(key), asked(key)] {
        assert_eq!(commit(ledger, node, act).await, Applied::Done);
    }
}

#[tokio::test]
async fn one_shipped_key_is_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    ask(&ledger, "n1", "k1").await;
    ask(&ledger, "n2", "k2").await;
    let first = shipped("k1", "01", "made");
    assert_eq!(commit(&ledger, "n1", first.clone()).await, Applied::Done);
    assert_eq!(
        commit(&ledger, "n1", first).await,
        Applied::Done,
        "the same certificate once more, as after a kill"
    );
    drop(ledger);

    let ledger = open(dir.path());
    let held = Applied::KeyHeldBy("n1".to_owned());
    let second = commit(&ledger, "n2", shipped("k2", "02", "made")).await;
    assert_eq!(second, held);
    let key = ledger.store().key("k2").unwrap().unwrap();
    assert_eq!(key.serials, ["02"], "the certificate exists");
    assert!(
        key.issuance.is_none() && key.open_ask().is_none(),
        "nobody is sent it, and another may be asked for"
    );
    let node = ledger.store().enrolment("n2").unwrap().unwrap();
    assert_eq!(node.certificates.len(), 1, "it can be revoked");
    assert_eq!(commit(&ledger, "n3", requested("made")).await, held);

    assert_eq!(commit(&ledger, "n2", asked("k2")).await, Applied::Done);
    let other = commit(&ledger, "n2", shipped("k2", "03", "made-2")).await;
    assert_eq!(other, Applied::Done);
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("keys_signed_twice"), 0);
    assert_eq!(counters.get("certificates"), 3);
}

#[tokio::test]
async fn no_key_that_a_node_asks_with_is_shipped_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    ask(&ledger, "n1", "k1").await;
    ask(&ledger, "n2", "k2").await;
    let stolen = commit(&ledger, "n2", shipped("k2", "02", "k1")).await;
    assert_eq!(stolen, Applied::KeyHeldBy("n1".to_owned()));
    assert_eq!(ledger.store().key("k1").unwrap().unwrap().identity, "n1");
}

#[tokio::test]
async fn a_shipped_key_outlives_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    ask(&ledger, "n1", "k1").await;
    commit(&ledger, "n1", shipped("k1", "01", "made")).await;
    told(&ledger, "n1", Verb::Refuse).await.unwrap();
    told(&ledger, "n1", Verb::Purge).await.unwrap();
    ask(&ledger, "n2", "k2").await;
    let second = commit(&ledger, "n2", shipped("k2", "02", "made")).await;
    assert_eq!(second, Applied::KeyHeldBy("n1".to_owned()));
}

/// Of a ledger that was written before the hash was kept.
#[test]
fn a_sealed_key_of_before_is_read() {
    let before = r#"{"pem":"PEM","ours":"01","theirs":"02"}"#;
    let sealed: SealedKey = serde_json::from_str(before).unwrap();
    let issuance = Issuance {
        sealed_key: Some(sealed.clone()),
        ..Issuance::default()
    };
    assert_eq!(issuance.shipped_key(), None);
    assert_eq!(serde_json::to_string(&sealed).unwrap(), before);
}
