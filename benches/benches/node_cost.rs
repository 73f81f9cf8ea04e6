//! What one idle node of a swarm costs, everything of it included: memory, blocks on the heap, tasks
//! and descriptors; and what answering a ping allocates.
//!
//! `cargo bench -p benches --bench node_cost -- [--check]`, with `NODES` in the environment (2,000).
//!
//! ```text
//! this process: broker, asker ──► Access ──► a process that holds nodes, as a worker of loadgen does
//!                    Report ◄── Usage: warm ─► connected ─► asked once ─► asked twice
//! ```
//!
//! Nodes have a process to themselves, so that nothing else is counted; nodes that came before the
//! first measurement keep what a process needs once out of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::alloc::System;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use loadgen::guard::{Guard, RunMark};
use loadgen::measure::OpKey;
use loadgen::message::{Access, Assignment};
use loadgen::plan::Plan;
use loadgen::resources::{self, raise_descriptor_limit};
use loadgen::scenario::{self, Scenario};
use loadgen::site::{Programs, Site};
use loadgen::worker::asking::asking_client;
use loadgen::worker::cell::{Book, Pending};
use loadgen::worker::clock::RunClock;
use loadgen::worker::swarm::Swarm;
use serde::{Deserialize, Serialize};
use server_core::client::{Call, FanOut, NodeSet, Route};
use server_core::words::Identity;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::{Semaphore, mpsc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Nodes measured, unless the environment says otherwise.
const NODES: u64 = 2_000;
/// Nodes that are there before the first measurement.
const WARM_UP: u64 = 64;
/// Subjects a node subscribes to: one for each of five agents, and its own.
const SUBSCRIPTIONS: u64 = 6;
/// Dials under way at once.
const DIALS: usize = 64;
/// Until the last words of brokers have been read and threads have come to rest.
const REST: Duration = Duration::from_secs(1);
/// How long nodes may take to connect, and to answer.
const WITHIN: Duration = Duration::from_secs(120);
/// How the connections are secured, and the resident bytes that a node may cost.
const SETTINGS: [(&str, f64); 2] = [("none", 8_000.0), ("mutual", 20_000.0)];

fn main() -> ExitCode {
    server_core::trust::install_crypto();
    raise_descriptor_limit();
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["guard", mark] => {
            loadgen::guard::watch(&RunMark::given(mark), std::io::stdin()).unwrap();
            ExitCode::SUCCESS
        }
        ["hold", tls, nodes] => {
            hold(tls, nodes.parse().unwrap());
            ExitCode::SUCCESS
        }
        _ => compare(words.iter().any(|word| word == "--check")),
    }
}

/// Measures each setting and tells what came of it.
fn compare(check: bool) -> ExitCode {
    let nodes = std::env::var("NODES").map_or(NODES, |text| text.parse().unwrap());
    let costs = SETTINGS.map(|(tls, bound)| measure(tls, nodes, bound));
    println!(
        "One of {nodes} nodes with {SUBSCRIPTIONS} subscriptions, {} build, without its share of the broker:\n",
        build()
    );
    println!("tls     moment      resident B  heap B  heap blocks  tasks  descriptors");
    for cost in &costs {
        for (moment, node) in [("connected", &cost.connected), ("asked once", &cost.asked)] {
            println!(
                "{:7} {moment:10} {:11.0} {:7.0} {:12.1} {:6.2} {:12.2}",
                cost.tls,
                node.resident_bytes,
                node.heap_bytes,
                node.heap_blocks,
                node.tasks,
                node.descriptors
            );
        }
    }
    println!();
    for cost in &costs {
        let verdict = if cost.within_bound { "kept" } else { "BROKEN" };
        println!(
            "tls {}: {:.1} allocations per answered ping; bound of a connected node {:.0} B resident: {verdict}",
            cost.tls, cost.allocations_per_answer, cost.bound_bytes
        );
    }
    let report = serde_json::json!({
        "nodes": nodes, "subscriptions": SUBSCRIPTIONS, "build": build(), "costs": costs,
    });
    println!("\n{report}");
    match check && costs.iter().any(|cost| !cost.within_bound) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn build() -> &'static str {
    match cfg!(debug_assertions) {
        true => "debug",
        false => "release",
    }
}

