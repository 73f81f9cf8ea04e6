//! One test for each rule and code of the judgement of requests.

use der::asn1::{Any, SetOfVec};
use der::{Decode, Encode};
use openssl::bn::{BigNum, BigNumContext, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use proptest::prelude::*;
use provisioner::code::{Class, Code};
use provisioner::judge::policy::Oid;
use provisioner::judge::request::judge;
use provisioner::judge::{JudgedRequest, KeyKind, RequestPolicy};
use server_core::trust::{CsrSubject, KeyAlgorithm, KeyPair};
use x509_cert::attr::Attribute;

use crate::forge::{
    CN, DNS, Forge, IDENTITY, UTF8, cn, ec, ed25519, extension, oid, p256, pem, rsa, rsa_spki,
    rsa2048, sans, subject, tlv,
};

fn with_policy(
    pem: &[u8],
    policy: &RequestPolicy,
) -> Result<JudgedRequest, provisioner::code::Refusal> {
    judge(pem, IDENTITY, policy)
}

fn code(request: impl AsRef<[u8]>) -> Option<Code> {
    with_policy(request.as_ref(), &RequestPolicy::default())
        .err()
        .map(|refusal| refusal.code)
}

fn asking_for(extensions: &[x509_cert::ext::Extension]) -> Option<Code> {
    code(Forge::new().extensions(extensions).pem())
}

// --- what is accepted -------------------------------------------------------

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
fn every_certified_key_and_pair_of_algorithms_is_accepted() {
    let p384 = ec(Nid::SECP384R1);
    let sha = [
        MessageDigest::sha256(),
        MessageDigest::sha384(),
        MessageDigest::sha512(),
    ];
    let ecdsa = [
        "1.2.840.10045.4.3.2",
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
    ];
    let rsa_signatures = [
        "1.2.840.113549.1.1.11",
        "1.2.840.113549.1.1.12",
        "1.2.840.113549.1.1.13",
    ];
    for (key, algorithms) in [
        (p256(), ecdsa),
        (p384, ecdsa),
        (rsa2048(), rsa_signatures),
        (rsa(3072), rsa_signatures),
        (rsa(4096), rsa_signatures),
    ] {
        for (digest, algorithm) in sha.into_iter().zip(algorithms) {
            let forge = Forge::with(&key).signed_with(digest, algorithm);
            assert_eq!(code(forge.pem()), None, "{algorithm}");
        }
    }
    assert_eq!(code(Forge::with(&ed25519()).pem()), None);
}

#[test]
fn a_request_may_name_what_it_gets_anyway() {
    let usage = extension("2.5.29.15", vec![3, 2, 7, 0x80]);
    let purposes = extension(
        "2.5.29.37",
        tlv(
            0x30,
            &[
                tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
                tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
            ]
            .concat(),
        ),
    );
    let names = sans(&[(DNS, IDENTITY.as_bytes())]);
    assert_eq!(asking_for(&[usage, purposes, names]), None);
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

// --- the rules, in the order of judgement ------------------------------------

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
fn rule_8_kinds_and_sizes_of_keys() {
    for (bits, wanted) in [
        (1_024, Some(Code::KeySize)),
        (2_040, Some(Code::KeySize)),
        (2_056, Some(Code::KeySize)),
        (8_192, Some(Code::KeySize)),
        (16_384, Some(Code::KeySize)),
    ] {
        let mut modulus = BigNum::new().unwrap();
        modulus.rand(bits, MsbOption::ONE, true).unwrap();
        let mut forge = Forge::with(&rsa2048());
        forge.spki = rsa_spki(&modulus.to_vec(), &[1, 0, 1]);
        assert_eq!(code(forge.pem()), wanted, "{bits}");
    }
    for exponent in [&[3][..], &[1], &[1, 0, 2], &[0x7f; 255]] {
        let mut forge = Forge::with(&rsa2048());
        forge.spki = rsa_spki(&rsa2048().rsa().unwrap().n().to_vec(), exponent);
        assert_eq!(code(forge.pem()), Some(Code::KeyExponent));
    }
    for curve in [Nid::SECP256K1, Nid::SECP521R1, Nid::X9_62_PRIME239V1] {
        assert_eq!(code(Forge::with(&ec(curve)).pem()), Some(Code::KeyCurve));
    }
    assert_eq!(
        code(Forge::with(&PKey::generate_ed448().unwrap()).pem()),
        Some(Code::KeyCurve)
    );
    let dsa = PKey::from_dsa(openssl::dsa::Dsa::generate(1024).unwrap()).unwrap();
    let mut forge = Forge::with(&rsa2048());
    forge.spki = Decode::from_der(&dsa.public_key_to_der().unwrap()).unwrap();
    assert_eq!(code(forge.pem()), Some(Code::KeyAlgorithm));
}

#[test]
fn rule_8_points_are_uncompressed_and_curves_are_named() {
    let key = p256();
    let mut forge = Forge::with(&key);
    let point = forge.spki.subject_public_key.raw_bytes().to_vec();
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    forge.spki.subject_public_key = der::asn1::BitString::from_bytes(&compressed).unwrap();
    assert_eq!(code(forge.pem()), Some(Code::KeyCurve));

    let mut forge = Forge::with(&key);
    forge.spki.algorithm.parameters = Some(Any::null());
    assert_eq!(code(forge.pem()), Some(Code::KeyCurve));
}

#[test]
fn rule_9_signature_algorithms() {
    let weak = Forge::with(&rsa2048()).signed_with(MessageDigest::sha1(), "1.2.840.113549.1.1.5");
    assert_eq!(code(weak.pem()), Some(Code::CsrSigalg));
    let weak = Forge::with(&rsa2048()).signed_with(MessageDigest::md5(), "1.2.840.113549.1.1.4");
    assert_eq!(code(weak.pem()), Some(Code::CsrSigalg));
    let weak = Forge::new().signed_with(MessageDigest::sha1(), "1.2.840.10045.4.1");
    assert_eq!(code(weak.pem()), Some(Code::CsrSigalg));
    // PSS, another kind of key's algorithm, parameters where none belong, none where they do.
    let mut forge = Forge::with(&rsa2048());
    forge.algorithm.oid = oid("1.2.840.113549.1.1.10");
    assert_eq!(code(forge.pem()), Some(Code::CsrSigalg));
    let mut forge = Forge::new();
    forge.algorithm.oid = oid("1.2.840.113549.1.1.11");
    assert_eq!(code(forge.pem()), Some(Code::CsrSigalg));
    let mut forge = Forge::new();
    forge.algorithm.parameters = Some(Any::null());
    assert_eq!(code(forge.pem()), Some(Code::CsrSigalg));
    let mut forge = Forge::with(&rsa2048());
    forge.algorithm.parameters = None;
    assert_eq!(code(forge.pem()), Some(Code::CsrSigalg));
}

fn with_modulus(modulus: &BigNum) -> Option<Code> {
    assert_eq!(modulus.num_bits(), 2048);
    let mut forge = Forge::with(&rsa2048());
    forge.spki = rsa_spki(&modulus.to_vec(), &[1, 0, 1]);
    code(forge.pem())
}

fn prime(bits: i32) -> BigNum {
    let mut prime = BigNum::new().unwrap();
    prime.generate_prime(bits, false, None, None).unwrap();
    prime
}

fn product(a: &BigNum, b: &BigNum) -> BigNum {
    let mut product = BigNum::new().unwrap();
    let mut context = BigNumContext::new().unwrap();
    product.checked_mul(a, b, &mut context).unwrap();
    product
}

#[test]
fn rule_8_small_factors() {
    let mut even = BigNum::new().unwrap();
    even.rand(2048, MsbOption::ONE, true).unwrap();
    even.clear_bit(0).unwrap();
    assert_eq!(with_modulus(&even), Some(Code::KeyWeak));
    // The largest factor that is looked for.
    let modulus = product(&prime(2035), &BigNum::from_u32(5_711).unwrap());
    assert_eq!(with_modulus(&modulus), Some(Code::KeyWeak));
}

#[test]
fn rule_8_close_primes() {
    let first = prime(1024);
    let mut second = first.to_owned().unwrap();
    let mut context = BigNumContext::new().unwrap();
    loop {
        second.add_word(2).unwrap();
        if second.is_prime(20, &mut context).unwrap() {
            break;
        }
    }
    assert_eq!(with_modulus(&product(&first, &second)), Some(Code::KeyWeak));
}

#[test]
fn rule_8_roca() {
    // n = k * M + 65537^a mod M, with M the product of the odd primes up to 167.
    let mut context = BigNumContext::new().unwrap();
    let mut m = BigNum::from_u32(1).unwrap();
    for prime in (3..=167u32).filter(|n| (2..*n).all(|d| n % d != 0)) {
        m.mul_word(prime).unwrap();
    }
    let (base, power) = (
        BigNum::from_u32(65_537).unwrap(),
        BigNum::from_u32(123_457).unwrap(),
    );
    let mut residue = BigNum::new().unwrap();
    residue.mod_exp(&base, &power, &m, &mut context).unwrap();
    let modulus = loop {
        let mut k = BigNum::new().unwrap();
        k.rand(2048 - m.num_bits() + 1, MsbOption::ONE, false)
            .unwrap();
        let mut modulus = BigNum::new().unwrap();
        modulus.checked_add(&product(&k, &m), &residue).unwrap();
        let factor = (2..5_712u32).any(|n| modulus.mod_word(n).unwrap() == 0);
        if modulus.num_bits() == 2048 && !factor {
            break modulus;
        }
    };
    let mut forge = Forge::with(&rsa2048());
    forge.spki = rsa_spki(&modulus.to_vec(), &[1, 0, 1]);
    let refusal = with_policy(forge.pem().as_bytes(), &RequestPolicy::default()).unwrap_err();
    assert_eq!(refusal.code, Code::KeyWeak);
    assert!(refusal.message.contains("ROCA"), "{}", refusal.message);
}

#[test]
fn rule_8_points_that_are_none() {
    let mut forge = Forge::with(&ed25519());
    let identity_point = [&[1][..], &[0; 31]].concat();
    forge.spki.subject_public_key = der::asn1::BitString::from_bytes(&identity_point).unwrap();
    assert_eq!(code(forge.pem()), Some(Code::KeyWeak));

    let mut forge = Forge::new();
    let mut point = forge.spki.subject_public_key.raw_bytes().to_vec();
    point[64] ^= 1;
    forge.spki.subject_public_key = der::asn1::BitString::from_bytes(&point).unwrap();
    assert_eq!(code(forge.pem()), Some(Code::KeyWeak));
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

#[test]
fn rule_2_exactly_one_common_name_in_plain_text() {
    let own = IDENTITY.as_bytes();
    for name in [
        subject(&[]),
        subject(&[&[("2.5.4.10", UTF8, b"ops")]]),
        subject(&[&[(CN, UTF8, own)], &[(CN, UTF8, b"n2.example.net")]]),
        subject(&[&[(CN, UTF8, b"n2.example.net")], &[(CN, UTF8, own)]]),
        subject(&[&[(CN, UTF8, own)], &[(CN, UTF8, own)]]),
        // Both in one multi-valued RDN.
        subject(&[&[(CN, UTF8, own), (CN, UTF8, b"n2.example.net")]]),
        // BMPString, T61String, OCTET STRING, and text that is none.
        subject(&[&[(CN, 0x1e, b"\0n\x001")]]),
        subject(&[&[(CN, 0x14, own)]]),
        subject(&[&[(CN, 0x04, own)]]),
        subject(&[&[(CN, UTF8, b"\xff\xfe")]]),
    ] {
        assert_eq!(
            code(Forge::new().subject(name).pem()),
            Some(Code::CsrSubjectCnCount)
        );
    }
    // UniversalString, which the library cannot write: its tag is put in afterwards.
    let der = Forge::new().subject(cn(b"n001")).der();
    let at = der.windows(4).position(|bytes| bytes == b"n001").unwrap();
    let mut odd = der;
    odd[at - 2] = 0x1c;
    assert_eq!(code(pem(&odd)), Some(Code::CsrSubjectCnCount));
    for tag in [UTF8, 0x13, 0x16] {
        let name = subject(&[&[(CN, tag, own)]]);
        assert_eq!(code(Forge::new().subject(name).pem()), None, "{tag:#x}");
    }
}

#[test]
fn rules_15_and_16_syntax_of_the_name() {
    for name in [
        &b""[..],
        b"n1.example.net\0.evil.com",
        b"n1.example.net\n",
        b"N1.example.net",
        b"n1.example.net.",
        b"*.example.net",
        b"../../etc/passwd",
        "\u{202e}n1.example.net".as_bytes(),
        "n\u{456}.example.net".as_bytes(),
        b"xn--n1-abc.example.net",
        b"-n1.example.net",
        &[b'a'; 65],
    ] {
        assert_eq!(
            code(Forge::new().subject(cn(name)).pem()),
            Some(Code::IdentitySyntax),
            "{name:?}"
        );
    }
    // The identity beside it is held to the same grammar.
    let refusal = judge(
        Forge::new().pem().as_bytes(),
        "N1.example.net",
        &RequestPolicy::default(),
    );
    assert_eq!(refusal.unwrap_err().code, Code::IdentitySyntax);
}

#[test]
fn rule_1_another_node_s_name() {
    let refusal = with_policy(
        Forge::new()
            .subject(cn(b"db1.example.net"))
            .pem()
            .as_bytes(),
        &RequestPolicy::default(),
    )
    .unwrap_err();
    assert_eq!(refusal.code, Code::CsrIdentityMismatch);
    assert!(refusal.message.contains("db1.example.net"));
    assert!(refusal.message.contains(IDENTITY));
}

#[test]
fn rule_3_other_attributes() {
    let own = IDENTITY.as_bytes();
    for name in [
        subject(&[&[("2.5.4.10", UTF8, b"system:masters")], &[(CN, UTF8, own)]]),
        subject(&[&[(CN, UTF8, own), ("2.5.4.11", UTF8, b"ops")]]),
        subject(&[
            &[(CN, UTF8, own)],
            &[("1.2.840.113549.1.9.1", 0x16, b"a@b")],
        ]),
    ] {
        assert_eq!(
            code(Forge::new().subject(name).pem()),
            Some(Code::CsrSubjectAttr)
        );
    }
}

#[test]
fn rule_7_powers_of_an_authority() {
    let ca = extension("2.5.29.19", tlv(0x30, &[1, 1, 0xff]));
    assert_eq!(
        asking_for(std::slice::from_ref(&ca)),
        Some(Code::CsrCaRequested)
    );
    let cert_sign = extension("2.5.29.15", vec![3, 2, 2, 0x04]);
    assert_eq!(asking_for(&[cert_sign]), Some(Code::CsrCaRequested));
    let crl_sign = extension("2.5.29.15", vec![3, 2, 1, 0x02]);
    assert_eq!(asking_for(&[crl_sign]), Some(Code::CsrCaRequested));
    // The worst is named first, wherever it stands.
    let names = sans(&[(DNS, b"*.example.net")]);
    let other = extension("2.5.29.30", tlv(0x30, &[]));
    assert_eq!(asking_for(&[names, other, ca]), Some(Code::CsrCaRequested));
}

#[test]
fn rule_7_other_extensions() {
    for (kind, value) in [
        ("2.5.29.19", tlv(0x30, &[])),
        ("2.5.29.30", tlv(0x30, &[])),
        ("2.5.29.14", tlv(4, &[1; 20])),
        ("1.2.3.4", vec![5, 0]),
        // The extended key usages any and code signing.
        ("2.5.29.37", tlv(0x30, &tlv(6, &[0x55, 0x1d, 0x25, 0]))),
        (
            "2.5.29.37",
            tlv(0x30, &tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 3])),
        ),
    ] {
        assert_eq!(
            asking_for(&[extension(kind, value)]),
            Some(Code::CsrExtension),
            "{kind}"
        );
    }
    let mut critical = extension("1.2.3.4", vec![5, 0]);
    critical.critical = true;
    assert_eq!(asking_for(&[critical]), Some(Code::CsrExtension));
    let own = sans(&[(DNS, IDENTITY.as_bytes())]);
    assert_eq!(
        asking_for(&[own.clone(), own.clone()]),
        Some(Code::CsrExtension)
    );
    // Two lists of extensions, and attributes that are none.
    let twice = Forge::new()
        .extensions(std::slice::from_ref(&own))
        .extensions(&[sans(&[(DNS, b"x")])]);
    assert_eq!(code(twice.pem()), Some(Code::CsrExtension));
    let mut password = Forge::new();
    password.attributes.push(Attribute {
        oid: oid("1.2.840.113549.1.9.7"),
        values: SetOfVec::try_from(vec![Any::from_der(&tlv(UTF8, b"secret")).unwrap()]).unwrap(),
    });
    assert_eq!(code(password.pem()), Some(Code::CsrExtension));
    // A known extension in a wrong form.
    assert_eq!(
        asking_for(&[extension("2.5.29.17", vec![5, 0])]),
        Some(Code::CsrDer)
    );
}

#[test]
fn rules_4_to_6_alternative_names() {
    let own = (DNS, IDENTITY.as_bytes());
    let names = |names: &[(u8, &[u8])]| asking_for(&[sans(names)]);
    assert_eq!(
        names(&[own, (DNS, b"*.example.net")]),
        Some(Code::CsrSanWildcard)
    );
    assert_eq!(
        names(&[own, (DNS, b"a*.example.net")]),
        Some(Code::CsrSanWildcard)
    );
    // A wildcard is named before any other fault of the names.
    assert_eq!(
        names(&[(0x86, b"spiffe://x"), (DNS, b"*")]),
        Some(Code::CsrSanWildcard)
    );
    for (tag, value) in [
        (0x81, &b"root@example.net"[..]),
        (0x86, b"spiffe://example.net/n1"),
        (0xa0, &[6, 3, 0x2a, 3, 4, 0xa0, 2, 5, 0]),
        (0xa4, &[0x30, 0]),
        (0x88, &[0x2a, 3, 4]),
        (0xa3, &[0x30, 0]),
        (DNS, "n\u{e4}.example.net".as_bytes()),
        (0x87, &[10, 0, 0]),
    ] {
        assert_eq!(
            names(&[own, (tag, value)]),
            Some(Code::CsrSanKind),
            "{tag:#x}"
        );
    }
    assert_eq!(names(&[own, (0x87, &[10, 1, 2, 3])]), Some(Code::CsrSanIp));
    assert_eq!(names(&[own, (0x87, &[0; 16])]), Some(Code::CsrSanIp));
    let many: Vec<(u8, &[u8])> = vec![own; 17];
    assert_eq!(names(&many), Some(Code::CsrSanCount));
    for wrong in [
        &[(DNS, &b"db1.example.net"[..])][..],
        &[own, (DNS, b"broker.example.net")],
        &[own, own],
        &[(DNS, b"N1.example.net")],
        &[],
    ] {
        assert_eq!(names(wrong), Some(Code::CsrSanSet), "{wrong:?}");
    }
}

// --- any bytes at all --------------------------------------------------------

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
