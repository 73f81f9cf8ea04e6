//! Networks with an organization's issuer: nodes get a server token and no certificate.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use server_core::trust::jwt::{
    ClientClaims, ClientPermissions, Issuer, Organization, ServerClaims, verify_member,
};
use server_core::trust::{KeyAlgorithm, KeyPair};
use server_core::words::{Clock as _, SystemClock};

use crate::support::{Provisioner, Site, Swarm};

const NODE: &str = "web1.example.net";

/// Makes an organization, a chain issuer it trusts, and a configuration that issues with that one.
fn configure(site: &Site) -> (PathBuf, Organization) {
    let issuer = Issuer::of_organization("acme", &"5a".repeat(32)).unwrap();
    let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
    let public = hex::encode(key.public_raw());
    let day = Duration::from_secs(86_400);
    let mut standard = issuer
        .standard::<ClientClaims>(&public, SystemClock.unix(), day, [3; 16])
        .unwrap();
    issuer.trust(&mut standard).unwrap();
    let token = issuer.sign(&ClientClaims {
        callerid: "up=provisioner".to_owned(),
        ou: "acme".to_owned(),
        permissions: ClientPermissions {
            fleet_management: true,
            provisioner: true,
            ..ClientPermissions::default()
        },
        standard,
        ..ClientClaims::default()
    });
    let seed = key.ed25519_seed_hex().unwrap();
    let file = site.path("issuer.seed");
    std::fs::write(&file, seed.as_bytes()).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    std::fs::write(site.path("issuer.jwt"), token.unwrap()).unwrap();
    let organization = issuer.organization().clone();
    let section = format!(
        "[issuer]\norganization = \"acme\"\nseed = \"issuer.seed\"\ntoken = \"issuer.jwt\"\n\
         organization_key = {:?}\npermissions = [\"submission\"]\n",
        organization.key.hex()
    );
    (site.config_with_ca(&section, ""), organization)
}

/// Changes the configuration.
fn change(file: &Path, changes: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).unwrap();
}

fn count(show: &Value, what: &str, step: &str) -> usize {
    let history = show["history"].as_array();
    let all = history.into_iter().flatten();
    all.filter(|entry| entry["what"] == what && entry["step"] == step)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_one_token_though_its_issuer_is_killed_before_it_signs() {
    let site = Site::start_without_client_certificates();
    let (config, organization) = configure(&site);
    // Nodes that speak protocol 1 and leave it to the broker who may ask them.
    let anonymous = "[node.settings]\n\"plugin.security.provider\" = \"file\"\n\
                     \"plugin.security.server_anon_tls\" = \"1\"";
    change(&config, &[("[node.settings]", anonymous)]);
    let mut service = Provisioner::start_with(&config, &[("PROVISIONER_TEST_HOLD", "asked=1h")]);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    service
        .show_when(NODE, |show| count(show, "asked", "sign") == 1)
        .await;
    service.kill();

    let service = Provisioner::start(&config);
    let status = service
        .status_when("one confirmed node", |s| s["confirmed"] == 1)
        .await;
    assert_eq!(status["certificates_issued"], 1);
    assert_eq!(status["keys_signed_twice"], 0);
    let show = service.ask(&["show", NODE]);
    assert_eq!(
        count(&show, "asked", "sign"),
        1,
        "the recorded claims were signed"
    );

    let token = swarm.file(NODE, "server.jwt").unwrap();
    let claims: ServerClaims =
        verify_member(&token, &[organization], 0, SystemClock.unix()).unwrap();
    assert_eq!(claims.identity, NODE);
    assert!(claims.permissions.submission && !claims.permissions.streams);
    assert_eq!(show["certificate"]["serial"], claims.standard.jti);
    assert_eq!(show["certificate"]["token"], true);
    assert!(swarm.file(NODE, "ssl/certificate.pem").is_none());
    let audit = std::fs::read_dir(site.path("state/audit")).unwrap();
    let audit: String = audit
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default())
        .collect();
    assert!(
        audit.contains(&claims.standard.jti),
        "the audit log tells of it"
    );
    // Nothing revokes it: whoever bans the node is told until when brokers have to.
    let end = show["certificate"]["not_after"].as_str().unwrap();
    let told = service.ask(&["ban", NODE, "--reason", "stolen"]);
    let says = told["says"].as_str().unwrap();
    assert!(says.contains(end) && says.contains("deny"), "{says}");
    assert_eq!(service.ask(&["show", NODE])["server_token_until"], end);
    assert_eq!(service.ask(&["status"])["certificates_revoked"], 0);

    let seed = swarm.file(NODE, "server.seed").unwrap();
    for secret in [seed.as_str(), token.as_str()] {
        assert!(!service.log().contains(secret), "the log holds a secret");
        assert!(!audit.contains(secret), "the audit log holds a secret");
    }
}

/// Caller and nodes prove who they are by tokens on both networks (protocol 2); no certificate but the
/// brokers' is anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_needs_a_certificate() {
    let site = Site::start_without_client_certificates();
    let (config, organization) = configure(&site);
    change(
        &config,
        &[
            (
                "certificate = \"provisioner.mcollective.pem\"",
                "token = \"issuer.jwt\"",
            ),
            (
                "key = \"provisioner.mcollective.key\"",
                "seed = \"issuer.seed\"",
            ),
            ("\"collectives\" = \"mcollective\"", ""),
        ],
    );
    let service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let status = service
        .status_when("one confirmed node", |s| s["confirmed"] == 1)
        .await;
    assert_eq!(status["errors"], serde_json::json!({}));
    let token = swarm.file(NODE, "server.jwt").unwrap();
    let known = [organization];
    let claims: ServerClaims = verify_member(&token, &known, 0, SystemClock.unix()).unwrap();
    assert_eq!(claims.collectives, ["choria"]);
    let conf = swarm.file(NODE, "server.conf").unwrap();
    assert!(conf.contains("plugin.security.provider=choria"), "{conf}");
    assert!(conf.contains(&known[0].key.hex()), "{conf}");
}
