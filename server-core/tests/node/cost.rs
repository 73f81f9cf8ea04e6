//! What a node costs: run with `--ignored --nocapture` to see it, and with a release build to quote it.

use std::sync::Arc;
use std::time::Duration;

use server_core::bus::nats::NatsDialer;
use server_core::bus::{DialLimit, Dialer};

use crate::fleet::Fleet;
use crate::support::{Broker, within};

const NODES: usize = 2_000;

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

async fn measure(what: &str, dialer: Option<Arc<dyn Dialer>>, servers: Option<String>) {
    let fleet = Fleet::empty().await;
    let handle = tokio::runtime::Handle::current();
    let (before, tasks) = (resident(), handle.metrics().num_alive_tasks());
    let mut nodes = Vec::new();
    let diary = Arc::new(Counting::default());
    for number in 0..NODES {
        let builder = fleet.node(number, |config, _| {
            if let Some(server) = &servers {
                config.servers = vec![server.clone()];
            }
        });
        let builder = match &dialer {
            Some(dialer) => builder.dialer(Arc::clone(dialer)),
            None => builder,
        };
        let node = builder.observer(Arc::clone(&diary) as _).build().unwrap();
        nodes.push(tokio::spawn(node.run(fleet.shutdown.clone())));
    }
    let all = async {
        while diary.0.load(std::sync::atomic::Ordering::Relaxed) < NODES {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("announced", Duration::from_secs(120), all).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes = (resident() - before) / NODES as u64;
    let tasks = (handle.metrics().num_alive_tasks() - tasks) as f64 / NODES as f64;
    println!("{what}: {bytes} bytes and {tasks:.1} tasks per node, of {NODES}");
    fleet.shutdown.cancel();
    for node in nodes {
        node.await.unwrap().unwrap();
    }
}

#[derive(Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl server_core::node::NodeObserver for Counting {
    fn event(&self, _: &server_core::words::Identity, event: server_core::node::NodeEvent) {
        if matches!(event, server_core::node::NodeEvent::Announced { .. }) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn a_node_without_its_connection() {
    measure("without a network", None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn a_node_with_a_connection_of_the_client_library() {
    let broker = Broker::plain();
    let dialer = Arc::new(NatsDialer::new(DialLimit::new(64)));
    measure("with a NATS connection", Some(dialer), Some(broker.url())).await;
}
