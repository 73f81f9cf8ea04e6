//! What a message costs: writing, reading, verifying, and verifying what another node of the process verified.
//!
//! `cargo bench -p benches --bench wire`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use server_core::trust::{CallerRules, CertificateSigner, Verifier};
use server_core::wire::rpc::{RpcReply, RpcRequest, status_of};
use server_core::wire::{
    Filter, FilterSubject, Headers, Limits, Protocol, Reply, Request, decode_reply, decode_request,
    encode_reply, encode_request, new_request_id,
};
use server_core::words::{ManualClock, UnixTime};

const NOW: UnixTime = UnixTime::from_secs(1_795_396_000);
const SERVER: &str = "tls://127.0.0.1:4222";

fn golden(name: &str) -> String {
    let path = format!(
        "{}/../server-core/tests/golden/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path).unwrap()
}

fn signer() -> CertificateSigner {
    let (certificate, key) = (
        golden("keys/alice.mcollective.pem"),
        golden("keys/alice.mcollective.key"),
    );
    CertificateSigner::from_pem(&certificate, &key).unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(&golden("keys/ca.pem"), CallerRules::default())
        .unwrap()
        .clock(Arc::new(ManualClock::new(NOW)))
}

fn request(filter: Filter) -> Request {
    let call = RpcRequest::new("muster", "echo", json!({ "size": 256 }));
    Request {
        id: new_request_id(),
        sender: "laptop.example.net".into(),
        caller: "choria=alice.mcollective".into(),
        collective: "mcollective".into(),
        agent: "muster".into(),
        ttl_secs: 60,
        time: NOW,
        filter,
        payload: call.encode().unwrap().into(),
    }
}

fn reply() -> Reply {
    let answer = RpcReply::ok("echo", json!({ "data": "x".repeat(256) }));
    Reply {
        request_id: new_request_id(),
        sender: "n0001.example.net".into(),
        agent: "muster".into(),
        time: NOW,
        payload: answer.encode().unwrap().into(),
    }
}

fn headers() -> Headers {
    let reply_to =
        "mcollective.reply.74ce5a833e16d4afa24ecbc90fff8506.0123456789abcdef0123456789abcdef";
    Headers::from_here("laptop.example.net", SERVER, Some(reply_to.into()))
}

fn requests(criterion: &mut Criterion) {
    let signer = signer();
    let limits = Limits::default();
    let request = request(Filter::empty().with_agent("muster"));
    let payload: Bytes = encode_request(&request, &signer, &headers()).unwrap();
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("encode and sign", |bencher| {
        bencher.iter(|| encode_request(black_box(&request), &signer, &headers()).unwrap());
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            decode_request(black_box(&payload), &limits)
                .unwrap()
                .body
                .request()
                .unwrap()
        });
    });
    let known = verifier();
    group.bench_function("verify, known certificate", |bencher| {
        bencher.iter(|| known.verify(black_box(&payload), &limits).unwrap());
    });
    group.bench_function("verify, new certificate", |bencher| {
        bencher.iter_batched(
            verifier,
            |verifier| verifier.verify(black_box(&payload), &limits).unwrap(),
            BatchSize::SmallInput,
        );
    });
    let shared = verifier().shared(true);
    group.bench_function("verify, shared with another node", |bencher| {
        bencher.iter_batched(
            || Bytes::copy_from_slice(&payload),
            |copy| shared.verify(black_box(&copy), &limits).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let limits = Limits::default();
    let (reply, headers) = (
        reply(),
        Headers::from_here("n0001.example.net", SERVER, None),
    );
    let payload = encode_reply(&reply, Protocol::V1, &headers).unwrap();
    let mut group = criterion.benchmark_group("reply");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| encode_reply(black_box(&reply), Protocol::V1, &headers).unwrap());
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode_reply(black_box(&payload), &limits).unwrap());
    });
    group.bench_function("status only", |bencher| {
        bencher.iter(|| status_of(black_box(&reply.payload), &limits).unwrap());
    });
    group.bench_function("whole answer", |bencher| {
        bencher.iter(|| RpcReply::parse(black_box(&reply.payload), &limits).unwrap());
    });
    group.finish();
}

struct Node {
    agents: Vec<String>,
    classes: Vec<String>,
}

impl FilterSubject for Node {
    fn identity(&self) -> &str {
        "web1.example.net"
    }
    fn agents(&self) -> &[String] {
        &self.agents
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn facts_json(&self) -> &str {
        r#"{"os":{"family":"RedHat","release":{"major":"9"}},"cpus":4,"load":1.5,"virtual":false,"dc":"lon"}"#
    }
}

fn filters(criterion: &mut Criterion) {
    let node = Node {
        agents: ["discovery", "rpcutil", "choria_util", "muster"]
            .map(str::to_owned)
            .to_vec(),
        classes: ["roles::web", "profile::base"].map(str::to_owned).to_vec(),
    };
    let agent = Filter::empty().with_agent("muster");
    let facts = agent
        .clone()
        .with_fact("os.family=RedHat")
        .unwrap()
        .with_fact("cpus>=4")
        .unwrap();
    let regex = agent.clone().with_identity("/^web/").with_class("/^roles/");
    let mut group = criterion.benchmark_group("filter");
    for (name, filter) in [
        ("agent", agent),
        ("facts", facts),
        ("regular expressions", regex),
    ] {
        let compiled = filter.compile();
        assert!(compiled.matches(&node).is_match());
        group.bench_function(name, |bencher| {
            bencher.iter(|| compiled.matches(black_box(&node)));
        });
    }
    group.finish();
}

criterion_group!(benches, requests, replies, filters);
criterion_main!(benches);
