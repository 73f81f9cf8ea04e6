//! Certificates renewed before they end: a small fleet that keeps its keys, a node that makes new
//! ones, and a stranger in the name of a node that was asked back and is gone.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::support::{Impostor, Manners, Provisioner, Site, Swarm, provisioner, until};

const FLEET: [&str; 4] = [
    "web1.example.net",
    "web2.example.net",
    "web3.example.net",
    "web4.example.net",
];
/// It makes a new key each time, as the original does.
const ROTATES: &str = "old1.example.net";
/// It dies, and another machine takes its name.
const GONE: &str = "gone1.example.net";

/// Ten minutes of life, renewed 18 to 24 s after the certificate was made.
fn config(site: &Site, more: &str) -> std::path::PathBuf {
    let ca = "[ca]\nkind = \"built-in\"\ncertificate = \"intermediate.pem\"\n\
              key = \"intermediate.key\"\nroots = \"ca.pem\"\nvalidity = \"10m\"\n\
              [ca.crl]\nfile = \"ca.crl\"\n";
    let renewal = format!("[renewal]\nleft = 97\nspread = 1\nwindow = \"3m\"\n{more}");
    site.config_with_ca(ca, &renewal)
}

fn entry<'s>(show: &'s Value, what: &str) -> Option<&'s Value> {
    let history = show["history"].as_array()?;
    history.iter().rev().find(|entry| entry["what"] == what)
}

fn time(entry: &Value) -> Timestamp {
    entry["at"].as_str().unwrap().parse().unwrap()
}

fn is_renewed(show: &Value) -> bool {
    show["state"] == "confirmed" && show["certificate"]["certificates_for_key"] == 2
}

/// Serial numbers on the published list, where nothing revoked is missing from that.
fn listed(config: &std::path::Path) -> Vec<Value> {
    let done = provisioner()
        .args(["ca", "crl", "--json", "--config"])
        .arg(config)
        .output()
        .unwrap();
    if !done.status.success() {
        return Vec::new();
    }
    let list: Value = serde_json::from_slice(&done.stdout).unwrap();
    let revoked = list["revoked"].as_array().unwrap();
    revoked.iter().map(|one| one["serial"].clone()).collect()
}

