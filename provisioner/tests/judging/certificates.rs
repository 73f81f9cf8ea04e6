//! One test for each way in which a returned certificate can be wrong.

use std::path::Path;
use std::time::Duration;

use openssl::hash::MessageDigest;
use provisioner::ca::{CertificatePolicy, TrustStore, judge_chain};
use provisioner::code::Code;
use provisioner::judge::{RequestPolicy, judge};

use crate::authority::judged;
use crate::forge::{IDENTITY, ed25519, p256, rsa2048};
use crate::site::{DAY, Site, Spec, now, pem};

#[test]
fn an_honest_certificate_passes() {
    let site = Site::new();
    let leaf = site.issue(&Spec::leaf());
    let judged = site
        .judge_with(&[&leaf, &site.intermediate], false)
        .unwrap();
    assert_eq!(judged.chain_pem(), pem(&[&leaf, &site.intermediate]));
    assert_eq!(judged.ca_pem(), pem(&[&site.root]));
    assert_eq!(judged.spki_sha256(), site.request.spki_sha256());
    assert_eq!(
        judged.not_after().as_second(),
        now().as_second() + 365 * DAY
    );
    assert_eq!(
        judged.serial(),
        leaf.serial_number()
            .to_bn()
            .unwrap()
            .to_hex_str()
            .unwrap()
            .to_lowercase()
    );
    let both = Spec {
        purposes: &["serverAuth", "clientAuth"],
        names: &[],
        ..Spec::leaf()
    };
    assert_eq!(site.code(&both), None);
}

#[test]
fn rule_34_chains_are_completed_ordered_and_shorn_of_the_root() {
    let site = Site::new();
    let leaf = site.issue(&Spec::leaf());
    let wanted = pem(&[&leaf, &site.intermediate]);
    for (answer, pool) in [
        (vec![&leaf], true),
        (vec![&leaf, &site.intermediate], false),
        (vec![&leaf, &site.intermediate, &site.root], false),
        (vec![&leaf, &site.root, &site.intermediate], false),
        (vec![&leaf, &site.root], true),
    ] {
        let judged = site.judge_with(&answer, pool).unwrap();
        assert_eq!(judged.chain_pem(), wanted);
    }
    // A configured bundle of root and intermediate is one anchor and one to complete chains with.
    let bundle = pem(&[&site.intermediate, &site.root]);
    let bundle = TrustStore::from_pem(&bundle, "").unwrap();
    assert_eq!(bundle.anchors_pem(), pem(&[&site.root]));
    let policy = CertificatePolicy::default();
    let answer = pem(&[&leaf]);
    let judged = judge_chain(&answer, None, &site.request, &bundle, &policy, now()).unwrap();
    assert_eq!(judged.chain_pem(), wanted);
    let stranger = Spec::authority("Stranger").sign(&p256(), None);
    let refusal = site
        .judge_with(&[&leaf, &site.intermediate, &stranger], false)
        .unwrap_err();
    assert_eq!(refusal.code, Code::CertChainIncomplete);
}

#[test]
fn rule_33_certificates_of_another_authority() {
    let site = Site::new();
    let selfmade = Spec::leaf().sign(&p256(), None);
    let other = Site::new();
    // An authority of the same names, but not the same keys.
    let foreign = Spec::leaf().sign(&site.node, Some((&other.intermediate, &other.signer)));
    for answer in [
        vec![&foreign, &other.intermediate],
        vec![&foreign, &site.intermediate],
        vec![&foreign, &other.intermediate, &other.root],
    ] {
        let refusal = site.judge_with(&answer, false).unwrap_err();
        assert_eq!(refusal.code, Code::CertUntrusted, "{refusal}");
    }
    let refusal = site.judge_with(&[&selfmade], true).unwrap_err();
    assert_eq!(refusal.code, Code::CertKeyMismatch);

    // Self-signed with the node's own key cannot be: the key is the node's. RSA stands in.
    let node = rsa2048();
    let request = judged(&node);
    let selfsigned = Spec::leaf().sign(&node, None);
    let refusal = judge_chain(
        &pem(&[&selfsigned]),
        None,
        &request,
        &site.trust(true),
        &CertificatePolicy::default(),
        now(),
    )
    .unwrap_err();
    assert_eq!(refusal.code, Code::CertUntrusted);
}

