//! A small fleet on a network inside the process, without TLS and signatures: for what is not about them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use server_core::bus::memory::MemoryNetwork;
use server_core::bus::{Dial, Reconnect};
use server_core::client::{Call, Client, ClientConfig, NodeSet};
use server_core::node::{
    Alive, Ended, Facts, MemoryStorage, Node, NodeBuilder, NodeConfig, NodeError, Security, Shared,
    Storage,
};
use server_core::trust::InsecureSigner;
use server_core::wire::Limits;
use server_core::wire::rpc::RpcReply;
use server_core::words::{Collective, Identity, Shutdown};
use tokio::task::JoinHandle;

use crate::support::within;

pub const BROKER: &str = "nats://inside:4222";
pub const LIMIT: Duration = Duration::from_secs(15);

/// Nodes `n0`, `n1`, … and one who asks them as `choria=tester`.
pub struct Fleet {
    pub network: MemoryNetwork,
    pub client: Client,
    pub shutdown: Shutdown,
    pub shared: Arc<Shared>,
    pub runs: Vec<JoinHandle<Result<Ended, NodeError>>>,
}

pub fn id(number: usize) -> Identity {
    Identity::parse(&format!("n{number}")).unwrap()
}

impl Fleet {
    /// A fleet whose every node is changed by `change` before it is built.
    pub async fn new(
        count: usize,
        change: impl Fn(usize, &mut NodeConfig, &MemoryStorage),
    ) -> Self {
        let mut fleet = Self::empty().await;
        let mut events = fleet
            .client
            .watch("choria.lifecycle.event.startup.>", 1024)
            .await
            .unwrap();
        for number in 0..count {
            let node = fleet
                .node(number, |config, storage| change(number, config, storage))
                .build()
                .unwrap();
            fleet
                .runs
                .push(tokio::spawn(node.run(fleet.shutdown.clone())));
        }
        for _ in 0..count {
            within("startup", LIMIT, events.next()).await.unwrap();
        }
        fleet
    }

    pub async fn empty() -> Self {
        let network = MemoryNetwork::new();
        let client = Self::client(&network).await;
        Self {
            network,
            client,
            shutdown: Shutdown::new(),
            shared: Shared::swarm(server_core::node::Verification::Shared),
            runs: Vec::new(),
        }
    }

    pub async fn client(network: &MemoryNetwork) -> Client {
        let signer = InsecureSigner {
            caller: "choria=tester".to_owned(),
        };
        let identity = Identity::parse("tester.example.net").unwrap();
        let config = ClientConfig::new(Collective::mcollective(), identity, Arc::new(signer));
        Client::connect(
            network,
            Dial::new(vec![BROKER.to_owned()], "tester"),
            config,
        )
        .await
        .unwrap()
    }

    pub fn node(
        &self,
        number: usize,
        change: impl FnOnce(&mut NodeConfig, &MemoryStorage),
    ) -> NodeBuilder {
        let mut config = NodeConfig::new(id(number));
        config.security = Security::Insecure;
        config.servers = vec![BROKER.to_owned()];
        config.reconnect = Reconnect::jitter(
            1,
            Duration::from_millis(10),
            Duration::from_millis(10),
            Duration::ZERO,
        );
        config.alive = Alive {
            every: Duration::from_secs(3600),
            first: Some(Duration::from_secs(3600)),
        };
        let storage = MemoryStorage::new("/etc/choria");
        storage
            .write("server.conf", b"rpcauthorization = 0\n", 0o600)
            .unwrap();
        change(&mut config, &storage);
        let facts = Facts::parse(&format!(
            r#"{{"number":{number},"os":{{"family":"Debian"}}}}"#
        ))
        .unwrap();
        Node::builder(config)
            .storage(Arc::new(storage))
            .dialer(Arc::new(self.network.clone()))
            .shared(Arc::clone(&self.shared))
            .facts(Arc::new(facts))
    }

    pub fn nodes(&self, count: usize) -> Arc<NodeSet> {
        Arc::new((0..count).map(id).collect())
    }

    /// One directed call, answered.
    pub async fn ask(&self, number: usize, agent: &str, action: &str, data: Value) -> RpcReply {
        ask(&self.client, &id(number), agent, action, data).await
    }
}

pub async fn ask(
    client: &Client,
    node: &Identity,
    agent: &str,
    action: &str,
    data: Value,
) -> RpcReply {
    let request = client
        .prepare(&Call::rpc(agent, action, data).unwrap())
        .unwrap();
    let mut replies = client.listen(&request, 16).await.unwrap();
    client.publish_to(&request, node).await.unwrap();
    let reply = within(action, LIMIT, replies.next())
        .await
        .expect("a reply");
    reply.rpc(&Limits::default()).unwrap()
}
