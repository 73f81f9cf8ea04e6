//! The whole road, and a kill in the middle of it.

use std::process::Command;

use crate::support::{Provisioner, Site, Swarm, assert_ok};

const NODE: &str = "web1.example.net";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_from_nothing_to_confirmed() {
    let site = Site::start();
    let mut service = Provisioner::start(&site.config(""));
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);

    let status = service
        .status_when("one confirmed node", |s| s["confirmed"] == 1)
        .await;
    assert_eq!(status["service"], "running");
    assert_eq!(status["ready"], true);
    assert_eq!(status["certificates_issued"], 1);
    assert_eq!(status["keys_signed_twice"], 0);
    for step in [
        "arrive",
        "queue",
        "inspect",
        "csr",
        "sign",
        "configure",
        "restart",
        "confirm",
    ] {
        assert_eq!(status["steps"][step]["count"], 1, "{step}: {status:#}");
    }

    let show = service.ask(&["show", NODE]);
    assert_eq!(show["state"], "confirmed");
    let chain = show["certificate"]["chain"].as_str().unwrap();
    assert_eq!(swarm.file(NODE, "ssl/certificate.pem").unwrap(), chain);
    openssl_accepts(&site, chain);

    assert_eq!(service.stop().await, 0, "{}", service.log());
    let stopped = service.ask(&["status"]);
    assert_eq!(stopped["service"], "stopped");
    assert_eq!(stopped["confirmed"], 1);
    assert_eq!(stopped["steps"]["confirm"], status["steps"]["confirm"]);
    let log = service.log();
    for secret in [
        crate::support::NODE_TOKEN,
        "change-me",
        "PRIVATE KEY",
        site.token.as_str(),
    ] {
        assert!(!log.contains(secret), "the log holds a secret");
    }
}

/// Another implementation follows the chain that was sent up to the root.
fn openssl_accepts(site: &Site, chain: &str) {
    let file = site.path("sent.pem");
    std::fs::write(&file, chain).unwrap();
    let done = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"])
        .arg(site.path("ca.pem"))
        .arg("-untrusted")
        .arg(&file)
        .arg(&file)
        .output()
        .unwrap();
    assert_ok(&done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_asked_and_signed_signs_the_same_again() {
    let site = Site::start();
    let config = site.config("");
    let mut service = Provisioner::start_with(&config, &[("PROVISIONER_TEST_HOLD", "asked=1h")]);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let asked = |show: &serde_json::Value| {
        let history = show["history"].as_array();
        history.is_some_and(|entries| entries.iter().any(|e| e["what"] == "asked"))
    };
    let before = service.show_when(NODE, asked).await;
    service.kill();

    let stopped = service.ask(&["show", NODE]);
    assert_eq!(
        stopped["history"], before["history"],
        "a second process reads what the kill left"
    );

    let service = Provisioner::start(&config);
    let status = service
        .status_when("one confirmed node", |s| s["confirmed"] == 1)
        .await;
    assert_eq!(status["certificates_issued"], 1);
    assert_eq!(status["keys_signed_twice"], 0);
    let show = service.ask(&["show", NODE]);
    let count = |what: &str, step: &str| {
        let history = show["history"].as_array().unwrap();
        history
            .iter()
            .filter(|e| e["what"] == what && e["step"] == step)
            .count()
    };
    assert_eq!(
        count("asked", "sign"),
        1,
        "the recorded bytes were signed, nothing was asked anew"
    );
    assert_eq!(count("done", "sign"), 1);
    assert!(swarm.file(NODE, "ssl/certificate.pem").is_some());
}
