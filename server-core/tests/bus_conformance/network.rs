//! A transport with a broker behind it, however it comes by one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use server_core::bus::memory::MemoryNetwork;
use server_core::bus::nats::NatsDialer;
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{Dial, DialProgress, DialStep, Dialer, Incoming, Link, Reconnect};

use crate::brokers::Broker;

/// No case takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A test that hangs has failed.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .unwrap_or_else(|_| panic!("not within {LIMIT:?}"))
}

pub struct Network {
    pub dialer: Arc<dyn Dialer>,
    pub server: String,
    /// Whether every lost message is told of. The brokers' own client library tells of most.
    pub counts_every_loss: bool,
    broker: Outside,
}

enum Outside {
    Memory(MemoryNetwork),
    Real(Option<Broker>),
}

impl Network {
    pub fn memory() -> Self {
        let network = MemoryNetwork::new();
        Self {
            dialer: Arc::new(network.clone()),
            server: "nats://here:4222".to_owned(),
            counts_every_loss: true,
            broker: Outside::Memory(network),
        }
    }

    pub fn nats() -> Self {
        Self {
            counts_every_loss: false,
            ..Self::real(Arc::new(NatsDialer::default()))
        }
    }

    pub fn swarm() -> Self {
        Self::real(Arc::new(SwarmDialer::default()))
    }

    pub fn real(dialer: Arc<dyn Dialer>) -> Self {
        let broker = Broker::start("");
        Self {
            dialer,
            server: broker.url("nats"),
            counts_every_loss: true,
            broker: Outside::Real(Some(broker)),
        }
    }

    pub fn dial(&self, name: &str) -> Dial {
        dial(vec![self.server.clone()], name)
    }

    pub async fn link(&self, name: &str) -> Link {
        self.dialer.dial(self.dial(name)).await.unwrap()
    }

    pub fn kill(&mut self) {
        match &mut self.broker {
            Outside::Memory(network) => network.set_down(&self.server, true),
            Outside::Real(broker) => broker.as_mut().unwrap().kill(),
        }
    }

    pub fn revive(&mut self) {
        match &mut self.broker {
            Outside::Memory(network) => network.set_down(&self.server, false),
            Outside::Real(broker) => broker.as_mut().unwrap().revive(),
        }
    }
}

/// Impatient enough for tests.
pub fn dial(servers: Vec<String>, name: &str) -> Dial {
    let mut dial = Dial::new(servers, name);
    let (min, max) = (Duration::from_millis(50), Duration::from_millis(200));
    dial.reconnect = Reconnect::jitter(7, min, max, min);
    dial.capacity = 4096;
    dial
}

/// The next message; nothing else may come before it.
pub async fn message(link: &mut Link) -> (String, Bytes) {
    match link.inbound.next().await {
        Incoming::Message(message) => (message.subject, message.payload),
        other => panic!("{other:?} instead of a message"),
    }
}

/// Returns when the broker has done everything this link asked so far.
pub async fn settle(link: &mut Link) {
    let id = link.bus.subscribe("settled", None).await.unwrap();
    link.bus.publish("settled", Bytes::new()).await.unwrap();
    assert_eq!(message(link).await.0, "settled");
    link.bus.unsubscribe(id);
}

/// Remembers what a dialer tells.
#[derive(Default)]
pub struct Diary(Mutex<Vec<String>>);

impl Diary {
    pub fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl DialProgress for Diary {
    fn step(&self, step: DialStep<'_>) {
        let text = match step {
            DialStep::Attempt { server } => format!("attempt {server}"),
            DialStep::Failed(error) => format!("failed {}", error.code()),
            DialStep::Connected { took, .. } => {
                format!("connected tls={}", took.tls.is_some())
            }
        };
        self.0.lock().unwrap().push(text);
    }
}
