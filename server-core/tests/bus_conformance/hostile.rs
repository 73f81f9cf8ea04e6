//! Peers that are no brokers, or bad ones: every end is told, nothing grows.

use std::time::Duration;

use bytes::Bytes;
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{BusError, Dial, Dialer as _, Incoming, Link};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::network::{dial, within};

const INFO: &[u8] = b"INFO {\"max_payload\":1000}\r\n";

/// A peer that does `act` with every connection.
async fn peer<F>(act: impl Fn(TcpStream) -> F + Send + 'static) -> Dial
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(act(stream));
        }
    });
    let mut dial = dial(vec![server], "victim");
    dial.give_up_after = Some(1);
    dial.connect_timeout = Duration::from_secs(2);
    dial
}

/// Says `words` and listens on.
async fn say(mut stream: TcpStream, words: &'static [u8]) {
    let _ = stream.write_all(words).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// Completes the handshake as a broker would, then says `words` and listens on.
async fn greet(mut stream: TcpStream, words: Vec<u8>) {
    let _ = stream.write_all(INFO).await;
    let mut heard = Vec::new();
    while !heard.ends_with(b"PING\r\n") {
        if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _ = stream.write_all(b"PONG\r\n").await;
    let _ = stream.write_all(&words).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

async fn failure(dial: Dial) -> String {
    match within(SwarmDialer::default().dial(dial)).await {
        Err(BusError::GaveUp { last, .. }) => format!("{}: {last}", last.code()),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("connected"),
    }
}

#[tokio::test]
async fn no_broker_at_all() {
    let web = peer(|stream| say(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let told = failure(web).await;
    assert!(told.contains("is this a NATS broker"), "{told}");

    let gone = peer(|stream| async { drop(stream) }).await;
    let told = failure(gone).await;
    assert!(told.starts_with("bus.unreachable"), "{told}");

    let silent = peer(|stream| say(stream, b"")).await;
    let told = failure(silent).await;
    assert!(told.contains("no connection within 2s"), "{told}");

    static ENDLESS: [u8; 100_000] = [b'x'; 100_000];
    let endless = peer(|mut stream| async move {
        let _ = stream.write_all(b"INFO ").await;
        say(stream, &ENDLESS).await;
    })
    .await;
    let told = failure(endless).await;
    assert!(told.contains("a line is longer"), "{told}");

    let strict = peer(|stream| say(stream, b"INFO {\"tls_required\":true}\r\n")).await;
    let told = failure(strict).await;
    assert!(told.starts_with("bus.tls"), "{told}");

    let full = peer(|stream| {
        say(
            stream,
            b"INFO {}\r\n-ERR 'maximum connections exceeded'\r\n",
        )
    })
    .await;
    let told = failure(full).await;
    assert!(told.contains("maximum connections exceeded"), "{told}");
}

#[tokio::test]
async fn a_peer_that_only_pretends_to_speak_tls() {
    let mut liar = peer(|mut stream| async move {
        let _ = stream.write_all(b"INFO {\"tls_required\":true}\r\n").await;
        let _ = stream.read_u8().await;
        say(stream, b"this is no server hello, is it?").await;
    })
    .await;
    liar.tls = Some(server_core::trust::tls::anonymous());
    let told = failure(liar).await;
    assert!(told.starts_with("bus.tls"), "{told}");

    let mut hasty =
        peer(|stream| say(stream, b"INFO {\"tls_required\":true}\r\nMSG a 1 99\r\n")).await;
    hasty.tls = Some(server_core::trust::tls::anonymous());
    let told = failure(hasty).await;
    assert!(told.contains("in clear where TLS begins"), "{told}");
}

async fn after_hello(words: Vec<u8>) -> Link {
    let peer = peer(move |stream| greet(stream, words.clone())).await;
    within(SwarmDialer::default().dial(peer)).await.unwrap()
}

#[tokio::test]
async fn a_broker_that_loses_its_mind() {
    let mad: [&[u8]; 5] = [
        b"MSG a 1 1001\r\n",
        b"MSG a 1 99999999999999999999\r\n",
        b"MSG a 1 3\r\nabcdefg\r\n",
        b"HMSG a 1 9 3\r\nabc\r\n",
        b"INFO not json\r\n",
    ];
    for words in mad {
        let mut link = after_hello(words.to_vec()).await;
        assert_eq!(within(link.inbound.next()).await, Incoming::Disconnected);
    }
}

#[tokio::test]
async fn messages_nobody_asked_for_are_not_delivered() {
    let words = b"MSG a 77 3\r\nabc\r\n-ERR 'Permissions Violation for Subscription to \"x\"'\r\n\
                  MSG a 1 3\r\nyes\r\n";
    let peer = peer(|stream| greet(stream, words.to_vec())).await;
    let mut link = within(SwarmDialer::default().dial(peer)).await.unwrap();
    link.bus.subscribe("a", None).await.unwrap();
    match within(link.inbound.next()).await {
        Incoming::Message(message) => assert_eq!(message.payload, "yes"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_broker_that_stops_reading_costs_a_bounded_buffer() {
    let deaf = peer(|mut stream| async move {
        let _ = stream
            .write_all(b"INFO {\"max_payload\":1000000}\r\n")
            .await;
        let mut heard = Vec::new();
        while !heard.ends_with(b"PING\r\n") {
            if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let _ = stream.write_all(b"PONG\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let link = within(SwarmDialer::default().dial(deaf)).await.unwrap();
    let payload = Bytes::from(vec![0; 1_000_000]);
    let mut sent = 0;
    loop {
        let publishing = link.bus.publish("a", payload.clone());
        match tokio::time::timeout(Duration::from_millis(500), publishing).await {
            Ok(published) => published.unwrap(),
            Err(_) => break,
        }
        sent += 1;
        assert!(
            sent < 100,
            "a hundred megabytes wait for a broker that does not read"
        );
    }
    let flushing = tokio::time::timeout(Duration::from_millis(200), link.bus.flush()).await;
    assert!(flushing.is_err(), "nothing was flushed");
}
