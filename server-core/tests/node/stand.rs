//! The fleet the messages were captured with, played by our nodes: every captured request is sent to
//! them, and they answer or stay silent as the originals did, but for the listed differences.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use server_core::bus::memory::MemoryNetwork;
use server_core::bus::{Dial, Dialer, Incoming, Link};
use server_core::client::{Call, Client, ClientConfig};
use server_core::events::{Event, EventKind};
use server_core::node::{Alive, MemoryStorage, Node, NodeConfig, Shared, Storage};
use server_core::trust::CertificateSigner;
use server_core::wire::rpc::RpcReply;
use server_core::wire::{Limits, decode_reply};
use server_core::words::{Clock, Collective, Identity, ManualClock, Shutdown, UnixTime};

use crate::behaviour;
use crate::load::{Capture, captures, servers, text};
use crate::support::within;

const LIMIT: Duration = Duration::from_secs(10);
const BROKER: &str = "nats://localhost:4232";

/// Captured answers our nodes give otherwise, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("rpc-scout-checks", "silent: no scout agent"),
    (
        "rpc-service-choria_registry-names",
        "silent: no registry agent",
    ),
    ("rpc-machine_state", "code 2: no autonomous agents yet"),
    ("rpc-machine_states", "code 2: no autonomous agents yet"),
    ("rpc-machine_transition", "code 2: no autonomous agents yet"),
    ("rpc-get_data-machine", "code 1: no such data source"),
    ("rpc-get_config_item", "the password is not told"),
];

/// Keys of captured data our nodes do not have: they are the original's language runtime.
const FOREIGN_KEYS: &[&str] = &["go_version", "goroutines"];

/// Hand-made requests our nodes treat otherwise: stricter, but for the last.
const STRICTER: &[(&str, usize, Option<u64>)] = &[
    ("caller alice@x", 0, None),
    ("caller \"choria=alice.mcollective extra\"", 0, None),
    ("compound true,true,false", 0, None),
    ("body duplicate keys", 1, Some(4)),
    ("body case-insensitive keys", 1, Some(4)),
    ("filter without agent key", 1, Some(0)),
];

/// Our nodes on a network in this process, a clock set by hand, and one who listens.
struct Stand {
    clock: Arc<ManualClock>,
    listener: Link,
    alice: Client,
    shutdown: Shutdown,
    marks: u64,
}

impl Stand {
    async fn new() -> Self {
        let network = MemoryNetwork::new();
        let clock = Arc::new(ManualClock::new(UnixTime::from_secs(1_795_396_000)));
        let shutdown = Shutdown::new();
        let shared = Shared::swarm(server_core::node::Verification::Shared);
        let mut listener = link(&network).await;
        listener
            .bus
            .subscribe("choria.lifecycle.event.>", None)
            .await
            .unwrap();
        for server in servers() {
            let mut config = NodeConfig::new(Identity::parse(server.identity).unwrap());
            config.alive = Alive {
                every: Duration::from_secs(3600),
                first: Some(Duration::from_secs(3600)),
            };
            let storage = MemoryStorage::new("/etc/fleet/v1");
            let write =
                |name: &str, text: &str| storage.write(name, text.as_bytes(), 0o600).unwrap();
            let key = |kind: &str| text(&format!("keys/{}.{kind}", server.identity));
            write(
                "server.conf",
                &format!(
                    "identity = {}\ncollectives = mcollective, eu_mcollective\n\
                plugin.choria.middleware_hosts = localhost:4232\nplugin.nats.pass = s3cret\n",
                    server.identity
                ),
            );
            write("ssl/private.pem", &key("key"));
            write("ssl/certificate.pem", &key("pem"));
            write("ssl/ca.pem", &text("keys/ca.pem"));
            write("classes.txt", &server.classes.join("\n"));
            write("facts.json", server.facts);
            for agent in ["rpcutil", "choria_util"] {
                let bob = if agent == "rpcutil" {
                    "allow\tchoria=bob.mcollective\tping\t*\t*\n"
                } else {
                    ""
                };
                write(
                    &format!("policies/{agent}.policy"),
                    &format!(
                        "policy default deny\nallow\tchoria=alice.mcollective\t*\t*\t*\n{bob}"
                    ),
                );
            }
            let node = Node::builder(config)
                .storage(Arc::new(storage))
                .dialer(Arc::new(network.clone()))
                .shared(Arc::clone(&shared))
                .clock(Arc::clone(&clock) as Arc<dyn Clock>)
                .build()
                .unwrap();
            tokio::spawn(node.run(shutdown.clone()));
        }
        for _ in 0..3 {
            let Incoming::Message(message) =
                within("startup", LIMIT, listener.inbound.next()).await
            else {
                panic!("no startup event")
            };
            let event = Event::parse(&message.payload, &Limits::default()).unwrap();
            assert!(matches!(event.kind, EventKind::Startup { .. }));
        }
        for replies in [
            "mcollective.reply.>",
            "eu_mcollective.reply.>",
            "acme.replies",
            "a.b",
        ] {
            listener.bus.subscribe(replies, None).await.unwrap();
        }
        let signer = CertificateSigner::from_pem(
            &text("keys/alice.mcollective.pem"),
            &text("keys/alice.mcollective.key"),
        );
        let mut config = ClientConfig::new(
            Collective::mcollective(),
            Identity::parse("mark.example.net").unwrap(),
            Arc::new(signer.unwrap()),
        );
        config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let alice = Client::connect(
            &network,
            Dial::new(vec![BROKER.to_owned()], "alice"),
            config,
        )
        .await
        .unwrap();
        Self {
            clock,
            listener,
            alice,
            shutdown,
            marks: 0,
        }
    }

