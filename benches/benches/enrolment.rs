//! What enrolling a node costs in judgement and signatures, without any network.
//!
//! `cargo bench -p benches --bench enrolment`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use provisioner::ca::init::{InitSettings, NewKey, init};
use provisioner::ca::{Authority, AuthoritySettings, CertificatePolicy, judge_chain};
use provisioner::judge::{RequestPolicy, judge};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use server_core::trust::{CsrSubject, KeyAlgorithm, KeyPair};

const IDENTITY: &str = "n1.example.net";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn authority(folder: &Path) -> Authority {
    let made = init(
        &InitSettings {
            folder: folder.to_owned(),
            name: "Bench".to_owned(),
            root_validity: 10 * YEAR,
            intermediate_validity: 5 * YEAR,
            root: None,
            key: NewKey::File,
        },
        Timestamp::now(),
        &mut ChaCha8Rng::seed_from_u64(1),
    )
    .unwrap();
    Authority::load(&AuthoritySettings {
        certificate: made.intermediate_certificate,
        key: folder.join("intermediate.key"),
        roots: made.root_certificate,
        validity: YEAR,
        server_auth: false,
    })
    .unwrap()
}

fn enrolment(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority(folder.path());
    let policy = RequestPolicy::default();
    let lints = CertificatePolicy::default();
    let now = Timestamp::now();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut group = criterion.benchmark_group("enrolment");
    group.throughput(Throughput::Elements(1));
    for algorithm in [
        KeyAlgorithm::P256,
        KeyAlgorithm::Ed25519,
        KeyAlgorithm::Rsa2048,
    ] {
        let kind = algorithm.as_str();
        let key = KeyPair::generate(algorithm).unwrap();
        let request = key.csr(IDENTITY, &CsrSubject::default()).unwrap();
        let judged = judge(request.as_bytes(), IDENTITY, &policy).unwrap();
        let prepared = authority.prepare(&judged, now, &mut rng).unwrap();
        let chain = authority.sign(&prepared).unwrap();

        group.bench_function(format!("judge a request, {kind}"), |bencher| {
            bencher.iter(|| judge(black_box(request.as_bytes()), IDENTITY, &policy).unwrap());
        });
        group.bench_function(format!("prepare and sign, {kind}"), |bencher| {
            bencher.iter(|| {
                let prepared = authority.prepare(&judged, now, &mut rng).unwrap();
                authority.sign(black_box(&prepared)).unwrap()
            });
        });
        group.bench_function(format!("judge a chain, {kind}"), |bencher| {
            let trust = authority.trust();
            bencher.iter(|| {
                judge_chain(black_box(&chain), None, &judged, trust, &lints, now).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, enrolment);
criterion_main!(benches);
