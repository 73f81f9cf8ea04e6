//! Provisioning tokens: captured ones verify, ours verify with OpenSSL, and each kind of bad token has its code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "golden/load.rs"]
mod load;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use load::text;
use serde_json::{Value, json};
use server_core::trust::jwt::{
    self, Audience, JwtKey, MAX_TOKEN, NamedKey, PURPOSE, ProvisioningClaims, Rules, SigningKey,
};
use server_core::trust::{KeyAlgorithm, KeyPair};
use server_core::words::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(1_795_400_000);

fn named(name: &str, text: &str) -> NamedKey {
    NamedKey {
        name: name.into(),
        key: JwtKey::parse(text).unwrap(),
    }
}

fn claims() -> ProvisioningClaims {
    ProvisioningClaims {
        cht: "s3cret".into(),
        chs: true,
        chu: "tls://127.0.0.1:4222, tls://127.0.0.2:4222".into(),
        chpd: true,
        chusr: "provisioning".into(),
        chpwd: "passw0rd".into(),
        purpose: PURPOSE.into(),
        iss: jwt::CHORIA_ISSUER.into(),
        sub: PURPOSE.into(),
        exp: Some(NOW.secs() + 3600),
        nbf: Some(NOW.secs()),
        iat: Some(NOW.secs()),
        jti: "3MUBmUvzuoOfcdfGuDsJMPmXmjO".into(),
        ..ProvisioningClaims::default()
    }
}

struct Authority {
    signing: SigningKey,
    keys: Vec<NamedKey>,
}

fn authority(algorithm: KeyAlgorithm) -> Authority {
    let signing = SigningKey::new(&KeyPair::generate(algorithm).unwrap()).unwrap();
    let keys = vec![named("ours", signing.public_pem())];
    Authority { signing, keys }
}

fn code(authority: &Authority, token: &str, rules: &Rules) -> &'static str {
    match jwt::verify(token, &authority.keys, rules, NOW) {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

#[test]
fn captured_tokens_verify_with_the_key_that_made_them() {
    let keys = [
        named("rsa", &text("provisioning/keys/jwt-signer.pem")),
        named("ed25519", &text("provisioning/keys/issuer.public")),
    ];
    let decoded: Value =
        serde_json::from_str(&text("provisioning/keys/tokens-decoded.json")).unwrap();
    for (file, signer) in [
        ("provisioning-x509.jwt", "rsa"),
        ("provisioning-v2.jwt", "ed25519"),
    ] {
        let token = text(&format!("provisioning/keys/{file}"));
        let (key, claims) = jwt::verify(&token, &keys, &Rules::default(), NOW).unwrap();
        assert_eq!(key, signer);
        assert_eq!(claims, jwt::decode_unverified(&token).unwrap());
        // What we would write has the same claims in the same order.
        assert_eq!(
            serde_json::to_string(&claims).unwrap(),
            decoded[file]["claims"].to_string(),
            "{file}"
        );
        let other = &keys[usize::from(signer == "rsa")..][..1];
        let error = jwt::verify(&token, other, &Rules::default(), NOW).unwrap_err();
        assert_eq!(error.code(), "jwt.alg", "{file}: {error}");
    }
    // Tokens of other purposes are signed by the same keys.
    for file in ["user.jwt", "broker.jwt"] {
        let token = text(&format!("provisioning/keys/{file}"));
        let error = jwt::verify(&token, &keys, &Rules::default(), NOW).unwrap_err();
        assert_eq!(error.code(), "jwt.claims", "{file}: {error}");
    }
}

#[test]
fn a_captured_token_comes_out_the_same_when_signed_again() {
    let token = text("provisioning/keys/provisioning-x509.jwt");
    let signing = SigningKey::parse(&text("provisioning/keys/jwt-signer.key")).unwrap();
    let claims = jwt::decode_unverified(&token).unwrap();
    let again = jwt::issue(&claims, &signing).unwrap();
    let part = |token: &str, n: usize| token.trim().split('.').nth(n).unwrap().to_owned();
    assert_eq!(
        part(&again, 1),
        part(&token, 1),
        "the same claims, byte for byte"
    );
}

#[test]
fn our_tokens_verify_with_both_kinds_of_keys() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::Ed25519] {
        let authority = authority(algorithm);
        let token = jwt::issue(&claims(), &authority.signing).unwrap();
        let (key, found) = jwt::verify(&token, &authority.keys, &Rules::default(), NOW).unwrap();
        assert_eq!((key, &found), ("ours", &claims()));
        assert_eq!(
            found.servers(),
            ["tls://127.0.0.1:4222", "tls://127.0.0.2:4222"]
        );
        assert!(!format!("{found:?}").contains("s3cret"));
        assert!(!format!("{found:?}").contains("passw0rd"));

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let public =
            openssl::pkey::PKey::public_key_from_pem(authority.signing.public_pem().as_bytes())
                .unwrap();
        let digest =
            (algorithm == KeyAlgorithm::Rsa2048).then(openssl::hash::MessageDigest::sha256);
        let mut judge = match digest {
            Some(digest) => openssl::sign::Verifier::new(digest, &public).unwrap(),
            None => openssl::sign::Verifier::new_without_digest(&public).unwrap(),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(
            judge.verify_oneshot(&signature, signed.as_bytes()).unwrap(),
            "{algorithm}"
        );
    }
    let p256 = KeyPair::generate(KeyAlgorithm::P256).unwrap();
    assert_eq!(
        SigningKey::new(&p256).unwrap_err().code(),
        "trust.key_algorithm"
    );
    assert!(JwtKey::parse(&p256.public_pem()).is_err());
}

