//! What operators decide where several provisioners share a ledger, whichever of them is told.

use serde_json::Value;

use crate::support::{Provisioner, Site, Swarm};

fn node(n: usize) -> String {
    format!("web{n}.example.net")
}

fn result(told: &Value) -> (&str, &str) {
    let text = |name: &str| told[name].as_str().unwrap_or_default();
    (text("result"), text("state"))
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_hold_whichever_member_is_told() {
    let site = Site::start_with_buckets();
    let more = "[sweep]\ninterval = \"1s\"\nwindow = \"300ms\"\n";
    let mut first = Provisioner::start(&site.member("first", more));
    let second = Provisioner::start(&site.member("second", more));
    for service in [&first, &second] {
        service.status_when("ready", |s| s["ready"] == true).await;
    }

    // Paused by one, none takes a node up.
    first.ask(&["pause", "--reason", "a look around"]);
    let paused = |s: &Value| s["paused"]["why"] == "a look around";
    second.status_when("the pause", paused).await;
    let mut swarm = Swarm::new();
    for n in 0..6 {
        swarm.add(&node(n), &site.token);
    }
    for n in 0..6 {
        let service = [&first, &second][n % 2];
        let show = service
            .show_when(&node(n), |s| s["state"] == "queued")
            .await;
        assert_eq!(show["certificate"], Value::Null);
    }
    for (n, verb, state) in [
        (0, "quarantine", "quarantined"),
        (1, "ban", "banned"),
        (2, "refuse", "refused"),
    ] {
        let told = [&second, &first][n % 2].ask(&[verb, &node(n)]);
        assert_eq!(result(&told), ("done", state), "{told}");
    }
    second.ask(&["resume"]);
    first
        .status_when("no pause", |s| s["paused"] == Value::Null)
        .await;
    for n in 3..6 {
        first
            .show_when(&node(n), |s| s["state"] == "confirmed")
            .await;
    }
    // Whoever held the others lets them be.
    for (n, state) in [(0, "quarantined"), (1, "banned"), (2, "refused")] {
        for service in [&first, &second] {
            let show = service.show_when(&node(n), |s| s["state"] == state).await;
            assert_eq!(show["certificate"], Value::Null, "{show:#}");
        }
    }

    // What one was told, the other heeds.
    let told = second.ask(&["approve", &node(0)]);
    assert_eq!(result(&told), ("done", "queued"), "{told}");
    let told = first.ask(&["retry", &node(2)]);
    assert_eq!(result(&told), ("done", "queued"), "{told}");
    let told = first.ask(&["unban", &node(1)]);
    assert_eq!(result(&told), ("done", "parked"), "{told}");
    for n in 0..3 {
        second
            .show_when(&node(n), |s| s["state"] == "confirmed")
            .await;
    }
    let told = second.ask(&["evict", &node(3)]);
    assert_eq!(result(&told), ("done", "parked"), "{told}");
    first
        .show_when(&node(3), |s| s["code"] == "operator.evicted")
        .await;
    let told = first.ask(&["purge", &node(3)]);
    assert_eq!(told["result"], "done", "{told}");
    second
        .show_when(&node(3), |s| {
            s.as_str().is_some_and(|said| said.contains("unknown")) || s["state"] == Value::Null
        })
        .await;
    let told = second.ask(&["decommission", &node(4)]);
    assert_eq!(result(&told), ("done", "decommissioned"), "{told}");
    first
        .show_when(&node(4), |s| s["state"] == "decommissioned")
        .await;
    assert_eq!(first.ask(&["purge", &node(4)])["result"], "unfit");

    // A member that is stopped is told as well, and those that run heed it.
    assert_eq!(first.stop().await, 0);
    let told = first.ask(&["ban", &node(5), "--reason", "stolen"]);
    assert_eq!(result(&told), ("done", "banned"), "{told}");
    let show = second.show_when(&node(5), |s| s["state"] == "banned").await;
    assert!(
        show["says"].as_str().unwrap().ends_with(": stolen"),
        "{show:#}"
    );
    let status = second.ask(&["status"]);
    assert_eq!(status["certificates_issued"], 6, "{status:#}");
    for service in [&first, &second] {
        let verdict = service.ask(&["audit", "verify"]);
        assert_eq!(verdict["ok"], true, "{verdict:#}");
    }
}
