//! The connection of a hostile node: what it sends is exchanged, what it hears comes late.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use server_core::bus::{Bus, BusError, BusStats, Inbound, Incoming, SubscriptionId};

use super::lie::Lie;

/// How late a slow node hears of anything, and so answers.
const LATE: Duration = Duration::from_millis(500);

/// Sends something else than it is given.
pub(super) struct Liar {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) lie: Lie,
}

#[async_trait]
impl Bus for Liar {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        let payload = self.lie.instead_of(&payload).unwrap_or(payload);
        self.bus.publish(subject, payload).await
    }

    async fn subscribe(
        &self,
        subject: &str,
        queue: Option<&str>,
    ) -> Result<SubscriptionId, BusError> {
        self.bus.subscribe(subject, queue).await
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        self.bus.unsubscribe(id);
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.bus.flush().await
    }

    async fn close(&self) {
        self.bus.close().await;
    }

    fn server(&self) -> String {
        self.bus.server()
    }

    fn stats(&self) -> BusStats {
        self.bus.stats()
    }
}

/// Lets changes of the connection through and no message. The broker cannot tell: the node is
/// subscribed, and takes what is sent to it.
pub(super) fn deaf(inbound: Inbound) -> Inbound {
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

/// Holds every message back for a while, one after the other.
pub(super) fn late(inbound: Inbound) -> Inbound {
    Inbound::new(stream::unfold(inbound, |mut inbound| async move {
        match inbound.next().await {
            Incoming::Closed => None,
            Incoming::Message(message) => {
                tokio::time::sleep(LATE).await;
                Some((Incoming::Message(message), inbound))
            }
            change => Some((change, inbound)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use server_core::bus::Message;

    use super::*;

    fn message() -> Incoming {
        Incoming::Message(Message {
            subject: "provisioning.node.dead-1".to_owned(),
            payload: Bytes::from_static(b"are you there?"),
        })
    }

    #[tokio::test]
    async fn the_deaf_hear_of_their_connection_and_of_nothing_else() {
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

    #[tokio::test]
    async fn the_slow_hear_everything_late() {
        let begin = tokio::time::Instant::now();
        let said = [message(), Incoming::Disconnected, message()];
        let mut heard = late(Inbound::new(stream::iter(said)));
        assert_eq!(heard.next().await, message());
        assert!(matches!(heard.next().await, Incoming::Disconnected));
        assert_eq!(heard.next().await, message());
        assert!(matches!(heard.next().await, Incoming::Closed));
        assert!(begin.elapsed() >= LATE * 2);
    }
}
