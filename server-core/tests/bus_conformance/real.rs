//! Promises of the transports that speak to real brokers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use server_core::bus::{BusError, Incoming};
use server_core::trust::tls;

use crate::brokers::{Broker, free_port};
use crate::certificates::Authority;
use crate::network::{Network, dial, message, settle};

pub async fn unusable_addresses_are_refused_at_once(network: Network) {
    for server in ["", "http://127.0.0.1:1", "nats://", "nats://a:notaport"] {
        let refused = network.dialer.dial(dial(vec![server.into()], "x")).await;
        let code = refused.err().map(|error| error.code());
        assert_eq!(code, Some("bus.address"), "{server:?}");
    }
    let nowhere = network.dialer.dial(dial(Vec::new(), "x")).await;
    assert_eq!(nowhere.err().map(|error| error.code()), Some("bus.address"));
    let bare = dial(vec!["tls://127.0.0.1:1".into()], "x");
    let bare = network.dialer.dial(bare).await;
    assert_eq!(bare.err().map(|error| error.code()), Some("bus.tls"));
}

/// The code of the last failure of a dial that gave up.
fn last_code<T>(outcome: Result<T, BusError>) -> &'static str {
    match outcome {
        Err(BusError::GaveUp { last, .. }) => last.code(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("connected"),
    }
}

pub async fn credentials_decide_who_comes_in(network: Network) {
    let by_user = Broker::start("authorization { user: \"u\", password: \"p-w\" }");
    let by_token = Broker::start("authorization { token: \"s3cret\" }");
    let mut user = dial(vec![by_user.url("nats")], "by user");
    user.give_up_after = Some(1);
    assert_eq!(
        last_code(network.dialer.dial(user.clone()).await),
        "bus.refused"
    );
    user.user = Some("u".to_owned());
    user.password = Some("p-w".to_owned());
    settle(&mut network.dialer.dial(user.clone()).await.unwrap()).await;
    user.password = Some("wrong".to_owned());
    assert_eq!(last_code(network.dialer.dial(user).await), "bus.refused");

    let mut token = dial(vec![by_token.url("nats")], "by token");
    token.token = Some("s3cret".to_owned());
    settle(&mut network.dialer.dial(token).await.unwrap()).await;
}

pub async fn tls_holds_both_ways_and_through_a_restart(network: Network) {
    let authority = Authority::new();
    let mut broker = Broker::with_tls(&authority, "ca_file: \"ca.pem\", verify: true");
    let caller = authority.issue("caller");
    let mut secure = dial(vec![broker.url("tls")], "secure");
    secure.tls = Some(tls::mutual(&authority.pem(), &caller.certificate, &caller.key).unwrap());
    let mut link = network.dialer.dial(secure).await.unwrap();
    link.bus.subscribe("secret.>", None).await.unwrap();
    for round in 0..2 {
        for size in [0usize, 1, 300, 16_384, 70_000, 1024 * 1024] {
            let payload = Bytes::from((0..size).map(|at| at as u8).collect::<Vec<_>>());
            link.bus.publish("secret.x", payload.clone()).await.unwrap();
            assert!(message(&mut link).await.1 == payload, "{size} bytes");
        }
        // Small messages share records and reads.
        for number in 0..1000u32 {
            let payload = Bytes::from(number.to_string());
            link.bus.publish("secret.n", payload).await.unwrap();
        }
        for number in 0..1000u32 {
            assert_eq!(message(&mut link).await.1, number.to_string());
        }
        if round == 0 {
            broker.kill();
            assert_eq!(link.inbound.next().await, Incoming::Disconnected);
            broker.revive();
            let server = broker.url("tls");
            assert_eq!(link.inbound.next().await, Incoming::Connected { server });
        }
    }
    link.bus.close().await;
    assert_eq!(link.inbound.next().await, Incoming::Closed);
}

