//! Keys that can be broken although their size is right.
//!
//! RSA: small factors; primes so close that Fermat's method finds them; the ROCA fingerprint of a
//! faulty key generator (Nemec et al., CCS 2017). Ed25519: points of small order, for which
//! anybody can make signatures. Points that are not on their curve are found by the proof of
//! possession.

use std::sync::LazyLock;

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;

use super::key::{KeyKind, PublicKey};
use crate::code::{Code, Refusal};

/// Factors below this are looked for: the first 752 primes.
const SMALL: u64 = 5_712;
/// How many steps of Fermat's method are tried.
const FERMAT_ROUNDS: usize = 100;
/// The primes of the ROCA fingerprint are the odd ones up to this.
const ROCA_LARGEST: u64 = 167;

/// Judges whether a key of a certified kind is sound.
///
/// # Errors
/// `key.weak`, saying in what way.
pub(crate) fn judge(key: &PublicKey<'_>) -> Result<(), Refusal> {
    if key.kind == KeyKind::Ed25519 {
        return if has_small_order(key.bytes) {
            Err(refuse("its point is of small order"))
        } else {
            Ok(())
        };
    }
    if !key.kind.is_rsa() {
        return Ok(());
    }
    if let Some(factor) = small_factor(key.modulus) {
        return Err(refuse(&format!("its modulus is divisible by {factor}")));
    }
    if has_roca_fingerprint(key.modulus) {
        return Err(refuse(
            "it comes from a key generator whose keys can be factored (ROCA, CVE-2017-15361)",
        ));
    }
    match has_close_primes(key.modulus) {
        Ok(false) => Ok(()),
        Ok(true) => Err(refuse("its two primes are too close to each other")),
        Err(error) => Err(refuse(&format!("its modulus cannot be examined: {error}"))),
    }
}

fn refuse(what: &str) -> Refusal {
    Refusal::new(
        Code::KeyWeak,
        format!("the key can be broken: {what}; the node must make a new one (rule 8)"),
    )
}

/// The small primes, in groups whose product fits into 32 bits: one division of the long number
/// serves a whole group.
static GROUPS: LazyLock<Vec<(u64, Vec<u64>)>> = LazyLock::new(|| {
    let mut groups: Vec<(u64, Vec<u64>)> = Vec::new();
    for prime in primes_below(SMALL) {
        match groups.last_mut() {
            Some((product, primes)) if *product * prime <= u64::from(u32::MAX) => {
                *product *= prime;
                primes.push(prime);
            }
            _ => groups.push((prime, vec![prime])),
        }
    }
    groups
});

fn primes_below(limit: u64) -> impl Iterator<Item = u64> {
    (2..limit).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0))
}

/// The smallest prime below [`SMALL`] that divides the number, if one does.
fn small_factor(number: &[u8]) -> Option<u64> {
    GROUPS.iter().find_map(|(product, primes)| {
        let rest = remainder(number, *product);
        primes
            .iter()
            .copied()
            .find(|prime| rest.is_multiple_of(*prime))
    })
}

/// A big-endian number modulo a divisor of at most 32 bits.
fn remainder(number: &[u8], divisor: u64) -> u64 {
    let (head, words) = number.split_at(number.len() % 4);
    let first = head
        .iter()
        .fold(0, |rest, byte| rest << 8 | u64::from(*byte))
        % divisor;
    words.chunks_exact(4).fold(first, |rest, word| {
        let word = word
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        (rest << 32 | word) % divisor
    })
}

/// For each prime of the fingerprint, which residues a faulty modulus can have: those that are
/// powers of 65537.
static ROCA: LazyLock<Vec<(u64, Vec<bool>)>> = LazyLock::new(|| {
    primes_below(ROCA_LARGEST + 1)
        .filter(|prime| *prime > 2)
        .map(|prime| {
            let mut powers = vec![false; usize::try_from(prime).unwrap_or(0)];
            let mut power = 1;
            while let Some(seen @ false) = powers.get_mut(usize::try_from(power).unwrap_or(0)) {
                *seen = true;
                power = power * 65_537 % prime;
            }
            (prime, powers)
        })
        .collect()
});

fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    ROCA.iter().all(|(prime, powers)| {
        usize::try_from(remainder(modulus, *prime))
            .ok()
            .and_then(|rest| powers.get(rest).copied())
            .unwrap_or(false)
    })
}

/// Fermat's method: a modulus of two close primes is soon found as a difference of two squares.
fn has_close_primes(modulus: &[u8]) -> Result<bool, ErrorStack> {
    let mut context = BigNumContext::new()?;
    let modulus = BigNum::from_slice(modulus)?;
    let mut root = square_root(&modulus, &mut context)?;
    let mut square = BigNum::new()?;
    square.sqr(&root, &mut context)?;
    if square == modulus {
        return Ok(true);
    }
    root.add_word(1)?;
    for _ in 0..FERMAT_ROUNDS {
        square.sqr(&root, &mut context)?;
        let mut rest = BigNum::new()?;
        rest.checked_sub(&square, &modulus)?;
        if is_square(&rest, &mut context)? {
            return Ok(true);
        }
        root.add_word(1)?;
    }
    Ok(false)
}

