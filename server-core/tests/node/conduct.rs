//! How a node conducts itself: policies, limits, provisioning rules, events and the end of its life.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use server_core::client::Call;
use server_core::events::{Event, EventKind};
use server_core::node::{
    Alive, Announce, Ended, MemoryStorage, NodeConfig, NodeError, NodeEvent, NodeObserver,
    PROVISIONING_JWT, Storage,
};
use server_core::trust::jwt::{ProvisioningClaims, SigningKey, issue};
use server_core::trust::{KeyAlgorithm, KeyPair};
use server_core::wire::rpc::StatusCode;
use server_core::wire::{CompoundExpr, Filter, Limits};
use server_core::words::{Identity, Shutdown};
use tokio::sync::watch;

use crate::fleet::{BROKER, Fleet, LIMIT, id};
use crate::support::within;

fn write(storage: &MemoryStorage, name: &str, text: &str) {
    storage.write(name, text.as_bytes(), 0o600).unwrap();
}

/// Remembers everything.
#[derive(Default)]
struct Diary(Mutex<Vec<NodeEvent>>);

impl NodeObserver for Diary {
    fn event(&self, _: &Identity, event: NodeEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_decide_before_any_agent_code() {
    let policy = |number: usize| match number {
        0 => None,
        1 => Some("policy default allow\n"),
        2 => Some("policy default deny\nallow\ttesters\tping\t*\t*\n"),
        3 => Some("allow\t/^choria=t/\t*\tos.family=Debian number=3\troles::web\n"),
        4 => Some("allow\tchoria=tester\t*\tos.family=RedHat\t*\n"),
        // A rule reached without its last column denies all.
        5 => Some("policy default allow\nallow\t*\t*\t*\n"),
        _ => Some("deny\tchoria=tester\tget_fact\t*\t*\nallow\t*\t*\t*\t*\n"),
    };
    let fleet = Fleet::new(7, |number, _, storage| {
        write(storage, "server.conf", "loglevel=info\n");
        write(storage, "classes.txt", "roles::web\n");
        write(
            storage,
            "policies/groups",
            "testers choria=other choria=tester\n",
        );
        if let Some(policy) = policy(number) {
            write(storage, "policies/rpcutil.policy", policy);
        }
    })
    .await;
    let wanted = [
        (0, false, false),
        (1, true, true),
        (2, true, false),
        (3, true, true),
        (4, false, false),
        (5, false, false),
        (6, true, false),
    ];
    for (node, ping, get_fact) in wanted {
        for (action, allowed) in [("ping", ping), ("get_fact", get_fact)] {
            let reply = fleet
                .ask(node, "rpcutil", action, json!({ "fact": "number" }))
                .await;
            let denied = reply.statusmsg == "You are not authorized to call this agent or action";
            assert_eq!(!denied, allowed, "n{node} {action}: {}", reply.statusmsg);
            assert_eq!(reply.statuscode == StatusCode::Ok, allowed);
        }
    }
    let stats = fleet.ask(1, "rpcutil", "daemon_stats", json!({})).await;
    assert_eq!(
        (&stats.data["passed"], &stats.data["replies"]),
        (&json!(3), &json!(2))
    );
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_within_the_depth_is_answered_and_beyond_it_told_busy() {
    let fleet = Fleet::new(1, |_, config, _| config.depth = 20).await;
    let call = Call::rpc("muster", "work", json!({ "delay": 500 })).unwrap();
    let request = fleet.client.prepare(&call).unwrap();
    let mut replies = fleet.client.listen(&request, 64).await.unwrap();
    for _ in 0..30 {
        fleet.client.publish_to(&request, &id(0)).await.unwrap();
    }
    let (mut done, mut busy) = (0, 0);
    for _ in 0..30 {
        let reply = within("reply", LIMIT, replies.next()).await.unwrap();
        match reply.rpc(&Limits::default()).unwrap() {
            reply if reply.statuscode == StatusCode::Ok => done += 1,
            reply => {
                assert!(reply.statusmsg.starts_with("busy"), "{}", reply.statusmsg);
                busy += 1;
            }
        }
    }
    assert_eq!((done, busy), (20, 10));
    // A long burst of quick calls is answered in full.
    let quick = fleet
        .client
        .prepare(&Call::rpc("rpcutil", "ping", json!({})).unwrap())
        .unwrap();
    let mut replies = fleet.client.listen(&quick, 256).await.unwrap();
    for _ in 0..200 {
        fleet.client.publish_to(&quick, &id(0)).await.unwrap();
    }
    for _ in 0..200 {
        let reply = within("reply", LIMIT, replies.next()).await.unwrap();
        assert_eq!(
            reply.rpc(&Limits::default()).unwrap().statuscode,
            StatusCode::Ok
        );
    }
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_of_the_load_agent_is_named() {
    let fleet = Fleet::new(1, |_, _, _| {}).await;
    let echo = fleet
        .ask(0, "muster", "echo", json!({ "size": 1000 }))
        .await;
    assert_eq!(echo.data["data"].as_str().unwrap().len(), 1000);
    for (action, data, part) in [
        ("echo", json!({ "size": 600_000 }), "size 600000"),
        ("echo", json!({ "size": "big" }), "invalid type"),
        ("work", json!({ "delay": 60_000 }), "delay 60000"),
        ("work", json!({ "fail_ratio": 2.0 }), "fail_ratio 2"),
    ] {
        let reply = fleet.ask(0, "muster", action, data).await;
        assert_eq!(reply.statuscode, StatusCode::InvalidData);
        assert!(reply.statusmsg.contains(part), "{}", reply.statusmsg);
    }
    let unknown = fleet.ask(0, "muster", "dance", json!({})).await;
    assert_eq!(unknown.statusmsg, "Unknown action dance for agent muster");
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compound_filter_costs_one_count_and_no_reply() {
    let fleet = Fleet::new(1, |_, _, _| {}).await;
    let filter = Filter {
        compound: vec![vec![CompoundExpr {
            expr: "true".to_owned(),
        }]],
        ..Filter::empty()
    };
    let request = fleet.client.prepare(&Call::ping().filter(filter)).unwrap();
    let mut replies = fleet.client.listen(&request, 4).await.unwrap();
    fleet.client.publish_broadcast(&request).await.unwrap();
    let stats = fleet.ask(0, "rpcutil", "daemon_stats", json!({})).await;
    assert_eq!(
        (&stats.data["total"], &stats.data["passed"]),
        (&json!(2), &json!(1))
    );
    assert!(
        replies
            .next_within(Duration::from_millis(50))
            .await
            .is_none()
    );
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_leave_to_announce_and_says_that_it_lives() {
    let fleet = Fleet::empty().await;
    let mut events = fleet
        .client
        .watch("choria.lifecycle.event.>", 64)
        .await
        .unwrap();
    let diary = Arc::new(Diary::default());
    let (permit, permission) = watch::channel(false);
    let often = |config: &mut NodeConfig, _: &MemoryStorage| {
        config.alive = Alive {
            every: Duration::from_millis(50),
            first: Some(Duration::from_millis(20)),
        };
    };
    let node = fleet
        .node(0, often)
        .announce(Announce::When(permission))
        .observer(Arc::clone(&diary) as Arc<dyn NodeObserver>)
        .build()
        .unwrap();
    let run = tokio::spawn(node.run(fleet.shutdown.clone()));
    let subscribed = async {
        while !diary
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|event| matches!(event, NodeEvent::Subscribed { count: 6, .. }))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("subscribed", LIMIT, subscribed).await;
    // It answers before it is announced.
    assert_eq!(
        fleet.ask(0, "rpcutil", "ping", json!({})).await.statuscode,
        StatusCode::Ok
    );
    permit.send(true).unwrap();
    let mut next = async || {
        let message = within("event", LIMIT, events.next()).await.unwrap();
        Event::parse(&message.payload, &Limits::default()).unwrap()
    };
    assert!(matches!(next().await.kind, EventKind::Startup { .. }));
    let (one, two) = (next().await, next().await);
    assert!(matches!(one.kind, EventKind::Alive { .. }));
    assert_eq!(one, two, "alive events of one life are the same");
    fleet.shutdown.cancel();
    assert_eq!(
        within("end", LIMIT, run).await.unwrap().unwrap(),
        Ended::Stopped
    );
    let last = diary.0.lock().unwrap().last().cloned();
    assert_eq!(
        last,
        Some(NodeEvent::Ended {
            how: Ended::Stopped
        })
    );
}

/// A provisioning token for the network inside the process.
fn token() -> String {
    let claims = ProvisioningClaims {
        cht: "s3cret".to_owned(),
        chpd: true,
        chu: BROKER.to_owned(),
        ..ProvisioningClaims::default()
    };
    let key = KeyPair::generate(KeyAlgorithm::Ed25519).unwrap();
    issue(&claims, &SigningKey::new(&key).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_node_goes_back_when_told_and_stops_when_told() {
    let mut fleet = Fleet::new(1, |_, _, storage| {
        write(storage, PROVISIONING_JWT, &token());
        write(
            storage,
            "server.conf",
            "rpcauthorization=0\nplugin.choria.server.provision=0\nlogfile=/var/log/x\n",
        );
    })
    .await;
    let mut events = fleet
        .client
        .watch("choria.lifecycle.event.>", 64)
        .await
        .unwrap();
    let wrong = fleet
        .ask(
            0,
            "choria_provision",
            "reprovision",
            json!({ "token": "guess" }),
        )
        .await;
    assert_eq!(wrong.statusmsg, "Incorrect provision token supplied");
    let gone = fleet
        .ask(
            0,
            "choria_provision",
            "reprovision",
            json!({ "token": "s3cret" }),
        )
        .await;
    assert!(
        gone.data["message"]
            .as_str()
            .unwrap()
            .starts_with("Restarting after ")
    );
    let again = fleet
        .ask(
            0,
            "choria_provision",
            "restart",
            json!({ "token": "s3cret" }),
        )
        .await;
    assert_eq!(again.statusmsg, "The node is about to restart or stop");
    let mut next = async || {
        let message = within("event", LIMIT, events.next()).await.unwrap();
        let event = Event::parse(&message.payload, &Limits::default()).unwrap();
        (event.kind.name(), event.component)
    };
    assert_eq!(next().await, ("shutdown", "server".to_owned()));
    assert_eq!(
        next().await,
        ("startup", "provision_mode_server".to_owned())
    );

    // In provisioning mode it lives in the collective of that name.
    let asked = provisioner(&fleet).await;
    let ask = async |action: &str, data| {
        crate::fleet::ask(&asked, &id(0), "choria_provision", action, data).await
    };
    let update = ask(
        "release_update",
        json!({ "token": "s3cret", "repository": "http://x", "version": "9" }),
    )
    .await;
    assert_eq!(update.statuscode, StatusCode::Aborted);
    assert!(
        update
            .statusmsg
            .contains("does not replace its own software"),
        "{}",
        update.statusmsg
    );
    let config = json!({ "plugin.choria.server.provision": "true" }).to_string();
    let configured = ask("configure", json!({ "token": "s3cret", "config": config })).await;
    assert_eq!(
        configured.statuscode,
        StatusCode::Ok,
        "{}",
        configured.statusmsg
    );
    assert_eq!(next().await.0, "provisioned");
    let refused = ask("restart", json!({ "token": "s3cret" })).await;
    assert_eq!(
        refused.statusmsg,
        "Configuration /etc/choria/server.conf enables provisioning, restart cannot continue"
    );
    for (name, text) in [
        ("../x.policy", "x"),
        ("a/b.policy", "x"),
        (".policy", "x"),
        ("x.txt", "x"),
    ] {
        let reply = ask(
            "configure",
            json!({ "token": "s3cret", "config": config, "action_policies": { name: text } }),
        )
        .await;
        assert_eq!(reply.statuscode, StatusCode::Aborted, "{name}");
        assert!(
            reply.statusmsg.contains("Policy name"),
            "{}",
            reply.statusmsg
        );
    }
    let elsewhere = json!({ "token": "s3cret", "config": config, "certificate": "x", "ca": "x", "ssldir": "/etc/cron.d" });
    let reply = ask("configure", elsewhere).await;
    assert!(
        reply.statusmsg.contains("is not below"),
        "{}",
        reply.statusmsg
    );

    let stop = ask("shutdown", json!({ "token": "s3cret" })).await;
    assert!(
        stop.data["message"]
            .as_str()
            .unwrap()
            .starts_with("Shutting Choria Server down after ")
    );
    let run = fleet.runs.remove(0);
    assert_eq!(
        within("end", LIMIT, run).await.unwrap().unwrap(),
        Ended::ShutDown
    );
}

/// A client in the provisioning collective.
async fn provisioner(fleet: &Fleet) -> server_core::client::Client {
    use server_core::client::{Client, ClientConfig};
    use server_core::words::Collective;
    let signer = server_core::trust::InsecureSigner {
        caller: "choria=provisioner".to_owned(),
    };
    let identity = Identity::parse("provisioner.example.net").unwrap();
    let config = ClientConfig::new(Collective::provisioning(), identity, Arc::new(signer));
    let dial = server_core::bus::Dial::new(vec![BROKER.to_owned()], "provisioner");
    Client::connect(&fleet.network, dial, config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_provisioner_at_a_time() {
    let fleet = Fleet::empty().await;
    let node = fleet.node(0, |_, storage| {
        storage.remove("server.conf").unwrap();
        write(storage, PROVISIONING_JWT, &token());
    });
    let mut events = fleet
        .client
        .watch("choria.lifecycle.event.startup.>", 4)
        .await
        .unwrap();
    tokio::spawn(node.build().unwrap().run(fleet.shutdown.clone()));
    within("startup", LIMIT, events.next()).await.unwrap();
    let first = provisioner(&fleet).await;
    let reply = crate::fleet::ask(
        &first,
        &id(0),
        "choria_provision",
        "jwt",
        json!({ "token": "s3cret" }),
    )
    .await;
    assert_eq!(reply.statuscode, StatusCode::Ok);
    let one = reply.data["ecdh_public"].clone();
    let again = crate::fleet::ask(
        &first,
        &id(0),
        "choria_provision",
        "jwt",
        json!({ "token": "s3cret" }),
    )
    .await;
    assert_ne!(one, again.data["ecdh_public"], "each call makes a new key");
    // Another caller is kept out for two minutes.
    let mut other = first.config().clone();
    other.signer = Arc::new(server_core::trust::InsecureSigner {
        caller: "choria=rival".to_owned(),
    });
    let dial = server_core::bus::Dial::new(vec![BROKER.to_owned()], "rival");
    let rival = server_core::client::Client::connect(&fleet.network, dial, other)
        .await
        .unwrap();
    let kept_out = crate::fleet::ask(
        &rival,
        &id(0),
        "choria_provision",
        "gencsr",
        json!({ "token": "s3cret" }),
    )
    .await;
    assert_eq!(kept_out.statusmsg, "Could not obtain provisioning lock");
    fleet.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let fleet = Fleet::empty().await;
    let start = async |change: &dyn Fn(&mut NodeConfig, &MemoryStorage)| {
        let node = fleet.node(0, change).build().unwrap();
        within("end", LIMIT, node.run(Shutdown::new()))
            .await
            .unwrap_err()
    };
    let error = start(&|_, storage| storage.remove("server.conf").unwrap()).await;
    assert!(matches!(error, NodeError::Nothing { .. }), "{error}");
    let error = start(&|_, storage| write(storage, PROVISIONING_JWT, "not.a.token")).await;
    assert!(matches!(error, NodeError::Token { .. }), "{error}");
    let error = start(&|config, _| config.servers.clear()).await;
    assert!(
        error.to_string().contains("plugin.choria.middleware_hosts"),
        "{error}"
    );
    let error = start(&|_, storage| write(storage, "server.conf", "identity = a b\n")).await;
    assert!(error.to_string().contains("identity"), "{error}");
    let error =
        start(&|_, storage| write(storage, "server.conf", "rpcauthprovider = rego_policy\n")).await;
    assert_eq!(error.code(), "node.unsupported");
    fleet.network.set_down(BROKER, true);
    let error = start(&|config, _| config.give_up_after = Some(2)).await;
    assert_eq!(error.code(), "bus.gave_up", "{error}");
}
