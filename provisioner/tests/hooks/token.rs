//! The built-in authority with its key in a token, SoftHSM standing in for one, judged by OpenSSL.
//!
//! SoftHSM reads its settings once in a process, so the test starts itself again with a token of
//! its own. Where SoftHSM is not installed it says that it was skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;
use jiff::{SignedDuration, Timestamp};
use openssl::x509::{X509, X509Crl, X509Req};
use provisioner::ca::init::{InitSettings, KeyOutcome, NewKey, init, request as ask};
use provisioner::ca::pkcs11::{KeyUri, Pin, TokenSettings};
use provisioner::ca::{Authority, KeySource};
use provisioner::code::Code;
use provisioner::hook::{BuiltinHook, Decision, Hook};
use provisioner::judge::KeyKind;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::common::softhsm;
use crate::node::request;
use crate::record;

const CONF: &str = "SOFTHSM2_CONF";
const PIN: &str = "4711-geheim";
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A token in this process, or `None` in the one that started it and has seen it succeed.
fn token(test: &str) -> Option<PathBuf> {
    if softhsm().is_none() {
        let get = "apt-get install softhsm2";
        // Not by `eprintln`, which is only shown of tests that fail.
        let says = format!("SKIPPED {test}: SoftHSM is not installed ({get})\n");
        std::io::stderr().write_all(says.as_bytes()).unwrap();
        record::skipped(&format!("token::{test}"), get);
        return None;
    }
    if let Some(conf) = std::env::var_os(CONF) {
        return Some(Path::new(&conf).parent().unwrap().to_owned());
    }
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("softhsm2.conf");
    std::fs::create_dir(folder.path().join("tokens")).unwrap();
    let tokens = folder.path().join("tokens").display().to_string();
    std::fs::write(&conf, format!("directories.tokendir = {tokens}\n")).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "muster", "--pin", PIN])
        .args(["--so-pin", "12345678"])
        .env(CONF, &conf)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let again = Command::new(std::env::current_exe().unwrap())
        .args([
            &format!("token::{test}"),
            "--exact",
            "--include-ignored",
            "--nocapture",
        ])
        .env(CONF, &conf)
        .status()
        .unwrap();
    assert!(again.success(), "see above");
    None
}