/// What OpenSSL says of a chain with the list in hand.
fn verdict(site: &Site, chain: &str) -> String {
    std::fs::write(site.path("chain.pem"), chain).unwrap();
    let done = Command::new("openssl")
        .args(["verify", "-x509_strict", "-crl_check", "-CAfile", "ca.pem"])
        .args(["-untrusted", "chain.pem", "-CRLfile", "ca.crl", "chain.pem"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    String::from_utf8([done.stdout, done.stderr].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_renewed_before_its_certificates_end() {
    let site = Site::start();
    let config = config(&site, "");
    let service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    for node in FLEET {
        swarm.add(node, &site.token);
    }
    swarm.add_with(ROTATES, &site.token, |config| config.keep_key = false);
    let mut mortal = Swarm::new();
    mortal.add(GONE, &site.token);
    let mut before = BTreeMap::new();
    for node in FLEET.into_iter().chain([ROTATES, GONE]) {
        let show = service.show_when(node, |s| s["state"] == "confirmed").await;
        before.insert(node, show["certificate"].clone());
    }
    let keys = FLEET.map(|node| swarm.file(node, "ssl/private.pem").unwrap());
    let overheard = mortal.file(GONE, "ssl/csr.pem").unwrap();
    drop(mortal);

    for (node, key) in FLEET.into_iter().zip(&keys) {
        let show = service.show_when(node, is_renewed).await;
        let (old, new) = (&before[node], &show["certificate"]);
        assert_ne!(old["serial"], new["serial"]);
        assert_eq!(old["key"], new["key"], "{node} keeps its key");
        assert_eq!(&swarm.file(node, "ssl/private.pem").unwrap(), key);
        let end: Timestamp = old["not_after"].as_str().unwrap().parse().unwrap();
        let (asked, seen) = (entry(&show, "renewal_asked"), entry(&show, "done"));
        let (asked, seen) = (time(asked.unwrap()), time(seen.unwrap()));
        assert!(seen < end, "renewed before its end");
        let away = Duration::try_from(seen.duration_since(asked)).unwrap();
        assert!(
            away < Duration::from_secs(30),
            "no longer away than for its restart: {away:?}"
        );
        assert!(entry(&show, "set_back").is_none(), "{show:#}");

        let chain = swarm.file(node, "ssl/certificate.pem").unwrap();
        assert_eq!(chain, new["chain"].as_str().unwrap());
        let serial = &old["serial"];
        until("the old certificate on the list", || {
            listed(&config).contains(serial).then_some(())
        })
        .await;
        assert_eq!(verdict(&site, &chain), "chain.pem: OK\n");
        let said = verdict(&site, old["chain"].as_str().unwrap());
        assert!(said.contains("certificate revoked"), "{said}");
    }

    // It would have to come with another key: not before somebody approves.
    let waits = |s: &Value| s["renews"]["waits"]["code"] == "renewal.approval";
    let show = service.show_when(ROTATES, waits).await;
    assert_eq!(
        (&show["state"], &show["attempts"]),
        (&"confirmed".into(), &1.into())
    );
    service.ask(&["approve", ROTATES, "--reason", "a new key is fine"]);
    let other_key =
        |s: &Value| s["state"] == "confirmed" && s["certificate"]["key"] != before[ROTATES]["key"];
    let show = service.show_when(ROTATES, other_key).await;
    assert!(entry(&show, "renewal_asked").is_some(), "{show:#}");

    // A stranger with its name and a good token comes in the time in which it is expected.
    let open = |s: &Value| s["renews"] == "open";
    service.show_when(GONE, open).await;
    let mut stranger = Swarm::new();
    stranger.add(GONE, &site.token);
    let show = service.show_when(GONE, |s| s["state"] == "parked").await;
    assert_eq!(show["code"], "identity.exists", "{show:#}");
    assert_eq!(
        show["renewal"]["lapsed"],
        Value::Null,
        "its renewal was open"
    );
    assert_eq!(show["certificate"]["serial"], before[GONE]["serial"]);
    assert_eq!(stranger.file(GONE, "ssl/certificate.pem"), None);
    drop(stranger);
    // And one who sends the very request the node was enrolled with.
    let manners = Manners {
        csr: Some(overheard),
        ..Manners::honest(&site, GONE)
    };
    let _impostor = Impostor::start(&site, GONE, manners).await;
    let unproven = |s: &Value| s["code"] == "csr.pop_failed";
    let show = service.show_when(GONE, unproven).await;
    assert_eq!(show["certificate"]["serial"], before[GONE]["serial"]);
    assert_eq!(show["renewal"]["lapsed"], Value::Null);
    assert_eq!(service.ask(&["status"])["keys_signed_twice"], 0);

    // Once the key is said to be stolen no certificate is made for it, although one would be due.
    service.ask(&["evict", GONE, "--revoke=key-compromise"]);
    service.ask(&["retry", GONE]);
    let stolen = |s: &Value| s["code"] == "key.revoked";
    let show = service.show_when(GONE, stolen).await;
    let signed = |entry: &&Value| entry["what"] == "done" && entry["step"] == "sign";
    let history = show["history"].as_array().unwrap();
    assert_eq!(history.iter().filter(signed).count(), 1, "{show:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_comes_in_where_that_is_accepted_or_approved_and_after_a_kill() {
    let site = Site::start();
    let config = config(&site, "new_key = \"accept\"\n");
    let mut service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    swarm.add_with(ROTATES, &site.token, |config| config.keep_key = false);
    swarm.add(FLEET[0], &site.token);
    let mut keys = Vec::new();
    for node in [ROTATES, FLEET[0]] {
        let show = service.show_when(node, |s| s["state"] == "confirmed").await;
        keys.push(show["certificate"]["key"].clone());
    }
    // One that keeps its key is told to make another once that was approved.
    service.ask(&["approve", FLEET[0], "--reason", "its key is to be changed"]);
    let asked = |s: &Value| entry(s, "renewal_asked").is_some();
    service.show_when(ROTATES, asked).await;
    service.kill();
    let service = Provisioner::start(&config);
    for (node, key) in [ROTATES, FLEET[0]].into_iter().zip(keys) {
        let other = |s: &Value| s["state"] == "confirmed" && s["certificate"]["key"] != key;
        let show = service.show_when(node, other).await;
        assert!(entry(&show, "renewal_asked").is_some(), "{show:#}");
        assert!(entry(&show, "set_back").is_none(), "{show:#}");
    }
    let status = service.ask(&["status"]);
    assert_eq!(
        (
            &status["keys_signed_twice"],
            &status["certificates_revoked"]
        ),
        (&0.into(), &2.into())
    );
}