/// What a node costs with one way of securing its connection.
#[derive(Serialize)]
struct Cost {
    tls: &'static str,
    /// Connected and subscribed.
    connected: PerNode,
    /// The same node after it has answered its first ping.
    asked: PerNode,
    allocations_per_answer: f64,
    bound_bytes: f64,
    within_bound: bool,
}

#[derive(Serialize)]
struct PerNode {
    resident_bytes: f64,
    heap_bytes: f64,
    heap_blocks: f64,
    tasks: f64,
    descriptors: f64,
}

/// What the process that holds the nodes uses at one moment.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Usage {
    resident: u64,
    heap_bytes: usize,
    heap_blocks: usize,
    /// Since the process started.
    allocations: usize,
    tasks: usize,
    descriptors: u64,
}

impl Usage {
    fn now() -> Self {
        let (heap, own) = (HEAP.stats(), resources::Usage::own());
        Self {
            resident: own.rss_bytes.unwrap(),
            heap_bytes: heap.bytes_allocated - heap.bytes_deallocated,
            heap_blocks: heap.allocations - heap.deallocations,
            allocations: heap.allocations + heap.reallocations,
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            descriptors: own.descriptors.unwrap(),
        }
    }

    /// What came since `before`, for each of so many nodes.
    fn since(&self, before: &Self, nodes: u64) -> PerNode {
        let each = |now: u64, before: u64| (now as f64 - before as f64) / nodes as f64;
        PerNode {
            resident_bytes: each(self.resident, before.resident),
            heap_bytes: each(self.heap_bytes as u64, before.heap_bytes as u64),
            heap_blocks: each(self.heap_blocks as u64, before.heap_blocks as u64),
            tasks: each(self.tasks as u64, before.tasks as u64),
            descriptors: each(self.descriptors, before.descriptors),
        }
    }
}

