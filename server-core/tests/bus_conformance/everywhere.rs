//! Promises of every transport.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use server_core::bus::{BusError, Incoming};

use crate::network::{Diary, Network, message, settle};

pub async fn messages_arrive_whole(network: Network) {
    let (sender, mut reader) = (network.link("sender").await, network.link("reader").await);
    reader.bus.subscribe("whole.*.>", None).await.unwrap();
    settle(&mut reader).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads: [&[u8]; 5] = [
        b"",
        b"\r\nMSG whole.a.b 1 3\r\nabc\r\nPING\r\n",
        &every_byte,
        &vec![7; 200_000],
        &vec![b'\n'; 1024 * 1024],
    ];
    for (at, payload) in payloads.iter().enumerate() {
        let subject = format!("whole.a.{at}");
        let payload = Bytes::copy_from_slice(payload);
        sender.bus.publish(&subject, payload.clone()).await.unwrap();
        let (heard, received) = message(&mut reader).await;
        assert_eq!(heard, subject);
        assert!(
            received == payload,
            "payload {at} of {} bytes",
            payload.len()
        );
    }
}

pub async fn order_is_kept(network: Network) {
    let (sender, mut reader) = (network.link("sender").await, network.link("reader").await);
    reader.bus.subscribe("order", None).await.unwrap();
    settle(&mut reader).await;
    for number in 0..2000u32 {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        sender.bus.publish("order", payload).await.unwrap();
    }
    sender.bus.flush().await.unwrap();
    for number in 0..2000u32 {
        assert_eq!(&message(&mut reader).await.1[..], number.to_be_bytes());
    }
}

pub async fn a_subscription_precedes_what_is_published_after_it(network: Network) {
    let mut link = network.link("both").await;
    for round in 0..50 {
        let subject = format!("echo.{round}");
        link.bus.subscribe(&subject, None).await.unwrap();
        link.bus.publish(&subject, Bytes::new()).await.unwrap();
        assert_eq!(message(&mut link).await.0, subject);
    }
}

pub async fn subscriptions_of_the_dial_are_there_from_the_start(mut network: Network) {
    let mut dial = network.dial("listener");
    dial.subscriptions = vec!["given.one".to_owned(), "given.two.*".to_owned()];
    let mut link = network.dialer.dial(dial).await.unwrap();
    let later = link.bus.subscribe("later", None).await.unwrap();
    for round in 0..2 {
        for subject in ["given.one", "given.two.x", "later"] {
            link.bus.publish(subject, Bytes::new()).await.unwrap();
            assert_eq!(message(&mut link).await.0, subject, "round {round}");
        }
        network.kill();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        network.revive();
        let server = network.server.clone();
        assert_eq!(link.inbound.next().await, Incoming::Connected { server });
    }
    link.bus.unsubscribe(later);
    for subject in ["later", "given.one"] {
        link.bus.publish(subject, Bytes::new()).await.unwrap();
    }
    assert_eq!(message(&mut link).await.0, "given.one");

    let mut dial = network.dial("mistaken");
    dial.subscriptions = vec!["not a subject".to_owned()];
    let refused = network.dialer.dial(dial).await.err();
    assert!(matches!(refused, Some(BusError::Subject(_))), "{refused:?}");
}

pub async fn a_queue_group_shares_and_others_get_everything(network: Network) {
    const SENT: usize = 300;
    let mut readers = Vec::new();
    for queue in [Some("group"), Some("group"), Some("other"), None] {
        let mut link = network.link("reader").await;
        link.bus.subscribe("work.>", queue).await.unwrap();
        settle(&mut link).await;
        readers.push((queue, link));
    }
    let sender = network.link("sender").await;
    for number in 0..SENT {
        let payload = Bytes::from(number.to_string());
        sender.bus.publish("work.item", payload).await.unwrap();
    }
    sender.bus.flush().await.unwrap();
    let (_, mut plain) = readers.pop().unwrap();
    let (_, mut alone) = readers.pop().unwrap();
    for number in 0..SENT {
        assert_eq!(message(&mut plain).await.1, number.to_string());
        assert_eq!(message(&mut alone).await.1, number.to_string());
    }
    let mut shared = BTreeSet::new();
    let mut members = readers.into_iter().map(|(_, link)| link);
    let (mut one, mut two) = (members.next().unwrap(), members.next().unwrap());
    while shared.len() < SENT {
        let (_, payload) = tokio::select! {
            heard = message(&mut one) => heard,
            heard = message(&mut two) => heard,
        };
        assert!(shared.insert(payload), "delivered twice");
    }
}

