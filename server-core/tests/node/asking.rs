//! The client: what it finds, what it counts, and what it refuses to believe.

use std::time::Duration;

use serde_json::json;
use server_core::client::{Answered, Call, Connection, Discovery, DiscoveryEnd, FanOut, Route};
use server_core::wire::{Filter, Headers, Protocol, Reply, encode_reply};
use server_core::words::{Clock as _, SystemClock};

use crate::fleet::{Fleet, LIMIT, id};
use crate::support::within;

const WINDOW: Discovery = Discovery::Window {
    first: Duration::from_secs(2),
    gap: Duration::from_millis(200),
    max: Duration::from_secs(10),
};

fn round(fleet: &Fleet, count: usize, route: Route) -> FanOut {
    FanOut {
        call: Call::rpc("muster", "echo", json!({ "size": 256 })).unwrap(),
        targets: fleet.nodes(count),
        route,
        collect: Duration::from_secs(5),
        linger: Duration::from_millis(50),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_finds_all_by_window_and_says_so() {
    let fleet = Fleet::new(40, |_, _, _| {}).await;
    let all = fleet
        .client
        .discover(Filter::empty(), None, WINDOW)
        .await
        .unwrap();
    assert_eq!(
        (all.nodes.len(), all.end, all.complete()),
        (40, DiscoveryEnd::Quiet, true)
    );
    let some = Filter::empty().with_fact("number>=30").unwrap();
    let some = fleet
        .client
        .discover(some, Some("rpcutil"), WINDOW)
        .await
        .unwrap();
    assert_eq!(some.nodes.len(), 10);
    let fixed = Discovery::Fixed(Duration::from_millis(300));
    let fixed = fleet
        .client
        .discover(Filter::empty().with_identity("/^n1./"), None, fixed)
        .await
        .unwrap();
    assert_eq!(
        (fixed.nodes.len(), fixed.end, fixed.complete()),
        (10, DiscoveryEnd::Time, false)
    );
    let nobody = fleet
        .client
        .discover(
            Filter::empty(),
            Some("nosuch"),
            Discovery::Window {
                first: Duration::from_millis(50),
                gap: Duration::from_millis(50),
                max: Duration::from_secs(1),
            },
        )
        .await
        .unwrap();
    assert_eq!((nobody.nodes.len(), nobody.last), (0, None));
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_count_every_node_on_both_routes_and_end_early() {
    let fleet = Fleet::new(50, |_, _, _| {}).await;
    for route in [Route::Broadcast, Route::Directed] {
        let begun = std::time::Instant::now();
        let report = fleet
            .client
            .fan_out(&round(&fleet, 50, route))
            .await
            .unwrap();
        let account = &report.account;
        assert!(
            account.is_complete(),
            "{route:?}: {:?}",
            account.missing().collect::<Vec<_>>()
        );
        let counted = (
            account.replies,
            account.duplicate,
            account.late,
            account.failed,
            account.unknown,
        );
        assert_eq!(counted, (50, 0, 0, 0, 0));
        assert!(begun.elapsed() < Duration::from_secs(4), "ended early");
        assert!(report.first <= report.last && report.last.is_some());
        assert_eq!((report.unsent, report.lost, report.refused), (0, 0, 0));
    }
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_failed_or_unknown_is_told_apart() {
    let fleet = Fleet::new(10, |_, _, _| {}).await;
    // Twelve are expected, ten exist.
    let mut directed = round(&fleet, 12, Route::Directed);
    directed.collect = Duration::from_millis(400);
    let report = fleet.client.fan_out(&directed).await.unwrap();
    let missing: Vec<_> = report.account.missing().map(ToString::to_string).collect();
    assert_eq!(
        (report.account.replies, missing),
        (10, vec!["n10".to_owned(), "n11".to_owned()])
    );
    let mut heard = Vec::new();
    let broadcast = round(&fleet, 8, Route::Broadcast);
    let report = fleet
        .client
        .fan_out_with(&broadcast, |_, answered| heard.push(answered))
        .await
        .unwrap();
    assert!(report.account.is_complete());
    assert_eq!(
        heard
            .iter()
            .filter(|one| **one == Answered::Expected)
            .count(),
        8
    );
    assert_eq!(
        report.account.unknown as usize,
        heard.len() - 8,
        "two were not asked"
    );
    let mut failing = round(&fleet, 10, Route::Broadcast);
    failing.call = Call::rpc("muster", "work", json!({ "fail_ratio": 1.0 })).unwrap();
    let report = fleet.client.fan_out(&failing).await.unwrap();
    assert_eq!((report.account.replies, report.account.failed), (10, 10));
    let mut slow = round(&fleet, 10, Route::Broadcast);
    slow.call = Call::rpc("muster", "work", json!({ "delay": 300 })).unwrap();
    (slow.collect, slow.linger) = (Duration::from_millis(100), Duration::from_secs(2));
    let report = fleet.client.fan_out(&slow).await.unwrap();
    assert_eq!((report.account.replies, report.account.late), (0, 10));
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_must_be_for_the_request_and_of_one_sender() {
    let fleet = Fleet::empty().await;
    let request = fleet.client.prepare(&Call::ping()).unwrap();
    let mut replies = fleet.client.listen(&request, 16).await.unwrap();
    let forge = |id: &str, sender: &str, host: Option<&str>| {
        let reply = Reply {
            request_id: id.to_owned(),
            sender: sender.to_owned(),
            agent: "discovery".to_owned(),
            time: SystemClock.unix(),
            payload: "pong".into(),
        };
        let headers = Headers {
            sender: host.map(str::to_owned),
            ..Headers::default()
        };
        encode_reply(&reply, Protocol::V1, &headers).unwrap()
    };
    let foreign = "0".repeat(32);
    for forged in [
        forge(&foreign, "n1", Some("n1")),
        forge(&request.id, "n1", Some("n2")),
        forge(&request.id, "n 1", None),
        bytes::Bytes::from_static(b"no reply"),
    ] {
        fleet
            .client
            .publish_raw(&request.reply_to, forged)
            .await
            .unwrap();
    }
    let honest = forge(&request.id, "n1", None);
    fleet
        .client
        .publish_raw(&request.reply_to, honest)
        .await
        .unwrap();
    let reply = within("reply", LIMIT, replies.next()).await.unwrap();
    assert_eq!((reply.sender, replies.refused()), (id(1), 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_and_comes_back() {
    let fleet = Fleet::new(3, |_, _, _| {}).await;
    let mut state = fleet.client.connection();
    assert!(matches!(&*state.borrow(), Connection::Up { count: 1, .. }));
    fleet.network.set_down(crate::fleet::BROKER, true);
    within(
        "down",
        LIMIT,
        state.wait_for(|now| *now == Connection::Down),
    )
    .await
    .unwrap();
    fleet.network.set_down(crate::fleet::BROKER, false);
    within(
        "up",
        LIMIT,
        state.wait_for(|now| matches!(now, Connection::Up { count: 2, .. })),
    )
    .await
    .unwrap();
    let found = fleet
        .client
        .discover(Filter::empty(), None, WINDOW)
        .await
        .unwrap();
    assert_eq!(found.nodes.len(), 3, "subscriptions were restored");
    fleet.client.close().await;
    within(
        "closed",
        LIMIT,
        state.wait_for(|now| *now == Connection::Closed),
    )
    .await
    .unwrap();
    fleet.shutdown.cancel();
}
