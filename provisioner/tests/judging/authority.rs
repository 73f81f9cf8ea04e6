//! The built-in authority: what it makes, and that OpenSSL agrees.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use openssl::x509::X509;
use provisioner::ca::init::{InitSettings, NewKey, init};
use provisioner::ca::{
    Authority, AuthoritySettings, CertificatePolicy, KeySource, ToBeSigned, judge_chain,
};
use provisioner::code::Code;
use provisioner::judge::{JudgedRequest, RequestPolicy, judge};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::forge::{DNS, Forge, IDENTITY, Key, ec, ed25519, p256, rsa2048, sans};

pub(crate) fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

pub(crate) fn judged(key: &Key) -> JudgedRequest {
    let request = Forge::with(key).pem();
    judge(request.as_bytes(), IDENTITY, &RequestPolicy::default()).unwrap()
}

pub(crate) fn make(folder: &Path) -> AuthoritySettings {
    let settings = InitSettings {
        folder: folder.to_owned(),
        name: "Test".to_owned(),
        root_validity: Duration::from_secs(3_650 * 86_400),
        intermediate_validity: Duration::from_secs(1_825 * 86_400),
        root: None,
        key: NewKey::File,
    };
    let outcome = init(&settings, Timestamp::now(), &mut rng()).unwrap();
    AuthoritySettings {
        certificate: outcome.intermediate_certificate,
        key: folder.join("intermediate.key"),
        roots: outcome.root_certificate,
        validity: Duration::from_secs(365 * 86_400),
        server_auth: false,
    }
}

fn openssl_verify(roots: &Path, chain: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chain.pem");
    fs::write(&file, chain).unwrap();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile"])
        .arg(roots)
        .arg("-untrusted")
        .args([&file, &file])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

#[test]
fn openssl_accepts_what_is_issued_and_it_says_what_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let settings = make(folder.path());
    let authority = Authority::load(&settings).unwrap();
    let now = Timestamp::now();
    authority.self_test(now).unwrap();
    let p384 = ec(openssl::nid::Nid::SECP384R1);
    for key in [p256(), p384, ed25519(), rsa2048()] {
        let request = judged(&key);
        let prepared = authority.prepare(&request, now, &mut rng()).unwrap();
        let chain = authority.sign(&prepared).unwrap();
        assert!(openssl_verify(&settings.roots, &chain));

        let policy = CertificatePolicy::default();
        let verdict = judge_chain(&chain, None, &request, authority.trust(), &policy, now).unwrap();
        assert_eq!(verdict.chain_pem(), chain, "leaf and intermediate, no root");
        assert_eq!(
            verdict.ca_pem(),
            fs::read_to_string(&settings.roots).unwrap()
        );
        assert_eq!(verdict.serial(), prepared.serial);

        let stack = X509::stack_from_pem(chain.as_bytes()).unwrap();
        assert_eq!(stack.len(), 2);
        let leaf = &stack[0];
        assert!(leaf.public_key().unwrap().public_eq(&key));
        let text = String::from_utf8(leaf.to_text().unwrap()).unwrap();
        let holds = |what: &str| assert!(text.contains(what), "{what} in {text}");
        let subject: Vec<_> = leaf.subject_name().entries().collect();
        assert_eq!(subject.len(), 1);
        assert_eq!(subject[0].data().as_slice(), IDENTITY.as_bytes());
        holds(&format!("DNS:{IDENTITY}\n"));
        holds("CA:FALSE");
        holds("X509v3 Key Usage: critical\n                Digital Signature\n");
        holds("X509v3 Extended Key Usage: \n                TLS Web Client Authentication\n");
        assert!(!text.contains("Server Authentication"));
        assert_eq!(leaf.subject_alt_names().unwrap().len(), 1);
    }
}

#[test]
fn dates_are_backdated_and_end_with_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = make(folder.path());
    let now = Timestamp::now();
    let request = judged(&p256());

    let authority = Authority::load(&settings).unwrap();
    let later = now + SignedDuration::from_hours(24);
    let prepared = authority.prepare(&request, later, &mut rng()).unwrap();
    let age = later.duration_since(prepared.not_before);
    assert!((300..=301).contains(&age.as_secs()), "{age:?}");
    let left = prepared.not_after.duration_since(later);
    assert!((365 * 86_400 - 1..=365 * 86_400).contains(&left.as_secs()));

    settings.validity = Duration::from_secs(20 * 366 * 86_400);
    let authority = Authority::load(&settings).unwrap();
    let prepared = authority.prepare(&request, now, &mut rng()).unwrap();
    assert_eq!(prepared.not_after, authority.not_after());

    let expiring = authority.not_after() - SignedDuration::from_mins(10);
    let refusal = authority
        .prepare(&request, expiring, &mut rng())
        .unwrap_err();
    assert_eq!(refusal.code, Code::CaConfig);
}