#[test]
fn rule_33_named_anchors_are_the_configured_ones() {
    let site = Site::new();
    let leaf = site.issue(&Spec::leaf());
    let named = |ca: &str| {
        judge_chain(
            &pem(&[&leaf]),
            Some(ca),
            &site.request,
            &site.trust(true),
            &CertificatePolicy::default(),
            now(),
        )
        .err()
        .map(|refusal| refusal.code)
    };
    assert_eq!(named(&pem(&[&site.root])), None);
    assert_eq!(named(&pem(&[&site.intermediate, &site.root])), None);
    let stranger = Spec::authority("Stranger").sign(&p256(), None);
    assert_eq!(named(&pem(&[&stranger])), Some(Code::CertUntrusted));
    assert_eq!(
        named("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        Some(Code::CertFormat)
    );
}

#[test]
fn rule_32_another_key() {
    let site = Site::new();
    let swapped = Spec::leaf().sign(&ed25519(), Some((&site.intermediate, &site.signer)));
    let refusal = site
        .judge_with(&[&swapped, &site.intermediate], false)
        .unwrap_err();
    assert_eq!(refusal.code, Code::CertKeyMismatch);
    // A chain that does not begin with the leaf.
    let leaf = site.issue(&Spec::leaf());
    let refusal = site
        .judge_with(&[&site.intermediate, &leaf], false)
        .unwrap_err();
    assert_eq!(refusal.code, Code::CertKeyMismatch);
}

#[test]
fn rule_35_time() {
    let site = Site::new();
    let time = |from: i64, until: i64| {
        site.code(&Spec {
            from,
            until,
            ..Spec::leaf()
        })
    };
    assert_eq!(time(-DAY, -1), Some(Code::CertExpired));
    assert_eq!(time(-DAY, 59), Some(Code::CertExpired), "within a minute");
    assert_eq!(time(-DAY, 299), Some(Code::CertLifetime));
    assert_eq!(time(-DAY, 301), None);
    assert_eq!(time(1, DAY), Some(Code::CertNotYetValid));
    assert_eq!(time(0, 5 * 365 * DAY), None);
    assert_eq!(time(0, 6 * 365 * DAY), Some(Code::CertLifetime));

    // The intermediate's time counts, too.
    let (root_key, signer) = (p256(), p256());
    let root = Spec::authority("Root").sign(&root_key, None);
    let old = Spec {
        until: -1,
        from: -DAY,
        ..Spec::authority("Old")
    }
    .sign(&signer, Some((&root, &root_key)));
    let leaf = Spec::leaf().sign(&site.node, Some((&old, &signer)));
    let trust = TrustStore::from_pem(&pem(&[&root]), "").unwrap();
    let refusal = judge_chain(
        &pem(&[&leaf, &old]),
        None,
        &site.request,
        &trust,
        &CertificatePolicy::default(),
        now(),
    )
    .unwrap_err();
    assert_eq!(refusal.code, Code::CertExpired);
}

#[test]
fn rule_35_a_configured_lifetime() {
    let site = Site::new();
    let lifetime = |from: i64, until: i64, most: i64| {
        let leaf = site.issue(&Spec {
            from,
            until,
            ..Spec::leaf()
        });
        let policy = CertificatePolicy {
            max_lifetime: Duration::from_secs(most.unsigned_abs()),
            ..CertificatePolicy::default()
        };
        let answer = pem(&[&leaf, &site.intermediate]);
        let trust = site.trust(false);
        judge_chain(&answer, None, &site.request, &trust, &policy, now())
            .err()
            .map(|refusal| refusal.code)
    };
    let too_long = Some(Code::CertLifetime);
    // Backdating by minutes does not make a certificate too long, nor does that of hours.
    assert_eq!(lifetime(-300, 31 * DAY, 31 * DAY), None);
    assert_eq!(lifetime(-DAY + 300, 600, 600), None);
    assert_eq!(lifetime(-2 * DAY, 600, 600), too_long);
    // It does not lend its time to what is still to come, but for clocks that differ.
    assert_eq!(lifetime(-300, 31 * DAY, 30 * DAY), too_long);
    assert_eq!(lifetime(0, 1_199, 600), None);
    assert_eq!(lifetime(0, 1_201, 600), too_long);
}

#[test]
fn rule_35_names() {
    let site = Site::new();
    let names = |names: &'static [&'static str], uri: Option<&'static str>| {
        site.code(&Spec {
            names,
            uri,
            ..Spec::leaf()
        })
    };
    assert_eq!(
        names(&[IDENTITY, "db1.example.net"], None),
        Some(Code::CertSanExtra)
    );
    assert_eq!(names(&["*.example.net"], None), Some(Code::CertSanExtra));
    assert_eq!(
        names(&[IDENTITY], Some("spiffe://x")),
        Some(Code::CertSanExtra)
    );
    let other = Spec {
        name: "db1.example.net",
        ..Spec::leaf()
    };
    assert_eq!(site.code(&other), Some(Code::CertIdentityMismatch));
}

