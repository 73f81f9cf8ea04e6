//! A small fleet onto mutual TLS by an authority whose key is in a token.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use openssl::x509::X509;

use crate::support::{Provisioner, Site, Swarm, assert_ok, provisioner};

const NODES: usize = 20;
const PIN: &str = "4711-geheim";

/// Enrols everybody, and counts who asked whom; the certificate of the first.
async fn enrols(site: &Site, service: &Provisioner, hook: &str) -> X509 {
    let mut swarm = Swarm::new();
    for n in 0..NODES {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }
    let all = NODES as u64;
    let status = service
        .status_when("all confirmed", |s| s["confirmed"] == all)
        .await;
    assert_eq!(status["certificates_issued"], all, "{status:#}");
    let counted = [
        format!("provisioner_hook_requests_total{{hook=\"{hook}\",outcome=\"issue\"}} {NODES}\n"),
        format!("provisioner_hook_request_duration_seconds_count{{hook=\"{hook}\"}} {NODES}\n"),
        format!("provisioner_hook_in_flight{{hook=\"{hook}\"}} 0\n"),
    ];
    service
        .metrics_when(|text| counted.iter().all(|line| text.contains(line)))
        .await;
    let chain = swarm.file("n0.example.net", "ssl/certificate.pem").unwrap();
    X509::from_pem(chain.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_token_enrols_a_small_fleet() {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    let Some(library) = places.into_iter().find(|path| Path::new(path).exists()) else {
        // Not by `eprintln`, which is only shown of tests that fail.
        let says = b"SKIPPED: SoftHSM is not installed (apt-get install softhsm2)\n";
        std::io::stderr().write_all(says).unwrap();
        return;
    };
    let site = Site::start();
    let (conf, tokens) = (site.path("softhsm2.conf"), site.path("tokens"));
    std::fs::create_dir(&tokens).unwrap();
    let settings = format!("directories.tokendir = {}\n", tokens.display());
    std::fs::write(&conf, settings).unwrap();
    std::fs::write(site.path("token.pin"), PIN).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "muster", "--pin", PIN])
        .args(["--so-pin", "12345678"])
        .env("SOFTHSM2_CONF", &conf)
        .output();
    assert_ok(&made.unwrap());
    let uri = format!("pkcs11:token=muster;object=enrolment-ca?module-path={library}");
    let root = ["--root", "given-root.pem", "--root-key", "given-root.key"];
    let made = provisioner()
        .args(["ca", "init", "--out", "token", "--name", "Token", "--key"])
        .args([&uri, "--key-pin-file", "token.pin"])
        .args(root)
        .env("SOFTHSM2_CONF", &conf)
        .current_dir(site.dir.path())
        .output();
    assert_ok(&made.unwrap());
    assert!(!site.path("token/intermediate.key").exists());

    let ca = format!(
        "[ca]\nkind = \"built-in\"\ncertificate = \"token/intermediate.pem\"\nkey = \"{uri}\"\n\
         key_pin_file = \"token.pin\"\nroots = \"ca.pem\"\n"
    );
    let config = site.config_with_ca(&ca, "");
    let conf = conf.to_str().unwrap();
    let service = Provisioner::start_with(&config, &[("SOFTHSM2_CONF", conf)]);
    let leaf = enrols(&site, &service, "built-in").await;
    let issuer = std::fs::read(site.path("token/intermediate.pem")).unwrap();
    let issuer = X509::from_pem(&issuer).unwrap();
    assert!(leaf.verify(&issuer.public_key().unwrap()).unwrap());
    assert!(!service.log().contains(PIN));
}