#[test]
fn signing_the_same_preparation_again_is_the_same_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let settings = make(folder.path());
    let authority = Authority::load(&settings).unwrap();
    let prepared = authority
        .prepare(&judged(&p256()), Timestamp::now(), &mut rng())
        .unwrap();
    let first = authority.sign(&prepared).unwrap();

    // As after a crash: the record is read back, the authority loaded anew.
    let record = serde_json::to_string(&prepared).unwrap();
    let prepared: ToBeSigned = serde_json::from_str(&record).unwrap();
    let second = Authority::load(&settings).unwrap().sign(&prepared).unwrap();

    let tbs = |chain: &str| {
        let leaf = X509::from_pem(chain.as_bytes()).unwrap().to_der().unwrap();
        let leaf: x509_cert::Certificate = der::Decode::from_der(&leaf).unwrap();
        der::Encode::to_der(leaf.tbs_certificate()).unwrap()
    };
    assert_eq!(tbs(&first), tbs(&second));

    let other = tempfile::tempdir().unwrap();
    let replaced = Authority::load(&make(other.path())).unwrap();
    let refusal = replaced.sign(&prepared).unwrap_err();
    assert_eq!(refusal.code, Code::CaUnknownOutcome);
}

#[test]
fn serial_numbers_are_positive_long_and_all_different() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::load(&make(folder.path())).unwrap();
    let request = judged(&p256());
    let mut rng = rng();
    let serials: BTreeSet<String> = (0..500)
        .map(|_| {
            authority
                .prepare(&request, Timestamp::now(), &mut rng)
                .unwrap()
                .serial
        })
        .collect();
    assert_eq!(serials.len(), 500);
    for serial in serials {
        assert_eq!(serial.len(), 40);
        assert!(matches!(&serial[..1], "4" | "5" | "6" | "7"), "{serial}");
    }
}

#[test]
fn granted_addresses_and_server_authentication_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = make(folder.path());
    settings.server_auth = true;
    let authority = Authority::load(&settings).unwrap();
    let request = Forge::new()
        .extensions(&[sans(&[(DNS, IDENTITY.as_bytes()), (0x87, &[10, 1, 2, 3])])])
        .pem();
    let policy = RequestPolicy {
        ip_ranges: vec!["10.0.0.0/8".parse().unwrap()],
        ..RequestPolicy::default()
    };
    let request = judge(request.as_bytes(), IDENTITY, &policy).unwrap();
    let now = Timestamp::now();
    let prepared = authority.prepare(&request, now, &mut rng()).unwrap();
    let chain = authority.sign(&prepared).unwrap();
    let text = X509::from_pem(chain.as_bytes()).unwrap().to_text().unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("IP Address:10.1.2.3"));
    assert!(text.contains("TLS Web Client Authentication, TLS Web Server Authentication"));
    let verdict = judge_chain(
        &chain,
        None,
        &request,
        authority.trust(),
        &CertificatePolicy::default(),
        now,
    );
    assert!(verdict.is_ok(), "{verdict:?}");
}

#[test]
fn init_makes_keys_for_their_owner_and_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path());
    for (name, mode) in [
        ("root.key", 0o600),
        ("intermediate.key", 0o600),
        ("ca.pem", 0o644),
        ("intermediate.pem", 0o644),
    ] {
        let seen = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(
            seen.permissions().mode() & 0o777 & !0o022,
            mode & !0o022,
            "{name}"
        );
    }
    let before = fs::read(folder.path().join("root.key")).unwrap();
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let again = InitSettings {
        folder: folder.path().to_owned(),
        name: "Again".to_owned(),
        root_validity: Duration::from_secs(86_400),
        intermediate_validity: Duration::from_secs(86_400),
        root: None,
        key: NewKey::File,
    };
    let refusal = init(&again, Timestamp::now(), &mut rng()).unwrap_err();
    assert!(refusal.message.contains("root.key exists"), "{refusal}");
    assert_eq!(fs::read(folder.path().join("root.key")).unwrap(), before);
    assert!(!folder.path().join("ca.pem").exists());
}

