//! Captured provisioning calls, sent in their order to a node of ours: same status, same fields, and
//! the events between them as captured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use server_core::bus::memory::MemoryNetwork;
use server_core::bus::{Dial, Dialer, Incoming, Link};
use server_core::node::{Alive, MemoryStorage, Node, NodeConfig, PROVISIONING_JWT, Storage};
use server_core::trust::ecdh::{NodeSecret, encrypt_pem};
use server_core::trust::{CsrSubject, KeyAlgorithm, KeyPair};
use server_core::wire::rpc::{RpcReply, StatusCode};
use server_core::wire::{Limits, decode_reply, decode_request};
use server_core::words::{Clock, Identity, ManualClock, Shutdown, UnixTime};

use crate::authority::Authority;
use crate::load::{Capture, captures, text};
use crate::support::within;

const LIMIT: Duration = Duration::from_secs(20);
const METADATA: &str = "{\"rack\":\"r12\"}";

/// Where our node's answers differ from the captured ones, and how.
const DIFFERENT: &[(&str, &str)] = &[
    // The captured call is refused for what is wrong with it; the words are our own.
    ("14-configure-bad", "Could not decode configuration data: "),
    (
        "18-configure-low-order-ecdh",
        "TLS Setup Failed: could not decrypt private key: ",
    ),
];

struct Field {
    network: MemoryNetwork,
    clock: Arc<ManualClock>,
    listener: Link,
    storage: Arc<MemoryStorage>,
    shutdown: Shutdown,
}

