//! What a fleet of 50,000 costs whoever asks it: the plan of a run, the set of those who are asked, and
//! the account of their replies.
//!
//! `cargo bench -p benches --bench fleet`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use loadgen::plan::Plan;
use loadgen::scenario::{self, Scenario};
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use server_core::client::{Account, NodeSet};
use server_core::wire::{
    Headers, Limits, Protocol, Reply, decode_reply, encode_reply, new_request_id,
};
use server_core::words::{Identity, UnixTime};

const NODES: usize = 50_000;
/// One node in so many answers twice.
const TWICE: usize = 100;
/// One reply in so many comes after the round's time.
const LATE: usize = 50;
const COLLECT: Duration = Duration::from_secs(10);

fn identities() -> Vec<Identity> {
    let name = |number: usize| format!("nodes-{number:05}.example.net");
    (1..=NODES)
        .map(|number| Identity::parse(&name(number)).unwrap())
        .collect()
}

/// Who answers and when, in the order of arrival: in none that a hash table could like.
fn arrivals() -> Vec<(Identity, Duration)> {
    let mut senders = identities();
    senders.extend(senders.clone().into_iter().step_by(TWICE));
    senders.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    let after = |place: usize| match place % LATE {
        0 => COLLECT + Duration::from_millis(1),
        _ => Duration::from_micros(place as u64 * 20),
    };
    let numbered = senders.into_iter().enumerate();
    numbered
        .map(|(place, sender)| (sender, after(place)))
        .collect()
}

/// Every reply to one ping as the network delivers it.
fn replies(arrivals: &[(Identity, Duration)]) -> Vec<(Bytes, Duration)> {
    let request_id = new_request_id();
    let pong = |(sender, after): &(Identity, Duration)| {
        let reply = Reply {
            request_id: request_id.clone(),
            sender: sender.to_string(),
            agent: "discovery".into(),
            time: UnixTime::from_secs(1_795_396_000),
            payload: Bytes::from_static(b"pong"),
        };
        let headers = Headers::from_here(sender.as_str(), "nats://127.0.0.1:4222", None);
        let bytes = encode_reply(&reply, Protocol::V1, &headers).unwrap();
        (bytes, *after)
    };
    arrivals.iter().map(pong).collect()
}

/// Every reply has been counted in exactly one way.
fn check(account: &Account, replies: usize) {
    let counted = account.replies + account.late + account.duplicate;
    assert_eq!(counted, replies as u64);
    assert_eq!(account.duplicate, (replies - NODES) as u64);
    assert!(account.is_complete() && account.late > 0 && account.unknown == 0);
}

fn accounting(criterion: &mut Criterion) {
    let identities = identities();
    let nodes: Arc<NodeSet> = Arc::new(identities.iter().cloned().collect());
    let arrivals = arrivals();
    let replies = replies(&arrivals);
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("fleet of 50,000");
    group.sample_size(20);
    group.throughput(Throughput::Elements(NODES as u64));
    group.bench_function("set of nodes", |bencher| {
        bencher.iter_batched(
            || identities.clone(),
            |identities| black_box(NodeSet::new(identities)),
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(arrivals.len() as u64));
    group.bench_function("account of replies", |bencher| {
        bencher.iter(|| {
            let mut account = Account::new(Arc::clone(&nodes));
            for (sender, after) in &arrivals {
                account.enter(sender, *after, COLLECT, false);
            }
            check(&account, arrivals.len());
            account
        });
    });
    group.bench_function("decode and account of replies", |bencher| {
        bencher.iter(|| {
            let mut account = Account::new(Arc::clone(&nodes));
            for (payload, after) in &replies {
                let reply = decode_reply(payload, &limits).unwrap().body;
                let sender = Identity::parse(&reply.sender).unwrap();
                account.enter(&sender, *after, COLLECT, reply.payload != b"pong"[..]);
            }
            check(&account, replies.len());
            account
        });
    });
    group.finish();
}

fn scenario_of_50_000() -> Scenario {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/fleet-50k.toml");
    scenario::load(Path::new(path), &[]).unwrap()
}

fn planning(criterion: &mut Criterion) {
    let scenario = scenario_of_50_000();
    assert_eq!(scenario.nodes(), NODES as u64);
    let mut group = criterion.benchmark_group("scenarios/fleet-50k.toml");
    group.sample_size(20);
    group.bench_function("validate", |bencher| bencher.iter(scenario_of_50_000));
    group.bench_function("plan", |bencher| {
        bencher.iter_batched(
            || scenario.clone(),
            |scenario| black_box(Plan::new(scenario)),
            BatchSize::SmallInput,
        );
    });
    let plan = Plan::new(scenario);
    group.throughput(Throughput::Elements(NODES as u64));
    group.bench_function("every node of the plan", |bencher| {
        bencher.iter(|| plan.all_nodes().map(black_box).count());
    });
    group.finish();
}

criterion_group!(benches, accounting, planning);
criterion_main!(benches);
