//! Formations of real brokers: they come up, keep their promises of TLS and users, and go.

use std::path::Path;
use std::process::Command;

use loadgen::formation::certificates::{Authority, NodeAuthority};
use loadgen::formation::nats_server::NatsServer;
use loadgen::formation::{Formation, FormationError};
use loadgen::guard::RunMark;
use loadgen::scenario::{KeyKind, Location, Role, Tier, Tls};

use crate::support::nats_server;

pub(crate) fn tier(name: &str, role: Role, tls: Tls, count: u32) -> Tier {
    Tier {
        name: name.to_owned(),
        role,
        tls,
        count,
        cluster: None,
        leaf_of: None,
        gateway: None,
        max_conns: Some(64),
        external: None,
        location: Location {
            file: "test.toml".into(),
            line: 1,
            column: 1,
        },
    }
}

fn verify(folder: &Path, root: &str, chain: &str, purpose: &str) {
    let (root_path, chain_path) = (folder.join("root.pem"), folder.join("chain.pem"));
    std::fs::write(&root_path, root).unwrap();
    std::fs::write(&chain_path, chain).unwrap();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
        .arg(&root_path)
        .arg("-untrusted")
        .arg(&chain_path)
        .arg(&chain_path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn openssl_accepts_every_kind_of_certificate_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("test", time::OffsetDateTime::now_utc()).unwrap();
    let root = authority.root();
    let broker = authority.broker("hub-1").unwrap();
    verify(folder.path(), root, &broker.certificate, "sslserver");
    let caller = authority.caller("operator.mcollective").unwrap();
    verify(folder.path(), root, &caller.certificate, "sslclient");
    let now = time::OffsetDateTime::now_utc();
    let nodes = NodeAuthority::of(authority.intermediate(), now).unwrap();
    for kind in [KeyKind::P256, KeyKind::Rsa2048, KeyKind::Ed25519] {
        let node = nodes.node("n1.example.net", kind).unwrap();
        assert_eq!(node.certificate.matches("BEGIN CERTIFICATE").count(), 2);
        verify(folder.path(), root, &node.certificate, "sslclient");
    }
}

#[test]
fn an_issuer_that_was_given_signs_nodes_and_callers_and_must_fit_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let now = time::OffsetDateTime::now_utc();
    let [own, other] = ["own", "other"].map(|run| Authority::new(run, now).unwrap());
    let given = Authority::given(own.intermediate().clone(), now).unwrap();
    let caller = given.caller("loadgen.mcollective").unwrap();
    verify(folder.path(), own.root(), &caller.certificate, "sslclient");
    let mut wrong = own.intermediate().clone();
    wrong.key.clone_from(&other.intermediate().key);
    let refused = Authority::given(wrong, now).unwrap_err().to_string();
    assert!(refused.contains("the issuer cannot sign"), "{refused}");
}

#[tokio::test]
async fn brokers_come_up_with_their_tls_and_users_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let mark = RunMark::unique();
    let tiers = [
        tier("provisioning", Role::Provisioning, Tls::Server, 1),
        tier("hub", Role::Production, Tls::Mutual, 2),
    ];
    let mut formation = Formation::start("test", &tiers, folder.path(), &nats_server(), &mark)
        .await
        .unwrap();
    assert_eq!(mark.processes().len(), 3);
    let names: Vec<&str> = formation.posts().map(|post| post.name.as_str()).collect();
    assert_eq!(names, ["provisioning-1", "hub-1", "hub-2"]);
    for post in formation.posts() {
        let varz = post.monitor.unwrap().varz().await.unwrap();
        assert_eq!(varz.max_connections, 64);
        assert!(varz.mem > 0);
    }
    formation.stop().await;
    assert!(mark.processes().is_empty());
}

#[tokio::test]
async fn a_killed_broker_returns_on_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let mark = RunMark::unique();
    let tiers = [tier("hub", Role::Production, Tls::None, 1)];
    let mut formation = Formation::start("test", &tiers, folder.path(), &nats_server(), &mark)
        .await
        .unwrap();
    let (name, broker) = formation.brokers_by_name().remove(0);
    assert_eq!(name, "hub-1");
    let mut broker = broker.lock().await;
    let post = broker.post().clone();
    broker.kill().await;
    assert!(!broker.monitor().ready().await);
    broker.launch(&mark).unwrap();
    broker.wait_ready().await.unwrap();
    assert_eq!(broker.post(), &post);
    drop(broker);
    formation.stop().await;
}

#[tokio::test]
async fn a_broker_that_dies_is_quoted() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nats-server");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'nats-server: v2.12.0' && exit 0\n\
                  echo '[7] [FTL] disk on fire' >&2\nexit 3\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = NatsServer::find(Some(&path)).unwrap();
    let mark = RunMark::unique();
    let tiers = [tier("hub", Role::Production, Tls::None, 1)];
    let error = Formation::start("test", &tiers, folder.path(), &server, &mark)
        .await
        .unwrap_err();
    assert!(matches!(error, FormationError::Broker(_)));
    let said = error.to_string();
    for part in ["hub-1", "exit status 3", "disk on fire", "hub-1.log"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(mark.processes().is_empty());
}