    /// Publishes, then asks every node for a mark: what is not answered by then stays unanswered.
    async fn replies(
        &mut self,
        subject: &str,
        payload: bytes::Bytes,
        at: UnixTime,
    ) -> Vec<(String, bytes::Bytes)> {
        self.clock.set(at);
        self.listener.bus.publish(subject, payload).await.unwrap();
        let mark = self.alice.prepare(&Call::ping()).unwrap();
        self.alice.publish_broadcast(&mark).await.unwrap();
        self.marks += 1;
        let (mut marks, mut answers) = (0, Vec::new());
        while marks < 3 {
            let Incoming::Message(message) =
                within("mark", LIMIT, self.listener.inbound.next()).await
            else {
                panic!("the network failed")
            };
            let reply = decode_reply(&message.payload, &Limits::default()).unwrap();
            if reply.body.request_id == mark.id {
                marks += 1;
            } else {
                assert_eq!(reply.headers.sender.as_deref(), Some(&*reply.body.sender));
                answers.push((reply.body.sender.clone(), reply.body.payload.clone()));
            }
        }
        answers
    }
}

async fn link(network: &MemoryNetwork) -> Link {
    network
        .dial(Dial::new(vec![BROKER.to_owned()], "listener"))
        .await
        .unwrap()
}

fn sent(capture: &Capture) -> UnixTime {
    UnixTime::from_secs(
        capture.layers().message["envelope"]["time"]
            .as_i64()
            .unwrap(),
    )
}

