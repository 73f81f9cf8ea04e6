//! Streams that are shared with others: the events it tells, and the election it stands in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use futures::StreamExt as _;
use serde_json::Value;

use crate::support::{Provisioner, Site, Swarm, until};

const STREAM: &str = "PROVISIONER";

/// JetStream of the production network, as another program of the site sees it.
async fn outsider(site: &Site) -> jetstream::Context {
    let read = |name: &str| std::fs::read_to_string(site.path(name)).unwrap();
    let tls = server_core::trust::tls::mutual(
        &read("ca.pem"),
        &read("provisioner.mcollective.pem"),
        &read("provisioner.mcollective.key"),
    );
    let options = async_nats::ConnectOptions::new()
        .tls_client_config(tls.unwrap().as_ref().clone())
        .require_tls(true)
        .retry_on_initial_connect();
    jetstream::new(options.connect(site.production.url()).await.unwrap())
}

/// The lines of the audit log, by their hash.
fn log(dir: &Path) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    for file in std::fs::read_dir(dir.join("audit")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|end| end != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let read: Value = serde_json::from_str(line).unwrap();
            lines.insert(read["hash"].as_str().unwrap().to_owned(), line.to_owned());
        }
    }
    lines
}

/// Everything in the stream, in its order.
async fn told(jetstream: &jetstream::Context) -> Vec<(String, Vec<u8>)> {
    let mut stream = jetstream.get_stream(STREAM).await.unwrap();
    let count = stream.info().await.unwrap().state.messages;
    let consumer = stream
        .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
        .await
        .unwrap();
    let messages = consumer.messages().await.unwrap();
    let messages = messages.take(usize::try_from(count).unwrap());
    messages
        .map(|message| message.unwrap())
        .map(|message| (message.subject.to_string(), message.payload.to_vec()))
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_told_the_whole_log_once_through_kills_and_a_lost_broker() {
    const NODES: usize = 6;
    let mut site = Site::start_with_buckets();
    let config = site.config("[events]\nstream = \"PROVISIONER\"\n");
    let mut service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    for n in 0..NODES / 2 {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }
    let all = |n: usize| move |status: &Value| status["confirmed"] == n;
    service.status_when("the first half", all(NODES / 2)).await;
    // What is told a second time, because the place of the last was not written, is dropped.
    service.kill();
    let place = site.path("state/events.json");
    let _ = std::fs::remove_file(&place);
    let mut service = Provisioner::start(&config);
    service
        .status_when("to enrol and to tell", |s| {
            s["ready"] == true && s["events"]["told"].as_u64() > Some(0)
        })
        .await;
    site.production.kill();
    for n in NODES / 2..NODES {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }
    service
        .status_when("to say that it cannot", |s| {
            s["events"]["trouble"].is_string()
        })
        .await;
    site.production.rise();
    service.status_when("all of them", all(NODES)).await;
    assert_eq!(service.stop().await, 0);
    // What was decided last is told by the next one.
    let mut service = Provisioner::start(&config);
    let state = site.path("state");
    let (_, log) = until("everything told", || {
        let (place, log) = (std::fs::read(&place).ok()?, log(&state));
        let place: Value = serde_json::from_slice(&place).unwrap();
        (place["seq"].as_u64()? == log.len() as u64).then_some((place, log))
    })
    .await;
    service.kill();

    let told = told(&outsider(&site).await).await;
    assert_eq!(told.len(), log.len(), "each line once");
    let mut prev = "0".repeat(64);
    for (seq, (subject, event)) in told.iter().enumerate() {
        let text = std::str::from_utf8(event).unwrap();
        let event: Value = serde_json::from_str(text).unwrap();
        let line = &event["data"];
        assert_eq!(
            (&event["specversion"], &event["id"]),
            (&"1.0".into(), &line["hash"])
        );
        assert_eq!(
            event["source"],
            "io.muster.provisioner/provisioner.mcollective"
        );
        assert_eq!(event["subject"], line["event"]["node"], "{text}");
        let what = line["event"]["what"].as_str().unwrap();
        assert_eq!(event["type"], format!("io.muster.provisioner.v1.{what}"));
        assert_eq!(*subject, format!("muster.provisioner.event.{what}"));
        assert!(
            text.contains(&log[line["hash"].as_str().unwrap()]),
            "byte for byte: {text}"
        );
        assert_eq!(
            (&line["seq"], &line["prev"]),
            (&(seq as u64 + 1).into(), &prev.into())
        );
        prev = line["hash"].as_str().unwrap().to_owned();
    }
    let signed = told
        .iter()
        .filter(|(subject, _)| subject.ends_with(".signed"));
    assert_eq!(signed.count(), NODES);
}

/// The bucket of elections, as an operator makes it.
async fn elections(jetstream: &jetstream::Context, ttl: Duration) -> kv::Store {
    let config = kv::Config {
        bucket: "CHORIA_LEADER_ELECTION".to_owned(),
        history: 1,
        max_age: ttl,
        ..kv::Config::default()
    };
    jetstream.create_key_value(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_lead_works_only_once_the_leader_is_gone() {
    const TTL: Duration = Duration::from_secs(4);
    let site = Site::start_with_buckets();
    let config = site.config("[election]\n[sweep]\ninterval = \"1s\"\n");
    let mut service = Provisioner::start(&config);
    service
        .status_when("to miss the bucket", |s| {
            let trouble = s["election"]["trouble"].as_str().unwrap_or_default();
            trouble.contains("CHORIA_LEADER_ELECTION")
        })
        .await;
    // Another leads, writing the key as the original does: created, then updated by its sequence.
    let bucket = elections(&outsider(&site).await, TTL).await;
    let mut held = bucket
        .create("provisioner", "other.example.net".into())
        .await
        .unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let rival = {
        let bucket = bucket.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = &mut stopped => return,
                    () = tokio::time::sleep(TTL / 8) => {}
                }
                let name = "other.example.net".into();
                held = bucket.update("provisioner", name, held).await.unwrap();
            }
        })
    };
    service
        .status_when("to know its leader", |s| {
            s["election"]["leader"] == "other.example.net" && s["election"]["leads"] == false
        })
        .await;
    let mut swarm = Swarm::new();
    swarm.add("web1.example.net", &site.token);
    // It is there, it has announced itself and answers: and nobody here takes it up.
    tokio::time::sleep(2 * TTL).await;
    let status = service.ask(&["status"]);
    assert_eq!(status["steps"]["arrive"]["count"], 0, "{status:#}");

    stop.send(()).unwrap();
    rival.await.unwrap();
    let status = service
        .status_when("to work", |s| s["confirmed"] == 1)
        .await;
    assert_eq!(status["election"]["leads"], true, "{status:#}");
    // Evicted, as `choria election evict` does it: it stands back, and wins again.
    bucket.delete("provisioner").await.unwrap();
    let own = "provisioner.mcollective";
    loop {
        match bucket.entry("provisioner").await.unwrap() {
            Some(entry) if entry.operation == kv::Operation::Put => {
                assert_eq!(entry.value, own);
                break;
            }
            _ => tokio::time::sleep(TTL / 40).await,
        }
    }
    service
        .status_when("to win over a mark of deletion", |s| {
            s["election"]["leads"] == true
        })
        .await;
    assert_eq!(service.stop().await, 0);
    // Who ends leaves the key to others at once.
    bucket
        .create("provisioner", "other.example.net".into())
        .await
        .unwrap();
}
