//! What the transport for swarms promises beyond the others.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::signal::Signal;
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{DialLimit, Dialer as _, Incoming};
use server_core::trust::tls;

use crate::brokers::{Broker, free_port};
use crate::certificates::Authority;
use crate::network::{Diary, Network, dial, message, settle, within};

fn swarm() -> SwarmDialer {
    SwarmDialer::new(DialLimit::new(16))
}

#[tokio::test]
async fn pings_of_the_broker_are_answered() {
    let broker = Broker::start("ping_interval: \"300ms\"\nping_max: 1");
    let servers = vec![broker.url("nats")];
    let mut link = swarm().dial(dial(servers, "idle")).await.unwrap();
    let idle = tokio::time::timeout(Duration::from_secs(3), link.inbound.next()).await;
    assert!(idle.is_err(), "{idle:?}");
    settle(&mut link).await;
}

#[tokio::test]
async fn a_frozen_broker_is_noticed_and_met_again() {
    within(async {
        let broker = Broker::start("");
        let impatient = swarm().keep_alive(Duration::from_millis(200), 2);
        let mut dial = dial(vec![broker.url("nats")], "watchful");
        dial.connect_timeout = Duration::from_millis(500);
        let mut link = impatient.dial(dial).await.unwrap();
        settle(&mut link).await;
        let quiet = tokio::time::timeout(Duration::from_secs(2), link.inbound.next()).await;
        assert!(
            quiet.is_err(),
            "an idle broker that answers is kept: {quiet:?}"
        );
        broker.signal(Signal::SIGSTOP);
        let frozen = Instant::now();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        assert!(frozen.elapsed() < Duration::from_secs(5));
        broker.signal(Signal::SIGCONT);
        let server = broker.url("nats");
        assert_eq!(link.inbound.next().await, Incoming::Connected { server });
        settle(&mut link).await;
    })
    .await;
}

#[tokio::test]
async fn a_lame_duck_is_left_before_it_goes() {
    within(async {
        let brokers = [Broker::start(""), Broker::start("")];
        let servers: Vec<_> = brokers.iter().map(|broker| broker.url("nats")).collect();
        let mut link = swarm().dial(dial(servers, "mover")).await.unwrap();
        link.bus.subscribe("here", None).await.unwrap();
        settle(&mut link).await;
        let here = link.bus.server();
        let at = usize::from(brokers[1].url("nats") == here);
        brokers[at].signal(Signal::SIGUSR2);
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        let server = brokers[1 - at].url("nats");
        assert_eq!(link.inbound.next().await, Incoming::Connected { server });
        link.bus.publish("here", Bytes::new()).await.unwrap();
        assert_eq!(message(&mut link).await.0, "here");
        let stats = link.bus.stats();
        assert_eq!((stats.attempts, stats.reconnects), (2, 1));
    })
    .await;
}

/// Waits until a broker tells its clients of the other one.
fn wait_for_cluster(broker: &Broker, other: &Broker) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let wanted = format!(":{}\"", other.port());
    loop {
        let stream = TcpStream::connect(("127.0.0.1", broker.port())).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        if line.contains(&wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "no cluster: {line}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn brokers_learned_from_others_are_tried_when_the_configured_are_gone() {
    within(async {
        let route = free_port();
        let cluster = |listen: String, routes: String| {
            Broker::start(&format!(
                "cluster {{ name: \"c\", listen: \"127.0.0.1:{listen}\", {routes} }}"
            ))
        };
        let mut first = cluster(route.to_string(), String::new());
        let to_first = format!("routes: [\"nats-route://127.0.0.1:{route}\"]");
        let second = cluster(free_port().to_string(), to_first);
        wait_for_cluster(&first, &second);
        let mut link = swarm()
            .dial(dial(vec![first.url("nats")], "one"))
            .await
            .unwrap();
        settle(&mut link).await;
        first.kill();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        let server = second.url("nats");
        assert_eq!(link.inbound.next().await, Incoming::Connected { server });
        settle(&mut link).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_read_waits_with_the_network() {
    within(async {
        const SENT: usize = 20_000;
        let network = Network::swarm();
        let (mut reader, sender) = (network.link("slow").await, network.link("fast").await);
        reader.bus.subscribe("flood", None).await.unwrap();
        settle(&mut reader).await;
        for _ in 0..SENT {
            sender
                .bus
                .publish("flood", Bytes::from_static(&[1; 300]))
                .await
                .unwrap();
        }
        sender.bus.flush().await.unwrap();
        for _ in 0..SENT {
            assert_eq!(message(&mut reader).await.0, "flood");
        }
    })
    .await;
}

#[tokio::test]
async fn the_layers_of_a_handshake_are_timed_apart() {
    let authority = Authority::new();
    let broker = Broker::with_tls(&authority, "");
    let mut dial = dial(vec![broker.url("tls")], "timed");
    dial.tls = Some(tls::server_verified(&authority.pem()).unwrap());
    let diary = Arc::new(Diary::default());
    dial.progress = Some(Arc::clone(&diary) as _);
    let link = swarm().dial(dial).await.unwrap();
    assert_eq!(diary.told()[1], "connected tls=true");
    drop(link);
}

#[tokio::test]
async fn a_login_in_the_address_is_used_and_not_told() {
    within(async {
        let broker = Broker::start("authorization { user: \"u\", password: \"p\" }");
        let written = format!("nats://u:p@127.0.0.1:{}", broker.port());
        let mut link = swarm().dial(dial(vec![written], "x")).await.unwrap();
        settle(&mut link).await;
        assert_eq!(link.bus.server(), broker.url("nats"));
    })
    .await;
}

#[tokio::test]
async fn sources_are_spread_without_taking_ports() {
    let network = Network::swarm();
    let sources = ["127.0.0.7".parse().unwrap(), "127.0.0.8".parse().unwrap()];
    let dialer = swarm().sources(sources);
    let mut links = Vec::new();
    for number in 0..20 {
        let mut dial = network.dial("spread");
        dial.reconnect = dial.reconnect.seeded(number);
        links.push(dialer.dial(dial).await.unwrap());
    }
    let from = |address: &str| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table.lines().filter(|line| line.contains(address)).count()
    };
    assert!(from(" 0700007F:") > 0 && from(" 0800007F:") > 0);
    for link in &mut links {
        settle(link).await;
    }
}

#[tokio::test]
async fn giving_up_after_a_loss_closes_the_link() {
    within(async {
        let mut network = Network::swarm();
        let mut dial = network.dial("impatient");
        dial.give_up_after = Some(2);
        let mut link = network.dialer.dial(dial).await.unwrap();
        settle(&mut link).await;
        network.kill();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        assert_eq!(link.inbound.next().await, Incoming::Closed);
        assert_eq!(link.bus.stats().attempts, 3);
    })
    .await;
}

#[tokio::test]
async fn closing_while_dialling_ends_at_once() {
    within(async {
        let mut network = Network::swarm();
        let mut link = network.link("short").await;
        network.kill();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        let bus = Arc::clone(&link.bus);
        let (next, ()) = tokio::join!(link.inbound.next(), bus.close());
        assert_eq!(next, Incoming::Closed);
    })
    .await;
}

#[tokio::test]
async fn without_a_reader_there_is_no_connection() {
    let network = Network::swarm();
    let link = network.link("half").await;
    drop(link.inbound);
    assert!(link.bus.publish("a", Bytes::new()).await.is_err());
}