/// The keys of an object, and of the objects in it.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            found.insert(format!("{path}/{key}"));
            if key != "facts" && key != "values" {
                keys(inner, &format!("{path}/{key}"), found);
            }
        }),
        Value::Array(items) => items
            .iter()
            .for_each(|inner| keys(inner, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn key_set(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found.retain(|key| {
        !FOREIGN_KEYS.iter().any(|foreign| key.ends_with(foreign))
            && !key.starts_with("/data/machines[]")
    });
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_calls_get_the_captured_status_and_fields() {
    let mut stand = Stand::new().await;
    let all = captures("v1");
    let mut compared = 0;
    for request in all
        .iter()
        .filter(|one| one.is_request() && one.name.contains("rpc-"))
    {
        let name = request
            .name
            .trim_start_matches("v1/")
            .trim_end_matches(".request.json");
        let subject = request.file["subject"].as_str().unwrap();
        let answers = stand
            .replies(subject, request.payload(), sent(request))
            .await;
        let captured = all
            .iter()
            .find(|one| one.name == format!("v1/{name}.reply.json"));
        if let Some((_, difference)) = DIFFERENT.iter().find(|(different, _)| *different == name) {
            let code = answers
                .first()
                .map(|(_, body)| rpc(body).statuscode.number());
            let told = match code {
                None => "silent",
                Some(0) => "the password is not told",
                Some(1) => "code 1",
                _ => "code 2",
            };
            assert!(difference.starts_with(told), "{name}: {told}");
            continue;
        }
        if name == "rpc-agent-not-on-node" {
            assert!(answers.is_empty());
            continue;
        }
        assert_eq!(answers.len(), 1, "{name}");
        let Some(captured) = captured else { continue };
        let wanted: Value =
            serde_json::from_str(captured.layers().message["message"].as_str().unwrap()).unwrap();
        let got = serde_json::to_value(rpc(&answers[0].1)).unwrap();
        for field in ["action", "statuscode", "statusmsg"] {
            assert_eq!(got[field], wanted[field], "{name}: {field}");
        }
        assert_eq!(key_set(&got), key_set(&wanted), "{name}");
        for value in [
            "fact",
            "value",
            "values",
            "classes",
            "collectives",
            "main_collective",
            "facts",
        ] {
            assert_eq!(got["data"][value], wanted["data"][value], "{name}: {value}");
        }
        compared += 1;
    }
    assert!(compared >= 12, "only {compared} compared");
    stand.shutdown.cancel();
}

fn rpc(body: &[u8]) -> RpcReply {
    RpcReply::parse(body, &Limits::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_discoveries_find_the_nodes_they_are_for() {
    let mut stand = Stand::new().await;
    let (web1, web2, db1) = ("web1.example.net", "web2.example.net", "db1.example.net");
    let wanted: &[(&str, &[&str])] = &[
        ("discover-agent", &[db1, web1, web2]),
        ("discover-class", &[web1, web2]),
        // A class with capitals never matches as it is written.
        ("discover-class-mixed", &[]),
        ("discover-compound", &[]),
        ("discover-fact", &[web1, web2]),
        ("discover-identity-regex", &[web1, web2]),
        ("discover-none", &[]),
        // `virtual!=true` matches no node: the oddity of the original is kept.
        ("discover-ops", &[]),
        ("discover-target", &[db1, web1, web2]),
        ("discover-with", &[web1]),
        ("discovery-ping", &[db1, web1, web2]),
    ];
    let all = captures("v1");
    for (name, nodes) in wanted {
        let file = format!("v1/{name}.request.json");
        let request = all.iter().find(|one| one.name == file).unwrap();
        let subject = request.file["subject"].as_str().unwrap();
        let answers = stand
            .replies(subject, request.payload(), sent(request))
            .await;
        assert!(answers.iter().all(|(_, body)| body == "pong"));
        let mut found: Vec<_> = answers.iter().map(|(node, _)| node.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, *nodes, "{name}");
    }
    stand.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_made_requests_end_as_at_a_real_server() {
    let mut stand = Stand::new().await;
    let file: Value = serde_json::from_str(&text("behaviour-v1.json")).unwrap();
    let (mut judged, mut met) = (0, BTreeSet::new());
    for case in file["cases"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let (Some(payload), Some(subject)) = (behaviour::payload(case), case["subject"].as_str())
        else {
            continue;
        };
        // Whatever is said about time is in the message: it is sent when it was received.
        let time = case["message_text"]
            .as_str()
            .and_then(|message| serde_json::from_str::<Value>(message).ok())
            .and_then(|message| message["envelope"]["time"].as_i64())
            .map_or(UnixTime::from_secs(1_795_397_000), UnixTime::from_secs);
        let batch = name.starts_with("ttl=1");
        let at = if batch {
            time
        } else {
            behaviour::received(case, time)
        };
        let answers = stand.replies(subject, payload, at).await;
        judged += 1;
        let captured = (
            usize::try_from(case["replies"].as_u64().unwrap()).unwrap(),
            case["statuscode"].as_u64(),
        );
        let wanted = match STRICTER.iter().find(|(stricter, _, _)| *stricter == name) {
            Some((name, replies, status)) => {
                met.insert(*name);
                (*replies, *status)
            }
            None => captured,
        };
        let status = answers.first().and_then(|(_, body)| match &body[..] {
            b"pong" => None,
            body => Some(u64::from(rpc(body).statuscode.number())),
        });
        assert_eq!((answers.len(), status), wanted, "{name}");
    }
    assert!(judged >= 140, "only {judged} cases were judged");
    assert_eq!(
        met.len(),
        STRICTER.len(),
        "each difference was met: {met:?}"
    );
    stand.shutdown.cancel();
}
