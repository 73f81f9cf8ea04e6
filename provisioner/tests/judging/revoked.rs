//! Lists of revoked certificates: what the authority signs, and that OpenSSL agrees.

use std::fs;
use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use provisioner::ca::Authority;
use provisioner::code::Code;
use provisioner::ledger::{Reason, Revocation};

use crate::authority::{judged, make, rng};
use crate::forge::{p256, rsa2048};

fn openssl(folder: &std::path::Path, args: &[&str]) -> (bool, String) {
    let done = Command::new("openssl")
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let says = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    (done.status.success(), says)
}

#[test]
fn openssl_reads_the_list_and_heeds_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = make(folder.path());
    let url = "http://ca.example.net/ca.crl";
    let authority = Authority::load(&settings)
        .unwrap()
        .with_crl_url(Some(url.to_owned()));
    let now = Timestamp::now();
    let mut leaves = Vec::new();
    for (file, key) in [("good.pem", p256()), ("bad.pem", rsa2048())] {
        let prepared = authority.prepare(&judged(&key), now, &mut rng()).unwrap();
        fs::write(folder.path().join(file), authority.sign(&prepared).unwrap()).unwrap();
        leaves.push(prepared);
    }
    // The same numbers were drawn for both; the list tells them apart by what is on it.
    leaves[1].serial = "41".repeat(20);
    let bad = authority.sign(&leaves[1]).unwrap();
    fs::write(folder.path().join("bad.pem"), bad).unwrap();

    let revocation = |serial: String, reason| Revocation {
        identity: "gone.example.net".to_owned(),
        key: String::new(),
        serial,
        not_after: None,
        at: now,
        reason,
    };
    let mut revoked = vec![revocation(leaves[1].serial.clone(), Reason::KeyCompromise)];
    for (n, &reason) in Reason::ALL.iter().enumerate() {
        revoked.push(revocation(format!("50{n:038x}"), reason));
    }
    let until = authority.list_end(now, SignedDuration::from_hours(168));
    let number = 0x00ff_0102_0304_0506;
    let empty = authority.sign_list(1, now, until, &[]).unwrap();
    let list = authority.sign_list(number, now, until, &revoked).unwrap();
    fs::write(folder.path().join("empty.crl"), empty.pem).unwrap();
    fs::write(folder.path().join("ca.crl"), &list.pem).unwrap();

    let issuer = settings.certificate.to_str().unwrap();
    let (ok, says) = openssl(
        folder.path(),
        &[
            "crl", "-in", "ca.crl", "-CAfile", issuer, "-verify", "-noout", "-text",
        ],
    );
    assert!(ok && says.contains("verify OK"), "{says}");
    for line in [
        "Version 2",
        "Key Compromise",
        "Affiliation Changed",
        "Superseded",
        "Cessation Of Operation",
        "Privilege Withdrawn",
        "X509v3 Authority Key Identifier",
    ] {
        assert!(says.contains(line), "{line} is not in\n{says}");
    }
    assert_eq!(
        says.matches("X509v3 CRL Reason Code").count(),
        revoked.len() - 1,
        "{says}"
    );
    let (_, says) = openssl(
        folder.path(),
        &["crl", "-in", "ca.crl", "-noout", "-crlnumber"],
    );
    assert_eq!(says.trim(), "crlNumber=0xFF010203040506");

    let roots = settings.roots.to_str().unwrap();
    let verify = |list: &str, leaf: &str| {
        let args = ["verify", "-x509_strict", "-crl_check", "-CAfile", roots];
        let more = ["-untrusted", leaf, "-CRLfile", list, leaf];
        openssl(folder.path(), &[args, more].concat())
    };
    for (list, leaf, good) in [
        ("empty.crl", "good.pem", true),
        ("empty.crl", "bad.pem", true),
        ("ca.crl", "good.pem", true),
        ("ca.crl", "bad.pem", false),
    ] {
        let (ok, says) = verify(list, leaf);
        assert_eq!(ok, good, "{leaf} with {list}: {says}");
        assert_eq!(says.contains("certificate revoked"), !good, "{says}");
    }
    let (_, text) = openssl(
        folder.path(),
        &["x509", "-in", "good.pem", "-noout", "-text"],
    );
    assert!(text.contains(&format!("URI:{url}")), "{text}");
}

#[test]
fn an_authority_that_may_not_sign_lists_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = make(folder.path());
    let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    fs::write(folder.path().join("ext"), extensions).unwrap();
    let root = settings.roots.to_str().unwrap().to_owned();
    let root_key = root.replace("ca.pem", "root.key");
    let (ok, says) = openssl(
        folder.path(),
        &[
            "req",
            "-new",
            "-key",
            settings.key.to_str().unwrap(),
            "-subj",
            "/CN=Odd",
            "-out",
            "csr",
        ],
    );
    assert!(ok, "{says}");
    let (ok, says) = openssl(
        folder.path(),
        &[
            "x509",
            "-req",
            "-in",
            "csr",
            "-CA",
            &root,
            "-CAkey",
            &root_key,
            "-days",
            "30",
            "-extfile",
            "ext",
            "-out",
            settings.certificate.to_str().unwrap(),
        ],
    );
    assert!(ok, "{says}");
    let authority = Authority::load(&settings).unwrap();
    let refused = authority.may_sign_lists().unwrap_err();
    assert_eq!(refused.code, Code::CaConfig);
    assert!(refused.message.contains("CRL sign"), "{}", refused.message);
}
