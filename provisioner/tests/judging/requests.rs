//! The form of requests, who signed them, and any bytes at all. [`crate::keys`] and
//! [`crate::names`] hold the other rules.

use der::Encode;
use proptest::prelude::*;
use provisioner::code::{Class, Code};
use provisioner::judge::policy::Oid;
use provisioner::judge::request::judge;
use provisioner::judge::{BlockedKeys, JudgedRequest, KeyKind, RequestPolicy, judge_shipped};
use server_core::trust::{CsrSubject, KeyAlgorithm, KeyPair};

use crate::forge::{
    CN, DNS, Forge, IDENTITY, UTF8, cn, ed25519, p256, pem, rsa, rsa2048, sans, subject,
};
use crate::names::asking_for;

pub(crate) fn with_policy(
    pem: &[u8],
    policy: &RequestPolicy,
) -> Result<JudgedRequest, provisioner::code::Refusal> {
    judge(pem, IDENTITY, policy)
}

pub(crate) fn code(request: impl AsRef<[u8]>) -> Option<Code> {
    with_policy(request.as_ref(), &RequestPolicy::default())
        .err()
        .map(|refusal| refusal.code)
}

#[test]
fn requests_of_the_original_are_accepted() {
    for (request, identity) in [
        (
            include_str!("../golden/requests/choria-provisioner.pem"),
            "n1.example.net",
        ),
        (
            include_str!("../golden/requests/choria-by-hand.pem"),
            "web9.example.net",
        ),
    ] {
        let result = [identity, "n1.example.net", "web9.example.net"]
            .iter()
            .find_map(|name| judge(request.as_bytes(), name, &RequestPolicy::default()).ok());
        assert_eq!(result.unwrap().key(), KeyKind::Rsa2048);
    }
}

#[test]
fn requests_of_our_own_nodes_are_accepted_and_keep_their_key() {
    for (algorithm, kind) in [
        (KeyAlgorithm::P256, KeyKind::P256),
        (KeyAlgorithm::Ed25519, KeyKind::Ed25519),
        (KeyAlgorithm::Rsa2048, KeyKind::Rsa2048),
    ] {
        let key = KeyPair::generate(algorithm).unwrap();
        let request = key.csr(IDENTITY, &CsrSubject::default()).unwrap();
        let judged = with_policy(request.as_bytes(), &RequestPolicy::default()).unwrap();
        assert_eq!(judged.key(), kind);
        assert_eq!(judged.identity(), IDENTITY);
        assert_eq!(judged.spki(), key.public_spki_der());
        assert_eq!(
            judged.spki_sha256(),
            openssl::sha::sha256(&key.public_spki_der())
        );
    }
}

#[test]
fn the_policy_narrows_and_widens() {
    let request = Forge::new().pem();
    let only_rsa = RequestPolicy {
        keys: vec![KeyKind::Rsa2048],
        ..RequestPolicy::default()
    };
    let refusal = with_policy(request.as_bytes(), &only_rsa).unwrap_err();
    assert_eq!(refusal.code, Code::KeyAlgorithm);

    let organization = Forge::new()
        .subject(subject(&[
            &[("2.5.4.10", UTF8, b"ops")],
            &[(CN, UTF8, IDENTITY.as_bytes())],
        ]))
        .pem();
    let tolerant = RequestPolicy {
        subject_attributes: vec![Oid::try_from("2.5.4.10".to_owned()).unwrap()],
        ..RequestPolicy::default()
    };
    assert!(with_policy(organization.as_bytes(), &tolerant).is_ok());

    let address = Forge::new()
        .extensions(&[sans(&[(DNS, IDENTITY.as_bytes()), (0x87, &[10, 1, 2, 3])])])
        .pem();
    let ranges = RequestPolicy {
        ip_ranges: vec!["10.1.0.0/16".parse().unwrap()],
        ..RequestPolicy::default()
    };
    let judged = with_policy(address.as_bytes(), &ranges).unwrap();
    assert_eq!(
        judged.addresses(),
        ["10.1.2.3".parse::<std::net::IpAddr>().unwrap()]
    );
}

