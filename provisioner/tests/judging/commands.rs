//! The commands as a person or a script meets them: output, files and exit status.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use serde_json::{Value, json};
use server_core::trust::jwt::decode_unverified;

use crate::forge::{DNS, Forge, IDENTITY, sans};

/// The program, in a folder without a configuration.
fn provisioner(folder: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("provisioner")
        .unwrap()
        .current_dir(folder)
        .env_remove("PROVISIONER_CONFIG")
        .env_remove("PROVISIONING_PASSWORD")
        .env_remove("PROVISIONING_TOKEN")
        .args(arguments)
        .assert()
}

fn stdout_json(assert: &assert_cmd::assert::Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn csr_check_accepts_with_status_0() {
    let folder = folder();
    fs::write(folder.path().join("good.csr"), Forge::new().pem()).unwrap();
    let check = ["csr", "check", "good.csr", "--identity", IDENTITY];
    provisioner(folder.path(), &check)
        .code(0)
        .stdout(predicate::str::starts_with(
            "accepted  n1.example.net: P-256 key ",
        ));
    let json = provisioner(folder.path(), &[&check[..], &["--json"]].concat()).code(0);
    let verdict = stdout_json(&json);
    assert_eq!(verdict["accepted"], true);
    assert_eq!(verdict["identity"], IDENTITY);
    assert_eq!(verdict["key"], "p256");
    assert_eq!(verdict["spki_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn csr_check_refuses_with_status_1_and_its_code() {
    let folder = folder();
    let wildcard = Forge::new().extensions(&[sans(&[(DNS, b"*.example.net")])]);
    fs::write(folder.path().join("bad.csr"), wildcard.pem()).unwrap();
    let check = ["csr", "check", "bad.csr", "--identity", IDENTITY];
    provisioner(folder.path(), &check)
        .code(1)
        .stdout(predicate::str::starts_with("refused  csr.san_wildcard: "))
        .stdout(predicate::str::contains("*.example.net"));
    let json = provisioner(folder.path(), &[&check[..], &["--json"]].concat()).code(1);
    let verdict = stdout_json(&json);
    assert_eq!(verdict["accepted"], false);
    assert_eq!(verdict["code"], "csr.san_wildcard");
    assert_eq!(verdict.as_object().unwrap().len(), 3);
}

#[test]
fn csr_check_judges_the_identity_it_is_given() {
    let folder = folder();
    fs::write(folder.path().join("good.csr"), Forge::new().pem()).unwrap();
    for (identity, code) in [
        ("N1.example.net", "identity.syntax"),
        ("", "identity.syntax"),
        ("--", "identity.syntax"),
        ("n2.example.net", "csr.identity_mismatch"),
    ] {
        let argument = format!("--identity={identity}");
        let check = ["csr", "check", "good.csr", &argument, "--json"];
        let verdict = stdout_json(&provisioner(folder.path(), &check).code(1));
        assert_eq!(verdict["code"], code, "{identity}");
    }
}

#[test]
fn csr_check_cannot_do_without_a_file_and_says_so_with_status_2() {
    let folder = folder();
    provisioner(
        folder.path(),
        &["csr", "check", "nowhere.csr", "--identity", IDENTITY],
    )
    .code(2)
    .stdout("")
    .stderr(predicate::str::contains("nowhere.csr"));
    provisioner(
        folder.path(),
        &["csr", "check", ".", "--identity", IDENTITY],
    )
    .code(2);
    provisioner(folder.path(), &["csr", "check", "nowhere.csr"]).code(2);
}

#[test]
fn csr_check_reads_standard_input_and_files_of_any_size() {
    let folder = folder();
    Command::cargo_bin("provisioner")
        .unwrap()
        .current_dir(folder.path())
        .args(["csr", "check", "-", "--identity", IDENTITY])
        .write_stdin(Forge::new().pem())
        .assert()
        .code(0);
    fs::write(folder.path().join("huge"), vec![b'x'; 3_000_000]).unwrap();
    fs::write(folder.path().join("binary"), [0xff, 0, 1, 2]).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    for (file, code) in [
        ("huge", "csr.too_large"),
        ("binary", "csr.pem_format"),
        ("empty", "csr.pem_format"),
    ] {
        let check = ["csr", "check", file, "--identity", IDENTITY, "--json"];
        let verdict = stdout_json(&provisioner(folder.path(), &check).code(1));
        assert_eq!(verdict["code"], code, "{file}");
    }
}

#[test]
fn ca_init_makes_an_authority_says_what_is_next_and_overwrites_nothing() {
    let folder = folder();
    provisioner(folder.path(), &["ca", "init", "--out", "pki"])
        .code(0)
        .stdout(predicate::str::contains("MOVE IT OFFLINE"))
        .stdout(predicate::str::contains("kind = \"built-in\""));
    for key in ["root.key", "intermediate.key"] {
        let mode = fs::metadata(folder.path().join("pki").join(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    provisioner(folder.path(), &["ca", "init", "--out", "pki"])
        .code(2)
        .stderr(predicate::str::contains("not overwritten"));
}

fn token_new(folder: &Path, extra: &[&str]) -> assert_cmd::assert::Assert {
    let base = [
        "token",
        "new",
        "--signing-key",
        "signer.key",
        "--url",
        "tls://127.0.0.1:4222",
        "--url",
        "tls://127.0.0.2:4222",
        "--user",
        "provisioning",
        "--password",
        "brokerpass",
        "--token",
        "s3cret-token",
        "--validity",
        "30d",
        "--out",
        "provisioning.jwt",
    ];
    provisioner(folder, &[&base[..], extra].concat())
}

#[test]
fn tokens_of_both_kinds_are_made_and_checked() {
    for kind in ["ed25519", "rsa2048"] {
        let folder = folder();
        let key = ["token", "key", "--out", "signer.key", "--kind", kind];
        provisioner(folder.path(), &key).code(0);
        provisioner(folder.path(), &key).code(2);
        token_new(folder.path(), &["--extension", "rack=r12"]).code(0);

        let file = folder.path().join("provisioning.jwt");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let claims = decode_unverified(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(claims.chs && claims.chpd);
        assert_eq!(
            claims.servers(),
            ["tls://127.0.0.1:4222", "tls://127.0.0.2:4222"]
        );
        assert_eq!(claims.cht, "s3cret-token");
        assert_eq!(claims.chusr, "provisioning");
        assert_eq!(claims.chpwd, "brokerpass");
        assert_eq!(claims.purpose, "choria_provisioning");
        assert_eq!(claims.iss, "Choria Tokens Package");
        assert_eq!(claims.exp.unwrap() - claims.iat.unwrap(), 30 * 86_400);
        assert_eq!(json!(claims.extensions), json!({"rack": "r12"}));

        let check = [
            "token",
            "check",
            "provisioning.jwt",
            "--key",
            "signer.key.pub",
        ];
        let output = provisioner(folder.path(), &check)
            .code(0)
            .stdout(predicate::str::starts_with("accepted"));
        let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        assert!(
            !text.contains("s3cret-token") && !text.contains("brokerpass"),
            "{text}"
        );
        let verdict =
            stdout_json(&provisioner(folder.path(), &[&check[..], &["--json"]].concat()).code(0));
        assert_eq!(verdict["accepted"], true);
        assert_eq!(verdict["claims"]["cht"], "[secret]");

        token_new(folder.path(), &[])
            .code(2)
            .stderr(predicate::str::contains("--force"));
        token_new(folder.path(), &["--force"]).code(0);
    }
}

#[test]
fn token_check_refuses_with_a_code() {
    let folder = folder();
    for name in ["signer.key", "stranger.key"] {
        provisioner(folder.path(), &["token", "key", "--out", name]).code(0);
    }
    token_new(folder.path(), &[]).code(0);
    let check = |key: &str, more: &[&str]| {
        let base = ["token", "check", "provisioning.jwt", "--json", "--key", key];
        stdout_json(&provisioner(folder.path(), &[&base[..], more].concat()).code(1))["code"]
            .clone()
    };
    assert_eq!(check("stranger.key.pub", &[]), "jwt.signature");
    assert_eq!(check("signer.key.pub", &["--issuer", "me"]), "jwt.issuer");
    fs::write(folder.path().join("provisioning.jwt"), "not a token").unwrap();
    assert_eq!(check("signer.key.pub", &[]), "jwt.form");
    provisioner(folder.path(), &["token", "check", "provisioning.jwt"])
        .code(2)
        .stderr(predicate::str::contains("--key"));
}

#[test]
fn token_new_names_what_is_missing() {
    let folder = folder();
    provisioner(folder.path(), &["token", "key", "--out", "k"]).code(0);
    let new = |more: &[&str]| {
        let base = ["token", "new", "--signing-key", "k"];
        provisioner(folder.path(), &[&base[..], more].concat()).code(2)
    };
    new(&[]).stderr(predicate::str::contains("--url"));
    new(&["--url", "https://x"]).stderr(predicate::str::contains("tls://"));
    new(&["--url", "tls://x", "--user", "u"]).stderr(predicate::str::contains("--password"));
    new(&["--url", "tls://x", "--extension", "a"]).stderr(predicate::str::contains("NAME=VALUE"));
    new(&["--url", "tls://x", "--token-file", "no"]).stderr(predicate::str::contains("no"));
    provisioner(
        folder.path(),
        &["token", "new", "--signing-key", "k.pub", "--url", "tls://x"],
    )
    .code(2)
    .stderr(predicate::str::contains("k.pub"));
    // Without a shared token one is made up, different each time.
    let made = || {
        let output = provisioner(
            folder.path(),
            &["token", "new", "--signing-key", "k", "--url", "tls://x"],
        )
        .code(0);
        let token = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        decode_unverified(&token).unwrap().cht
    };
    let (first, second) = (made(), made());
    assert!(first.len() == 32 && first != second);
}
