//! A fleet split over worker processes, and everything that can happen to them.

use std::path::Path;
use std::process::{Child, Output};
use std::time::Duration;

use loadgen::control::broker::ControlBroker;
use loadgen::control::crew::{Crew, CrewEvent, CrewPlan, Limits};
use loadgen::control::envelope::seal_as;
use loadgen::control::link::{Address, Heard, Link};
use loadgen::control::subjects;
use loadgen::control::words::{Down, Hello, Up};
use loadgen::guard::RunMark;
use loadgen::worker::clock::RunClock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::support::{PROGRAM, Stage, eventually, loadgen, nats_server, said};

/// Sixty nodes that are asked while they publish for as long as it takes to disturb them.
const STEADY: &str = r#"
schema = 1
name   = "steady"
about  = "nodes on plain TCP, publishing"
seed   = 7

[generator]
workers  = 3
may_lose = MAY_LOSE

[topology]
manage = "local"

[[topology.broker]]
name = "hub"
tls  = "none"

[provisioner]
manage = "none"

[[fleet]]
name  = "nodes"
nodes = 60
start = "production"

[[phase]]
name    = "connect"
until   = { every = "connected", ratio = 1.0 }
timeout = "60s"
  [[phase.op]]
  do    = "connect"
  fleet = "*"
  pace  = { model = "open", kind = "constant", rate = "100/s" }

ASK

[[phase]]
name     = "steady"
duration = "DURATION"
  [[phase.op]]
  do    = "publish"
  name  = "event"
  fleet = "*"
  body  = "64B"
  pace  = { model = "open", kind = "constant", rate = "30/s" }

[[assert]]
phase = "steady"
that  = ["event.lost == 0"]
"#;

const ASK: &str = r#"
[[phase]]
name = "ask"
  [[phase.op]]
  do      = "request"
  name    = "ping"
  to      = "all"
  expect  = "one-reply-per-node"
  collect = "20s"
  pace    = { model = "open", kind = "every", every = "300ms", count = 2 }

[[assert]]
phase = "ask"
that  = ["ping.missing == 0", "ping.replies == 120"]
"#;

/// A run that is disturbed.
struct Steady(Stage);

impl Steady {
    fn new(may_lose: u32, ask: bool, duration: &str) -> Self {
        let text = STEADY
            .replace("MAY_LOSE", &may_lose.to_string())
            .replace("ASK", if ask { ASK } else { "" })
            .replace("DURATION", duration);
        Self(Stage::new(&text))
    }

    fn start(&self, args: &[&str]) -> Child {
        self.0.run(args).spawn().unwrap()
    }

    /// Processes of the run whose command line has this word.
    fn processes(&self, word: &str) -> Vec<Pid> {
        let own = std::fs::canonicalize(self.0.path()).unwrap();
        let all = procfs::process::all_processes().unwrap();
        all.flatten()
            .filter(|process| process.cwd().is_ok_and(|cwd| cwd == own))
            .filter(|process| {
                let command = process.cmdline().unwrap_or_default();
                command.iter().any(|part| part.ends_with(word))
            })
            .map(|process| Pid::from_raw(process.pid))
            .collect()
    }

    fn worker(&self, number: u32) -> Pid {
        let wanted = format!("LOADGEN_SEAT={number}");
        let found = self.processes("worker").into_iter().find(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == wanted.as_bytes())
        });
        found.expect("the worker runs")
    }

    /// Waits until the steady phase has begun.
    fn wait_until_steady(&self) {
        let events = self.0.out().join("events.ndjson");
        eventually("the steady phase begins", || {
            let text = std::fs::read_to_string(&events).unwrap_or_default();
            text.contains("phase steady begins")
        });
    }

    fn assert_nothing_is_left(&self) {
        eventually("everything is gone", || self.processes("").is_empty());
    }
}

#[test]
fn three_processes_do_the_work_of_one() {
    let stage = Steady::new(0, true, "2s");
    let output = stage.start(&[]).wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(stage.0.json("summary.json")["nodes"]["connected"], 60);
    let manifest = stage.0.json("manifest.json");
    let placement = manifest["placement"].as_array().unwrap();
    assert_eq!(placement.len(), 3, "{manifest:#}");
    for (number, place) in placement.iter().enumerate() {
        assert_eq!(place["worker"], number);
        assert_eq!(place["nodes"], 20);
        assert_eq!(place["local"], true);
        let uncertainty = place["clock_uncertainty_ns"].as_u64().unwrap();
        assert!(uncertainty < 1_000_000, "{uncertainty} ns on one machine");
        let log = stage.0.out().join(format!("workers/worker-{number}.log"));
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains("takes part"), "{log}");
    }
    let series = std::fs::read_to_string(stage.0.out().join("series.csv")).unwrap();
    for worker in ["0", "1", "2"] {
        let row = format!(",connect,{worker},ok,op=connect/connect,");
        assert!(series.contains(&row), "worker {worker} has connected nodes");
    }
    stage.assert_nothing_is_left();
}