/// A key in the token, and the file of its PIN.
fn key(folder: &Path, object: &str) -> TokenSettings {
    let library = softhsm().unwrap();
    let uri = format!("pkcs11:token=muster;object={object}?module-path={library}");
    let pin = folder.join("pin");
    std::fs::write(&pin, format!("{PIN}\n")).unwrap();
    TokenSettings::new(KeyUri::parse(&uri).unwrap(), Pin::File(pin), 2).unwrap()
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// A new root, and an intermediate whose key is in the token.
fn make(folder: &Path, token: &TokenSettings, kind: KeyKind) -> (PathBuf, String, bool) {
    let settings = InitSettings {
        folder: tempfile::tempdir_in(folder).unwrap().keep(),
        name: "Test".to_owned(),
        root_validity: 10 * YEAR,
        intermediate_validity: 5 * YEAR,
        root: None,
        key: NewKey::Token {
            token: Box::new(token.clone()),
            kind,
        },
    };
    let made = init(&settings, Timestamp::now(), &mut rng()).unwrap();
    let certificate = std::fs::read_to_string(made.intermediate_certificate).unwrap();
    let KeyOutcome::Token { new, .. } = made.intermediate_key else {
        panic!("{:?}", made.intermediate_key);
    };
    (made.root_certificate, certificate, new)
}

fn authority(certificate: &str, roots: &Path, token: &TokenSettings) -> Authority {
    let key = KeySource::Token(token.clone());
    let roots = std::fs::read_to_string(roots).unwrap();
    Authority::with_key(certificate, &key, &roots, YEAR, false).unwrap()
}

fn sign(authority: &Authority) -> Result<String, provisioner::code::Refusal> {
    let about = request("n1.example.net");
    let prepared = authority.prepare(&about.request, about.now, &mut rng())?;
    authority.sign(&prepared)
}

/// What `openssl verify` says to a chain, leaf first.
fn verify(roots: &Path, chain: &str) {
    let file = roots.with_file_name("chain.pem");
    std::fs::write(&file, chain).unwrap();
    let said = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"])
        .arg(roots)
        .arg("-untrusted")
        .args([&file, &file])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn an_authority_signs_with_a_key_that_never_leaves_its_token() {
    let test = "an_authority_signs_with_a_key_that_never_leaves_its_token";
    let Some(folder) = token(test) else {
        return;
    };
    let mut made = Vec::new();
    for (object, kind) in [
        ("p256", KeyKind::P256),
        ("p384", KeyKind::P384),
        ("rsa", KeyKind::Rsa2048),
    ] {
        let token = key(&folder, object);
        let (roots, certificate, new) = make(&folder, &token, kind);
        assert!(new, "{object}");
        let authority = authority(&certificate, &roots, &token);
        authority.self_test(Timestamp::now()).unwrap();
        verify(&roots, &sign(&authority).unwrap());
        lists_are_signed_too(&authority, &certificate);
        made.push((token, roots, certificate));
    }
    a_key_that_is_there_is_used(&folder, &made[0].0);
    a_key_belongs_to_its_certificate(&made[0], &made[1].0);
    a_root_in_a_token_signs_an_intermediate(&folder, &made[2]);
    what_is_signed_at_once_waits_for_its_turn(&made[0]);
    a_token_that_was_away_is_logged_in_to_again(&folder, &made[0]);
}

type Made = (TokenSettings, PathBuf, String);

fn lists_are_signed_too(authority: &Authority, certificate: &str) {
    let now = Timestamp::now();
    let until = now + SignedDuration::from_hours(24);
    let list = authority.sign_list(7, now, until, &[]).unwrap();
    let issuer = X509::from_pem(certificate.as_bytes()).unwrap();
    let list = X509Crl::from_der(&list.der).unwrap();
    assert!(list.verify(&issuer.public_key().unwrap()).unwrap());
}

fn a_key_that_is_there_is_used(folder: &Path, token: &TokenSettings) {
    let (_, certificate, new) = make(folder, token, KeyKind::P384);
    assert!(!new, "and nothing is made over it");
    let out = folder.join("elsewhere");
    let asked = ask(
        &out,
        "Test",
        &NewKey::Token {
            token: Box::new(token.clone()),
            kind: KeyKind::P256,
        },
        &mut rng(),
    );
    let text = std::fs::read(asked.unwrap().request).unwrap();
    let request = X509Req::from_pem(&text).unwrap();
    let key = request.public_key().unwrap();
    assert!(request.verify(&key).unwrap(), "signed with the key itself");
    let certificate = X509::from_pem(certificate.as_bytes()).unwrap();
    assert!(certificate.public_key().unwrap().public_eq(&key));
    let names = request.subject_name().entries().next().unwrap();
    assert_eq!(names.data().as_slice(), b"Test Enrolment CA");
}

fn a_key_belongs_to_its_certificate((_, roots, certificate): &Made, other: &TokenSettings) {
    let roots = std::fs::read_to_string(roots).unwrap();
    let missing = TokenSettings {
        uri: KeyUri::parse(&format!(
            "pkcs11:token=muster;object=nobody?module-path={}",
            softhsm().unwrap()
        ))
        .unwrap(),
        ..other.clone()
    };
    let elsewhere = TokenSettings {
        uri: KeyUri::parse("pkcs11:token=muster;object=p256?module-path=/nowhere.so").unwrap(),
        ..other.clone()
    };
    let unplugged = TokenSettings {
        uri: KeyUri::parse(&format!(
            "pkcs11:token=other;object=p256?module-path={}",
            softhsm().unwrap()
        ))
        .unwrap(),
        ..other.clone()
    };
    for (token, says) in [
        (other.clone(), "is not the certificate's"),
        (missing, "\"nobody\" in token \"muster\" is not there"),
        (elsewhere, "/nowhere.so"),
        (unplugged, "tokens that are: \"muster\""),
    ] {
        let key = KeySource::Token(token);
        let refusal = Authority::with_key(certificate, &key, &roots, YEAR, false).unwrap_err();
        assert_eq!(refusal.code, Code::CaConfig);
        assert!(refusal.message.contains(says), "{refusal}");
    }
}

fn a_root_in_a_token_signs_an_intermediate(folder: &Path, (token, _, certificate): &Made) {
    let root = folder.join("root.pem");
    std::fs::write(&root, certificate).unwrap();
    let settings = InitSettings {
        folder: folder.join("below"),
        name: "Below".to_owned(),
        root_validity: YEAR,
        intermediate_validity: YEAR,
        root: Some((root, KeySource::Token(token.clone()))),
        key: NewKey::File,
    };
    let made = init(&settings, Timestamp::now(), &mut rng()).unwrap();
    let above = X509::from_pem(certificate.as_bytes()).unwrap();
    let below = std::fs::read(made.intermediate_certificate).unwrap();
    let below = X509::from_pem(&below).unwrap();
    assert!(below.verify(&above.public_key().unwrap()).unwrap());
}

fn what_is_signed_at_once_waits_for_its_turn((token, roots, certificate): &Made) {
    let authority = Arc::new(authority(certificate, roots, token));
    let hook = BuiltinHook::new(Arc::clone(&authority));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let about = request("n1.example.net");
        let prepared = hook.prepare(&about, &mut rng()).unwrap();
        let asked = (0..50).map(|_| hook.decide(&about, prepared.as_ref()));
        for answer in futures::future::join_all(asked).await {
            let Decision::Issue(issued) = answer.unwrap().decision else {
                panic!("it only issues");
            };
            assert_eq!(issued.certificate.matches("BEGIN").count(), 2);
        }
    });
}