pub async fn certificates_decide_who_is_spoken_to(network: Network) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let open = Broker::with_tls(&authority, "");
    let mut anonymous = dial(vec![open.url("tls")], "anonymous");
    anonymous.give_up_after = Some(1);
    anonymous.tls = Some(tls::anonymous());
    settle(&mut network.dialer.dial(anonymous.clone()).await.unwrap()).await;
    anonymous.tls = Some(tls::server_verified(&authority.pem()).unwrap());
    settle(&mut network.dialer.dial(anonymous.clone()).await.unwrap()).await;
    anonymous.tls = Some(tls::server_verified(&stranger.pem()).unwrap());
    assert_eq!(
        last_code(network.dialer.dial(anonymous.clone()).await),
        "bus.tls"
    );
    anonymous.tls = None;
    anonymous.servers = vec![open.url("nats")];
    let bare = network.dialer.dial(anonymous.clone()).await;
    assert!(
        bare.is_err(),
        "a broker that requires TLS was spoken to without"
    );

    let closed = Broker::with_tls(&authority, "ca_file: \"ca.pem\", verify: true");
    let false_caller = stranger.issue("caller");
    anonymous.servers = vec![closed.url("tls")];
    let chain = (&false_caller.certificate, &false_caller.key);
    anonymous.tls = Some(tls::mutual(&authority.pem(), chain.0, chain.1).unwrap());
    assert_eq!(
        last_code(network.dialer.dial(anonymous.clone()).await),
        "bus.tls"
    );
    anonymous.servers = vec![network.server.clone()];
    let plain = network.dialer.dial(anonymous).await;
    assert!(plain.is_err(), "TLS was asked for and not had");
}

pub async fn the_other_configured_broker_takes_over(network: Network) {
    let mut brokers = [Broker::start(""), Broker::start("")];
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let mut servers: Vec<_> = brokers.iter().map(|broker| broker.url("nats")).collect();
    servers.push(nobody);
    let mut link = network.dialer.dial(dial(servers, "moving")).await.unwrap();
    link.bus.subscribe("here", None).await.unwrap();
    for _ in 0..4 {
        settle(&mut link).await;
        let here = link.bus.server();
        let at = brokers.iter().position(|broker| broker.url("nats") == here);
        let at = at.expect("one of the two");
        brokers[at].kill();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        let other = brokers[1 - at].url("nats");
        assert_eq!(
            link.inbound.next().await,
            Incoming::Connected { server: other }
        );
        link.bus.publish("here", Bytes::new()).await.unwrap();
        assert_eq!(message(&mut link).await.0, "here");
        brokers[at].revive();
    }
}

pub async fn the_first_address_comes_first_where_asked(network: Network) {
    let brokers = [Broker::start(""), Broker::start("")];
    let [one, other] = brokers.each_ref().map(|broker| broker.url("nats"));
    for seed in 0..6 {
        for servers in [[&one, &other], [&other, &one]] {
            let mut dial = dial(servers.map(Clone::clone).to_vec(), "in order");
            dial.reconnect = dial.reconnect.seeded(seed);
            dial.in_order = true;
            let link = network.dialer.dial(dial).await.unwrap();
            assert_eq!(link.bus.server(), *servers[0], "seed {seed}");
            link.bus.close().await;
        }
    }
}

pub async fn headers_of_others_are_not_part_of_a_message(network: Network) {
    let mut link = network.link("reader").await;
    link.bus.subscribe("with.headers", None).await.unwrap();
    settle(&mut link).await;
    let other = async_nats::connect(&network.server).await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Hop", "one");
    let payload = Bytes::from_static(b"body");
    let sent = other.publish_with_headers("with.headers", headers, payload);
    sent.await.unwrap();
    let asked = other.publish_with_reply("with.headers", "_INBOX.x", "asked".into());
    asked.await.unwrap();
    other.flush().await.unwrap();
    assert_eq!(message(&mut link).await.1, "body");
    let next = tokio::time::timeout(Duration::from_secs(5), message(&mut link)).await;
    assert_eq!(next.unwrap().1, "asked");
}

pub async fn a_broker_that_lags_hears_the_last_words(network: Network) {
    const SENT: u32 = 2000;
    let broker = Arc::new(Broker::start(""));
    let link = |name| network.dialer.dial(dial(vec![broker.url("nats")], name));
    let (sender, mut reader) = (link("sender").await.unwrap(), link("reader").await.unwrap());
    for link in [&sender, &reader] {
        link.bus.subscribe("last.words", None).await.unwrap();
    }
    settle(&mut reader).await;
    // It will hear them with the farewell behind them, while it answers what was said first.
    broker.signal(Signal::SIGSTOP);
    for number in 0..SENT {
        let payload = Bytes::from(format!("{number:0>500}"));
        sender.bus.publish("last.words", payload).await.unwrap();
    }
    let lag = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            broker.signal(Signal::SIGCONT);
        })
    };
    sender.bus.close().await;
    lag.await.unwrap();
    for number in 0..SENT {
        assert_eq!(message(&mut reader).await.1, format!("{number:0>500}"));
    }
}
