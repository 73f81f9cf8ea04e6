//! The whole road, and a kill in the middle of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use server_core::bus::nats::NatsDialer;
use server_core::bus::{Dialer as _, Incoming};

use crate::support::{Provisioner, Site, Swarm, announce, assert_ok, node_dial};

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

/// No node in provisioning mode can verify a request, so none is signed; where the site's own nodes do,
/// every one is.
#[tokio::test(flavor = "multi_thread")]
async fn only_who_can_verify_is_sent_signatures() {
    let site = Site::start();
    let config = site.config("");
    assert_eq!(shown_to_a_node(&site, &config).await, "insecure");
    let text = std::fs::read_to_string(&config).unwrap();
    let section = "[network.provisioning]\n";
    let signed = text.replace(section, &format!("{section}signed = true\n"));
    assert_ne!(signed, text);
    std::fs::write(&config, signed).unwrap();
    let shown = shown_to_a_node(&site, &config).await;
    assert!(shown.starts_with("-----BEGIN CERTIFICATE-----"), "{shown}");
}

/// What the first request to a node shows as the caller's certificate.
async fn shown_to_a_node(site: &Site, config: &Path) -> String {
    let _service = Provisioner::start(config);
    let dial = node_dial(&site.provisioning.url(), NODE, &site.token);
    let mut link = NatsDialer::default().dial(dial).await.unwrap();
    let subject = format!("provisioning.node.{NODE}");
    link.bus.subscribe(&subject, None).await.unwrap();
    let request = async {
        loop {
            announce(link.bus.as_ref(), NODE).await;
            let next = tokio::time::timeout(Duration::from_secs(1), link.inbound.next()).await;
            if let Ok(Incoming::Message(message)) = next {
                return message.payload;
            }
        }
    };
    let request = tokio::time::timeout(Duration::from_secs(30), request).await;
    let transport: Value = serde_json::from_slice(&request.unwrap()).unwrap();
    let secure = STANDARD
        .decode(transport["data"].as_str().unwrap())
        .unwrap();
    let secure: Value = serde_json::from_slice(&secure).unwrap();
    secure["pubcert"].as_str().unwrap().to_owned()
}