pub async fn an_ended_subscription_is_silent(network: Network) {
    let mut link = network.link("both").await;
    let id = link.bus.subscribe("gone", None).await.unwrap();
    let kept = link.bus.subscribe("kept", None).await.unwrap();
    assert_ne!(id, kept);
    settle(&mut link).await;
    link.bus.unsubscribe(id);
    link.bus.unsubscribe(id);
    settle(&mut link).await;
    link.bus.publish("gone", Bytes::new()).await.unwrap();
    link.bus.publish("kept", Bytes::new()).await.unwrap();
    assert_eq!(message(&mut link).await.0, "kept");
}

pub async fn misuse_is_refused_and_costs_nothing(network: Network) {
    let mut link = network.link("both").await;
    for subject in ["", "a b", "a..b", "a.*", "a.>", "a\r\nPUB x 0\r\n", "."] {
        let refused = link.bus.publish(subject, Bytes::new()).await.unwrap_err();
        assert!(
            matches!(refused, BusError::Subject(_)),
            "{subject:?}: {refused}"
        );
    }
    for subject in ["", "a b", "a..b", "a.>.b", "a\r\nSUB x 1"] {
        let refused = link.bus.subscribe(subject, None).await.unwrap_err();
        assert!(
            matches!(refused, BusError::Subject(_)),
            "{subject:?}: {refused}"
        );
    }
    let huge = Bytes::from(vec![0; 1024 * 1024 + 1]);
    let refused = link.bus.publish("a", huge).await.unwrap_err();
    assert!(
        matches!(
            refused,
            BusError::TooLarge {
                limit: 1_048_576,
                ..
            }
        ),
        "{refused}"
    );
    settle(&mut link).await;
    assert_eq!(link.bus.stats().reconnects, 0);
}

