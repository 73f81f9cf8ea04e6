//! Brokers of somebody else: here those of the test, which the program is only told of.

use std::time::Duration;

use loadgen::formation::Formation;
use loadgen::guard::RunMark;
use loadgen::scenario::{Role, Tls};

use super::asked::{asked, run};
use super::coming_up::tier;
use crate::support::{Stage, nats_server};

/// Running brokers of the test's own, and the folder they need.
async fn theirs(tls: Tls, brokers: u32) -> (tempfile::TempDir, Formation) {
    let folder = tempfile::tempdir().unwrap();
    let tiers = [tier("hub", Role::Production, tls, brokers)];
    let (server, mark) = (nats_server(), RunMark::unique());
    let started = Formation::start("outside", &tiers, folder.path(), &server, &mark).await;
    (folder, started.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_lives_on_brokers_of_somebody_else_with_the_subscriptions_of_the_plan() {
    let (_outside, mut formation) = theirs(Tls::None, 2).await;
    let urls: Vec<String> = formation.posts().map(|post| post.url()).collect();
    let monitor = formation.posts().next().unwrap().monitor.unwrap();
    let before = monitor.subscriptions().await.unwrap();
    let peak = tokio::spawn(async move {
        let mut peak = 0;
        while let Ok(now) = monitor.subscriptions().await {
            peak = peak.max(now);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        peak
    });
    let folder = tempfile::tempdir().unwrap();
    let context = serde_json::json!({ "description": "theirs", "url": urls.join(",") });
    std::fs::write(folder.path().join("nats.json"), context.to_string()).unwrap();
    let topology = "[topology]\nmanage = \"external\"\n[[topology.broker]]\nname = \"theirs\"\n\
                    context = \"nats.json\"\ncount = 2\ntls = \"none\"\n";
    let fleet = "[[fleet]]\nname = \"nodes\"\nnodes = 40\n\
                 collectives = [\"mcollective\", \"other\"]\nagents = 4\n";
    let text = asked(topology, fleet);
    let ran = tokio::task::spawn_blocking(move || run(Stage::within(folder, &text)))
        .await
        .unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!(
        ran.json("summary.json")["rounds"]["ask/ping"]["replies"],
        120
    );
    let plan = ran.json("plan.json");
    assert_eq!(plan["formation"], "external");
    let planned: u64 = plan["brokers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|broker| broker["subscriptions"].as_u64().unwrap())
        .sum();
    assert_eq!(planned, 40 * 2 * 5);
    formation.stop().await;
    // One broker holds its own nodes' and what the other one's want, of which the ten for
    // everybody are told once.
    let (peak, theirs) = (peak.await.unwrap() - before, 20 * 2 + 8);
    assert!(
        (planned / 2 + theirs..=planned + 16).contains(&peak),
        "{peak} subscriptions, {planned} planned"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_have_certificates_that_somebody_elses_brokers_trust() {
    let (_outside, mut formation) = theirs(Tls::Mutual, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let issuer = formation.authority.intermediate();
    let files = [
        ("ca.pem", formation.roots()),
        ("issuer.pem", issuer.certificate.clone()),
        ("issuer.key", issuer.key.clone()),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let url = formation.posts().next().unwrap().url();
    // With an issuer, mutual TLS goes without saying.
    let topology = format!(
        "[topology]\nmanage = \"external\"\n[[topology.broker]]\nname = \"theirs\"\n\
         servers = [\"{url}\"]\nca = \"ca.pem\"\nissuer = \"issuer.pem\"\n\
         issuer_key = \"issuer.key\"\n"
    );
    let text = asked(&topology, "[[fleet]]\nname = \"nodes\"\nnodes = 12\n");
    let ran = tokio::task::spawn_blocking(move || run(Stage::within(folder, &text)))
        .await
        .unwrap();
    assert_eq!(ran.code, Some(0), "{}", ran.said);
    assert_eq!(
        ran.json("summary.json")["rounds"]["ask/ping"]["replies"],
        36
    );
    formation.stop().await;
}

#[test]
fn a_broker_that_is_not_there_is_told_before_anything_starts() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let topology = format!(
        "[topology]\nmanage = \"external\"\n[[topology.broker]]\nname = \"theirs\"\n\
         servers = [\"nats://{address}\"]\n"
    );
    let fleet = "[[fleet]]\nname = \"nodes\"\nnodes = 4\n";
    let ran = run(Stage::new(&asked(&topology, fleet)));
    assert_eq!(ran.code, Some(3), "{}", ran.said);
    let told = format!("broker theirs-1 ({address}) refuses connections");
    assert!(ran.said.contains(&told), "{}", ran.said);
    assert!(!ran.began());
}
