//! A moment of fuzzing: bytes made up and samples bent, at every door of the fuzz targets.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use provisioner::untrusted::DOORS;

/// Captured requests, answers, events and replies.
fn samples() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "tests/golden/helper",
        "tests/golden/requests",
        "../server-core/tests/golden/events",
        "../server-core/tests/golden/keys",
        "../server-core/tests/golden/provisioning/keys",
        "../server-core/tests/golden/v1",
    ];
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        files.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file()),
        );
    }
    files.sort();
    let mut samples: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    samples.push(
        br#"{"request_id":"a","decision":"defer","message":"not now","retry_after_s":60}"#.to_vec(),
    );
    samples.push(
        b"eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJDaG9yaWEgVG9rZW5zIFBhY2thZ2UifQ.AAAA"
            .to_vec(),
    );
    // Of Vault, cfssl, step-ca and, after its status, an ACME server.
    let answers: [&[u8]; 4] = [
        br#"{"data":{"certificate":"-","ca_chain":["-"]}}"#,
        br#"{"success":true,"result":{"certificate":"-"},"errors":[]}"#,
        br#"{"crt":"-","ca":"-","certChain":["-"]}"#,
        b"\x01\x90{\"type\":\"urn:ietf:params:acme:error:badCSR\",\"detail\":\"no\"}",
    ];
    samples.extend(answers.map(<[u8]>::to_vec));
    // What a fuzzer found: who quotes a key that is not known quotes all of it.
    samples.push(format!(r#"{{"{}":1}}"#, "not known ".repeat(1_000)).into_bytes());
    samples
}

#[test]
fn every_door_has_a_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut targets: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    targets.sort();
    let mut doors: Vec<_> = DOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    doors.sort();
    assert_eq!(targets, doors);
}

#[test]
fn samples_pass_every_door() {
    for sample in samples() {
        for (_, door) in DOORS {
            door(&sample);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bytes_made_up_pass_every_door(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for (_, door) in DOORS {
            door(&bytes);
        }
    }

    /// Bytes changed, put in, cut out and repeated.
    #[test]
    fn samples_bent_pass_every_door(
        which in any::<prop::sample::Index>(),
        bends in prop::collection::vec((0_u8..4, any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let samples = samples();
        let mut bytes = which.get(&samples).clone();
        for (how, at, with) in bends {
            let at = at.index(bytes.len() + 1);
            match how {
                0 if at < bytes.len() => bytes[at] = with,
                1 => bytes.insert(at, with),
                2 => bytes.truncate(at),
                _ => {
                    let end = (at + usize::from(with)).min(bytes.len());
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        for (_, door) in DOORS {
            door(&bytes);
        }
    }
}
