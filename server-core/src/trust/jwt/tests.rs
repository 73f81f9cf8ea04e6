//! Tokens of organizations against those of the original, and everything that must not pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

const ISSUER: &str = include_str!("../../../tests/golden/provisioning/keys/issuer.public");
const CHAIN_SEED: &str = include_str!("../../../tests/golden/provisioning/keys/provisioner.seed");
const CHAIN_TOKEN: &str = include_str!("../../../tests/golden/provisioning/keys/provisioner.jwt");
const SERVER: &str = include_str!("../../../tests/golden/provisioning/keys/n2-server.jwt");
const SERVER_SEED: &str = include_str!("../../../tests/golden/provisioning/keys/n2-server.seed");
const USER: &str = include_str!("../../../tests/golden/provisioning/keys/user.jwt");

/// When the captured server token was issued.
const ISSUED: i64 = 1_795_395_440;

fn at(secs: i64) -> UnixTime {
    UnixTime::from_secs(secs)
}

fn organization() -> Organization {
    Organization {
        name: "choria".to_owned(),
        key: OrganizationKey::parse(ISSUER).unwrap(),
    }
}

fn verified(token: &str, now: i64) -> Result<ServerClaims, JwtError> {
    verify_member(token, &[organization()], 0, at(now))
}

fn claims_text(token: &str) -> String {
    let part = token.trim().split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn chain_issuer() -> Issuer {
    Issuer::of_chain(organization(), CHAIN_SEED, CHAIN_TOKEN, at(ISSUED)).unwrap()
}

/// A token of the chain issuer for the captured node, changed before it is signed.
fn forged(change: impl FnOnce(&mut ServerClaims)) -> String {
    let mut claims: ServerClaims = decode_member(SERVER).unwrap();
    change(&mut claims);
    chain_issuer().sign(&claims).unwrap()
}

#[test]
fn tokens_of_the_original_are_verified_along_their_chain() {
    let claims = verified(SERVER, ISSUED).unwrap();
    assert_eq!(claims.identity, "n2.example.net");
    assert!(claims.permissions.streams && claims.permissions.submission);
    let (credential, _) = Credential::new::<ServerClaims>(SERVER, SERVER_SEED).unwrap();
    assert_eq!(credential.expires(), Some(1_826_930_790));
    let user: ClientClaims = verify_member(USER, &[organization()], 0, at(ISSUED)).unwrap();
    assert_eq!(user.callerid, "up=alice");
    assert!(user.permissions.org_admin);
    let chain: ClientClaims = verify_member(CHAIN_TOKEN, &[organization()], 0, at(ISSUED)).unwrap();
    assert!(chain.permissions.provisioner);
}

#[test]
fn what_the_original_issued_is_issued_again_letter_by_letter() {
    let captured: ServerClaims = decode_member(SERVER).unwrap();
    let id = <svix_ksuid::Ksuid as std::str::FromStr>::from_str(&captured.standard.jti).unwrap();
    let unique: [u8; 16] = svix_ksuid::KsuidLike::payload(&id).try_into().unwrap();
    let year = Duration::from_secs(366 * 86_400);
    let standard = chain_issuer()
        .standard::<ServerClaims>(&captured.standard.public_key, at(ISSUED), year, unique)
        .unwrap();
    let ours = ServerClaims {
        standard,
        ..captured
    };
    let token = chain_issuer().sign(&ours).unwrap();
    assert_eq!(claims_text(&token), claims_text(SERVER));
    assert_eq!(token, chain_issuer().sign(&ours).unwrap());
    assert_eq!(verified(&token, ISSUED).unwrap(), ours);
}

#[test]
fn an_organization_issues_and_makes_chain_issuers() {
    let seed = "1f".repeat(32);
    let issuer = Issuer::of_organization("acme", &seed).unwrap();
    let key = crate::trust::KeyPair::from_ed25519_seed_hex(CHAIN_SEED).unwrap();
    let public = hex::encode(key.public_raw());
    let hour = Duration::from_secs(3_600);
    let mut standard = issuer
        .standard::<ClientClaims>(&public, at(ISSUED), hour, [7; 16])
        .unwrap();
    issuer.trust(&mut standard).unwrap();
    let claims = ClientClaims {
        callerid: "up=provisioner".to_owned(),
        ou: "acme".to_owned(),
        standard,
        ..ClientClaims::default()
    };
    let token = issuer.sign(&claims).unwrap();
    let acme = issuer.organization().clone();
    let chain = Issuer::of_chain(acme.clone(), CHAIN_SEED, &token, at(ISSUED)).unwrap();
    assert!(chain.trust(&mut claims.standard.clone()).is_err());
    let standard = chain
        .standard::<ServerClaims>(&public, at(ISSUED + 10), 10 * hour, [8; 16])
        .unwrap();
    assert_eq!(
        standard.exp,
        Some(ISSUED + 3_600),
        "no longer than its issuer"
    );
    let late = chain.standard::<ServerClaims>(&public, at(ISSUED + 3_600), hour, [8; 16]);
    assert_eq!(late.unwrap_err().code(), "jwt.expired");
    let server = ServerClaims {
        identity: "n1.example.net".to_owned(),
        ou: "acme".to_owned(),
        standard,
        ..ServerClaims::default()
    };
    let token = chain.sign(&server).unwrap();
    let known = [organization(), acme];
    let read: ServerClaims = verify_member(&token, &known, 0, at(ISSUED + 20)).unwrap();
    assert_eq!(read, server);
    let stranger: Result<ServerClaims, _> = verify_member(&token, &known[..1], 0, at(ISSUED + 20));
    assert_eq!(stranger.unwrap_err().code(), "jwt.organization");
}

#[test]
fn what_does_not_lead_to_the_organization_is_refused() {
    let code = |token: &str| verified(token, ISSUED).unwrap_err().code();
    type Change = fn(&mut ServerClaims);
    let cases: [(&str, Change); 9] = [
        ("jwt.organization", |c| c.ou = "acme".to_owned()),
        ("jwt.chain", |c| {
            c.standard.jti = "3MUBoTUuRtU4yeAkTpoDE8tEeO9".to_owned()
        }),
        ("jwt.chain", |c| c.standard.iat = Some(ISSUED + 1)),
        ("jwt.chain", |c| c.standard.issexp = None),
        ("jwt.chain", |c| {
            c.standard.tcs = c.standard.tcs.replace('8', "9")
        }),
        ("jwt.chain", |c| {
            c.standard.iss = format!("I-{}", ISSUER.trim())
        }),
        ("jwt.chain", |c| c.standard.iss = CHORIA_ISSUER.to_owned()),
        ("jwt.claims", |c| c.standard.exp = None),
        ("jwt.claims", |c| {
            c.standard.purpose = "choria_client_id".to_owned()
        }),
    ];
    for (number, (wanted, change)) in cases.into_iter().enumerate() {
        assert_eq!(code(&forged(change)), wanted, "case {number}");
    }
    // A chain issuer signs nothing as if it were the organization.
    let direct = forged(|c| {
        c.standard.iss = CHORIA_ISSUER.to_owned();
        c.standard.tcs = String::new();
        c.standard.issexp = None;
    });
    assert_eq!(code(&direct), "jwt.signature");
    assert_eq!(
        verified(SERVER, 1_826_930_790).unwrap_err().code(),
        "jwt.expired"
    );
    let early = verified(SERVER, ISSUED - 1);
    assert_eq!(early.unwrap_err().code(), "jwt.expired");
}

#[test]
fn an_issuer_says_what_is_wrong_with_its_seed_and_token() {
    let org = organization;
    let says = |seed: &str, token: &str, now: i64| {
        let made = Issuer::of_chain(org(), seed, token, at(now));
        made.unwrap_err().to_string()
    };
    assert!(says("abc", CHAIN_TOKEN, ISSUED).contains("64 hexadecimal digits"));
    assert!(says(SERVER_SEED, CHAIN_TOKEN, ISSUED).contains("and the seed's is 07ccd42d"));
    assert!(says(CHAIN_SEED, USER, ISSUED).contains("lets it issue nothing"));
    assert!(says(CHAIN_SEED, SERVER, ISSUED).contains("wanted \"choria_client_id\""));
    assert!(says(CHAIN_SEED, CHAIN_TOKEN, 1_826_930_790).contains("expired at"));
    let other = Issuer::of_organization("choria", &"1f".repeat(32)).unwrap();
    let other = Issuer::of_chain(
        other.organization().clone(),
        CHAIN_SEED,
        CHAIN_TOKEN,
        at(ISSUED),
    );
    assert!(
        other
            .unwrap_err()
            .to_string()
            .contains("another organization's key")
    );
}

#[test]
fn a_nonce_is_answered_as_the_original_does() {
    let seed: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let issuer = Issuer::of_organization("choria", &seed).unwrap();
    let public = issuer.organization().key.hex();
    let hour = Duration::from_secs(3_600);
    let standard = issuer
        .standard::<ServerClaims>(&public, at(ISSUED), hour, [1; 16])
        .unwrap();
    let token = issuer.sign(&ServerClaims {
        standard,
        ..ServerClaims::default()
    });
    let (credential, _) = Credential::new::<ServerClaims>(&token.unwrap(), &seed).unwrap();
    assert_eq!(
        credential.answer("AbCdEfGhIjKlMno").unwrap(),
        "OtIbl3REAud-MdXeWE14f1jWgl3T6l8_I0Fh715QZ7POZjl4OoHiUrkgzWBIdoqBqX6ItOS-nSL0rWc2xlsACg"
    );
    assert!(!format!("{credential:?}").contains(&seed));
}

proptest! {
    #[test]
    fn no_text_is_a_member_and_none_panics(token in "(?s).{0,300}") {
        prop_assert!(verified(&token, ISSUED).is_err());
    }
}
