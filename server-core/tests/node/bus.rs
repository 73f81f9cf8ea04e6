//! What every transport must do, run against the in-process broker and a real one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use server_core::bus::memory::MemoryNetwork;
use server_core::bus::nats::NatsDialer;
use server_core::bus::{BusError, Dial, DialLimit, Dialer, Incoming, Link, Reconnect};

use crate::support::{Broker, within};

const LIMIT: Duration = Duration::from_secs(15);

/// A network under test, and how to cut it.
enum Network {
    Memory(MemoryNetwork),
    Nats(Box<Broker>, NatsDialer),
}

impl Network {
    fn url(&self) -> String {
        match self {
            Self::Memory(_) => "nats://memory:4222".to_owned(),
            Self::Nats(broker, _) => broker.url(),
        }
    }

    fn dialer(&self) -> &dyn Dialer {
        match self {
            Self::Memory(network) => network,
            Self::Nats(_, dialer) => dialer,
        }
    }

    fn dial(&self) -> Dial {
        let soon = Duration::from_millis(20);
        let mut dial = Dial::new(vec![self.url()], "conformance");
        dial.reconnect = Reconnect::jitter(1, soon, soon, soon);
        dial
    }

    async fn link(&self) -> Link {
        self.link_with(|_| {}).await
    }

    async fn link_with(&self, change: impl FnOnce(&mut Dial)) -> Link {
        let mut dial = self.dial();
        change(&mut dial);
        within("dial", LIMIT, self.dialer().dial(dial))
            .await
            .unwrap()
    }

    fn set_down(&mut self, down: bool) {
        let url = self.url();
        match self {
            Self::Memory(network) => network.set_down(&url, down),
            Self::Nats(broker, _) if down => broker.kill(),
            Self::Nats(broker, _) => broker.revive(),
        }
    }
}

fn memory() -> Network {
    Network::Memory(MemoryNetwork::new())
}

fn nats() -> Network {
    Network::Nats(
        Box::new(Broker::plain()),
        NatsDialer::new(DialLimit::new(4)),
    )
}

async fn next(link: &mut Link) -> Incoming {
    within("next", LIMIT, link.inbound.next()).await
}

async fn text(link: &mut Link) -> (String, String) {
    match next(link).await {
        Incoming::Message(message) => {
            let payload = String::from_utf8(message.payload.to_vec()).unwrap();
            (message.subject, payload)
        }
        other => panic!("expected a message, got {other:?}"),
    }
}

async fn publish(link: &Link, subject: &str, payload: &str) {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    link.bus.publish(subject, payload).await.unwrap();
}

/// A pair of parties; the second has subscribed to `mark`, with which the first proves that all before
/// it was delivered or never will be.
async fn pair(network: &Network) -> (Link, Link) {
    let (one, two) = (network.link().await, network.link().await);
    two.bus.subscribe("mark", None).await.unwrap();
    two.bus.flush().await.unwrap();
    (one, two)
}

/// Waits until the broker has taken what `link` sent: its own echo comes back.
async fn settled(link: &mut Link) {
    let id = link.bus.subscribe("settled", None).await.unwrap();
    publish(link, "settled", "x").await;
    assert_eq!(text(link).await.0, "settled");
    link.bus.unsubscribe(id);
}

async fn delivers_in_order_to_who_subscribed(network: &Network) {
    let (mut one, mut two) = pair(network).await;
    for subject in ["a.b", "w.*.x", "all.>"] {
        two.bus.subscribe(subject, None).await.unwrap();
    }
    two.bus.subscribe("a.b", None).await.unwrap();
    settled(&mut two).await;
    settled(&mut one).await;
    publish(&one, "nobody", "lost").await;
    publish(&one, "w.1.x", "w").await;
    publish(&one, "w.1.2.x", "no").await;
    publish(&one, "all.1.2", "all").await;
    publish(&one, "all", "no").await;
    publish(&one, "mark", "").await;
    let mut got = Vec::new();
    while got.last().is_none_or(|(subject, _)| subject != "mark") {
        got.push(text(&mut two).await);
    }
    got.sort();
    let subjects: Vec<_> = got.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["all.1.2", "mark", "w.1.x"]);

    for number in 0..50 {
        publish(&one, "a.b", &number.to_string()).await;
    }
    let mut seen = vec![0u32; 50];
    for _ in 0..100 {
        let number: usize = text(&mut two).await.1.parse().unwrap();
        seen[number] += 1;
    }
    assert!(
        seen.iter().all(|times| *times == 2),
        "one copy per subscription: {seen:?}"
    );
}