#[test]
fn rule_11_a_key_on_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let (own, debian) = (dir.path().join("own.txt"), dir.path().join("debian.txt"));
    let (listed, weak) = (p256(), rsa2048());
    let digest = openssl::sha::sha256(&listed.public_key_to_der().unwrap());
    std::fs::write(
        &own,
        format!("# found in a repository\n{}\n", hex::encode(digest)),
    )
    .unwrap();
    let public = dir.path().join("public.pem");
    std::fs::write(&public, weak.public_key_to_pem().unwrap()).unwrap();
    // As the lists of openssl-blacklist are made.
    let made = "openssl rsa -pubin -noout -modulus -in \"$0\" | sha1sum | cut -c 21-40";
    let line = std::process::Command::new("sh")
        .args(["-c", made])
        .arg(&public)
        .output()
        .unwrap();
    std::fs::write(&debian, &line.stdout).unwrap();
    let policy = RequestPolicy {
        blocked_keys: BlockedKeys::read([&own, &debian]).unwrap(),
        ..RequestPolicy::default()
    };
    for (key, blocked) in [
        (listed, true),
        (weak, true),
        (ed25519(), false),
        (rsa(3072), false),
    ] {
        let judged = with_policy(Forge::with(&key).pem().as_bytes(), &policy);
        assert_eq!(
            judged.err().map(|refusal| refusal.code),
            blocked.then_some(Code::KeyWeak)
        );
    }
    // An authority that makes keys may have made one of those, too.
    let pem = rsa2048().private_key_to_pem_pkcs8().unwrap();
    let shipped = judge_shipped(std::str::from_utf8(&pem).unwrap(), IDENTITY, &policy);
    assert_eq!(shipped.unwrap_err().code, Code::KeyWeak);
    std::fs::write(&own, "\n\nnot a key\n").unwrap();
    let says = BlockedKeys::read([&own]).unwrap_err();
    assert!(says.contains("own.txt, whose line 3 is no key"), "{says}");
}

#[test]
fn rule_14_a_private_key_inside() {
    let key = p256().private_key_to_pem_pkcs8().unwrap();
    let both = [Forge::new().pem().into_bytes(), key].concat();
    let refusal = with_policy(&both, &RequestPolicy::default()).unwrap_err();
    assert_eq!(refusal.code, Code::CsrPrivateKeyLeaked);
    assert_eq!(refusal.class(), Class::Quarantine);
    // Before anything else, the size included.
    let large = [b" ".repeat(20_000), both].concat();
    assert_eq!(code(large), Some(Code::CsrPrivateKeyLeaked));
}

#[test]
fn rule_12_too_large() {
    assert_eq!(code(" ".repeat(17_000)), Some(Code::CsrTooLarge));
    let many: Vec<(u8, &[u8])> = vec![(DNS, b"n1.example.net"); 1_000];
    assert_eq!(asking_for(&[sans(&many)]), Some(Code::CsrTooLarge));
}

#[test]
fn rule_13_form() {
    let good = Forge::new().pem();
    assert_eq!(code("web17"), Some(Code::CsrPemFormat));
    assert_eq!(code(format!("{good}{good}")), Some(Code::CsrPemFormat));
    assert_eq!(
        code(good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")),
        Some(Code::CsrPemFormat)
    );
    let mut trailing = Forge::new().der();
    trailing.extend([0; 64]);
    assert_eq!(code(pem(&trailing)), Some(Code::CsrDerTrailing));
    assert_eq!(code(pem(b"\x30\x03\x02\x01\x00")), Some(Code::CsrDer));
    assert_eq!(code(pem(&[0x30; 400])), Some(Code::CsrDer));
    // The outer length in a longer form than needed: BER, not DER.
    let der = Forge::new().der();
    assert_eq!(der[1], 0x81);
    let ber = [&[0x30, 0x82, 0, der[2]], &der[3..]].concat();
    assert_eq!(code(pem(&ber)), Some(Code::CsrDer));
    let indefinite = [&[0x30, 0x80], &der[3..], &[0, 0]].concat();
    assert_eq!(code(pem(&indefinite)), Some(Code::CsrDer));
    let mut truncated = der;
    truncated.truncate(100);
    assert_eq!(code(pem(&truncated)), Some(Code::CsrDer));
}

#[test]
fn rule_10_proof_of_possession() {
    for (key, other) in [
        (p256(), p256()),
        (ed25519(), ed25519()),
        (rsa2048(), rsa(2048)),
    ] {
        let mut forge = Forge::with(&key);
        forge.signer = other;
        assert_eq!(code(forge.pem()), Some(Code::CsrPopFailed));
        let mut request = Forge::with(&key).request();
        request.info.subject = cn(b"n2.example.net");
        assert_eq!(
            code(pem(&request.to_der().unwrap())),
            Some(Code::CsrPopFailed)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..1_500)) {
        prop_assert!(code(&bytes).is_some());
        prop_assert!(code(pem(&bytes)).is_some());
    }

    #[test]
    fn any_change_to_a_request_is_refused_or_the_same(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut der = Forge::with(&ed25519()).extensions(&[sans(&[(DNS, IDENTITY.as_bytes())])]).der();
        let place = at.get_mut(&mut der);
        let same = *place == to;
        *place = to;
        prop_assert_eq!(code(pem(&der)).is_none(), same);
    }

    #[test]
    fn any_part_cut_out_is_refused(from in 0usize..300, length in 1usize..50) {
        let mut der = Forge::with(&ed25519()).der();
        let from = from % der.len();
        let to = (from + length).min(der.len());
        der.drain(from..to);
        prop_assert!(code(pem(&der)).is_some());
    }
}