#[test]
fn rule_35_powers_and_purposes() {
    let site = Site::new();
    let authority = Spec {
        authority: true,
        ..Spec::leaf()
    };
    assert_eq!(site.code(&authority), Some(Code::CertCa));
    let signing = Spec {
        cert_sign: true,
        ..Spec::leaf()
    };
    assert_eq!(site.code(&signing), Some(Code::CertCa));
    for purposes in [
        &[][..],
        &["serverAuth"],
        &["anyExtendedKeyUsage"],
        &["clientAuth", "codeSigning"],
    ] {
        let spec = Spec {
            purposes,
            ..Spec::leaf()
        };
        assert_eq!(site.code(&spec), Some(Code::CertEku), "{purposes:?}");
    }
    let unusable = Spec {
        digital_signature: false,
        ..Spec::leaf()
    };
    assert_eq!(site.code(&unusable), Some(Code::CertEku));
}

#[test]
fn rule_35_weak_signatures() {
    let site = Site::new();
    let weak = Spec {
        digest: MessageDigest::sha1(),
        ..Spec::leaf()
    };
    assert_eq!(site.code(&weak), Some(Code::CertSigalg));
}

#[test]
fn what_is_no_certificate_is_named_so() {
    let site = Site::new();
    let leaf = site.issue(&Spec::leaf());
    let good = pem(&[&leaf, &site.intermediate]);
    let key = String::from_utf8(site.node.private_key_to_pem_pkcs8().unwrap()).unwrap();
    for answer in [
        String::new(),
        "garbage".to_owned(),
        good.replace("CERTIFICATE", "CERT"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        format!("{good}{key}"),
        pem(&[&leaf; 11]),
    ] {
        let trust = site.trust(false);
        let policy = CertificatePolicy::default();
        let refusal =
            judge_chain(&answer, None, &site.request, &trust, &policy, now()).unwrap_err();
        assert_eq!(refusal.code, Code::CertFormat, "{answer}");
    }
}

#[test]
fn the_captured_helper_s_certificates_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/helper");
    for case in ["x509", "x509-policies", "upgrade"] {
        let read = |kind: &str| -> serde_json::Value {
            let file = folder.join(format!("{case}.{kind}.json"));
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
        };
        let (stdin, stdout) = (read("stdin"), read("stdout"));
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let request = judge(
            text(&stdin["csr"]["csr"]).as_bytes(),
            &text(&stdin["identity"]),
            &RequestPolicy::default(),
        )
        .unwrap();
        let ca = text(&stdout["ca"]);
        let policy = CertificatePolicy {
            max_lifetime: Duration::from_secs(365 * 86_400),
            ..CertificatePolicy::default()
        };
        let verdict = judge_chain(
            &text(&stdout["certificate"]),
            Some(&ca),
            &request,
            &TrustStore::from_pem(&ca, "").unwrap(),
            &policy,
            "2026-12-01T00:00:00Z".parse().unwrap(),
        );
        assert!(verdict.is_ok(), "{case}: {verdict:?}");
    }
}

/// Certificates of OpenSSL's making from a root down, `between` authorities long.
fn ladder(site: &Site, between: usize) -> (openssl::x509::X509, Vec<openssl::x509::X509>) {
    const NAMES: [&str; 8] = ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8"];
    let mut key = p256();
    let root = Spec::authority("Root").sign(&key, None);
    let mut chain = vec![root.clone()];
    for name in NAMES.into_iter().take(between) {
        let next = p256();
        let above = chain.last().unwrap();
        chain.push(Spec::authority(name).sign(&next, Some((above, &key))));
        key = next;
    }
    let leaf = Spec::leaf().sign(&site.node, Some((chain.last().unwrap(), &key)));
    chain.remove(0);
    chain.push(leaf);
    chain.reverse();
    (root, chain)
}

fn judge_all(
    site: &Site,
    answer: &[&openssl::x509::X509],
    roots: &[&openssl::x509::X509],
    pool: &[&openssl::x509::X509],
) -> Result<String, provisioner::code::Refusal> {
    let trust = TrustStore::from_pem(&pem(roots), &pem(pool)).unwrap();
    let policy = CertificatePolicy::default();
    judge_chain(&pem(answer), None, &site.request, &trust, &policy, now())
        .map(|judged| judged.chain_pem().to_owned())
}

