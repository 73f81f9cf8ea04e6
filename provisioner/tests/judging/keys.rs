//! Keys and signature algorithms of requests: which are certified, and how the others are told.

use der::Decode;
use der::asn1::Any;
use openssl::bn::{BigNum, BigNumContext, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use provisioner::code::Code;
use provisioner::judge::RequestPolicy;

use crate::forge::{Forge, ec, ed25519, oid, p256, rsa, rsa_spki, rsa2048};
use crate::requests::{code, with_policy};

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
