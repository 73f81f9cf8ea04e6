//! What operators decide, told to a service that runs and to one that is stopped.

use serde_json::Value;
use server_core::trust::{CsrSubject, KeyAlgorithm, KeyPair};

use crate::support::{Provisioner, Site, Swarm};

const NODE: &str = "web1.example.net";

#[tokio::test(flavor = "multi_thread")]
async fn decisions_hold_while_it_runs_and_after() {
    let site = Site::start();
    let config = site.config("");
    let mut service = Provisioner::start(&config);
    service.status_when("ready", |s| s["ready"] == true).await;

    let paused = service.ask(&["pause", "--reason", "a look around"]);
    assert_eq!(
        (&paused["result"], &paused["paused"]["why"]),
        (&"service".into(), &"a look around".into())
    );
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    service.show_when(NODE, |s| s["state"] == "queued").await;
    assert_eq!(service.stop().await, 0);

    // Stopped: the ledger is told, and the next service heeds it.
    let status = service.ask(&["status"]);
    assert_eq!(status["paused"]["why"], "a look around");
    let frozen = service.ask(&["quarantine", NODE, "--reason", "whose is it?"]);
    assert_eq!(
        (&frozen["result"], &frozen["state"]),
        (&"done".into(), &"quarantined".into())
    );
    let typo = service.ask(&["approve", "wbe1.example.net"]);
    assert_eq!(
        (&typo["result"], &typo["nearest"]),
        (&"unknown".into(), &NODE.into())
    );
    service.ask(&["resume"]);

    let service = Provisioner::start(&config);
    let show = service
        .show_when(NODE, |s| s["state"] == "quarantined")
        .await;
    assert_eq!(show["code"], "operator.quarantined");
    assert!(
        show["says"].as_str().unwrap().ends_with(": whose is it?"),
        "{show:#}"
    );
    service.status_when("ready", |s| s["ready"] == true).await;
    let retried = service.ask(&["retry", NODE]);
    assert_eq!(retried["result"], "unfit", "{retried}");
    let approved = service.ask(&["approve", NODE, "--reason", "mine"]);
    assert_eq!(
        (&approved["result"], &approved["state"]),
        (&"done".into(), &"queued".into())
    );
    let show = service.show_when(NODE, |s| s["state"] == "confirmed").await;
    let orders: Vec<_> = show["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["what"] == "ordered")
        .map(|entry| entry["verb"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(orders, ["quarantine", "approve"]);

    // Installed anew, it waits for a person; then it has a second certificate.
    drop(swarm);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let show = service
        .show_when(NODE, |s| s["code"] == "identity.exists")
        .await;
    assert_eq!(show["next_try"], serde_json::Value::Null, "{show:#}");
    service.ask(&["approve", NODE]);
    let again = service.show_when(NODE, |s| s["state"] == "confirmed").await;
    assert_ne!(again["certificate"]["key"], show["certificate"]["key"]);

    // What would become of one that asks for more than its name is said without asking anybody.
    let key = KeyPair::generate(KeyAlgorithm::P256).unwrap();
    let simulate = |named: &str, node: &str| {
        let csr = site.path("node.csr");
        std::fs::write(&csr, key.csr(named, &CsrSubject::default()).unwrap()).unwrap();
        service.ask(&["simulate", node, "--csr", csr.to_str().unwrap()])
    };
    let would = simulate("db1.example.net", "db1.example.net");
    assert_eq!(would["decision"], "issue", "{would:#}");
    assert_eq!(would["config"]["plugin.choria.server.provision"], "false");
    let kept_out = |would: &Value| (would["decision"].clone(), would["reason_code"].clone());
    let other = simulate(NODE, "db1.example.net");
    assert_eq!(
        kept_out(&other),
        ("refuse".into(), "csr.identity_mismatch".into())
    );
    let enrolled = simulate(NODE, NODE);
    assert_eq!(
        kept_out(&enrolled),
        ("quarantine".into(), "identity.exists".into()),
        "it is enrolled with another key"
    );

    // Banned, it is no longer heard.
    drop(swarm);
    assert_eq!(service.ask(&["ban", NODE])["state"], "banned");
    assert_eq!(simulate(NODE, NODE)["reason_code"], "identity.banned");
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let banned =
        |text: &str| !text.contains("provisioner_dropped_total{code=\"identity.banned\"} 0\n");
    service.metrics_when(banned).await;
    assert_eq!(service.ask(&["show", NODE])["state"], "banned");
    assert_eq!(service.ask(&["status"])["certificates_issued"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_amid_the_work_are_heeded_before_anything_leaves() {
    const APPROVED: &str = "web2.example.net";
    let site = Site::start();
    let config = site.config("[log]\nlevel = \"debug\"\n");
    // They stand still with their certificates made and not yet sent.
    let hold = [("PROVISIONER_TEST_HOLD", "signed=3s")];
    let service = Provisioner::start_with(&config, &hold);
    service.status_when("ready", |s| s["ready"] == true).await;
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    swarm.add(APPROVED, &site.token);
    service
        .status_when("both signed", |s| s["certificates_issued"] == 2)
        .await;
    service.ask(&["ban", NODE]);
    service.ask(&["quarantine", APPROVED]);
    service.ask(&["approve", APPROVED]);

    // The one is tried at once with a new key, the other gets nothing.
    let show = service
        .show_when(APPROVED, |s| s["state"] == "confirmed")
        .await;
    assert!(show["certificate"]["serial"].is_string(), "{show:#}");
    assert_eq!(
        service.ask(&["status"])["certificates_issued"],
        3,
        "{show:#}"
    );
    let held = format!("held by the ledger node={NODE} step=configure state=banned");
    assert!(service.log().contains(&held));
    assert_eq!(service.ask(&["show", NODE])["state"], "banned");
    let sent = swarm.file(NODE, "ssl/certificate.pem");
    assert_eq!(sent, None, "nothing was sent to it");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_audit_nothing_is_issued() {
    let site = Site::start();
    // More than any disk has.
    let config = site.config("[audit]\nreserve_mib = 1048576\n");
    let mut service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let status = service
        .status_when("a reason", |s| {
            s["missing"].to_string().contains("audit.unavailable")
        })
        .await;
    assert_eq!(status["ready"], false);
    service
        .metrics_when(|text| {
            !text.contains("provisioner_dropped_total{code=\"audit.unavailable\"} 0\n")
        })
        .await;
    assert_eq!(service.ask(&["status"])["certificates_issued"], 0);
    assert_eq!(service.stop().await, 0);

    // There is room again: the same ledger goes on.
    let service = Provisioner::start(&site.config(""));
    service.show_when(NODE, |s| s["state"] == "confirmed").await;
    let verdict = service.ask(&["audit", "verify"]);
    assert_eq!(verdict["ok"], true, "{verdict:#}");
    let told =
        std::fs::read_to_string(site.path("state/audit/00000000000000000001.jsonl")).unwrap();
    for what in [
        "opened",
        "requested",
        "asked",
        "signed",
        "configured",
        "restarted",
        "confirmed",
        "checkpoint",
    ] {
        assert!(
            told.contains(&format!("\"what\":\"{what}\"")),
            "{what} is not in\n{told}"
        );
    }
}