#[test]
fn a_given_root_signs_the_intermediate() {
    let folder = tempfile::tempdir().unwrap();
    let (company, ours) = (folder.path().join("company"), folder.path().join("ours"));
    make(&company);
    let settings = InitSettings {
        folder: ours.clone(),
        name: "Ours".to_owned(),
        root_validity: Duration::from_secs(86_400),
        intermediate_validity: Duration::from_secs(30 * 86_400),
        root: Some((
            company.join("ca.pem"),
            KeySource::File {
                path: company.join("root.key"),
                passphrase: None,
            },
        )),
        key: NewKey::File,
    };
    let outcome = init(&settings, Timestamp::now(), &mut rng()).unwrap();
    assert_eq!(outcome.root_key, None);
    assert!(!ours.join("root.key").exists());
    assert!(openssl_verify_ca(
        &company.join("ca.pem"),
        &ours.join("intermediate.pem")
    ));
}

fn openssl_verify_ca(root: &Path, certificate: &Path) -> bool {
    Command::new("openssl")
        .args(["verify", "-x509_strict", "-CAfile"])
        .args([root, certificate])
        .output()
        .unwrap()
        .status
        .success()
}

#[test]
fn an_authority_of_openssl_s_making_is_usable() {
    // A name with several attributes in PrintableString, a SEC 1 key, no subject key identifier
    // of our making: the builder must reproduce all of it.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "ca.key",
    ]);
    run(&[
        "req",
        "-x509",
        "-new",
        "-key",
        "ca.key",
        "-days",
        "3650",
        "-out",
        "ca.pem",
        "-subj",
        "/C=DE/O=Example Ltd/OU=Fleet/CN=Example Root",
        "-addext",
        "keyUsage=critical,keyCertSign",
    ]);
    fs::set_permissions(path("ca.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let settings = AuthoritySettings {
        certificate: path("ca.pem"),
        key: path("ca.key"),
        roots: path("ca.pem"),
        validity: Duration::from_secs(86_400),
        server_auth: false,
    };
    let authority = Authority::load(&settings).unwrap();
    let now = Timestamp::now();
    authority.self_test(now).unwrap();
    let request = judged(&p256());
    let prepared = authority.prepare(&request, now, &mut rng()).unwrap();
    let chain = authority.sign(&prepared).unwrap();
    let trust = authority.trust();
    let judged = judge_chain(
        &chain,
        None,
        &request,
        trust,
        &CertificatePolicy::default(),
        now,
    )
    .unwrap();
    assert!(openssl_verify(&settings.roots, judged.chain_pem()));
    assert_eq!(
        X509::stack_from_pem(judged.chain_pem().as_bytes())
            .unwrap()
            .len(),
        1,
        "the root is never sent"
    );
}

#[test]
fn wrong_files_are_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let settings = make(folder.path());
    let other = tempfile::tempdir().unwrap();
    let strange = make(other.path());

    let message = |settings: &AuthoritySettings| {
        let refusal = Authority::load(settings).unwrap_err();
        assert_eq!(refusal.code, Code::CaConfig);
        refusal.message
    };
    let wrong_key = AuthoritySettings {
        key: strange.key.clone(),
        ..settings.clone()
    };
    assert!(message(&wrong_key).contains("not the certificate's"));
    let missing = AuthoritySettings {
        certificate: folder.path().join("nowhere.pem"),
        ..settings.clone()
    };
    assert!(message(&missing).contains("nowhere.pem"));
    let root = AuthoritySettings {
        roots: settings.key.clone(),
        ..settings.clone()
    };
    assert!(message(&root).contains("no certificate"));
    // Trust anchors of somebody else load, but the self test finds out.
    let roots = AuthoritySettings {
        roots: strange.roots,
        ..settings.clone()
    };
    let authority = Authority::load(&roots).unwrap();
    let refusal = authority.self_test(Timestamp::now()).unwrap_err();
    assert_eq!(refusal.code, Code::CaConfig);
    // A leaf is no authority.
    fs::set_permissions(&settings.key, fs::Permissions::from_mode(0o640)).unwrap();
    let open = message(&settings);
    assert!(open.contains("chmod 600"), "{open}");
}
