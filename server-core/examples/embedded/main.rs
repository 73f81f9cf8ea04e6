//! A node inside somebody else's program, with an agent of its own.
//!
//! `cargo run -p server-core --example embedded [BROKER]` serves on a plain NATS broker such as
//! `nats://127.0.0.1:4222` until ctrl-c; without an argument it runs on a network inside the process,
//! asks itself once, and ends.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use server_core::agents::{Agent, AgentContext, Answer, Call, Metadata};
use server_core::bus::{Dialer, memory::MemoryNetwork, nats::NatsDialer};
use server_core::node::{MemoryStorage, Node, NodeConfig, Security, Storage as _};
use server_core::words::{Identity, Shutdown};

mod asking;

/// What the program adds to the fleet.
struct Greeter(Metadata);

#[async_trait]
impl Agent for Greeter {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    async fn handle(&self, node: &AgentContext<'_>, call: &Call) -> Answer {
        Answer::ok(
            json!({ "greeting": format!("hello {}, this is {}", call.caller, node.identity()) }),
        )
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let broker = std::env::args().nth(1);
    let dialer: Arc<dyn Dialer> = match &broker {
        Some(_) => Arc::new(NatsDialer::default()),
        None => Arc::new(MemoryNetwork::new()),
    };
    let storage = MemoryStorage::new("/var/lib/embedded");
    storage.write("server.conf", b"rpcauthorization = false\n", 0o600)?;
    let mut config = NodeConfig::new(Identity::parse("embedded.example.net")?);
    config.servers = vec![
        broker
            .clone()
            .unwrap_or_else(|| "nats://inside:4222".to_owned()),
    ];
    config.security = Security::Insecure; // a demonstration: no TLS, anybody may call

    let shutdown = Shutdown::new();
    let node = Node::builder(config)
        .agent(Greeter(Metadata::new(
            "greeter",
            "Greets its callers",
            &["greet"],
        )))
        .storage(Arc::new(storage))
        .dialer(Arc::clone(&dialer))
        .build()?;
    let run = tokio::spawn(node.run(shutdown.clone()));

    match &broker {
        Some(_) => tokio::signal::ctrl_c().await?,
        None => asking::once(dialer.as_ref()).await?,
    }
    shutdown.cancel();
    println!("{:?}", run.await??);
    Ok(())
}