#[test]
fn a_worker_that_dies_fails_the_run_unless_it_may() {
    for may_lose in [0, 1] {
        let stage = Steady::new(may_lose, false, "4s");
        let child = stage.start(&[]);
        stage.wait_until_steady();
        let victim = stage.worker(1);
        kill(victim, Signal::SIGKILL).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = said(&output);
        let reason = format!("worker 1 (process {victim}) ended with signal 9 during the run");
        assert!(said.contains(&reason), "{said}");
        let expected = if may_lose == 0 { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{said}");
        if may_lose == 0 {
            assert!(said.contains("workers/worker-1.log"), "{said}");
        }
        let lost = stage.0.json("manifest.json")["placement"][1]["lost"].clone();
        assert!(lost.as_str().unwrap().contains("signal 9"), "{lost}");
        stage.assert_nothing_is_left();
    }
}

#[test]
fn a_worker_that_never_gets_ready_is_told_of() {
    let stage = Steady::new(0, false, "2s");
    let child = stage.start(&["--workers-within", "4s"]);
    eventually("the workers are started", || {
        stage.processes("worker").len() == 3
    });
    kill(stage.worker(2), Signal::SIGSTOP).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let told = ["did not join within", "was not ready", "has said nothing"];
    assert!(told.iter().any(|words| said.contains(words)), "{said}");
    assert!(said.contains("worker-2.log"), "{said}");
    stage.assert_nothing_is_left();
}

#[test]
fn without_the_control_broker_everything_ends_with_a_reason() {
    let stage = Steady::new(0, false, "60s");
    let child = stage.start(&[]);
    stage.wait_until_steady();
    let control = stage.processes("control.conf");
    assert_eq!(control.len(), 1);
    kill(control[0], Signal::SIGKILL).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the control broker ended with signal 9"),
        "{said}"
    );
    let log = stage.0.out().join("workers/worker-0.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("the nodes of this worker are ended"), "{log}");
    stage.assert_nothing_is_left();
}

#[test]
fn nothing_outlives_a_killed_coordinator() {
    let stage = Steady::new(0, false, "60s");
    let mut child = stage.start(&[]);
    stage.wait_until_steady();
    child.kill().unwrap();
    child.wait().unwrap();
    stage.assert_nothing_is_left();
}

#[test]
fn workers_from_elsewhere_need_brokers_they_can_reach() {
    let stage = Steady::new(0, false, "2s");
    let output = stage
        .start(&["--remote-workers", "1"])
        .wait_with_output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("manage = \"external\""), "{said}");
    assert!(!stage.0.out().exists());
}

/// A control broker of the test, with a worker started by hand to join there.
struct Elsewhere {
    folder: tempfile::TempDir,
    broker: ControlBroker,
}

impl Elsewhere {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = std::net::Ipv4Addr::LOCALHOST.into();
        let mark = RunMark::unique();
        let server = nats_server();
        let broker = ControlBroker::start(folder.path(), listen, &server, &mark);
        let broker = broker.await.unwrap();
        Self { folder, broker }
    }

    fn join(&self, address: &Address) -> Child {
        let token = address.token.as_deref().unwrap_or_default();
        loadgen(&["worker", "--join", &address.url, "--token", token])
            .current_dir(self.folder.path())
            .spawn()
            .unwrap()
    }
}

async fn ended(child: Child) -> Output {
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let ended = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    ended.expect("in time").unwrap().unwrap()
}

/// The first message of a worker, and who it is.
async fn hear(link: &mut Link) -> (String, bytes::Bytes) {
    match link.hear().await {
        Heard::Message(message) => {
            let id = subjects::speaker(&message.subject).unwrap();
            (id.to_owned(), message.payload)
        }
        Heard::Lost(why) => unreachable!("{why}"),
    }
}

