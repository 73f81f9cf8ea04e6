//! Life after enrolment: certificates renewed, and tokens for some nodes only.

use super::*;

/// A request with a token that is for so many nodes.
fn with_token(key: &str, uses: u32) -> Act {
    let Act::Requested {
        key,
        csr,
        says,
        mut presented,
    } = requested(key)
    else {
        unreachable!("it makes nothing else");
    };
    let id = "t".repeat(64);
    presented.token = Some(TokenUse { id, uses });
    Act::Requested {
        key,
        csr,
        says,
        presented,
    }
}

fn ends(key: &str, serial: &str, ms: i64) -> Act {
    let issuance = Issuance {
        serial: serial.to_owned(),
        not_after: Some(at(ms)),
        ..Issuance::default()
    };
    Act::Signed {
        key: key.to_owned(),
        issuance: Box::new(issuance),
    }
}

fn seen() -> Act {
    let by = Evidence::StartupAndPing;
    Act::Confirmed { by }
}

/// Commits acts at one time and tells what became of the last one.
async fn all(ledger: &Ledger, node: &str, ms: i64, acts: impl IntoIterator<Item = Act>) -> Applied {
    let mut last = Applied::Unknown;
    for act in acts {
        last = ledger.commit(change(node, ms, act)).await.unwrap();
    }
    last
}

#[tokio::test]
async fn a_token_enrols_as_many_nodes_as_it_is_for_and_each_as_often_as_it_likes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let ask = |node: &'static str, key: &'static str| {
        let change = change(node, 0, with_token(key, 2));
        ledger.commit(change)
    };
    assert_eq!(ask("n1", "k1").await.unwrap(), Applied::Done);
    assert_eq!(ask("n1", "k2").await.unwrap(), Applied::Done);
    assert_eq!(
        ask("n3", "k1").await.unwrap(),
        Applied::KeyHeldBy("n1".to_owned())
    );
    assert_eq!(
        ask("n2", "k3").await.unwrap(),
        Applied::Done,
        "what was refused used nothing up"
    );
    drop(ledger);
    let ledger = open(dir.path());
    let late = ledger.commit(change("n4", 1, with_token("k4", 2))).await;
    assert!(matches!(late.unwrap(), Applied::TokenHeldBy(_)));
    assert_eq!(ledger.store().key("k4").unwrap(), None);
    let again = ledger.commit(change("n2", 1, with_token("k5", 2))).await;
    assert_eq!(again.unwrap(), Applied::Done);
}

#[tokio::test]
async fn a_renewed_certificate_is_no_second_one_and_the_first_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let enrolled = [
        arrived(),
        requested("k1"),
        asked("k1"),
        ends("k1", "01", 9_000),
        seen(),
    ];
    assert_eq!(all(&ledger, "n1", 0, enrolled).await, Applied::Done);
    let early = Act::RenewalLapsed(Lapse {
        code: Code::RenewalUnused,
        says: String::new(),
        next_try: None,
    });
    assert_eq!(
        all(&ledger, "n1", 1, [early.clone()]).await,
        Applied::NotNow(State::Confirmed)
    );
    let ask = || Act::RenewalAsked { closes: at(8_000) };
    assert_eq!(all(&ledger, "n1", 7_000, [ask()]).await, Applied::Done);
    assert_eq!(
        all(&ledger, "n1", 7_001, [ask()]).await,
        Applied::NotNow(State::Confirmed),
        "one open renewal a node"
    );
    drop(ledger);

    let ledger = open(dir.path());
    let taken = || Act::Taken { since: at(7_100) };
    let foreign = all(&ledger, "n1", 7_100, [arrived(), taken(), requested("k9")]).await;
    assert_eq!(foreign, Applied::EnrolledWith("k1".to_owned()));
    let same = all(&ledger, "n1", 7_200, [arrived(), taken(), requested("k1")]).await;
    assert_eq!(same, Applied::Done);
    let key = ledger.store().key("k1").unwrap().unwrap();
    assert_eq!((key.issuance, key.renewals), (None, 1));
    let signed = [asked("k1"), ends("k1", "02", 99_000), requested("k1")];
    all(&ledger, "n1", 7_300, signed).await;
    let key = ledger.store().key("k1").unwrap().unwrap();
    assert_eq!(key.renewals, 1, "asked again, it has what it was to have");
    assert!(
        revoked(&ledger).is_empty(),
        "the old one stands until the new one is in use"
    );
    all(&ledger, "n1", 7_400, [seen()]).await;
    assert_eq!(revoked(&ledger), ["01 n1 superseded"]);
    let node = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!(
        (node.renewal, node.enrolled_until),
        (None, Some(at(99_000)))
    );
    let counters = ledger.store().counters().unwrap();
    assert_eq!(counters.get("keys_signed_twice"), 0);
    assert_eq!(
        (counters.get("certificates"), counters.get("renewals")),
        (2, 1)
    );
}

