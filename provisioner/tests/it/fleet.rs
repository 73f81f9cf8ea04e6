//! Two hundred nodes, some of them dead, and a kill in the middle.

use server_core::bus::Dialer;
use server_core::bus::nats::NatsDialer;

use crate::support::{Provisioner, Site, Swarm, announce, node_dial};

const NODES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_nodes_survive_a_kill() {
    let site = Site::start();
    let config = site.config("[limits]\nnodes = 64\n");
    let mut service = Provisioner::start(&config);
    service.status_when("ready", |s| s["ready"] == true).await;

    // Forty that announce themselves and never answer.
    let dial = node_dial(&site.provisioning.url(), "dead", &site.token);
    let link = NatsDialer::default().dial(dial).await.unwrap();
    for n in 0..NODES / 5 {
        announce(link.bus.as_ref(), &format!("dead{n}.example.net")).await;
    }
    let mut swarm = Swarm::new();
    for n in 0..NODES {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }

    service
        .status_when("a third signed", |s| {
            s["steps"]["sign"]["count"].as_u64() > Some(60)
        })
        .await;
    service.kill();
    let stopped = service.ask(&["status"]);
    assert_eq!(stopped["service"], "stopped");
    let service = Provisioner::start(&config);
    let all = NODES as u64;
    let status = service
        .status_when("all confirmed", |s| s["confirmed"] == all)
        .await;
    assert_eq!(status["keys_signed_twice"], 0, "{status:#}");
    assert_eq!(
        status["certificates_issued"], all,
        "no certificate was made in vain: {status:#}"
    );
    for n in 0..NODES {
        assert!(
            swarm
                .file(&format!("n{n}.example.net"), "ssl/certificate.pem")
                .is_some()
        );
    }
    let dead = service
        .show_when("dead0.example.net", |s| s["state"] == "parked")
        .await;
    assert_eq!(dead["code"], "rpc.timeout");
}

/// Prints what a node costs; run by hand, on a machine that does nothing else.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn what_a_thousand_nodes_cost() {
    let site = Site::start();
    let service = Provisioner::start(&site.config(""));
    service.status_when("ready", |s| s["ready"] == true).await;
    let before = service.cpu();
    let mut swarm = Swarm::new();
    for n in 0..1_000 {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }
    let status = service
        .status_when("all confirmed", |s| s["confirmed"] == 1_000)
        .await;
    let cost = (service.cpu() - before).as_secs_f64();
    println!("{cost:.2} ms of processor time a node");
    println!("{} to {}", status["first_event"], status["last_confirm"]);
    for (step, report) in status["steps"].as_object().unwrap() {
        println!("{step:<10} {}", report["latency_us"]);
    }
    println!("{}", status["errors"]);
}
