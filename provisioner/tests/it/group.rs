//! Several provisioners that share a ledger.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use server_core::bus::Dialer;
use server_core::bus::nats::NatsDialer;

use crate::support::{Provisioner, Site, Swarm, announce, node_dial, provisioner, until};

const NODES: u64 = 24;

/// Where a node's history tells that another member went on with it.
fn taken_over_at(show: &Value) -> Option<Timestamp> {
    let history = show["history"].as_array().unwrap();
    let entry = history.iter().find(|entry| entry["what"] == "taken_over")?;
    Some(entry["at"].as_str().unwrap().parse().unwrap())
}

/// Whether a member knows itself and another to take up nodes: from then on they share them.
fn both_are_ready(status: &Value) -> bool {
    let members = status["members"].as_array().map_or(&[][..], Vec::as_slice);
    members.len() == 2 && members.iter().all(|member| member["ready"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_member_had_begun_is_finished_by_another_with_the_same_keys() {
    let site = Site::start_with_buckets();
    // The first stands still once the ledger knows that its authority is asked.
    let hold = [("PROVISIONER_TEST_HOLD", "asked=120s")];
    let mut first = Provisioner::start_with(&site.member("first", ""), &hold);
    let mut second = Provisioner::start(&site.member("second", ""));
    for service in [&first, &second] {
        service
            .status_when("to know that both are ready", both_are_ready)
            .await;
    }
    let mut swarm = Swarm::new();
    for n in 0..NODES {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }
    let count = |s: &Value, pointer: &str| s.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    // A restart takes a node two seconds: once one is confirmed, no other of the second's is still
    // on its way through `sign`.
    let status = second
        .status_when("every node to be confirmed or asked for", |s| {
            let confirmed = count(s, "/confirmed");
            confirmed > 0 && confirmed + count(s, "/steps/sign/now") == NODES
        })
        .await;
    let begun = count(&status, "/steps/sign/now");
    assert!(begun > 0 && begun < NODES, "both take part: {status:#}");
    // Both tell the same, whoever did it.
    let told = first
        .status_when("the same", |s| s["confirmed"] == status["confirmed"])
        .await;
    assert_eq!(told["steps"]["sign"]["now"], begun);

    let killed = Timestamp::now();
    first.kill();
    let status = second
        .status_when("all confirmed", |s| s["confirmed"] == NODES)
        .await;
    assert_eq!(status["certificates_issued"], NODES, "{status:#}");
    assert_eq!(status["keys_signed_twice"], 0, "{status:#}");
    let mut taken_over = 0;
    for n in 0..NODES {
        let show = second.ask(&["show", &format!("n{n}.example.net")]);
        let Some(at) = taken_over_at(&show) else {
            continue;
        };
        taken_over += 1;
        let after = at.duration_since(killed);
        // Two seconds on an idle machine, which this one need not be; a node's own lock lasts 120.
        assert!(after < SignedDuration::from_secs(20), "{after:?}: {show:#}");
        let history = show["history"].as_array().unwrap();
        let of = |step: &str, what: &str| {
            let both = |entry: &&Value| entry["step"] == step && entry["what"] == what;
            history.iter().filter(both).count()
        };
        assert_eq!(
            of("sign", "asked"),
            1,
            "the recorded bytes are signed: {show:#}"
        );
    }
    assert_eq!(taken_over, begun);

    // Who stops in order leaves nothing to wait for, and the bucket tells all.
    assert_eq!(second.stop().await, 0);
    let stopped = second.ask(&["status"]);
    assert_eq!(
        (&stopped["service"], &stopped["confirmed"]),
        (&"stopped".into(), &NODES.into())
    );
    assert_eq!(stopped["steps"], status["steps"]);
}

/// The exit status and the last words of a service that does not start.
fn refused(config: &std::path::Path) -> (Option<i32>, String) {
    let done = provisioner()
        .args(["run", "--config"])
        .arg(config)
        .output()
        .unwrap();
    (
        done.status.code(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_not_fit_into_the_group_does_not_start() {
    let site = Site::start_with_buckets();
    let first = Provisioner::start(&site.member("first", ""));
    first.status_when("ready", |s| s["ready"] == true).await;

    let (code, said) = refused(&site.config_named("alone", ""));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("embedded, of") && said.contains("bucket provisioner"),
        "{said}"
    );

    let (code, said) = refused(&site.member("apart", "bucket = \"other\"\n"));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("bucket other"), "{said}");

    let stranger = site.member("stranger", "");
    let text = std::fs::read_to_string(&stranger).unwrap();
    std::fs::write(
        &stranger,
        format!("identity = \"other.example.net\"\n{text}"),
    )
    .unwrap();
    let (code, said) = refused(&stranger);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("other.example.net") && said.contains("one pair"),
        "{said}"
    );
}

/// Made-up names are forgotten by every member, and leave nothing in the bucket either.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_names_leave_nothing_in_the_bucket() {
    let mut site = Site::start_with_buckets();
    let more = "[timeouts]\nprobe = \"100ms\"\n[retry]\nfirst = \"100ms\"\nmax = \"100ms\"\n\
                forget_after = 2\n";
    let first = Provisioner::start(&site.member("first", more));
    let second = Provisioner::start(&site.member("second", more));
    for service in [&first, &second] {
        service.status_when("ready", |s| s["ready"] == true).await;
    }
    let empty = messages(&mut site);
    let dial = node_dial(&site.provisioning.url(), "forger", &site.token);
    let link = NatsDialer::default().dial(dial).await.unwrap();
    for n in 0..50 {
        announce(link.bus.as_ref(), &format!("made-up{n}.example.net")).await;
    }
    until("the names in the bucket", || {
        (messages(&mut site) >= empty + 50).then_some(())
    })
    .await;
    until("none of them", || {
        (messages(&mut site) <= empty + 1).then_some(())
    })
    .await;
    // And an honest node of such a name is enrolled.
    let mut swarm = Swarm::new();
    let name = "made-up7.example.net";
    swarm.add(name, &site.token);
    for service in [&first, &second] {
        let show = service.show_when(name, |s| s["state"] == "confirmed").await;
        assert_eq!(show["attempts"], 1, "{show:#}");
        let status = service.ask(&["status"]);
        assert_eq!(status["confirmed"], 1, "{status:#}");
        assert_eq!(status["states"]["parked"], 0, "{status:#}");
    }
}

/// Messages in the streams of the production network.
fn messages(site: &mut Site) -> u64 {
    site.production.monitor("/jsz")["messages"]
        .as_u64()
        .unwrap()
}
