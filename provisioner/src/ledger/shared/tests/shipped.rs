//! Keys that authorities made, among all members.

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
    let issuance = Box::new(issuance);
    let key = key.to_owned();
    Act::Signed { key, issuance }
}

#[tokio::test]
async fn one_shipped_key_is_one_identity_among_all_members() {
    let bucket = Arc::new(Bucket::default());
    let (a, b) = (member(&bucket, "a", &["b"]), member(&bucket, "b", &["a"]));
    for (member, node, key) in [(&a, "n1", "k1"), (&b, "n2", "k2")] {
        for (number, what) in (1..).zip([taken(), requested(key), asked(key)]) {
            let applied = act(&bucket, member, number, node, what).await;
            assert_eq!(applied, Applied::Done);
        }
    }
    let first = act(&bucket, &a, 11, "n1", shipped("k1", "01", "made")).await;
    assert_eq!(first, Applied::Done);
    let held = Applied::KeyHeldBy("n1".to_owned());
    let second = act(&bucket, &b, 11, "n2", shipped("k2", "02", "made")).await;
    assert_eq!(second, held);
    let (_, value) = bucket.value("n2").unwrap();
    let key = &value.keys["k2"];
    assert_eq!(key.serials, ["02"], "the certificate exists");
    assert!(key.issuance.is_none() && key.open_ask().is_none());
    // Neither is it shipped what another node asks with, nor may it ask with what was shipped.
    let asks = act(&bucket, &b, 12, "n2", requested("made")).await;
    assert_eq!(asks, held);
    let stolen = act(&bucket, &b, 13, "n2", shipped("k2", "03", "k1")).await;
    assert_eq!(stolen, held);
    let own = act(&bucket, &b, 14, "n2", shipped("k2", "04", "made-2")).await;
    assert_eq!(own, Applied::Done);
    let (_, value) = bucket.value("n2").unwrap();
    assert_eq!(value.counts()["keys_signed_twice"], 0);
}
