//! What a connection costs: resident memory and time to connect, for both transports to real brokers,
//! in clear and under TLS, each in a process of its own.
//!
//! ```text
//! cargo run --release -p server-core --example connection_cost [CONNECTIONS [TLS-CONNECTIONS]]
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "a measurement: whatever goes wrong ends it"
)]

#[path = "../tests/bus_conformance/brokers.rs"]
mod brokers;
#[path = "../tests/bus_conformance/certificates.rs"]
mod certificates;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use server_core::bus::nats::NatsDialer;
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{Bus, Dial, DialLimit, Dialer, Incoming, Link, Reconnect};
use server_core::trust::tls;

use brokers::Broker;
use certificates::Authority;

/// Connections made before the measurement begins, so that what a process needs once is not counted.
const WARM_UP: usize = 64;
/// Messages every connection gets before the last measurement.
const BROADCASTS: usize = 10;
const SUBSCRIPTIONS: usize = 6;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("hold") => hold(&words[1..]),
        _ => compare(&words),
    }
}

/// Starts the brokers, then one process per row; each transport twice, in turn.
fn compare(words: &[String]) {
    let count = |at: usize, usual: usize| words.get(at).map_or(usual, |text| text.parse().unwrap());
    let (plain, secure) = (count(0, 5000), count(1, 2000));
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("ca.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let nothing = folder.path().join("none.pem");
    std::fs::write(&nothing, "").unwrap();
    println!("{SUBSCRIPTIONS} subscriptions each; kB of resident memory per connection");
    println!(
        "transport  security  connections  connect s  idle kB  after {BROADCASTS} messages kB"
    );
    for (security, connections) in [("plain", plain), ("tls", secure)] {
        for transport in ["swarm", "async-nats", "swarm", "async-nats"] {
            let broker = match security {
                "plain" => Broker::start(""),
                _ => Broker::with_tls(&authority, ""),
            };
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["hold", transport, &connections.to_string()]);
            match security {
                "plain" => child.arg(broker.url("nats")),
                _ => child.arg(broker.url("tls")).arg(&roots),
            };
            // Spares the client library the platform's root certificates at every handshake.
            let done = child.env("SSL_CERT_FILE", &nothing).output().unwrap();
            let told = String::from_utf8_lossy(&done.stdout);
            let why = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{transport} {security}: {why}");
            println!(
                "{transport:10} {security:9} {connections:11}  {}",
                told.trim_end()
            );
        }
    }
}

/// Holds connections and tells what they cost: `TRANSPORT COUNT URL [ROOTS]`.
#[tokio::main]
async fn hold(words: &[String]) {
    let count: usize = words[1].parse().unwrap();
    let dialer: Arc<dyn Dialer> = match words[0].as_str() {
        "swarm" => Arc::new(SwarmDialer::new(DialLimit::default())),
        _ => Arc::new(NatsDialer::new(DialLimit::default())),
    };
    let roots = words
        .get(3)
        .map(|path| std::fs::read_to_string(path).unwrap());
    let mut dial = Dial::new(vec![words[2].clone()], "cost");
    dial.connect_timeout = Duration::from_secs(60);
    dial.tls = roots.map(|pem| tls::server_verified(&pem).unwrap());
    let received = Arc::new(AtomicUsize::new(0));

    let speaker = connect(&dialer, &dial, &received, 0..WARM_UP).await;
    let before = resident();
    let begun = Instant::now();
    let all = WARM_UP + count;
    let _ = connect(&dialer, &dial, &received, WARM_UP..all).await;
    let took = begun.elapsed();
    let idle = resident() - before;

    for round in 1..=BROADCASTS {
        let payload = Bytes::from(vec![b'x'; 1024]);
        let subject = "mcollective.broadcast.agent.0";
        speaker.publish(subject, payload).await.unwrap();
        while received.load(Ordering::Relaxed) < (round + 1) * all {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let after = resident() - before;
    let per = |bytes: usize| bytes as f64 / 1000.0 / count as f64;
    let seconds = took.as_secs_f64();
    println!("{seconds:9.2}  {:7.2}  {:7.2}", per(idle), per(after));
    std::process::exit(0);
}

/// Connects the given nodes, a task for each; gives the bus of one of them back.
async fn connect(
    dialer: &Arc<dyn Dialer>,
    dial: &Dial,
    received: &Arc<AtomicUsize>,
    nodes: std::ops::Range<usize>,
) -> Arc<dyn Bus> {
    let ready = nodes.end;
    let mut dials = nodes
        .map(|node| {
            let mut dial = dial.clone();
            dial.name = format!("node-{node}.example.net");
            dial.reconnect = Reconnect::choria(node as u64);
            let (dialer, received) = (Arc::clone(dialer), Arc::clone(received));
            tokio::spawn(async move {
                let link = dialer.dial(dial).await.unwrap();
                for agent in 1..SUBSCRIPTIONS {
                    let subject = format!("mcollective.broadcast.agent.{}", agent - 1);
                    link.bus.subscribe(&subject, None).await.unwrap();
                }
                let own = format!("mcollective.node.node-{node}.example.net");
                link.bus.subscribe(&own, None).await.unwrap();
                // Comes back once the broker knows of all of them.
                link.bus.publish(&own, Bytes::new()).await.unwrap();
                let bus = Arc::clone(&link.bus);
                tokio::spawn(listen(link, received));
                bus
            })
        })
        .collect::<FuturesUnordered<_>>();
    let mut last = None;
    while let Some(bus) = dials.next().await {
        last = Some(bus.unwrap());
    }
    while received.load(Ordering::Relaxed) < ready {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    last.expect("at least one node")
}

async fn listen(mut link: Link, received: Arc<AtomicUsize>) {
    loop {
        match link.inbound.next().await {
            Incoming::Message(_) => {
                received.fetch_add(1, Ordering::Relaxed);
            }
            Incoming::Connected { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() * 1024
}
