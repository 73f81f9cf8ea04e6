//! Faults on the links between brokers, and what a fleet on both sides notices of them.

use super::support::Stage;

/// A hub and two sites that hang on it; everybody is asked all the time.
const SITES: &str = r#"
schema = 1
name   = "links"
about  = "What does a fleet notice of a bad link?"
seed   = 5

[topology]
[[topology.broker]]
name = "hub"
tls  = "none"
[[topology.broker]]
name    = "site"
count   = 2
leaf_of = "hub"
tls     = "none"

[provisioner]
manage = "none"

[[fleet]]
name   = "central"
nodes  = 4
start  = "production"
attach = "hub"
[[fleet]]
name   = "sites"
nodes  = 8
start  = "production"
attach = "site"

[[phase]]
name    = "connect"
until   = { every = "connected", ratio = 1.0 }
timeout = "30s"
  [[phase.op]]
  do = "connect"

[[phase]]
name     = "steady"
duration = "1s"
  [[phase.op]]
  do      = "request"
  name    = "ping"
  collect = "400ms"
  pace    = { model = "open", kind = "every", every = "500ms" }

[[phase]]
name    = "cut"
keep    = ["steady"]
until   = { every = "connected", ratio = 1.0, settle = "2s" }
timeout = "60s"
  [[phase.op]]
  do     = "fault"
  kind   = "cut-link"
  target = "site-1"
  at     = "500ms"
  down   = "2s"

[[phase]]
name    = "slow"
keep    = ["steady"]
until   = { every = "connected", ratio = 1.0 }
timeout = "60s"
  [[phase.op]]
  do      = "fault"
  kind    = "slow-link"
  target  = "hub"
  peer    = "site-*"
  latency = "60ms"
  down    = "2s"

[[phase]]
name = "after"
  [[phase.op]]
  do    = "request"
  name  = "roll-call"
  pace  = { model = "open", kind = "every", every = "300ms", count = 3 }

[[assert]]
phase = "steady"
that  = ["ping.missing == 0", "ping.last_reply.max <= 100ms"]
[[assert]]
phase = "cut"
that  = [
  "ping.missing >= 4", "fault.happened == 1", "fault.down >= 2s", "fault.relink <= 10s",
  "reconnect.affected == 0", "ping.first_ok_after_up <= 12s",
]
[[assert]]
phase = "slow"
that  = ["ping.missing == 0", "ping.last_reply.max >= 120ms", "fault.relink <= 1s"]
[[assert]]
phase = "after"
that  = ["roll-call.missing == 0", "roll-call.expected == 36"]
"#;

#[test]
fn a_cut_site_is_lost_and_found_and_a_slow_one_takes_longer() {
    let stage = Stage::new(SITES);
    let (summary, said) = stage.passes(&[]);
    for part in [
        "fault=cut-link target=site-1 state=fell",
        "fault=cut-link target=site-1 state=up away=2",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let faults = summary["faults"].as_array().unwrap();
    assert_eq!(faults[0]["note"], "site-1 to hub-1 (leaf link)");
    assert!(faults[0]["relinked_us"].is_u64(), "{summary}");
    let relayed = stage.json("manifest.json")["relayed"].clone();
    let relayed = relayed.as_array().unwrap();
    assert_eq!(relayed.len(), 2, "{relayed:?}");
    assert!(relayed[0]["refused"].as_u64().unwrap() >= 1, "{relayed:?}");
    assert_eq!(relayed[1]["refused"], 0, "the other site's was not cut");
    for line in relayed {
        assert!(line["bytes_there"].as_u64().unwrap() > 1_000, "{line}");
        assert!(line["bytes_back"].as_u64().unwrap() > 1_000, "{line}");
    }
    // Four nodes are behind the cut link, or eight where the one who asks is with them.
    let rounds = std::fs::read_to_string(stage.out().join("fanout.csv")).unwrap();
    let column = |line: &str, at: usize| line.split(',').nth(at).unwrap_or_default().to_owned();
    let header = rounds.lines().next().unwrap();
    let missing = header
        .split(',')
        .position(|name| name == "missing")
        .unwrap();
    let cut = rounds.lines().filter(|line| line.starts_with("cut,"));
    let short: Vec<_> = cut.map(|line| column(line, missing)).collect();
    assert!(short.iter().any(|n| n == "4" || n == "8"), "{rounds}");
}