#[tokio::test]
async fn a_worker_from_elsewhere_joins_by_the_command_that_is_shown() {
    let elsewhere = Elsewhere::start().await;
    let (logs, mark) = (elsewhere.folder.path().join("workers"), RunMark::unique());
    let mut crew = Crew::start(CrewPlan {
        run: "here",
        workers: 1,
        remote: 1,
        broker: Ok(elsewhere.broker),
        program: Path::new(PROGRAM),
        logs: &logs,
        mark: &mark,
        clock: RunClock::start(),
        limits: Limits::usual(None, 1),
    })
    .await
    .unwrap();
    let shown = crew.invitation().unwrap().to_owned();
    let words: Vec<&str> = shown.split(' ').collect();
    assert_eq!(words[0], "loadgen");
    let child = loadgen(&words[1..]).spawn().unwrap();
    let joined = tokio::time::timeout(Duration::from_secs(60), crew.next()).await;
    let Some(CrewEvent::Joined { worker: 0, member }) = joined.unwrap() else {
        unreachable!("a worker joins")
    };
    assert_eq!(member.pid, child.id());
    assert!(!member.local);
    assert!(member.clock_uncertainty_ns < 1_000_000, "{member:?}");
    crew.finish().await;
    let output = ended(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[tokio::test]
async fn a_wrong_token_is_told_of() {
    let mut elsewhere = Elsewhere::start().await;
    let mut address = elsewhere.broker.address();
    address.token = Some("wrong".to_owned());
    let output = ended(elsewhere.join(&address)).await;
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("refused the token"),
        "{}",
        said(&output)
    );
    elsewhere.broker.stop().await;
}

#[tokio::test]
async fn a_coordinator_of_another_release_is_not_joined() {
    let mut elsewhere = Elsewhere::start().await;
    let address = elsewhere.broker.address();
    let link = Link::open(&address, "coordinator", &[subjects::up_all()]).await;
    let mut link = link.unwrap();
    let child = elsewhere.join(&address);
    let (id, hello) = hear(&mut link).await;
    let hello: Value = serde_json::from_slice(&hello).unwrap();
    assert_eq!(hello["protocol"], loadgen::control::PROTOCOL);
    assert_eq!(hello["release"], loadgen::control::release());
    let welcome = Down::Welcome {
        worker: 0,
        run: "other".to_owned(),
    };
    let sealed = seal_as(99, "9.9.9", &welcome).unwrap();
    let speaker = link.speaker();
    speaker.send(&subjects::down(&id), sealed).await.unwrap();
    let output = ended(child).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("it is loadgen 9.9.9 (control protocol 99)"),
        "{said}"
    );
    assert!(said.contains("install the same loadgen"), "{said}");
    elsewhere.broker.stop().await;
}

#[tokio::test]
async fn a_worker_whose_coordinator_is_gone_ends_by_itself() {
    let mut elsewhere = Elsewhere::start().await;
    let address = elsewhere.broker.address();
    let link = Link::open(&address, "coordinator", &[subjects::up_all()]).await;
    let mut link = link.unwrap();
    let child = elsewhere.join(&address);
    let (id, _) = hear(&mut link).await;
    let welcome = Down::Welcome {
        worker: 0,
        run: "gone".to_owned(),
    };
    link.speaker()
        .say(&subjects::down(&id), &welcome)
        .await
        .unwrap();
    elsewhere.broker.stop().await;
    let output = ended(child).await;
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the control broker"), "{said}");
    assert!(
        said.contains("the nodes of this worker are ended"),
        "{said}"
    );
}

#[tokio::test]
async fn a_worker_of_another_release_is_turned_away_and_told_of() {
    let mut elsewhere = Elsewhere::start().await;
    let address = elsewhere.broker.address();
    let stage = Steady::new(0, false, "8s");
    let mut run = stage.0.run(&["--control", &address.url]);
    run.env("LOADGEN_TOKEN", address.token.as_deref().unwrap());
    let first = run.spawn().unwrap();
    let steady = std::thread::scope(|scope| scope.spawn(|| stage.wait_until_steady()).join());
    steady.unwrap();
    let link = Link::open(&address, "stranger", &[subjects::down("stranger")]).await;
    let mut link = link.unwrap();
    let hello = Up::Hello(Hello {
        seat: None,
        host: "elsewhere".to_owned(),
        pid: 1,
        descriptors: None,
    });
    let sealed = seal_as(0, "0.0.1", &hello).unwrap();
    let speaker = link.speaker().clone();
    speaker
        .send(&subjects::up("stranger"), sealed)
        .await
        .unwrap();
    let Heard::Message(refused) = link.hear().await else {
        unreachable!("an answer comes")
    };
    let refused: Value = serde_json::from_slice(&refused.payload).unwrap();
    let why = refused["message"]["refused"]["why"].as_str().unwrap();
    assert!(why.contains("install the same loadgen"), "{why}");
    // One of the same release that nobody waits for.
    speaker
        .say(&subjects::up("stranger"), &hello)
        .await
        .unwrap();
    let Heard::Message(refused) = link.hear().await else {
        unreachable!("an answer comes")
    };
    let refused: Value = serde_json::from_slice(&refused.payload).unwrap();
    let why = refused["message"]["refused"]["why"].as_str().unwrap();
    assert!(why.contains("--remote-workers"), "{why}");
    // A second run finds the control broker in use.
    let second = Steady::new(0, false, "2s");
    let mut run = second.0.run(&["--control", &address.url]);
    run.env("LOADGEN_TOKEN", address.token.as_deref().unwrap());
    let output = run.output().unwrap();
    assert!(
        said(&output).contains("is using the control broker"),
        "{}",
        said(&output)
    );
    let output = ended(first).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("0.0.1"), "{}", said(&output));
    elsewhere.broker.stop().await;
}

#[test]
fn the_help_tells_how_to_join() {
    let output = loadgen(&["worker", "--help"]).output().unwrap();
    for part in ["--join", "LOADGEN_TOKEN", "--remote-workers 2", "there:"] {
        assert!(said(&output).contains(part), "{}", said(&output));
    }
    assert!(Path::new(PROGRAM).is_file());
}
