//! Nodes on every formation, plain and over TLS.

use super::asked::{asked, run};
use crate::support::Stage;

fn nodes(attach: &[&str], each: u64) -> String {
    let fleets = attach.iter().map(|tier| {
        format!("[[fleet]]\nname = \"on-{tier}\"\nnodes = {each}\nattach = \"{tier}\"\n\n")
    });
    fleets.collect()
}

#[test]
fn a_cluster_of_three_takes_turns() {
    let topology = "[[topology.broker]]\nname = \"hub\"\ncount = 3\ntls = \"server\"\n";
    let topology = format!("[topology]\nmanage = \"local\"\n{topology}");
    run(Stage::new(&asked(&topology, &nodes(&["hub"], 50)))).assert_as_planned();
}

#[test]
fn leaves_hang_on_their_hubs_over_mutual_tls() {
    let topology = r#"
[topology]
[[topology.broker]]
name  = "hub"
count = 2
tls   = "mutual"
[[topology.broker]]
name    = "edge"
count   = 3
leaf_of = "hub"
tls     = "mutual"
"#;
    run(Stage::new(&asked(topology, &nodes(&["hub", "edge"], 20)))).assert_as_planned();
}

#[test]
fn sites_as_leaves_of_one_hub_may_be_plain() {
    let topology = r#"
[topology]
[[topology.broker]]
name = "hub"
tls  = "none"
[[topology.broker]]
name    = "ams"
leaf_of = "hub"
tls     = "none"
[[topology.broker]]
name    = "fra"
leaf_of = "hub"
count   = 2
cluster = "fra"
tls     = "none"
"#;
    run(Stage::new(&asked(
        topology,
        &nodes(&["hub", "ams", "fra"], 14),
    )))
    .assert_as_planned();
}

#[test]
fn regions_of_a_supercluster_hear_each_other_over_tls() {
    let region = |name: &str, count: u32| {
        format!(
            "[[topology.broker]]\nname = \"{name}\"\ngateway = \"{name}\"\ncount = {count}\n\
             tls = \"mutual\"\n"
        )
    };
    let topology = format!(
        "[topology]\n{}{}{}",
        region("ams", 2),
        region("lon", 2),
        region("nyc", 1)
    );
    run(Stage::new(&asked(
        &topology,
        &nodes(&["ams", "lon", "nyc"], 16),
    )))
    .assert_as_planned();
}

#[test]
fn weights_and_sites_decide_where_nodes_start() {
    let topology = r#"
[topology]
[[topology.broker]]
name    = "ams"
gateway = "ams"
count   = 2
tls     = "none"
[[topology.broker]]
name    = "lon"
gateway = "lon"
tls     = "none"
"#;
    let fleets = r#"
[[fleet]]
name    = "weighed"
nodes   = 20
attach  = "ams"
spread  = "share"
weights = { ams-1 = 3, ams-2 = 1 }

[[fleet]]
name    = "placed"
nodes   = 24
attach  = "ams"
facts   = { site = ["ams", "lon", "cdg"] }
spread  = "fact:site"
brokers = { ams = "ams", lon = "lon", cdg = "ams-2" }
"#;
    let ran = run(Stage::new(&asked(topology, fleets)));
    ran.assert_as_planned();
    let planned = |at: usize| ran.json("plan.json")["brokers"][at]["nodes"].as_u64();
    assert_eq!([0, 1, 2].map(planned), [15 + 4, 5 + 4 + 8, 8].map(Some));
}
