//! The dialer between a node and the network: where it dials, and what it hears.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream;
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{BusError, Dial, Dialer, Inbound, Incoming, Link};

use super::{Ground, address};
use crate::worker::publish::PublishLine;

/// Dials for a node, keeping its connection at hand for what is published in its name. Brokers
/// that a scenario wants plain are dialled plain; requests stay signed.
pub(super) struct Tap {
    pub(super) dialer: Arc<SwarmDialer>,
    pub(super) ground: Arc<Ground>,
    /// The place of the provisioning broker it starts at.
    pub(super) provisioning: Option<usize>,
    pub(super) line: PublishLine,
    /// Nothing that is said to the node reaches it, so it never answers.
    pub(super) dead: bool,
}

#[async_trait]
impl Dialer for Tap {
    async fn dial(&self, mut dial: Dial) -> Result<Link, BusError> {
        let plain = |server: &String| self.ground.plain.contains(&address(server));
        if dial.servers.iter().all(plain) {
            dial.tls = None;
        }
        if let Some(login) = self.ground.login_at(&dial.servers) {
            login.apply(&mut dial);
        }
        // A production configuration names the brokers in the order of the plan. The token is the
        // same for the whole fleet.
        dial.in_order = true;
        let known = &self.ground.access.provisioning;
        if let Some(at) = self.provisioning.filter(|_| dial.servers == *known) {
            dial.servers.rotate_left(at);
        }
        let mut link = self.dialer.dial(dial).await?;
        self.line.connected(Arc::clone(&link.bus));
        if self.dead {
            link.inbound = deaf(link.inbound);
        }
        Ok(link)
    }
}

/// Lets changes of the connection through and no message. The broker cannot tell: the node is
/// subscribed, and takes what is sent to it.
fn deaf(inbound: Inbound) -> Inbound {
    Inbound::new(stream::unfold(inbound, |mut inbound| async move {
        loop {
            match inbound.next().await {
                Incoming::Message(_) => {}
                Incoming::Closed => return None,
                change => return Some((change, inbound)),
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use server_core::bus::Message;

    use super::*;

    #[tokio::test]
    async fn the_deaf_hear_of_their_connection_and_of_nothing_else() {
        let message = || {
            Incoming::Message(Message {
                subject: "provisioning.node.dead-1".to_owned(),
                payload: Bytes::from_static(b"are you there?"),
            })
        };
        let said = [
            message(),
            Incoming::Disconnected,
            message(),
            message(),
            Incoming::Slow { dropped: 3 },
            message(),
        ];
        let mut heard = deaf(Inbound::new(stream::iter(said)));
        assert!(matches!(heard.next().await, Incoming::Disconnected));
        assert!(matches!(heard.next().await, Incoming::Slow { dropped: 3 }));
        assert!(matches!(heard.next().await, Incoming::Closed));
    }
}
