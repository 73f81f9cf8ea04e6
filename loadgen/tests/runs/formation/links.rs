//! Links over relays on real brokers: they run over them, can be cut, and nobody finds a way past.

use std::path::Path;
use std::time::{Duration, Instant};

use loadgen::formation::relay::{Condition, Relayed};
use loadgen::formation::ties::{connections, wait_tied};
use loadgen::formation::{Formation, Wanted};
use loadgen::guard::RunMark;
use loadgen::scenario::{LinkKind, parse};

use crate::support::nats_server;

/// Brokers of `topology`, the links relayed on which a fault with this `target` falls.
async fn start(folder: &Path, topology: &str, target: &str) -> Formation {
    let text = format!(
        "schema = 1\nname = \"links\"\n[topology]\n{topology}\n[provisioner]\nmanage = \"none\"\n\
         [[fleet]]\nname = \"n\"\nnodes = 1\nstart = \"production\"\nattach = \"hub\"\n\
         [[phase]]\nname = \"p\"\n[[phase.op]]\ndo = \"fault\"\nkind = \"cut-link\"\n\
         {target}\ndown = \"1s\"\n"
    );
    let scenario = parse(Path::new("links.toml"), &text, &[]);
    let scenario = scenario.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let wanted = Wanted {
        tiers: &scenario.topology.tiers,
        buckets: false,
        relayed: &scenario.relayed_links(),
    };
    let (server, mark) = (nats_server(), RunMark::unique());
    let started = Formation::start_as("t", wanted, folder, &server, &mark).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

/// How many ends of these links stand.
async fn standing(relayed: &[Relayed]) -> usize {
    let mut stand = 0;
    for tie in relayed.iter().flat_map(|relayed| &relayed.ties) {
        let peers = connections(&tie.monitor, &tie.link).await.unwrap();
        stand += usize::from(!peers.is_empty());
    }
    stand
}

/// Cuts these links, sees that the brokers are alone and stay so, and lets them back in.
async fn cut_and_mend(topology: &str, target: &str, kind: LinkKind, links: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut formation = start(folder.path(), topology, target).await;
    let relayed = formation.relayed().to_vec();
    let own = |relayed: &&Relayed| relayed.line.link().kind == kind;
    assert_eq!(relayed.iter().filter(own).count(), links, "{relayed:?}");
    // That every link runs over its relay was made sure of before the formation was ready.
    let carried: u64 = relayed.iter().map(|of| of.line.seen().bytes_there).sum();
    assert!(carried > 0, "{relayed:?}");
    for relayed in &relayed {
        relayed.line.set(Condition::Reset);
    }
    let (begun, mut alone_since) = (Instant::now(), None);
    while alone_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(2)) {
        match standing(&relayed).await {
            0 => alone_since = alone_since.or(Some(Instant::now())),
            stand => {
                assert!(
                    alone_since.is_none(),
                    "{stand} ends found a way past the cut"
                );
                assert!(
                    begun.elapsed() < Duration::from_secs(15),
                    "{stand} ends still stand"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for relayed in &relayed {
        relayed.line.set(Condition::Open);
    }
    for relayed in &relayed {
        wait_tied(&relayed.ties, |_| true).await.unwrap();
    }
    formation.stop().await;
}

#[tokio::test]
async fn links_of_every_kind_can_be_cut_and_nobody_finds_a_way_past_the_relay() {
    let cluster = "[[topology.broker]]\nname = \"hub\"\ncount = 3\ntls = \"none\"\n";
    let regions = "[[topology.broker]]\nname = \"hub\"\ngateway = \"eu\"\ncount = 2\n\
                   [[topology.broker]]\nname = \"us\"\ngateway = \"us\"\ncount = 2\n";
    let leaves = "[[topology.broker]]\nname = \"hub\"\ncount = 2\n\
                  [[topology.broker]]\nname = \"edge\"\nleaf_of = \"hub\"\n";
    tokio::join!(
        cut_and_mend(cluster, "target = \"hub-2\"", LinkKind::Route, 2),
        cut_and_mend(
            regions,
            "target = \"us-*\"\npeer = \"hub-*\"",
            LinkKind::Gateway,
            4
        ),
        cut_and_mend(leaves, "target = \"edge\"", LinkKind::Leaf, 2),
    );
}
