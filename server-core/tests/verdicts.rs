//! The verdict on requests: whose are acted on, what is remembered, and how much of anything is taken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/authority.rs"]
mod authority;
#[path = "golden/load.rs"]
mod load;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use authority::{Authority, NOW};
use bytes::Bytes;
use load::{captures, verifier};
use server_core::trust::{
    CallerRules, CertificateSigner, InsecureSigner, KeyAlgorithm, KeyPair, Verifier,
};
use server_core::wire::{
    FactFilter, Filter, Headers, Limits, Operator, Request, encode_request, new_request_id,
};
use server_core::words::{ManualClock, UnixTime};

fn request(caller: &str) -> Request {
    Request {
        id: new_request_id(),
        sender: "laptop.example.net".into(),
        caller: caller.into(),
        collective: "mcollective".into(),
        agent: "rpcutil".into(),
        ttl_secs: 60,
        time: NOW,
        filter: Filter::empty(),
        payload: r#"{"agent":"rpcutil","action":"ping","data":{}}"#.into(),
    }
}

fn signed(signer: &CertificateSigner) -> Bytes {
    let request = request(signer.caller_id().as_str());
    encode_request(&request, signer, &Headers::default()).unwrap()
}

/// A separate copy, as each connection of a process receives one.
fn copy(payload: &Bytes) -> Bytes {
    Bytes::copy_from_slice(payload)
}

fn code(verifier: &Verifier, payload: &Bytes) -> &'static str {
    match verifier.verify(payload, &Limits::default()) {
        Ok(_) => "ok",
        Err(rejected) => rejected.code(),
    }
}

#[test]
fn nodes_of_a_process_share_a_verdict() {
    let authority = Authority::new();
    let signer = authority.signer("alice.mcollective");
    let payload = signed(&signer);
    let limits = Limits::default();

    let apart = authority.verifier(CallerRules::default());
    let first = apart.verify(&payload, &limits).unwrap();
    assert!(!Arc::ptr_eq(
        &first,
        &apart.verify(&payload, &limits).unwrap()
    ));

    let shared = authority.verifier(CallerRules::default()).shared(true);
    let first = shared.verify(&payload, &limits).unwrap();
    for _ in 0..3 {
        let again = shared.verify(&copy(&payload), &limits).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }
    let others: Vec<Bytes> = (0..20).map(|_| signed(&signer)).collect();
    for other in &others {
        let verified = shared.verify(other, &limits).unwrap();
        assert_ne!(verified.request.id, first.request.id);
    }
    let forgotten = shared.verify(&payload, &limits).unwrap();
    assert!(
        !Arc::ptr_eq(&first, &forgotten),
        "only the last few are kept"
    );
    assert_eq!(first.request, forgotten.request);

    let refused = signed(&authority.signer("web1.example.net"));
    assert_eq!(code(&shared, &refused), "caller.not_allowed");
    assert_eq!(code(&shared, &copy(&refused)), "caller.not_allowed");
}

#[test]
fn nodes_that_ask_at_once_get_one_verdict() {
    let authority = Authority::new();
    let payload = signed(&authority.signer("alice.mcollective"));
    let shared = authority.verifier(CallerRules::default()).shared(true);
    let start = Barrier::new(8);
    let verdicts: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let payload = copy(&payload);
            start.wait();
            shared.verify(&payload, &Limits::default()).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        verdicts
            .iter()
            .all(|verdict| Arc::ptr_eq(verdict, &verdicts[0]))
    );
}

#[test]
fn a_certificate_that_expires_is_noticed_within_a_minute() {
    let authority = Authority::new();
    let hour = Duration::from_secs(3600);
    let signer = authority.signer_until("alice.mcollective", NOW.plus(hour));
    let clock = Arc::new(ManualClock::new(NOW));
    let verifier = authority
        .verifier(CallerRules::default())
        .clock(clock.clone());
    let payload = signed(&signer);
    assert_eq!(code(&verifier, &payload), "ok");
    clock.set(NOW.plus(hour).plus(Duration::from_secs(61)));
    assert_eq!(code(&verifier, &payload), "caller.chain");
    clock.set(NOW);
    assert_eq!(code(&verifier, &payload), "ok");
    clock.set(NOW.minus(Duration::from_secs(100 * 86_400)));
    assert_eq!(code(&verifier, &payload), "caller.chain", "not valid yet");
}

#[test]
fn certificates_through_an_intermediate_and_with_other_names() {
    let authority = Authority::new();
    let verifier = authority.verifier(CallerRules::default());
    let through = authority.intermediate().signer("alice.mcollective");
    assert_eq!(code(&verifier, &signed(&through)), "ok");
    assert_eq!(
        code(
            &verifier,
            &signed(&Authority::new().signer("alice.mcollective"))
        ),
        "caller.chain"
    );

    let privileged = authority.signer("signer.privileged.mcollective");
    let anybody =
        encode_request(&request("choria=root"), &privileged, &Headers::default()).unwrap();
    assert_eq!(code(&verifier, &anybody), "ok");
    let alice = authority.signer("alice.mcollective");
    let bob = encode_request(
        &request("choria=bob.mcollective"),
        &alice,
        &Headers::default(),
    )
    .unwrap();
    assert_eq!(code(&verifier, &bob), "caller.name");
}

