//! The other side: a client that finds the node and calls its agent once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use server_core::bus::{Dial, Dialer};
use server_core::client::{Call, Client, ClientConfig, Discovery};
use server_core::trust::InsecureSigner;
use server_core::wire::{Filter, Limits};
use server_core::words::{Collective, Identity};

/// Waits until the node is there, asks it, and prints what it says.
pub(super) async fn once(dialer: &dyn Dialer) -> anyhow::Result<()> {
    let signer = InsecureSigner {
        caller: "choria=somebody".to_owned(),
    };
    let config = ClientConfig::new(
        Collective::mcollective(),
        Identity::parse("laptop")?,
        Arc::new(signer),
    );
    let dial = Dial::new(vec!["nats://inside:4222".to_owned()], "laptop");
    let client = Client::connect(dialer, dial, config).await?;
    let brief = Discovery::Window {
        first: Duration::from_millis(100),
        gap: Duration::from_millis(50),
        max: Duration::from_secs(1),
    };
    for _ in 0..50 {
        let found = client
            .discover(Filter::empty(), Some("greeter"), brief)
            .await?;
        if let Some(node) = found.nodes.first() {
            let request = client.prepare(&Call::rpc("greeter", "greet", json!({}))?)?;
            let mut replies = client.listen(&request, 1).await?;
            client.publish_to(&request, node).await?;
            let reply = replies.next_within(Duration::from_secs(5)).await;
            let reply = reply.ok_or_else(|| anyhow::anyhow!("{node} does not answer"))?;
            println!("{}", reply.rpc(&Limits::default())?.data["greeting"]);
            return Ok(());
        }
    }
    anyhow::bail!("no node was found")
}