#[test]
fn rule_34_long_chains_are_put_in_order_and_what_is_missing_is_named() {
    let site = Site::new();
    let (root, chain) = ladder(&site, 6);
    let right: Vec<_> = chain.iter().collect();
    let mut mixed = vec![right[0]];
    mixed.extend(right[1..].iter().rev());
    assert_eq!(
        judge_all(&site, &mixed, &[&root], &[]).unwrap(),
        pem(&right)
    );
    // Half of it came along, half is configured.
    let (came, pool) = (&right[..4], &right[4..]);
    assert_eq!(judge_all(&site, came, &[&root], pool).unwrap(), pem(&right));
    let refusal = judge_all(&site, came, &[&root], &right[5..]).unwrap_err();
    assert_eq!(refusal.code, Code::CertChainIncomplete);
    assert!(refusal.message.contains("CN=A3"), "{refusal}");

    let (root, chain) = ladder(&site, 7);
    let right: Vec<_> = chain.iter().collect();
    let refusal = judge_all(&site, &right, &[&root], &[]).unwrap_err();
    assert_eq!(refusal.code, Code::CertChainIncomplete);
    assert!(refusal.message.contains("more than six"), "{refusal}");
}

#[test]
fn rule_34_roots_that_change_are_crossed_for_who_knows_only_one() {
    let site = Site::new();
    let (old_key, new_key, signer) = (p256(), p256(), p256());
    let old = Spec::authority("Old").sign(&old_key, None);
    let new = Spec::authority("New").sign(&new_key, None);
    let crossed = Spec::authority("New").sign(&new_key, Some((&old, &old_key)));
    let between = Spec::authority("Between").sign(&signer, Some((&new, &new_key)));
    let leaf = Spec::leaf().sign(&site.node, Some((&between, &signer)));
    let short = pem(&[&leaf, &between]);
    let long = pem(&[&leaf, &between, &crossed]);
    let judged =
        |answer: &[_], roots: &[_], pool: &[_]| judge_all(&site, answer, roots, pool).unwrap();
    // Before the change, in the middle of it, and after.
    assert_eq!(judged(&[&leaf, &between, &crossed], &[&old], &[]), long);
    assert_eq!(
        judged(&[&leaf, &between, &crossed], &[&old, &new], &[]),
        long
    );
    assert_eq!(judged(&[&leaf, &between], &[&old, &new], &[&crossed]), long);
    assert_eq!(judged(&[&leaf, &between, &crossed], &[&new], &[]), short);
    assert_eq!(judged(&[&leaf, &between], &[&old, &new], &[]), short);
    // OpenSSL agrees, knowing only the old one.
    let mut store = openssl::x509::store::X509StoreBuilder::new().unwrap();
    store.add_cert(old.clone()).unwrap();
    let mut flags = openssl::x509::verify::X509VerifyParam::new().unwrap();
    flags.set_time(now().as_second());
    store.set_param(&flags).unwrap();
    let mut untrusted = openssl::stack::Stack::new().unwrap();
    for one in openssl::x509::X509::stack_from_pem(long.as_bytes())
        .unwrap()
        .drain(1..)
    {
        untrusted.push(one).unwrap();
    }
    let mut context = openssl::x509::X509StoreContext::new().unwrap();
    assert!(
        context
            .init(&store.build(), &leaf, &untrusted, |context| context
                .verify_cert())
            .unwrap()
    );
    // A root that nobody configured is still nobody's.
    let refusal = judge_all(&site, &[&leaf, &between, &old], &[&new], &[]).unwrap_err();
    assert_eq!(refusal.code, Code::CertChainIncomplete);
    assert!(refusal.message.contains("CN=Old"), "{refusal}");
}

#[test]
fn rule_33_name_constraints_hold_for_a_common_name_alone() {
    let site = Site::new();
    let (root_key, signer) = (p256(), p256());
    let root = Spec::authority("Root").sign(&root_key, None);
    for (constraint, allowed) in [
        ("critical,permitted;DNS:example.net", true),
        ("critical,permitted;DNS:example.org", false),
        ("critical,excluded;DNS:example.net", false),
        ("critical,excluded;DNS:n2.example.net", true),
    ] {
        let between =
            Spec::authority("Between").sign_constrained(&signer, (&root, &root_key), constraint);
        for (names, nameless) in [(&[IDENTITY][..], false), (&[], false), (&[], true)] {
            let leaf = Spec {
                names,
                nameless,
                ..Spec::leaf()
            };
            let leaf = leaf.sign(&site.node, Some((&between, &signer)));
            let verdict = judge_all(&site, &[&leaf, &between], &[&root], &[]);
            let code = verdict.err().map(|refusal| refusal.code);
            let wanted = (!allowed).then_some(Code::CertUntrusted);
            assert_eq!(code, wanted, "{constraint}, names {names:?} {nameless}");
        }
    }
}
