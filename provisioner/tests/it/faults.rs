//! Faults that cost time and nothing else. Kills under load are in `make faults`.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use openssl::x509::X509;
use provisioner::config::Config;
use provisioner::control;
use provisioner::report::Show;
use provisioner::service::{self, Outside};
use provisioner::step::{State, Step};
use server_core::bus::DialLimit;
use server_core::bus::nats::NatsDialer;
use server_core::words::{Clock, Seed, Shutdown, SystemClock, UnixTime};

use crate::helpers::HELPER;
use crate::support::{Provisioner, Site, Swarm, assert_ok, provisioner, until};

fn name(n: u64) -> String {
    format!("n{n}.example.net")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_goes_on_when_its_leader_dies_and_when_a_broker_comes_back() {
    let mut site = Site::start_with_cluster();
    let more = "replicas = 3\n[sweep]\ninterval = \"2s\"\nwindow = \"300ms\"\n";
    let mut first = Provisioner::start(&site.member("first", more));
    let mut second = Provisioner::start(&site.member("second", more));
    for service in [&first, &second] {
        service.status_when("ready", |s| s["ready"] == true).await;
    }
    let mut swarm = Swarm::new();
    let token = site.token.clone();
    for n in 0..12 {
        swarm.add(&name(n), &token);
    }
    first
        .status_when("some enrolled", |s| s["confirmed"].as_u64() > Some(3))
        .await;
    let leader = site.leader().await;
    leader.kill();
    for n in 12..18 {
        swarm.add(&name(n), &token);
    }
    second
        .status_when("all enrolled", |s| s["confirmed"] == 18)
        .await;
    leader.rise();
    for n in 18..24 {
        swarm.add(&name(n), &token);
    }
    let status = first
        .status_when("all enrolled", |s| s["confirmed"] == 24)
        .await;
    assert_eq!(status["certificates_issued"], 24, "{status:#}");
    assert_eq!(status["keys_signed_twice"], 0, "{status:#}");
    for service in [&mut first, &mut second] {
        assert!(service.is_alive());
        assert_eq!(service.ask(&["audit", "verify"])["ok"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_with_the_same_folder_or_identity_does_not_start() {
    let site = Site::start();
    let mut service = Provisioner::start(&site.config(""));
    service.status_when("ready", |s| s["ready"] == true).await;
    let begin = Instant::now();
    let twin = provisioner()
        .args(["run", "--config"])
        .arg(site.config(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&twin.stderr).into_owned();
    assert_eq!(twin.status.code(), Some(2), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    // The same identity with a ledger of its own would enrol nodes behind the other's back.
    let other = provisioner()
        .args(["run", "--config"])
        .arg(site.config_named("twin", ""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(said.contains("its ledger is another"), "{said}");
    assert!(begin.elapsed() < Duration::from_secs(30));
    let mut swarm = Swarm::new();
    swarm.add(&name(1), &site.token);
    service
        .show_when(&name(1), |s| s["state"] == "confirmed")
        .await;
    assert!(service.is_alive());
}

/// A `[ca]` section whose helper fails as long as there is a file `away`; there is.
fn authority_that_is_away(site: &Site) -> String {
    let script = |file: &str, text: &str| {
        let file = site.path(file);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let away = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n[ -e away ] && exit 1\nexec ./helper.py\n";
    script("ca", away);
    script("helper.py", HELPER);
    std::fs::write(site.path("production.url"), site.production.url()).unwrap();
    std::fs::write(site.path("away"), "").unwrap();
    let ca = "[ca]\nkind = \"exec\"\ncommand = [\"./ca\"]\nroots = \"ca.pem\"\ntimeout = \"15s\"\n";
    ca.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_away_costs_time_and_nothing_else() {
    let site = Site::start();
    let ca = authority_that_is_away(&site);
    let more = "[retry]\nfirst = \"1s\"\nmax = \"2s\"\n";
    let mut service = Provisioner::start(&site.config_with_ca(&ca, more));
    let mut swarm = Swarm::new();
    for n in 0..3 {
        swarm.add(&name(n), &site.token);
    }
    for n in 0..3 {
        service
            .show_when(&name(n), |s| s["code"] == "hook.exit" && s["setbacks"] != 0)
            .await;
    }
    assert_eq!(service.ask(&["status"])["certificates_issued"], 0);
    std::fs::remove_file(site.path("away")).unwrap();
    let status = service
        .status_when("all enrolled", |s| s["confirmed"] == 3)
        .await;
    assert_eq!(status["certificates_issued"], 3, "{status:#}");
    assert_eq!(status["keys_signed_twice"], 0, "{status:#}");
    assert!(service.is_alive());
}

/// Killed with the question or the answer of an authority in the ledger, which is replaced before the
/// service is there again: the node is sent a certificate of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_authority_that_was_replaced_is_sent() {
    for (place, before, issued) in [("asked", 0, 1), ("signed", 1, 2)] {
        let site = Site::start();
        let hold = format!("{place}=60s");
        let mut service =
            Provisioner::start_with(&site.config(""), &[("PROVISIONER_TEST_HOLD", &hold)]);
        let mut swarm = Swarm::new();
        swarm.add(&name(1), &site.token);
        service.show_when(&name(1), |s| s["step"] == "sign").await;
        service
            .status_when("held", |s| s["certificates_issued"] == before)
            .await;
        service.kill();
        let made = provisioner()
            .args(["ca", "init", "--out", "other", "--name", "Other"])
            .current_dir(site.dir.path())
            .output();
        assert_ok(&made.unwrap());
        let ca = "[ca]\nkind = \"built-in\"\ncertificate = \"other/intermediate.pem\"\n\
                  key = \"other/intermediate.key\"\nroots = \"other/ca.pem\"\n";
        let service = Provisioner::start(&site.config_with_ca(ca, "[retry]\nfirst = \"1s\"\n"));
        service
            .status_when("signed anew", |s| s["certificates_issued"] == issued)
            .await;
        let sent = || swarm.file(&name(1), "ssl/certificate.pem");
        let chain = until("the node has a certificate", sent).await;
        let issuer = std::fs::read(site.path("other/intermediate.pem")).unwrap();
        let issuer = X509::from_pem(&issuer).unwrap().public_key().unwrap();
        let leaf = X509::from_pem(chain.as_bytes()).unwrap();
        assert!(leaf.verify(&issuer).unwrap(), "{place}");
        let status = service.ask(&["status"]);
        assert_eq!(status["certificates_issued"], issued, "{place}: {status:#}");
        assert_eq!(status["keys_signed_twice"], 0, "{place}: {status:#}");
    }
}

/// The clock of the machine, set forward or back by seconds.
struct Wrong(Arc<AtomicI64>);

impl Clock for Wrong {
    fn unix(&self) -> UnixTime {
        let seconds = i128::from(self.0.load(Ordering::Relaxed));
        UnixTime::from_nanos(SystemClock.unix().nanos() + seconds * 1_000_000_000)
    }
}

/// While the clock is wrong nodes do not answer, as they take requests for stale: when it is put
/// right again, what was put off by the wrong one must not wait for an hour.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_keeps_no_node_waiting() {
    let site = Site::start();
    let ca = authority_that_is_away(&site);
    let more = "[retry]\nfirst = \"1s\"\nmax = \"2s\"\n";
    let config = Config::load(Some(&site.config_with_ca(&ca, more))).unwrap();
    let offset = Arc::new(AtomicI64::new(0));
    let outside = Outside {
        dialer: Arc::new(NatsDialer::new(DialLimit::default())),
        clock: Arc::new(Wrong(Arc::clone(&offset))),
        seed: Seed(5),
        hold: Some(("asked".to_owned(), Duration::from_secs(2))),
    };
    let loaded = provisioner::site::Site::load(config.clone());
    let shutdown = Shutdown::new();
    let service = tokio::spawn(service::run(loaded.unwrap(), outside, shutdown.clone()));
    let mut swarm = Swarm::new();
    swarm.add(&name(0), &site.token);
    let when = |what: &'static str, wanted: fn(&Show) -> bool| {
        let config = config.clone();
        async move {
            let told = || -> Option<Show> {
                let show = control::show(&config, &name(0)).ok()??;
                wanted(&show).then_some(show)
            };
            until(what, told).await
        }
    };
    when("it is asked for", |show| show.node.step == Step::Sign).await;
    offset.store(3_600, Ordering::Relaxed);
    when("it is put off by the clock that is wrong", |show| {
        let wait = show
            .node
            .next_try
            .map(|at| at.duration_since(Timestamp::now()));
        wait.is_some_and(|wait| wait > SignedDuration::from_mins(59))
    })
    .await;
    std::fs::remove_file(site.path("away")).unwrap();
    offset.store(0, Ordering::Relaxed);
    when("it is enrolled", |show| show.node.state == State::Confirmed).await;
    assert_eq!(control::status(&config).unwrap().keys_signed_twice, 0);
    assert!(!service.is_finished());
    shutdown.cancel();
    service.await.unwrap().unwrap();
}