impl Field {
    /// A node as the captured one was: its token, registration data and facts, nothing else.
    async fn new(calls: &[Capture]) -> Self {
        let network = MemoryNetwork::new();
        let jwt = calls
            .iter()
            .find(|one| one.name.ends_with("10-jwt.reply.json"))
            .unwrap();
        let jwt = body(jwt)["data"]["jwt"].as_str().unwrap().to_owned();
        let storage = Arc::new(MemoryStorage::new("/etc/fleet/prov"));
        let write = |name: &str, text: &str| storage.write(name, text.as_bytes(), 0o600).unwrap();
        write(PROVISIONING_JWT, &jwt);
        write("metadata.json", METADATA);
        write("facts.json", r#"{"dc":"lon","os":{"family":"RedHat"}}"#);
        let mut dial = Dial::new(vec!["nats://localhost:4262".to_owned()], "listener");
        dial.capacity = 1000;
        let listener = network.dial(dial).await.unwrap();
        for subject in [
            "choria.lifecycle.event.>",
            "provisioning.reply.>",
            "provisioning.registration.>",
        ] {
            listener.bus.subscribe(subject, None).await.unwrap();
        }
        let clock = Arc::new(ManualClock::new(UnixTime::from_secs(1_795_396_285)));
        let mut config = NodeConfig::new(Identity::parse("web9.example.net").unwrap());
        config.key_algorithm = KeyAlgorithm::Rsa2048;
        config.keep_key = false;
        config.alive = Alive {
            every: Duration::from_secs(3600),
            first: Some(Duration::from_secs(3600)),
        };
        let shutdown = Shutdown::new();
        let node = Node::builder(config)
            .storage(Arc::clone(&storage) as Arc<dyn Storage>)
            .dialer(Arc::new(network.clone()))
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()
            .unwrap();
        tokio::spawn(node.run(shutdown.clone()));
        Self {
            network,
            clock,
            listener,
            storage,
            shutdown,
        }
    }

    /// The next message that is no registration.
    async fn next(&mut self) -> (String, bytes::Bytes) {
        loop {
            match within("an answer", LIMIT, self.listener.inbound.next()).await {
                Incoming::Message(message)
                    if message.subject == "provisioning.registration.data" => {}
                Incoming::Message(message) => return (message.subject, message.payload),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn body(capture: &Capture) -> Value {
    let text = capture.layers().message["message"]
        .as_str()
        .unwrap()
        .to_owned();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn sent(capture: &Capture) -> UnixTime {
    UnixTime::from_secs(
        capture.layers().message["envelope"]["time"]
            .as_i64()
            .unwrap(),
    )
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .map(|map| map.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

/// What a provisioner ships to one node: a key only that node can decrypt, and its certificate.
struct Shipment {
    key: String,
    ecdh_public: String,
    certificate: String,
}

impl Shipment {
    fn new(authority: &Authority, node_public: &str) -> Self {
        let key = KeyPair::generate(KeyAlgorithm::Rsa2048).unwrap();
        let csr = key.csr("web9.example.net", &CsrSubject::default()).unwrap();
        let ours = NodeSecret::generate().unwrap();
        let shared = ours.shared(node_public).unwrap();
        Self {
            key: encrypt_pem(&key.to_pem(), &shared).unwrap(),
            ecdh_public: ours.public_hex().to_owned(),
            certificate: authority.certify(&csr),
        }
    }

    /// The captured request with this shipment in it. Requests are not verified in provisioning mode, so
    /// it need not be signed again.
    fn put_into(&self, capture: &Capture) -> bytes::Bytes {
        let layers = capture.layers();
        let mut call = body(capture);
        for (field, text) in [
            ("certificate", &self.certificate),
            ("key", &self.key),
            ("ecdh_public", &self.ecdh_public),
        ] {
            assert!(
                !call["data"][field].as_str().unwrap().is_empty(),
                "{field} was sent"
            );
            call["data"][field] = text.as_str().into();
        }
        let mut message = layers.message;
        message["message"] = call.to_string().into();
        let mut secure = layers.secure;
        secure["message"] = message.to_string().into();
        let mut transport = layers.transport;
        transport["data"] = STANDARD.encode(secure.to_string()).into();
        transport.to_string().into()
    }
}

fn same_event(subject: &str, payload: &[u8], captured: &Capture) {
    assert_eq!(subject, captured.file["subject"], "{}", captured.name);
    let got: Value = serde_json::from_slice(payload).unwrap();
    let wanted: Value = serde_json::from_str(captured.file["payload"].as_str().unwrap()).unwrap();
    assert_eq!(keys(&got), keys(&wanted), "{}", captured.name);
    assert_eq!(
        keys(&got["data"]),
        keys(&wanted["data"]),
        "{}",
        captured.name
    );
    for field in [
        "specversion",
        "source",
        "type",
        "subject",
        "datacontenttype",
    ] {
        assert_eq!(got[field], wanted[field], "{}: {field}", captured.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn captured_calls_in_their_order() {
    let calls = captures("provisioning/calls");
    let mut field = Field::new(&calls).await;
    let authority = Authority::load(&text("keys/ca.pem"), &text("keys/ca.key"));
    let mut node_public = String::new();
    let mut answered = 0;
    // The reply to a request comes after the events it causes, but for a restart, where either may come first.
    let mut expected: Vec<&Capture> = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        if call.name.contains("registration") {
            continue;
        }
        if call.name.contains("-event-startup") {
            let (subject, payload) = field.next().await;
            same_event(&subject, &payload, call);
            continue;
        }
        if !call.is_request() {
            continue;
        }
        expected.clear();
        expected.extend(calls[at + 1..].iter().take_while(|one| !one.is_request()));
        field.clock.set(sent(call));
        let payload = match call.name.ends_with("21-configure.request.json") {
            true => Shipment::new(&authority, &node_public).put_into(call),
            false => call.payload(),
        };
        let subject = call.file["subject"].as_str().unwrap();
        field.listener.bus.publish(subject, payload).await.unwrap();
        for _ in 0..expected.len() {
            let (subject, payload) = field.next().await;
            if subject.starts_with("choria.lifecycle") {
                let event = expected
                    .iter()
                    .find(|one| one.name.contains("-event-"))
                    .unwrap();
                same_event(&subject, &payload, event);
                continue;
            }
            let captured = expected.iter().find(|one| one.is_reply()).unwrap();
            assert_eq!(subject, captured.file["subject"], "{}", captured.name);
            let reply = decode_reply(&payload, &Limits::default()).unwrap();
            answered += 1;
            let wanted = body(captured);
            if wanted == "pong" {
                assert_eq!(reply.body.payload, "pong");
                continue;
            }
            let got = RpcReply::parse(&reply.body.payload, &Limits::default()).unwrap();
            same_reply(&got, &wanted, &captured.name);
            if got.action == "jwt" && got.statuscode == StatusCode::Ok {
                node_public = got.data["ecdh_public"].as_str().unwrap().to_owned();
            }
        }
    }
    assert_eq!(answered, 11, "every captured call was answered");
    restarted(&mut field).await;
    field.shutdown.cancel();
}

fn same_reply(got: &RpcReply, wanted: &Value, name: &str) {
    let short = name
        .trim_start_matches("provisioning/calls/")
        .trim_end_matches(".reply.json");
    assert_eq!(got.action, wanted["action"], "{name}");
    assert_eq!(
        u64::from(got.statuscode.number()),
        wanted["statuscode"],
        "{name}: {}",
        got.statusmsg
    );
    match DIFFERENT.iter().find(|(different, _)| *different == short) {
        Some((_, start)) => assert!(
            got.statusmsg.starts_with(start),
            "{name}: {}",
            got.statusmsg
        ),
        None => assert_eq!(got.statusmsg, wanted["statusmsg"], "{name}"),
    }
    assert_eq!(keys(&got.data), keys(&wanted["data"]), "{name}");
    for fixed in [
        "jwt",
        "ssldir",
        "directory",
        "agents",
        "classes",
        "collectives",
        "data_plugins",
        "facts",
    ] {
        assert_eq!(
            got.data.get(fixed),
            wanted["data"].get(fixed),
            "{name}: {fixed}"
        );
    }
    if got.action == "configure" {
        assert_eq!(got.data["message"], wanted["data"]["message"], "{name}");
    }
}

/// After the promised delay the node is on the network its captured configuration names.
async fn restarted(field: &mut Field) {
    let dial = Dial::new(vec!["nats://localhost:4232".to_owned()], "listener");
    let mut production = field.network.dial(dial).await.unwrap();
    production
        .bus
        .subscribe("choria.lifecycle.event.>", None)
        .await
        .unwrap();
    let Incoming::Message(message) = within("startup", LIMIT, production.inbound.next()).await
    else {
        panic!()
    };
    assert_eq!(message.subject, "choria.lifecycle.event.startup.server");
    let written = field.storage.read("server.conf").unwrap().unwrap();
    let written = String::from_utf8(written).unwrap();
    let wanted = text("provisioning/written-server.conf");
    let lines = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(lines(&written), lines(&wanted));
    let first = |text: &str| {
        text.lines()
            .next()
            .unwrap()
            .split(" at ")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        first(&written),
        first(&wanted),
        "who caused it is written first"
    );
    let files = |name: &str| field.storage.read(name).unwrap().is_some();
    assert!(
        files("ssl/private.pem") && !files("ssl/csr.pem"),
        "the shipped key took the place"
    );
    assert!(
        field
            .storage
            .read("policies/rpcutil.policy")
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_has_the_captured_form() {
    let calls = captures("provisioning/calls");
    let mut field = Field::new(&calls).await;
    let captured = calls
        .iter()
        .find(|one| one.name.contains("02-registration"))
        .unwrap();
    let message = loop {
        match within("registration", LIMIT, field.listener.inbound.next()).await {
            Incoming::Message(message) if message.subject == "provisioning.registration.data" => {
                break message;
            }
            Incoming::Message(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let wanted = captured.layers();
    let got = decode_request(&message.payload, &Limits::default()).unwrap();
    assert_eq!(got.headers.reply_to.as_deref(), Some("dev.null"));
    assert_eq!(got.body.signature, wanted.secure["signature"]);
    assert_eq!(got.body.pubcert, wanted.secure["pubcert"]);
    let request = got.body.request().unwrap();
    let envelope = &wanted.message["envelope"];
    let mine = json!({
        "senderid": request.sender, "callerid": request.caller, "collective": request.collective,
        "agent": request.agent, "ttl": request.ttl_secs, "filter": request.filter,
    });
    for (key, value) in mine.as_object().unwrap() {
        assert_eq!(*value, envelope[key], "{key}");
    }
    let data: Value = serde_json::from_slice(&request.payload).unwrap();
    let wanted: Value = serde_json::from_str(wanted.message["message"].as_str().unwrap()).unwrap();
    let order = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        order(&data),
        order(&wanted),
        "the same keys in the same order"
    );
    let zipped = STANDARD.decode(data["zcontent"].as_str().unwrap()).unwrap();
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped[..]), &mut plain)
        .unwrap();
    assert_eq!(plain, METADATA);
    field.shutdown.cancel();
}
