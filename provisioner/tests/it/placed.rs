//! Nodes are sent to their targets, and stay with what was decided for them.

use crate::support::{Provisioner, Site, Swarm};

/// The same broker by two names, as two targets.
fn config(site: &Site, rules: &str) -> std::path::PathBuf {
    let west = site.production.url();
    let east = west.replace("127.0.0.1", "localhost");
    site.config(&format!(
        "[placement]\nrules = [{rules}]\n\
         [placement.targets.west]\nservers = [\"{west}\"]\ntier = \"leaf\"\n\
         [placement.targets.west.settings]\n\"plugin.site.tier\" = \"{{{{ target.tier }}}}\"\n\
         [placement.targets.east]\nservers = [\"{east}\"]\ncollectives = [\"mcollective\", \"east\"]\n\
         capacity = 1\n"
    ))
}

fn setting(swarm: &Swarm, node: &str, name: &str) -> Option<String> {
    let text = swarm.file(node, "server.conf")?;
    let start = format!("{name}=");
    let mut lines = text.lines().map(|line| line.replacen(" = ", "=", 1));
    lines.find_map(|line| line.strip_prefix(&start).map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_placed_and_keep_their_place() {
    let site = Site::start();
    // The helper process is killed with the certificates made and not yet sent.
    let hash = "{ by = \"hash\", targets = [\"west\", \"east\"] }";
    let config_file = config(&site, hash);
    let hold = [("PROVISIONER_TEST_HOLD", "signed=60s")];
    let mut service = Provisioner::start_with(&config_file, &hold);
    let mut swarm = Swarm::new();
    let nodes: Vec<_> = (0..6).map(|n| format!("n{n}.example.net")).collect();
    for node in &nodes {
        swarm.add(node, &site.token);
    }
    let placed = service
        .status_when("six signed", |s| s["certificates_issued"] == 6)
        .await;
    let targets = placed["targets"].as_object().unwrap();
    assert_eq!(targets.len(), 2, "{placed:#}");
    let placed: Vec<_> = nodes
        .iter()
        .map(|n| service.ask(&["show", n])["target"].clone())
        .collect();
    service.kill();

    // Though the rules are others now, what was decided stands.
    let service = Provisioner::start(&config(&site, "{ by = \"static\", target = \"east\" }"));
    for (node, target) in nodes.iter().zip(&placed) {
        let show = service.show_when(node, |s| s["state"] == "confirmed").await;
        assert_eq!(show["target"], *target, "{show:#}");
        let brokers = setting(&swarm, node, "plugin.choria.middleware_hosts").unwrap();
        let (host, collectives, tier) = match target.as_str() {
            Some("west") => ("127.0.0.1", "mcollective", Some("leaf")),
            _ => ("localhost", "mcollective,east", None),
        };
        assert!(brokers.contains(host), "{node} at {target}: {brokers}");
        let told = setting(&swarm, node, "collectives").unwrap();
        assert_eq!(told, collectives);
        assert_eq!(setting(&swarm, node, "plugin.site.tier").as_deref(), tier);
    }
    let told = std::fs::read_to_string(site.path("state/audit/00000000000000000001.jsonl"));
    assert_eq!(told.unwrap().matches("\"target\":\"").count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_target_takes_no_more_until_a_place_is_free() {
    const FIRST: &str = "first.example.net";
    const SECOND: &str = "second.example.net";
    let site = Site::start();
    let config = config(&site, "{ by = \"capacity\", targets = [\"east\"] }");
    let service = Provisioner::start(&config);
    let mut swarm = Swarm::new();
    swarm.add(FIRST, &site.token);
    service
        .show_when(FIRST, |s| s["state"] == "confirmed")
        .await;
    swarm.add(SECOND, &site.token);
    let show = service
        .show_when(SECOND, |s| s["code"] == "placement.none")
        .await;
    assert_eq!(
        (&show["state"], &show["step"]),
        (&"parked".into(), &"sign".into())
    );
    assert_eq!(service.ask(&["status"])["certificates_issued"], 1);
    service.ask(&["decommission", FIRST]);
    service.ask(&["retry", SECOND]);
    let show = service
        .show_when(SECOND, |s| s["state"] == "confirmed")
        .await;
    assert_eq!(show["target"], "east");
    service
        .metrics_when(|text| text.contains("provisioner_placements_total{target=\"east\"} 2"))
        .await;
}