fn measure(tls: &'static str, nodes: u64, bound: f64) -> Cost {
    let folder = tempfile::Builder::new()
        .prefix("node-cost-")
        .tempdir()
        .unwrap();
    let mark = RunMark::unique();
    let guard = Guard::start(&std::env::current_exe().unwrap(), &mark).unwrap();
    let runtime = runtime();
    let mut site = runtime
        .block_on(start(tls, folder.path(), &mark))
        .expect("run tools/bootstrap first");
    let access = site.access();
    let mut holder = Holder::start(tls, nodes, &access);
    let [warm, connected] = [(); 2].map(|()| holder.next());
    let [asked, again] = [(); 2].map(|()| {
        runtime.block_on(ping(tls, nodes, &access));
        holder.next()
    });
    holder.end();
    runtime.block_on(site.stop());
    guard.finish();
    let answers = (nodes + WARM_UP) as f64;
    let cost = connected.since(&warm, nodes);
    Cost {
        tls,
        within_bound: cost.resident_bytes <= bound,
        connected: cost,
        asked: asked.since(&warm, nodes),
        allocations_per_answer: (again.allocations - asked.allocations) as f64 / answers,
        bound_bytes: bound,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().build().unwrap()
}

fn scenario(tls: &str, fleet: &str, nodes: u64) -> Scenario {
    let text = format!(
        r#"schema = 1
name   = "node-cost"
about  = "nodes to be weighed"
seed   = 1
[topology]
manage = "local"
[[topology.broker]]
name  = "hub"
count = 1
tls   = "{tls}"
[provisioner]
manage = "none"
[[fleet]]
name   = "{fleet}"
nodes  = {nodes}
start  = "production"
agents = {}
[[phase]]
name = "connect"
  [[phase.op]]
  do    = "connect"
  fleet = "*"
  pace  = {{ model = "closed", kind = "in-flight", limit = {DIALS} }}
"#,
        SUBSCRIPTIONS - 1
    );
    scenario::parse(Path::new("node-cost.toml"), &text, &[]).unwrap()
}

async fn start(tls: &str, folder: &Path, mark: &RunMark) -> anyhow::Result<Site> {
    let programs = Programs {
        nats_server: loadgen::formation::nats_server::NatsServer::find(None)?,
        provisioner: None,
    };
    let scenario = scenario(tls, "nodes", 1);
    Ok(Site::start(&scenario, "node-cost", folder, &programs, mark).await?)
}

fn assignment(tls: &str, fleet: &str, nodes: u64, access: &Access) -> Assignment {
    Assignment {
        worker: 0,
        workers: 1,
        plan: Arc::new(Plan::new(scenario(tls, fleet, nodes))),
        access: access.clone(),
        clock: RunClock::start(),
        dials: DIALS,
    }
}

/// Asks all nodes once and waits until every one has answered.
async fn ping(tls: &str, nodes: u64, access: &Access) {
    let fleets = [("warm", WARM_UP), ("nodes", nodes)]
        .map(|(fleet, nodes)| assignment(tls, fleet, nodes, access));
    let names = fleets.iter().flat_map(|fleet| fleet.plan.all_nodes());
    let targets: NodeSet = names
        .map(|node| Identity::parse(&node.identity).unwrap())
        .collect();
    let client = asking_client(&fleets[0]).await.unwrap();
    let round = FanOut {
        call: Call::ping(),
        targets: Arc::new(targets),
        route: Route::Broadcast,
        collect: WITHIN,
        linger: Duration::ZERO,
    };
    let report = client.fan_out(&round).await.unwrap();
    assert!(report.account.is_complete(), "some nodes did not answer");
    client.close().await;
}

/// The process that holds the nodes, as seen from outside.
struct Holder {
    child: Child,
    orders: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(tls: &str, nodes: u64, access: &Access) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["hold", tls, &nodes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = child.stdin.take().unwrap();
        writeln!(orders, "{}", serde_json::to_string(access).unwrap()).unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            orders,
            told,
        }
    }

    /// Lets it come to its next moment.
    fn next(&mut self) -> Usage {
        writeln!(self.orders).unwrap();
        let line = self.told.next().expect("the nodes' process ended");
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    fn end(mut self) {
        drop(self.orders);
        assert!(self.child.wait().unwrap().success());
    }
}

/// Holds nodes, and tells what they cost whenever it is asked.
fn hold(tls: &str, nodes: u64) {
    let runtime = runtime();
    let mut orders = std::io::stdin().lines().map(Result::unwrap);
    let access: Access = serde_json::from_str(&orders.next().unwrap()).unwrap();
    // One book for all: the histograms in it belong to the process, not to a node.
    let book = Arc::new(Book::new(RunClock::start(), std::iter::empty()));
    let mut swarms = vec![runtime.block_on(connect(tls, "warm", WARM_UP, &access, &book))];
    for (moment, _) in orders.enumerate() {
        runtime.block_on(async {
            if moment == 1 {
                swarms.push(connect(tls, "nodes", nodes, &access, &book).await);
            }
            tokio::time::sleep(REST).await;
            println!("{}", serde_json::to_string(&Usage::now()).unwrap());
        });
    }
    for swarm in swarms {
        runtime.block_on(swarm.drain(WITHIN));
    }
}

/// Lays nodes out and connects them, as loadgen's `connect` does.
async fn connect(tls: &str, fleet: &str, nodes: u64, access: &Access, book: &Arc<Book>) -> Swarm {
    let assignment = assignment(tls, fleet, nodes, access);
    let swarm = Swarm::lay_out(&assignment, Arc::clone(book)).unwrap();
    let key = Arc::new(OpKey::new("connect", "connect"));
    let places = Arc::new(Semaphore::new(DIALS));
    let (open, mut all_connected) = mpsc::channel(1);
    for member in 0..usize::try_from(nodes).unwrap() {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let now = book.clock.now();
        swarm.connect(
            member,
            Pending {
                key: Arc::clone(&key),
                intended: now,
                began: now,
                place: Some(place),
                counted: true,
                open: Some(open.clone()),
            },
        );
    }
    drop(open);
    let connected = tokio::time::timeout(WITHIN, all_connected.recv());
    connected.await.expect("some nodes did not connect");
    swarm
}