async fn keeps_the_order_of_one_subscription(network: &Network) {
    let (mut one, mut two) = pair(network).await;
    two.bus.subscribe("a", None).await.unwrap();
    settled(&mut two).await;
    settled(&mut one).await;
    for number in 0..200 {
        publish(&one, "a", &number.to_string()).await;
        if number % 100 == 99 {
            for expected in number - 99..=number {
                assert_eq!(text(&mut two).await.1, expected.to_string());
            }
        }
    }
}

async fn shares_within_a_queue_group(network: &Network) {
    let (mut one, mut two) = pair(network).await;
    let mut three = network.link().await;
    for link in [&mut two, &mut three] {
        link.bus.subscribe("work", Some("workers")).await.unwrap();
        link.bus.subscribe("done", None).await.unwrap();
        settled(link).await;
    }
    for number in 0..40 {
        publish(&one, "work", &number.to_string()).await;
    }
    publish(&one, "done", "").await;
    settled(&mut one).await;
    let mut numbers = Vec::new();
    for link in [&mut two, &mut three] {
        let mut waiting = true;
        // Subscriptions of one party may be read in any order: take what is there.
        while let Ok(Incoming::Message(message)) =
            tokio::time::timeout(Duration::from_millis(300), link.inbound.next()).await
        {
            match message.subject.as_str() {
                "work" => numbers.push(String::from_utf8(message.payload.to_vec()).unwrap()),
                _ => waiting = false,
            }
        }
        assert!(!waiting);
    }
    numbers.sort_by_key(|number| number.parse::<u32>().unwrap());
    assert_eq!(numbers, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

async fn stops_at_unsubscribe(network: &Network) {
    let (mut one, mut two) = pair(network).await;
    let id = two.bus.subscribe("a", None).await.unwrap();
    settled(&mut two).await;
    publish(&one, "a", "1").await;
    assert_eq!(text(&mut two).await.1, "1");
    two.bus.unsubscribe(id);
    two.bus.unsubscribe(id);
    settled(&mut two).await;
    publish(&one, "a", "2").await;
    publish(&one, "mark", "").await;
    settled(&mut one).await;
    assert_eq!(text(&mut two).await.0, "mark");
}

async fn refuses_what_no_broker_takes(network: &Network) {
    let link = network.link().await;
    for bad in ["", "a..b", "a b", "a.*", ">", "a\r\nb"] {
        let error = link.bus.publish(bad, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, BusError::Subject(_)), "{bad:?}: {error}");
    }
    for bad in ["", "a..b", "a b", "a.>.b"] {
        let error = link.bus.subscribe(bad, None).await.unwrap_err();
        assert_eq!(error.code(), "bus.subject", "{bad:?}");
    }
    let large = Bytes::from(vec![b'x'; 1024 * 1024 + 1]);
    let error = link.bus.publish("a", large.clone()).await.unwrap_err();
    assert!(
        matches!(
            error,
            BusError::TooLarge {
                limit: 1_048_576,
                ..
            }
        ),
        "{error}"
    );
    link.bus.publish("a", large.slice(1..)).await.unwrap();
    link.bus.flush().await.unwrap();
}

async fn reports_what_a_slow_reader_loses(network: &Network) {
    let mut one = network.link().await;
    let mut slow = network.link_with(|dial| dial.capacity = 8).await;
    slow.bus.subscribe("a", None).await.unwrap();
    slow.bus.flush().await.unwrap();
    settled(&mut slow).await;
    for number in 0..100 {
        publish(&one, "a", &number.to_string()).await;
    }
    settled(&mut one).await;
    let (mut got, mut lost) = (0, 0);
    while got + lost < 100 {
        match next(&mut slow).await {
            Incoming::Message(_) => got += 1,
            Incoming::Slow { dropped } => lost += dropped,
            other => panic!("{other:?}"),
        }
    }
    // The reader may have been given some while others were still coming.
    assert!(lost > 0 && got >= 8, "{got} read, {lost} lost");
    assert_eq!(slow.bus.stats().dropped, lost);
}

async fn closes_for_good(network: &Network) {
    let (mut one, mut two) = pair(network).await;
    two.bus.subscribe("a", None).await.unwrap();
    settled(&mut two).await;
    publish(&one, "a", "last words").await;
    one.bus.flush().await.unwrap();
    let stats = one.bus.stats();
    assert_eq!(
        (stats.out_msgs, stats.out_bytes >= 10, stats.attempts),
        (1, true, 1)
    );
    one.bus.close().await;
    one.bus.close().await;
    assert_eq!(text(&mut two).await.1, "last words");
    while next(&mut one).await != Incoming::Closed {}
    assert_eq!(next(&mut one).await, Incoming::Closed);
    let error = one.bus.publish("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, BusError::Closed), "{error}");
    assert!(one.bus.subscribe("a", None).await.is_err());
}

async fn comes_back_after_a_loss(network: &mut Network) {
    let mut one = network.link().await;
    one.bus.subscribe("a", None).await.unwrap();
    settled(&mut one).await;
    assert_eq!(one.bus.server(), network.url());
    network.set_down(true);
    assert_eq!(next(&mut one).await, Incoming::Disconnected);
    let error = one.bus.publish("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(error, BusError::Disconnected), "{error}");
    assert_eq!(one.bus.server(), "unknown");
    network.set_down(false);
    let server = network.url();
    assert_eq!(next(&mut one).await, Incoming::Connected { server });
    publish(&one, "a", "again").await;
    assert_eq!(text(&mut one).await.1, "again");
    let stats = one.bus.stats();
    assert_eq!(stats.reconnects, 1);
}

async fn gives_up_when_told_to(network: &mut Network) {
    network.set_down(true);
    let mut dial = network.dial();
    dial.give_up_after = Some(3);
    let failed = within("give up", LIMIT, network.dialer().dial(dial)).await;
    let Err(error) = failed else {
        panic!("connected to a broker that is down")
    };
    assert!(
        matches!(&error, BusError::GaveUp { attempts: 3, .. }),
        "{error}"
    );
    let dial = network.dial();
    let url = network.url();
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        network.set_down(false);
        network
    };
    // Without a limit it keeps trying until there is a broker.
    let dialer: Arc<dyn Dialer> = match &*url {
        "nats://memory:4222" => {
            later.await;
            return;
        }
        _ => Arc::new(NatsDialer::default()),
    };
    let (link, _) = tokio::join!(within("dial", LIMIT, dialer.dial(dial)), later);
    assert!(link.unwrap().bus.stats().attempts > 1);
}

async fn conforms(mut network: Network) {
    delivers_in_order_to_who_subscribed(&network).await;
    keeps_the_order_of_one_subscription(&network).await;
    shares_within_a_queue_group(&network).await;
    stops_at_unsubscribe(&network).await;
    refuses_what_no_broker_takes(&network).await;
    reports_what_a_slow_reader_loses(&network).await;
    closes_for_good(&network).await;
    comes_back_after_a_loss(&mut network).await;
    gives_up_when_told_to(&mut network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_network_conforms() {
    conforms(memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_broker_conforms() {
    conforms(nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_address_is_named_at_once() {
    let dialer = NatsDialer::default();
    for (server, code) in [
        ("ftp://h:1", "bus.address"),
        ("nats://", "bus.address"),
        ("tls://h:1", "bus.tls"),
    ] {
        let dialled = within(
            "dial",
            LIMIT,
            dialer.dial(Dial::new(vec![server.to_owned()], "x")),
        )
        .await;
        let Err(error) = dialled else {
            panic!("{server} connected")
        };
        assert_eq!(error.code(), code, "{server}: {error}");
        assert!(error.to_string().contains(server), "{error}");
    }
    let Err(error) = dialer.dial(Dial::new(Vec::new(), "x")).await else {
        panic!()
    };
    assert_eq!(error.code(), "bus.address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_as_such() {
    let broker = Broker::provisioning(&crate::authority::Authority::root());
    let mut dial = Dial::new(vec![broker.tls_url()], "x");
    dial.tls = Some(server_core::trust::tls::anonymous());
    dial.user = Some("node".to_owned());
    dial.password = Some("wrong".to_owned());
    dial.give_up_after = Some(1);
    let dialer = NatsDialer::default();
    let Err(error) = within("dial", LIMIT, dialer.dial(dial)).await else {
        panic!()
    };
    let BusError::GaveUp { last, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(last.code(), "bus.refused", "{error}");
}