#[test]
fn small_rsa_keys_are_refused() {
    let authority = Authority::new();
    let payload = authority.request_with_small_key(&request("choria=alice.mcollective"));
    let verifier = authority.verifier(CallerRules::default());
    assert_eq!(code(&verifier, &payload), "caller.key_algorithm");
}

#[test]
fn signers_need_rsa_and_the_key_of_their_certificate() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue("alice.mcollective", KeyAlgorithm::Rsa2048);
    let (other, p256) = authority.issue("alice.mcollective", KeyAlgorithm::P256);
    let rsa = KeyPair::generate(KeyAlgorithm::Rsa2048).unwrap().to_pem();
    for (certificate, key, wanted) in [
        (&certificate, &rsa, "trust.key_mismatch"),
        (&other, &p256, "trust.key_algorithm"),
        (&"hello".to_owned(), &rsa, "trust.pem"),
    ] {
        let error = CertificateSigner::from_pem(certificate, key).unwrap_err();
        assert_eq!(error.code(), wanted, "{error}");
    }
}

#[test]
fn the_insecure_switch_says_what_it_is() {
    let verifier = Verifier::insecure();
    assert!(format!("{verifier:?}").contains("INSECURE"));
    assert!(!verifier.is_secure());
    let caller = "choria=n1.example.net".to_owned();
    let payload = encode_request(
        &request(&caller),
        &InsecureSigner { caller },
        &Headers::default(),
    )
    .unwrap();
    assert_eq!(code(&verifier, &payload), "ok");
    let secure = Authority::new().verifier(CallerRules::default());
    assert_eq!(code(&secure, &payload), "caller.unsigned");
    assert_eq!(
        Verifier::new("", CallerRules::default())
            .unwrap_err()
            .code(),
        "trust.pem"
    );
}

/// Every captured request passes the default limits, so each of these refuses for its own reason.
#[test]
fn limits_are_kept() {
    let capture = &captures("v1")[0];
    let payload = capture.payload();
    let verifier = verifier("keys/ca.pem", CallerRules::default());
    let limits = Limits::default;
    for (limits, wanted) in [
        (
            Limits {
                max_payload: payload.len(),
                ..limits()
            },
            "ok",
        ),
        (
            Limits {
                max_payload: payload.len() - 1,
                ..limits()
            },
            "wire.too_large",
        ),
        (
            Limits {
                max_depth: 4,
                ..limits()
            },
            "ok",
        ),
        (
            Limits {
                max_depth: 3,
                ..limits()
            },
            "wire.too_deep",
        ),
        (
            Limits {
                max_hops: 1,
                ..limits()
            },
            "ok",
        ),
        (
            Limits {
                max_hops: 0,
                ..limits()
            },
            "wire.too_many",
        ),
        (
            Limits {
                max_filter_entries: 1,
                ..limits()
            },
            "ok",
        ),
        (
            Limits {
                max_filter_entries: 0,
                ..limits()
            },
            "wire.too_many",
        ),
        (
            Limits {
                max_certificates: 0,
                ..limits()
            },
            "caller.certificate",
        ),
    ] {
        // A verifier of its own each time: a certificate is looked at once a minute.
        let verifier = load::verifier("keys/ca.pem", CallerRules::default());
        let code = verifier
            .verify(&payload, &limits)
            .map_or_else(|rejected| rejected.code(), |_| "ok");
        assert_eq!(code, wanted, "{limits:?}");
    }
    assert_eq!(code(&verifier, &payload), "ok");
}

#[test]
fn what_breaks_the_rules_is_not_sent() {
    let signer = InsecureSigner {
        caller: "choria=a".into(),
    };
    type Change = fn(&mut Request);
    for (change, wanted) in [
        ((|r| r.ttl_secs = 29) as Change, "wire.field"),
        (|r| r.id = "short".into(), "wire.field"),
        (|r| r.agent.clear(), "wire.field"),
        (|r| r.payload = Bytes::new(), "wire.field"),
        (|r| r.payload = Bytes::from_static(b"\xff"), "wire.not_text"),
        (
            |r| {
                r.filter.fact.push(FactFilter {
                    fact: String::new(),
                    operator: Operator::Equal,
                    value: "x".into(),
                });
            },
            "wire.field",
        ),
    ] {
        let mut request = request("choria=a");
        change(&mut request);
        let error = encode_request(&request, &signer, &Headers::default()).unwrap_err();
        assert_eq!(error.code(), wanted, "{error}");
    }
    assert_eq!(UnixTime::from_secs(NOW.secs()), NOW);
}
