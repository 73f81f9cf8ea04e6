//! A party on the provisioning network that speaks the wire and answers what it likes.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use server_core::bus::nats::NatsDialer;
use server_core::bus::{Bus, Dialer, Incoming};
use server_core::events::{Event, EventKind, Format, PROVISION_MODE_SERVER};
use server_core::trust::ecdh::NodeSecret;
use server_core::wire::rpc::{RpcReply, RpcRequest};
use server_core::wire::{Limits, Protocol, Reply, decode_request, encode_reply};
use server_core::words::{Clock, Identity, SystemClock};
use tokio::task::JoinHandle;

use super::{Site, node_dial};

/// What an impostor does otherwise than a node; the default is an honest answer
/// to `jwt` and `inventory` and nothing else.
pub(crate) struct Manners {
    /// The token it shows.
    pub(crate) token: String,
    /// In whose name it answers.
    pub(crate) name: String,
    /// Its answer to `gencsr`.
    pub(crate) csr: Option<String>,
    /// Whether it takes a configuration, says that it restarts, and is here all the same.
    pub(crate) stays: bool,
}

/// Answers until dropped.
pub(crate) struct Impostor {
    task: JoinHandle<()>,
    _bus: Arc<dyn Bus>,
}

impl Impostor {
    /// Connects as `node` and announces itself.
    pub(crate) async fn start(site: &Site, node: &str, manners: Manners) -> Self {
        let dial = node_dial(&site.provisioning.url(), node, &site.token);
        let link = NatsDialer::default().dial(dial).await.unwrap();
        let bus = Arc::clone(&link.bus);
        bus.subscribe(&format!("provisioning.node.{node}"), None)
            .await
            .unwrap();
        bus.flush().await.unwrap();
        announce(bus.as_ref(), node).await;
        let (answering, mut inbound) = (Arc::clone(&bus), link.inbound);
        let task = tokio::spawn(async move {
            loop {
                match inbound.next().await {
                    Incoming::Message(message) => {
                        manners.answer(answering.as_ref(), &message.payload).await;
                    }
                    Incoming::Closed => return,
                    _ => {}
                }
            }
        });
        Self { task, _bus: bus }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Manners {
    /// Those of a node that shows the site's token.
    pub(crate) fn honest(site: &Site, name: &str) -> Self {
        Self {
            token: site.token.clone(),
            name: name.to_owned(),
            csr: None,
            stays: false,
        }
    }

    async fn answer(&self, bus: &dyn Bus, payload: &[u8]) {
        let limits = Limits::default();
        let envelope = decode_request(payload, &limits).unwrap();
        let request = envelope.body.request().unwrap();
        let body = if request.agent.as_str() == "discovery" && self.stays {
            b"pong".to_vec()
        } else {
            let Ok(call) = RpcRequest::parse(&request.payload, &limits) else {
                return;
            };
            let Some(data) = self.data(&call.action) else {
                return;
            };
            RpcReply::ok(call.action.as_str(), data).encode().unwrap()
        };
        let reply = Reply {
            request_id: request.id.clone(),
            sender: self.name.clone(),
            agent: request.agent.clone(),
            time: SystemClock.unix(),
            payload: Bytes::from(body),
        };
        let headers = envelope.headers.for_reply(&self.name, "tls://nowhere");
        let bytes = encode_reply(&reply, Protocol::V1, &headers).unwrap();
        bus.publish(&envelope.headers.reply_to.unwrap(), bytes)
            .await
            .unwrap();
    }

    fn data(&self, action: &str) -> Option<Value> {
        match action {
            "jwt" => {
                let ecdh_public = NodeSecret::generate().unwrap().public_hex().to_owned();
                Some(json!({ "jwt": self.token, "ecdh_public": ecdh_public }))
            }
            "inventory" => Some(json!({ "facts": {}, "version": "1", "agents": [] })),
            "gencsr" => {
                let csr = self.csr.as_ref()?;
                Some(json!({ "csr": csr, "public_key": "", "ssldir": "/tmp/ssl" }))
            }
            "configure" | "restart" if self.stays => Some(json!({ "message": "done" })),
            _ => None,
        }
    }
}

/// Publishes the startup event of a node in provisioning mode.
pub(crate) async fn announce(bus: &dyn Bus, node: &str) {
    announce_unflushed(bus, node).await;
    bus.flush().await.unwrap();
}

/// The same without waiting until it has left.
pub(crate) async fn announce_unflushed(bus: &dyn Bus, node: &str) {
    let identity = Identity::parse(node).unwrap();
    let kind = EventKind::Startup {
        version: "0.29.4".to_owned(),
    };
    let event = Event::new(identity, PROVISION_MODE_SERVER, kind, SystemClock.unix());
    let bytes = event.encode(Format::CloudEvents).unwrap();
    bus.publish(&event.subject(), bytes.into()).await.unwrap();
}
