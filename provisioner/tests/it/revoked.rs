//! Certificates of nodes that are gone: on the list within moments, judged by OpenSSL, and still
//! there after a kill.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Provisioner, Site, Swarm, assert_ok, provisioner, until};

const GONE: &str = "web1.example.net";
const STAYS: &str = "web2.example.net";

fn config(site: &Site) -> std::path::PathBuf {
    let ca = "[ca]\nkind = \"built-in\"\ncertificate = \"intermediate.pem\"\n\
              key = \"intermediate.key\"\nroots = \"ca.pem\"\n\
              [ca.crl]\nfile = \"ca.crl\"\nurl = \"http://127.0.0.1:9/ca.crl\"\n";
    site.config_with_ca(ca, "")
}

/// What OpenSSL says of a node's certificate with the list in hand.
fn verify(site: &Site, swarm: &Swarm, node: &str) -> String {
    let chain = swarm.file(node, "ssl/certificate.pem").unwrap();
    std::fs::write(site.path("chain.pem"), chain).unwrap();
    let done = Command::new("openssl")
        .args(["verify", "-x509_strict", "-crl_check", "-CAfile", "ca.pem"])
        .args(["-untrusted", "chain.pem", "-CRLfile", "ca.crl", "chain.pem"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    let says = [done.stdout, done.stderr].concat();
    String::from_utf8(says).unwrap()
}

/// The list as it is served.
fn fetch(address: &str) -> (String, Vec<u8>) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let request = format!("GET /ca.crl HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).unwrap(), body)
}

fn crl(config: &Path, args: &[&str]) -> (i32, Value) {
    let done = provisioner()
        .args(["ca", "crl", "--json", "--config"])
        .arg(config)
        .args(args)
        .output()
        .unwrap();
    let said = serde_json::from_slice(&done.stdout);
    let said = said.unwrap_or_else(|_| String::from_utf8_lossy(&done.stderr).into());
    (done.status.code().unwrap(), said)
}

fn number(list: &Value) -> u64 {
    list["number"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_gone_is_on_the_list() {
    let site = Site::start();
    let config = config(&site);
    let mut service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    for node in [GONE, STAYS] {
        swarm.add(node, &site.token);
    }
    for node in [GONE, STAYS] {
        service.show_when(node, |s| s["state"] == "confirmed").await;
        assert_eq!(verify(&site, &swarm, node), "chain.pem: OK\n");
    }
    let (good, first) = crl(&config, &[]);
    assert_eq!((good, &first["entries"]), (0, &0.into()), "{first:#}");

    let serial = service.ask(&["show", GONE])["certificate"]["serial"].clone();
    let told = service.ask(&["decommission", GONE, "--reason", "end of lease"]);
    assert_eq!(
        told["revoked"],
        Value::from(vec![serial.clone()]),
        "{told:#}"
    );
    let listed = until("the list", || {
        Some(crl(&config, &[])).filter(|(good, _)| *good == 0)
    })
    .await;
    assert_eq!(listed.1["revoked"][0]["serial"], serial);
    assert_eq!(listed.1["revoked"][0]["reason"], "cessation-of-operation");
    assert!(number(&listed.1) > number(&first));
    let said = verify(&site, &swarm, GONE);
    assert!(said.contains("certificate revoked"), "{said}");
    assert_eq!(verify(&site, &swarm, STAYS), "chain.pem: OK\n");

    // Whoever fetches it gets the same, in DER.
    let address = service.ask(&["status"])["http"]
        .as_str()
        .unwrap()
        .to_owned();
    let (head, body) = fetch(&address);
    assert!(
        head.contains("content-type: application/pkix-crl"),
        "{head}"
    );
    std::fs::write(site.path("fetched.der"), body).unwrap();
    let done = Command::new("openssl")
        .args([
            "crl",
            "-inform",
            "DER",
            "-in",
            "fetched.der",
            "-CAfile",
            "intermediate.pem",
        ])
        .args(["-noout", "-verify", "-text"])
        .current_dir(site.dir.path())
        .output()
        .unwrap();
    assert_ok(&done);
    let text = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    for line in ["verify OK", "Cessation Of Operation", "X509v3 CRL Number"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }

    // Killed in the moment it was told, it publishes what it was told all the same.
    service.ask(&["evict", STAYS, "--revoke=key-compromise"]);
    service.kill();
    let service = Provisioner::start(&config);
    let again = until("the list", || {
        Some(crl(&config, &[])).filter(|(good, _)| *good == 0)
    })
    .await;
    assert_eq!(again.1["entries"], 2, "{:#}", again.1);
    assert!(number(&again.1) > number(&listed.1));
    assert!(verify(&site, &swarm, STAYS).contains("certificate revoked"));
    let metric = "provisioner_list_until_seconds 1";
    service.metrics_when(|text| text.contains(metric)).await;
    let (done, issued) = crl(&config, &["--issue"]);
    assert_eq!(done, 0, "{issued:#}");
    assert!(number(&issued) > number(&again.1));
    drop(service);

    // By hand, with no service running.
    let (done, by_hand) = crl(&config, &["--issue"]);
    assert_eq!(done, 0, "{by_hand:#}");
    assert!(number(&by_hand) > number(&issued));
    let verdict = provisioner()
        .args(["audit", "verify", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_ok(&verdict);
    let told = std::fs::read_to_string(site.path("state/audit/00000000000000000001.jsonl"));
    assert_eq!(told.unwrap().matches("\"what\":\"revoked\"").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_list_what_any_of_them_was_told() {
    let site = Site::start_with_buckets();
    let member = |name: &str| {
        let ca = format!(
            "[ca]\nkind = \"built-in\"\ncertificate = \"intermediate.pem\"\n\
             key = \"intermediate.key\"\nroots = \"ca.pem\"\n[ca.crl]\nfile = \"{name}.crl\"\n"
        );
        let ledger = format!("[ledger]\nkind = \"shared\"\nmember = \"{name}\"\n");
        let text = std::fs::read_to_string(site.config_with_ca(&ca, &ledger)).unwrap();
        let text = text.replace("state_dir = \"state\"", &format!("state_dir = \"{name}\""));
        let file = site.path(&format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    };
    let (a, b) = (member("a"), member("b"));
    let (first, second) = (Provisioner::start(&a), Provisioner::start(&b));
    for service in [&first, &second] {
        service.status_when("ready", |s| s["ready"] == true).await;
    }
    let mut swarm = Swarm::new();
    swarm.add(GONE, &site.token);
    first.show_when(GONE, |s| s["state"] == "confirmed").await;
    second.ask(&["ban", GONE, "--reason", "stolen"]);
    let mut numbers = Vec::new();
    for config in [&a, &b] {
        let complete = |(good, list): &(i32, Value)| *good == 0 && list["entries"] == 1;
        let listed = until("the list", || Some(crl(config, &[])).filter(complete)).await;
        assert_eq!(listed.1["revoked"][0]["reason"], "privilege-withdrawn");
        numbers.push(number(&listed.1));
    }
    assert_ne!(numbers[0], numbers[1], "each list has a number of its own");
}