#[test]
fn claims_are_judged_at_the_time_given() {
    let authority = authority(KeyAlgorithm::Ed25519);
    let now = NOW.secs();
    let judge = |change: fn(&mut ProvisioningClaims, i64), rules: &Rules| {
        let mut claims = claims();
        change(&mut claims, now);
        code(
            &authority,
            &jwt::issue(&claims, &authority.signing).unwrap(),
            rules,
        )
    };
    let rules = Rules::default();
    let for_us = Rules {
        audience: Some("us".into()),
        ..Rules::default()
    };
    for (change, rules, wanted) in [
        (
            (|_, _| {}) as fn(&mut ProvisioningClaims, i64),
            &rules,
            "ok",
        ),
        (|c, now| c.exp = Some(now - 59), &rules, "ok"),
        (|c, now| c.exp = Some(now - 60), &rules, "jwt.expired"),
        (|c, _| c.exp = Some(i64::MIN), &rules, "jwt.expired"),
        (|c, _| c.exp = None, &rules, "jwt.claims"),
        (|c, now| c.nbf = Some(now + 60), &rules, "ok"),
        (|c, now| c.nbf = Some(now + 61), &rules, "jwt.expired"),
        (|c, _| c.iss = "somebody".into(), &rules, "jwt.issuer"),
        (
            |c, _| c.purpose = "choria_server".into(),
            &rules,
            "jwt.claims",
        ),
        (|c, _| c.purpose.clear(), &rules, "ok"),
        (
            |c, _| (c.purpose.clear(), c.sub.clear()).1,
            &rules,
            "jwt.claims",
        ),
        (|c, _| c.jti.clear(), &rules, "jwt.claims"),
        (|_, _| {}, &for_us, "jwt.claims"),
        (|c, _| c.aud = Audience::One("us".into()), &for_us, "ok"),
        (
            |c, _| c.aud = Audience::Many(vec!["a".into(), "us".into()]),
            &for_us,
            "ok",
        ),
        (
            |c, _| c.aud = Audience::One("them".into()),
            &for_us,
            "jwt.claims",
        ),
    ] {
        assert_eq!(judge(change, rules), wanted);
    }
}

/// A token with a header of somebody's choice and the signature of a key over it.
fn forged(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

#[test]
fn the_key_decides_the_algorithm() {
    let rsa = KeyPair::generate(KeyAlgorithm::Rsa2048).unwrap();
    let signing = SigningKey::new(&rsa).unwrap();
    let authority = Authority {
        keys: vec![named("ours", signing.public_pem())],
        signing,
    };
    let claims = serde_json::to_value(claims()).unwrap();
    let honest = |message: &[u8]| rsa.sign_rsa_sha256(message).unwrap();
    // The classic confusion: the public key as the secret of a symmetric signature.
    let confused = |message: &[u8]| {
        let secret = aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA256,
            authority.signing.public_pem().as_bytes(),
        );
        aws_lc_rs::hmac::sign(&secret, message).as_ref().to_vec()
    };
    let rules = Rules::default();
    let judge = |token: String| code(&authority, &token, &rules);
    assert_eq!(
        judge(forged(
            &json!({"alg": "RS256", "typ": "JWT"}),
            &claims,
            honest
        )),
        "ok"
    );
    assert_eq!(
        judge(forged(&json!({"alg": "none"}), &claims, |_| vec![])),
        "jwt.alg"
    );
    assert_eq!(
        judge(forged(&json!({"alg": "None"}), &claims, |_| vec![])),
        "jwt.alg"
    );
    assert_eq!(
        judge(forged(&json!({"alg": "HS256"}), &claims, confused)),
        "jwt.alg"
    );
    assert_eq!(
        judge(forged(&json!({"alg": "EdDSA"}), &claims, honest)),
        "jwt.alg"
    );
    assert_eq!(
        judge(forged(&json!({"alg": "RS384"}), &claims, honest)),
        "jwt.alg"
    );
    assert_eq!(
        judge(forged(&json!({"alg": "RS256"}), &claims, confused)),
        "jwt.signature"
    );
    let steered = json!({"alg": "RS256", "jku": "https://example.net/keys"});
    assert_eq!(judge(forged(&steered, &claims, honest)), "jwt.claims");
    let wrong_type = json!({"cht": 1, "exp": 9_999_999_999_i64});
    assert_eq!(
        judge(forged(&json!({"alg": "RS256"}), &wrong_type, honest)),
        "jwt.claims"
    );
}

#[test]
fn what_is_no_token_is_refused_by_node_and_provisioner() {
    let authority = authority(KeyAlgorithm::Rsa2048);
    let good = jwt::issue(&claims(), &authority.signing).unwrap();
    let long = format!("{good}{}", "A".repeat(MAX_TOKEN));
    for bad in ["", ".", "..", "a.b.c", "{}", &good[..good.len() / 3], &long] {
        assert_eq!(
            code(&authority, bad, &Rules::default()),
            "jwt.form",
            "{bad:.20}"
        );
        assert_eq!(
            jwt::decode_unverified(bad).unwrap_err().code(),
            "jwt.form",
            "{bad:.20}"
        );
    }
    let mut tampered = good.clone().into_bytes();
    let at = good.rfind('.').unwrap() + 20;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    assert_eq!(
        code(&authority, &tampered, &Rules::default()),
        "jwt.signature"
    );
}