fn is_square(number: &BigNumRef, context: &mut BigNumContext) -> Result<bool, ErrorStack> {
    // Squares have few residues; this spares nearly every root.
    for modulus in [64, 63, 65, 11] {
        let rest = number.mod_word(modulus)?;
        if !(0..u64::from(modulus)).any(|n| n * n % u64::from(modulus) == rest) {
            return Ok(false);
        }
    }
    let root = square_root(number, context)?;
    let mut square = BigNum::new()?;
    square.sqr(&root, context)?;
    Ok(square == *number)
}

/// The integer square root, by Newton's method from above.
fn square_root(number: &BigNumRef, context: &mut BigNumContext) -> Result<BigNum, ErrorStack> {
    let mut root = BigNum::new()?;
    if number.num_bits() == 0 {
        return Ok(root);
    }
    root.set_bit(number.num_bits() / 2 + 1)?;
    loop {
        let mut quotient = BigNum::new()?;
        quotient.checked_div(number, &root, context)?;
        let mut sum = BigNum::new()?;
        sum.checked_add(&root, &quotient)?;
        let mut next = BigNum::new()?;
        next.rshift1(&sum)?;
        if next >= root {
            return Ok(root);
        }
        root = next;
    }
}

/// The y coordinates of the points of small order, little-endian without the sign bit, the two
/// that are written with a number above the prime included.
const SMALL_ORDER: [[u8; 32]; 7] = [
    little_endian(0),
    little_endian(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    near_the_prime(0xec),
    near_the_prime(0xed),
    near_the_prime(0xee),
];

const fn little_endian(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = value;
    bytes
}

/// A number that differs from 2^255 - 19 only in its lowest byte.
const fn near_the_prime(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = lowest;
    bytes[31] = 0x7f;
    bytes
}

fn has_small_order(point: &[u8]) -> bool {
    SMALL_ORDER.iter().any(|small| {
        point.len() == small.len() && point[..31] == small[..31] && point[31] & 0x7f == small[31]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use openssl::rsa::Rsa;
    use proptest::prelude::*;

    use super::*;

    fn number(decimal: &str) -> BigNum {
        BigNum::from_dec_str(decimal).unwrap()
    }

    #[test]
    fn the_first_752_primes_are_looked_for() {
        let primes: Vec<u64> = GROUPS.iter().flat_map(|(_, group)| group.clone()).collect();
        assert_eq!(primes.len(), 752);
        assert_eq!(primes.last(), Some(&5_711));
    }

    proptest! {
        #[test]
        fn remainders_agree_with_openssl(bytes in proptest::collection::vec(any::<u8>(), 1..80), divisor in 1u32..) {
            let expected = BigNum::from_slice(&bytes).unwrap().mod_word(divisor).unwrap();
            prop_assert_eq!(remainder(&bytes, u64::from(divisor)), expected);
        }

        #[test]
        fn square_roots_are_the_largest_that_fit(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut context = BigNumContext::new().unwrap();
            let n = BigNum::from_slice(&bytes).unwrap();
            let mut root = square_root(&n, &mut context).unwrap();
            let mut square = BigNum::new().unwrap();
            square.sqr(&root, &mut context).unwrap();
            prop_assert!(square <= n);
            prop_assert_eq!(is_square(&n, &mut context).unwrap(), square == n);
            root.add_word(1).unwrap();
            square.sqr(&root, &mut context).unwrap();
            prop_assert!(square > n);
        }
    }

    #[test]
    fn close_primes_are_found_and_others_are_not() {
        // Two primes right after 10^40, and after 10^40 and 3 * 10^40.
        let product = |a: &str, b: &str| {
            let mut product = BigNum::new().unwrap();
            let mut context = BigNumContext::new().unwrap();
            product
                .checked_mul(&number(a), &number(b), &mut context)
                .unwrap();
            product.to_vec()
        };
        let near = "10000000000000000000000000000000000000121";
        let next = "10000000000000000000000000000000000000139";
        let far = "30000000000000000000000000000000000000047";
        assert!(has_close_primes(&product(near, next)).unwrap());
        assert!(has_close_primes(&product(near, near)).unwrap());
        assert!(!has_close_primes(&product(near, far)).unwrap());
    }

    #[test]
    fn honest_keys_are_sound() {
        for _ in 0..3 {
            let modulus = Rsa::generate(2048).unwrap().n().to_vec();
            assert_eq!(small_factor(&modulus), None);
            assert!(!has_roca_fingerprint(&modulus));
            assert!(!has_close_primes(&modulus).unwrap());
        }
    }

    #[test]
    fn powers_of_65537_have_the_roca_fingerprint() {
        let mut context = BigNumContext::new().unwrap();
        let mut power = number("65537");
        for _ in 0..3 {
            let mut square = BigNum::new().unwrap();
            square.sqr(&power, &mut context).unwrap();
            power = square;
        }
        assert!(has_roca_fingerprint(&power.to_vec()));
        power.add_word(2).unwrap();
        assert!(!has_roca_fingerprint(&power.to_vec()));
    }

    #[test]
    fn points_of_small_order_are_known_with_either_sign() {
        for point in SMALL_ORDER {
            assert!(has_small_order(&point));
            let mut negative = point;
            negative[31] |= 0x80;
            assert!(has_small_order(&negative));
        }
        assert!(!has_small_order(&[9; 32]));
    }
}