pub async fn what_was_published_before_closing_arrives(network: Network) {
    const SENT: u32 = 500;
    let (mut sender, mut reader) = (network.link("sender").await, network.link("reader").await);
    reader.bus.subscribe("last.words", None).await.unwrap();
    settle(&mut reader).await;
    // The sender has itself something unread when it closes.
    sender.bus.subscribe("last.words", None).await.unwrap();
    for number in 0..SENT {
        let payload = Bytes::from(number.to_string());
        sender.bus.publish("last.words", payload).await.unwrap();
    }
    sender.bus.close().await;
    sender.bus.close().await;
    for number in 0..SENT {
        assert_eq!(message(&mut reader).await.1, number.to_string());
    }
    while sender.inbound.next().await != Incoming::Closed {}
    assert_eq!(sender.inbound.next().await, Incoming::Closed);
    let refused = sender.bus.publish("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(refused, BusError::Closed), "{refused}");
    assert!(matches!(
        sender.bus.subscribe("a", None).await,
        Err(BusError::Closed)
    ));
    assert!(matches!(sender.bus.flush().await, Err(BusError::Closed)));
}

pub async fn a_slow_reader_loses_nothing_unseen(network: Network) {
    const SENT: u64 = 3000;
    let mut dial = network.dial("slow");
    dial.capacity = 16;
    let mut reader = network.dialer.dial(dial).await.unwrap();
    let mut sender = network.link("sender").await;
    reader.bus.subscribe("flood", None).await.unwrap();
    settle(&mut reader).await;
    for _ in 0..SENT {
        sender
            .bus
            .publish("flood", Bytes::from_static(&[0; 200]))
            .await
            .unwrap();
    }
    settle(&mut sender).await;
    let (mut received, mut lost) = (0, 0);
    while received + lost < SENT {
        let next = tokio::time::timeout(Duration::from_secs(3), reader.inbound.next()).await;
        match next {
            Ok(Incoming::Message(_)) => received += 1,
            Ok(Incoming::Slow { dropped }) => lost += dropped,
            Ok(other) => panic!("{other:?}"),
            Err(_) if !network.counts_every_loss && lost > 0 => break,
            Err(_) => panic!("{received} received and {lost} told as lost, of {SENT}"),
        }
    }
    assert_eq!(reader.bus.stats().dropped, lost);
}

pub async fn counters_and_address_tell_the_truth(network: Network) {
    let mut dial = network.dial("both");
    let diary = Arc::new(Diary::default());
    dial.progress = Some(Arc::clone(&diary) as _);
    let mut link = network.dialer.dial(dial).await.unwrap();
    assert_eq!(diary.told()[0], format!("attempt {}", network.server));
    assert_eq!(link.bus.server(), network.server);
    link.bus.subscribe("count", None).await.unwrap();
    for size in [0, 10, 100] {
        link.bus
            .publish("count", Bytes::from(vec![1; size]))
            .await
            .unwrap();
        message(&mut link).await;
    }
    let stats = link.bus.stats();
    assert_eq!(
        (stats.out_msgs, stats.out_bytes >= 110),
        (3, true),
        "{stats:?}"
    );
    assert_eq!(
        (stats.in_msgs, stats.in_bytes >= 110),
        (3, true),
        "{stats:?}"
    );
    assert_eq!((stats.attempts, stats.reconnects, stats.dropped), (1, 0, 0));
}

pub async fn a_lost_connection_comes_back_with_its_subscriptions(mut network: Network) {
    let mut link = network.link("both").await;
    link.bus.subscribe("before.>", Some("group")).await.unwrap();
    let ended = link.bus.subscribe("ended", None).await.unwrap();
    settle(&mut link).await;
    for round in 1..=3 {
        network.kill();
        assert_eq!(link.inbound.next().await, Incoming::Disconnected);
        let refused = link
            .bus
            .publish("before.x", Bytes::new())
            .await
            .unwrap_err();
        assert!(matches!(refused, BusError::Disconnected), "{refused}");
        assert!(matches!(
            link.bus.flush().await,
            Err(BusError::Disconnected)
        ));
        assert_eq!(link.bus.server(), "unknown");
        let meanwhile = format!("meanwhile.{round}");
        link.bus.subscribe(&meanwhile, None).await.unwrap();
        link.bus.unsubscribe(ended);
        network.revive();
        let server = network.server.clone();
        assert_eq!(link.inbound.next().await, Incoming::Connected { server });
        for subject in ["ended", "before.x", meanwhile.as_str()] {
            link.bus.publish(subject, Bytes::new()).await.unwrap();
        }
        assert_eq!(message(&mut link).await.0, "before.x");
        assert_eq!(message(&mut link).await.0, meanwhile);
        let stats = link.bus.stats();
        assert_eq!(stats.reconnects, round, "{stats:?}");
    }
}

pub async fn a_connection_closed_while_lost_stays_closed(mut network: Network) {
    let mut link = network.link("lost").await;
    link.bus.subscribe("a", None).await.unwrap();
    settle(&mut link).await;
    network.kill();
    assert_eq!(link.inbound.next().await, Incoming::Disconnected);
    link.bus.close().await;
    assert_eq!(link.inbound.next().await, Incoming::Closed);
    network.revive();
    let closed = link.bus.publish("a", Bytes::new()).await.unwrap_err();
    assert!(matches!(closed, BusError::Closed), "{closed}");
    assert_eq!(link.inbound.next().await, Incoming::Closed);
}

pub async fn nobody_there_ends_after_the_allowed_attempts(mut network: Network) {
    network.kill();
    let mut dial = network.dial("nobody");
    let diary = Arc::new(Diary::default());
    dial.progress = Some(Arc::clone(&diary) as _);
    dial.give_up_after = Some(3);
    let Err(BusError::GaveUp { attempts, last }) = network.dialer.dial(dial).await else {
        panic!("somebody answered");
    };
    assert_eq!((attempts, last.code()), (3, "bus.unreachable"));
    let attempt = format!("attempt {}", network.server);
    let failed = "failed bus.unreachable".to_owned();
    let expected: Vec<_> = [attempt, failed].into_iter().cycle().take(6).collect();
    assert_eq!(diary.told(), expected);
}
