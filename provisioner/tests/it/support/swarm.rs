//! Real nodes of server-core in this process.

use std::sync::Arc;

use server_core::bus::Dial;
use server_core::bus::nats::NatsDialer;
use server_core::node::{MemoryStorage, Node, NodeConfig, PROVISIONING_JWT, Shared, Storage};
use server_core::trust::tls;
use server_core::words::{Identity, Seed, Shutdown};
use tokio::task::JoinSet;

use super::NODE_USER;

/// Nodes that live until this is dropped.
pub(crate) struct Swarm {
    stop: Shutdown,
    nodes: JoinSet<()>,
    storages: Vec<(Identity, Arc<MemoryStorage>)>,
    dialer: Arc<NatsDialer>,
    shared: Arc<Shared>,
}

impl Swarm {
    pub(crate) fn new() -> Self {
        Self {
            stop: Shutdown::new(),
            nodes: JoinSet::new(),
            storages: Vec::new(),
            dialer: Arc::new(NatsDialer::default()),
            shared: Shared::new(),
        }
    }

    /// Starts a node that holds this provisioning token and nothing else.
    pub(crate) fn add(&mut self, name: &str, token: &str) {
        self.add_with(name, token, |_| ());
    }

    /// The same for a node with other settings.
    pub(crate) fn add_with(&mut self, name: &str, token: &str, set: impl FnOnce(&mut NodeConfig)) {
        let identity = Identity::parse(name).unwrap();
        let root = format!("/var/lib/muster/{identity}");
        let storage = Arc::new(MemoryStorage::new(root));
        storage
            .write(PROVISIONING_JWT, token.as_bytes(), 0o600)
            .unwrap();
        self.storages.push((identity.clone(), Arc::clone(&storage)));
        let seed = Seed(self.storages.len() as u64);
        let mut config = NodeConfig::new(identity);
        set(&mut config);
        let node = Node::builder(config)
            .storage(storage)
            .dialer(Arc::clone(&self.dialer) as _)
            .shared(Arc::clone(&self.shared))
            .seed(seed)
            .build()
            .unwrap();
        let stop = self.stop.clone();
        self.nodes.spawn(async move {
            if let Err(error) = node.run(stop).await {
                eprintln!("a node ended: {error}");
            }
        });
    }

    /// A file of a node.
    pub(crate) fn file(&self, name: &str, file: &str) -> Option<String> {
        let (_, storage) = self.storages.iter().find(|(n, _)| n.as_str() == name)?;
        let bytes = storage.read(file).unwrap()?;
        Some(String::from_utf8(bytes).unwrap())
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.stop.cancel();
        self.nodes.abort_all();
    }
}

/// How a hostile node of a test connects to the provisioning broker.
pub(crate) fn node_dial(url: &str, name: &str, token: &str) -> Dial {
    let mut dial = Dial::new(vec![url.to_owned()], name);
    dial.tls = Some(tls::anonymous());
    dial.user = Some(NODE_USER.0.to_owned());
    dial.password = Some(NODE_USER.1.to_owned());
    dial.token = Some(token.to_owned());
    dial
}