/// Anybody can claim a name: that must not end the renewal of the node that has it.
#[tokio::test]
async fn a_name_that_was_claimed_is_asked_back_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let enrolled = [
        requested("k1"),
        asked("k1"),
        ends("k1", "01", 9_000),
        seen(),
    ];
    all(&ledger, "n1", 0, enrolled).await;
    let taken = Act::Taken { since: at(5_000) };
    let kept_out = Act::SetBack(Setback {
        step: Step::Csr,
        state: State::Parked,
        code: Code::IdentityExists,
        says: String::new(),
        next_try: None,
        new_key: true,
    });
    let claimed = [arrived(), taken, requested("k9"), kept_out];
    assert_eq!(all(&ledger, "n1", 5_000, claimed).await, Applied::Done);
    let node = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!((node.state, node.stands()), (State::Parked, true));
    let asked_back = Act::RenewalAsked { closes: at(8_000) };
    assert_eq!(all(&ledger, "n1", 7_000, [asked_back]).await, Applied::Done);
    let lapsed = Act::RenewalLapsed(Lapse {
        code: Code::RenewalUnused,
        says: String::new(),
        next_try: None,
    });
    assert_eq!(all(&ledger, "n1", 8_000, [lapsed]).await, Applied::Done);
}

/// Without being asked a node that comes with its key gets what it has, and a new one only near the
/// end of that.
#[tokio::test]
async fn the_same_key_gets_the_certificate_it_has_until_that_is_near_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let enrolled = [
        requested("k1"),
        asked("k1"),
        ends("k1", "01", 9_000),
        seen(),
    ];
    all(&ledger, "n1", 0, enrolled).await;
    for (ms, renewals) in [(1_000, 0), (5_000, 0), (6_500, 1), (9_500, 1)] {
        all(&ledger, "n1", ms, [requested("k1")]).await;
        let key = ledger.store().key("k1").unwrap().unwrap();
        assert_eq!(key.renewals, renewals, "after {ms} ms of 9000");
    }
}

#[tokio::test]
async fn who_takes_a_node_out_is_told_until_when_its_server_tokens_are_good() {
    let token = |key: &str, id: &str, ms: i64| {
        let issuance = Issuance {
            server_jwt: "header.claims.signature".to_owned(),
            serial: id.to_owned(),
            not_after: Some(at(ms)),
            ..Issuance::default()
        };
        Act::Signed {
            key: key.to_owned(),
            issuance: Box::new(issuance),
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path());
    let first = [requested("k1"), asked("k1"), token("k1", "t1", 900_000)];
    all(&ledger, "n1", 0, first).await;
    all(&ledger, "n1", 10, [seen()]).await;
    // A token that ends sooner does not end the one before.
    ledger.commit(order("n1", 20, Verb::Approve)).await.unwrap();
    let second = [requested("k2"), asked("k2"), token("k2", "t2", 500_000)];
    all(&ledger, "n1", 30, second).await;
    all(&ledger, "n1", 40, [seen()]).await;
    let said = |told: Applied| match told {
        Applied::Ordered(ruling) => (ruling.says, ruling.revoked),
        other => panic!("{other:?}"),
    };
    let (says, revoked) = said(ledger.commit(order("n1", 50, Verb::Ban)).await.unwrap());
    assert!(
        says.contains(&format!("good until {}", at(900_000))),
        "{says}"
    );
    assert!(
        says.contains("deny n1 at the brokers") && revoked.is_empty(),
        "{says}"
    );
    let node = ledger.store().enrolment("n1").unwrap().unwrap();
    assert_eq!(node.server_token_until, Some(at(900_000)));
    ledger.commit(order("n1", 60, Verb::Unban)).await.unwrap();
    let later = ledger.commit(order("n1", 900_000, Verb::Ban)).await;
    let (says, _) = said(later.unwrap());
    assert!(!says.contains("server token"), "it is over: {says}");
}