fn a_token_that_was_away_is_logged_in_to_again(folder: &Path, made: &Made) {
    let (token, roots, certificate) = made;
    let authority = authority(certificate, roots, token);
    sign(&authority).unwrap();

    // Whoever logs out, does so for the whole process.
    let log_out = || {
        let library = Pkcs11::new(softhsm().unwrap()).unwrap();
        let slot = library.get_slots_with_initialized_token().unwrap()[0];
        library.open_ro_session(slot).unwrap().logout().unwrap();
    };
    log_out();
    verify(roots, &sign(&authority).unwrap());

    // With another PIN it is tried once.
    let pin = folder.join("pin");
    std::fs::write(&pin, "0815").unwrap();
    log_out();
    for says in ["does not take its PIN", "not tried again"] {
        let refusal = sign(&authority).unwrap_err();
        assert_eq!(refusal.code, Code::CaUnavailable, "nodes are put off");
        assert!(refusal.message.contains(says), "{refusal}");
        assert!(!refusal.message.contains("0815"), "{refusal}");
    }
    std::fs::write(&pin, PIN).unwrap();
    verify(roots, &sign(&authority).unwrap());

    // Pulled out.
    std::fs::rename(folder.join("tokens"), folder.join("away")).unwrap();
    let refusal = sign(&authority).unwrap_err();
    assert_eq!(refusal.code, Code::CaUnavailable, "{refusal}");
    assert!(refusal.message.contains("is not there"), "{refusal}");
}

/// Figure: what a token signs in a second, beside a key in memory.
#[test]
#[ignore = "a figure: make conformance"]
fn signatures_a_second() {
    let Some(folder) = token("signatures_a_second") else {
        return;
    };
    for (object, kind) in [
        ("p256", KeyKind::P256),
        ("p384", KeyKind::P384),
        ("rsa", KeyKind::Rsa2048),
    ] {
        let token = key(&folder, object);
        let (roots, certificate, _) = make(&folder, &token, kind);
        let authority = Arc::new(authority(&certificate, &roots, &token));
        let [one, two] = [1, 2].map(|threads| rate(&authority, threads));
        println!("{object}: {one:.0} signatures/s by one session, {two:.0} by two");
        record::figure(
            &format!("signatures/s of a token, {object}, one session"),
            one,
        );
        record::figure(
            &format!("signatures/s of a token, {object}, two sessions"),
            two,
        );
        assert!(one > 10.0, "{one}");
    }
    let settings = InitSettings {
        folder: folder.join("memory"),
        name: "Test".to_owned(),
        root_validity: YEAR,
        intermediate_validity: YEAR,
        root: None,
        key: NewKey::File,
    };
    let made = init(&settings, Timestamp::now(), &mut rng()).unwrap();
    let KeyOutcome::File(path) = made.intermediate_key else {
        panic!("{:?}", made.intermediate_key);
    };
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let key = KeySource::File {
        path,
        passphrase: None,
    };
    let certificate = read(&made.intermediate_certificate);
    let roots = read(&made.root_certificate);
    let memory = Authority::with_key(&certificate, &key, &roots, YEAR, false).unwrap();
    let memory = Arc::new(memory);
    let [one, two] = [1, 2].map(|threads| rate(&memory, threads));
    println!("p256 in memory: {one:.0} signatures/s by one thread, {two:.0} by two");
    record::figure("signatures/s in memory, p256, one thread", one);
    record::figure("signatures/s in memory, p256, two threads", two);
}

fn rate(authority: &Arc<Authority>, threads: u32) -> f64 {
    let begin = Instant::now();
    let count = std::thread::scope(|scope| {
        let signing = || {
            let mut count = 0;
            while begin.elapsed() < Duration::from_secs(2) {
                sign(authority).unwrap();
                count += 1;
            }
            count
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(signing)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum::<u32>()
    });
    f64::from(count) / begin.elapsed().as_secs_f64()
}
