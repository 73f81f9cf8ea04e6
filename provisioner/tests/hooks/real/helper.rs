//! The helper of `docs/`, kept running.

use std::sync::Arc;
use std::time::{Duration, Instant};

use provisioner::hook::{Decision, Hook as _, PoolHook, PoolSettings};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{chain_for, private, program};
use crate::authority::Authority;
use crate::node::request;
use crate::record;

/// Figure: what pooled helpers sign in a minute, docs/helper.py being asked.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python's cryptography: make conformance"]
async fn pooled_helpers_sign_ten_thousand_a_minute() {
    const NODES: u32 = 2_000;
    let folder = tempfile::tempdir().unwrap();
    let site = Authority::new();
    let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("ca.key"));
    std::fs::write(&ca, site.intermediate.pem()).unwrap();
    std::fs::write(&key, private(&site.intermediate.key)).unwrap();
    let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/helper.py");
    let python = program("PYTHON", "python3");
    let paths = [
        python.as_str(),
        helper,
        ca.to_str().unwrap(),
        key.to_str().unwrap(),
    ];
    let settings = PoolSettings::new(paths.map(str::to_owned).to_vec());
    let at_once = settings.helpers * settings.in_flight;
    let pool = Arc::new(PoolHook::new(settings, 1));
    pool.health().await.unwrap();
    let about = Arc::new(request("n1.example.net"));
    let places = Arc::new(Semaphore::new(at_once));
    let begin = Instant::now();
    let mut asked = JoinSet::new();
    for _ in 0..NODES {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (pool, about) = (Arc::clone(&pool), Arc::clone(&about));
        asked.spawn(async move {
            let answer = pool.decide(&about, None).await.unwrap();
            drop(place);
            matches!(answer.decision, Decision::Issue(_))
        });
    }
    assert!(asked.join_all().await.into_iter().all(|issued| issued));
    let took = begin.elapsed();
    let a_minute = f64::from(NODES) / took.as_secs_f64() * 60.0;
    println!("{NODES} signatures in {took:.2?}: {a_minute:.0} a minute");
    record::figure("signatures a minute by pooled docs/helper.py", a_minute);
    assert!(a_minute >= 10_000.0, "{a_minute}");
    // The sample's certificates live for 90 days.
    let life = Duration::from_secs(90 * 86_400);
    let sent = chain_for(pool.as_ref(), &site, "n1.example.net", life).await;
    assert!(sent.unwrap().ends_with(&site.intermediate.pem()));
}
