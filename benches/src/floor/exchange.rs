//! The bytes of one real ping: the request as loadgen signs it, the reply as a node writes it.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use server_core::bus::Dial;
use server_core::bus::memory::MemoryNetwork;
use server_core::client::{Call, Client, ClientConfig};
use server_core::trust::CertificateSigner;
use server_core::wire::{Limits, Reply, decode_request, encode_reply};
use server_core::words::{Clock as _, Collective, Identity, SystemClock, subject};

use loadgen::formation::certificates::Issued;

/// The collective everybody is in.
const COLLECTIVE: &str = "mcollective";

/// One request with the reply that every node gives, and where both go.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Where the request is published.
    pub ask: String,
    /// The request.
    pub request: Bytes,
    /// Where replies are published.
    pub reply_to: String,
    /// One node's reply: the same length for all, as their names are equally long.
    pub reply: Bytes,
}

impl Exchange {
    /// A ping signed by `caller`, answered by `node` over a broker at `url`.
    ///
    /// # Errors
    /// When a name is none or something cannot be signed or written.
    pub async fn ping(caller: &Issued, node: &str, url: &str) -> anyhow::Result<Self> {
        let collective = Collective::parse(COLLECTIVE)?;
        let identity = Identity::parse("loadgen.mcollective")?;
        let signer = CertificateSigner::from_pem(&caller.certificate, &caller.key)?;
        let config = ClientConfig::new(collective.clone(), identity, Arc::new(signer));
        let dial = Dial::new(vec![url.to_owned()], "floor");
        let client = Client::connect(&MemoryNetwork::new(), dial, config).await?;
        let prepared = client.prepare(&Call::ping())?;
        let envelope = decode_request(&prepared.payload, &Limits::default())?;
        let reply = Reply {
            request_id: prepared.id.clone(),
            sender: node.to_owned(),
            agent: prepared.agent.clone(),
            time: SystemClock.unix(),
            payload: Bytes::from_static(b"pong"),
        };
        let headers = envelope.headers.for_reply(node, url);
        Ok(Self {
            ask: subject::broadcast_agent(&collective, &prepared.agent),
            reply: encode_reply(&reply, envelope.protocol, &headers)
                .context("the reply cannot be written")?,
            request: prepared.payload.clone(),
            reply_to: prepared.reply_to.clone(),
        })
    }

    /// What every node with five agents subscribes to.
    #[must_use]
    pub fn shared_subjects(&self) -> Vec<String> {
        let agents = ["rpcutil", "choria_util", "muster", "muster_load_1"];
        let others = agents.map(|agent| format!("{COLLECTIVE}.broadcast.agent.{agent}"));
        std::iter::once(self.ask.clone()).chain(others).collect()
    }

    /// The subject of its own that a node subscribes to, before and behind its number.
    #[must_use]
    pub fn own_subject(&self) -> (String, String) {
        let before = format!("{COLLECTIVE}.node.nodes-");
        (before, ".example.net".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use loadgen::formation::certificates::Authority;
    use server_core::wire::decode_reply;

    #[tokio::test]
    async fn the_reply_answers_the_request() {
        let authority = Authority::new("floor", time::OffsetDateTime::now_utc()).unwrap();
        let caller = authority.caller("loadgen.mcollective").unwrap();
        let node = "nodes-00001.example.net";
        let exchange = Exchange::ping(&caller, node, "nats://127.0.0.1:4222").await;
        let exchange = exchange.unwrap();
        let limits = Limits::default();
        let asked = decode_request(&exchange.request, &limits).unwrap();
        let answered = decode_reply(&exchange.reply, &limits).unwrap().body;
        assert_eq!(answered.sender, node);
        assert_eq!(asked.headers.reply_to, Some(exchange.reply_to.clone()));
        let id = answered.request_id.clone();
        assert!(exchange.reply_to.ends_with(&id), "{id}");
        assert_eq!(exchange.shared_subjects().len(), 5);
    }
}
