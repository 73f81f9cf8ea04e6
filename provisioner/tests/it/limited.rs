//! Tokens for some nodes only, from the command that makes them to what stops the others.

use crate::support::{Provisioner, Site, Swarm, make_limited_token};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_node_lets_one_in_and_still_does_after_a_restart() {
    let site = Site::start();
    let config = site.config("");
    let mut service = Provisioner::start(&config);
    let url = site.provisioning.url();
    let once = make_limited_token(
        site.dir.path(),
        &url,
        &["--once", "--for", "web*.example.net"],
    );
    let mut swarm = Swarm::new();
    swarm.add("web1.example.net", &once);
    let first = service
        .show_when("web1.example.net", |s| s["state"] == "confirmed")
        .await;
    let told = first["history"].to_string();
    assert!(
        told.contains("for one node, for the name web*.example.net"),
        "{told}"
    );

    swarm.add("db1.example.net", &once);
    let other = service
        .show_when("db1.example.net", |s| s["state"] == "parked")
        .await;
    assert_eq!(other["code"], "token.scope", "{other:#}");
    service.kill();
    let service = Provisioner::start(&config);
    swarm.add("web2.example.net", &once);
    let second = service
        .show_when("web2.example.net", |s| s["state"] == "parked")
        .await;
    assert_eq!(second["code"], "token.used", "{second:#}");
    let says = second["says"].as_str().unwrap();
    assert!(says.contains("web1.example.net among them"), "{says}");
    assert_eq!(service.ask(&["status"])["certificates_issued"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_others_lets_no_other_key_in_under_an_enrolled_name() {
    let site = Site::start();
    let service = Provisioner::start(&site.config(""));
    let url = site.provisioning.url();
    let others = make_limited_token(site.dir.path(), &url, &["--for", "web*.example.net"]);
    let node = "db1.example.net";
    let mut swarm = Swarm::new();
    swarm.add(node, &site.token);
    let enrolled = service.show_when(node, |s| s["state"] == "confirmed").await;
    drop(swarm);
    let mut swarm = Swarm::new();
    swarm.add(node, &others);
    let show = service
        .show_when(node, |s| s["code"] == "token.scope")
        .await;
    // It could have come with the key that is enrolled, so it was asked for its request first.
    assert_eq!(show["step"], "csr", "{show:#}");
    let serial = &show["certificate"]["serial"];
    assert_eq!(serial, &enrolled["certificate"]["serial"]);
}
