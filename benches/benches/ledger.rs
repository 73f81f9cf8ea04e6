//! What the ledger costs: durable transitions, and opening what a killed service has left.
//!
//! `cargo bench -p benches --bench ledger`; the file is in `CARGO_TARGET_DIR`, so on a real disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use provisioner::judge::CsrReply;
use provisioner::ledger::{
    Act, Change, Committed, Evidence, Issuance, Ledger, Rules, Source, Store,
};
use tokio::task::JoinSet;

/// Records that are recovered.
const RECORDS: u64 = 100_000;
/// Enrolments under way at once.
const AT_ONCE: u64 = 512;

fn open(dir: &Path) -> Ledger {
    Ledger::open(dir, Rules::default(), |_: &[Committed]| {}).unwrap()
}

/// The transitions of one enrolment. Requests and certificates are as large as real ones.
fn acts(n: u64) -> [Act; 9] {
    let key = format!("{n:064x}");
    let says = || "token ok: key factory, expires 2027-01-01".to_owned();
    let issuance = Issuance {
        chain: "x".repeat(1_600),
        serial: format!("{n:040x}"),
        ..Issuance::default()
    };
    [
        Act::Arrived {
            source: Source::Startup,
            version: None,
        },
        Act::Taken {
            since: Timestamp::UNIX_EPOCH,
        },
        Act::Inspected { says: says() },
        Act::Requested {
            key: key.clone(),
            csr: CsrReply {
                csr: "x".repeat(500),
                public_key: "x".repeat(180),
                ssldir: "/etc/choria/ssl".to_owned(),
                ed25519: None,
            },
            says: says(),
            presented: Box::default(),
        },
        Act::Asked {
            key: key.clone(),
            by: "built-in".to_owned(),
            prepared: Some(vec![0; 600]),
        },
        Act::Signed {
            key,
            issuance: Box::new(issuance),
        },
        Act::Configured { says: says() },
        Act::Restarted {
            by: Evidence::Reply,
        },
        Act::Confirmed {
            by: Evidence::StartupAndPing,
        },
    ]
}

async fn enrol(ledger: &Ledger, n: u64) {
    for act in acts(n) {
        let change = Change {
            identity: format!("node-{n:06}.example.net"),
            at: Timestamp::UNIX_EPOCH,
            act,
        };
        ledger.commit(change).await.unwrap();
    }
}

/// Enrols that many, [`AT_ONCE`] at a time; each transition is awaited until it is durable.
async fn enrol_all(ledger: &Ledger, from: u64, count: u64) {
    let next = Arc::new(std::sync::atomic::AtomicU64::new(from));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        let (ledger, next) = (ledger.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if n >= from + count {
                    return;
                }
                enrol(&ledger, n).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

fn transitions(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = open(dir.path());
    let mut group = criterion.benchmark_group("ledger");
    let mut from = 0;
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(20))
        .throughput(Throughput::Elements(9 * AT_ONCE));
    group.bench_function("durable transitions, 512 enrolments at once", |bencher| {
        bencher.iter_custom(|rounds| {
            let begin = Instant::now();
            runtime.block_on(enrol_all(&ledger, from, rounds * AT_ONCE));
            from += rounds * AT_ONCE;
            begin.elapsed()
        });
    });
    group.finish();
}

fn recovery(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ledger = open(dir.path());
    runtime.block_on(enrol_all(&ledger, 0, RECORDS));
    let mut group = criterion.benchmark_group("ledger");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(20));
    group.bench_function("recovery of 100,000 records after a kill", |bencher| {
        bencher.iter_custom(|rounds| {
            let each = (0..rounds).map(|_| {
                // A copy of a file that is open is what a kill leaves.
                let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                std::fs::copy(Store::file_in(dir.path()), Store::file_in(copy.path())).unwrap();
                let begin = Instant::now();
                let again = open(copy.path());
                let mut found = 0;
                again
                    .store()
                    .each(|_, _| {
                        found += 1;
                        true
                    })
                    .unwrap();
                assert_eq!(found, RECORDS);
                begin.elapsed()
            });
            each.sum()
        });
    });
    group.finish();
}

criterion_group!(benches, transitions, recovery);
criterion_main!(benches);
