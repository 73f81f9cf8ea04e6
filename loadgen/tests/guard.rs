//! Whatever way loadgen goes, nothing it started stays behind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::guard::{Guard, MARK, RunMark, sweep};
use loadgen::process::{Launch, Process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadgen");

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

async fn sleeper(mark: &RunMark, folder: &Path, script: &str) -> Process {
    let launch = Launch {
        name: "sleeper",
        program: Path::new("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        log: folder.join("sleeper.log"),
    };
    Process::start(launch, mark).unwrap()
}

#[tokio::test]
async fn a_guard_ends_stubborn_children_and_grandchildren_when_its_pipe_closes() {
    let folder = tempfile::tempdir().unwrap();
    let mark = RunMark::unique();
    let guard = Guard::start(Path::new(PROGRAM), &mark).unwrap();
    let mut deaf = sleeper(
        &mark,
        folder.path(),
        "trap '' TERM; while :; do sleep 1; done",
    )
    .await;
    let mut parent = sleeper(&mark, folder.path(), "setsid sleep 600 & wait").await;
    eventually("the grandchild runs", || mark.processes().len() >= 4);

    tokio::task::spawn_blocking(move || guard.finish())
        .await
        .unwrap();

    assert!(mark.processes().is_empty());
    assert!(deaf.ended().is_some());
    assert!(parent.ended().is_some());
}

#[test]
fn killing_the_owner_of_the_pipe_sets_the_guard_to_work() {
    let mark = RunMark::unique();
    let hex: String = format!("{mark:?}")
        .chars()
        .filter(char::is_ascii_hexdigit)
        .collect();
    let hex = hex[hex.len() - 32..].to_owned();
    // A shell stands in for loadgen: it holds the pipe, starts a marked child and is killed.
    let script = format!(
        "exec 3> >('{PROGRAM}' guard {hex}); {MARK}={hex} sleep 600 3>&- & echo started; wait"
    );
    let mut owner = Command::new("bash")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the marked child runs", || mark.processes().len() == 1);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("the marked child is gone", || mark.processes().is_empty());
}

#[tokio::test]
async fn a_process_is_stopped_in_order_and_killed_when_it_does_not_listen() {
    let folder = tempfile::tempdir().unwrap();
    let mark = RunMark::unique();
    let mut polite = sleeper(&mark, folder.path(), "exec sleep 600").await;
    assert!(polite.stop(Duration::from_secs(5)).await);
    let mut deaf = sleeper(
        &mark,
        folder.path(),
        "trap '' TERM; echo deaf; while :; do sleep 1; done",
    )
    .await;
    eventually("the trap is set", || {
        std::fs::read_to_string(deaf.log())
            .unwrap()
            .contains("deaf")
    });
    assert!(!deaf.stop(Duration::from_millis(200)).await);
    tokio::task::spawn_blocking(move || sweep(&mark))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_dropped_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mark = RunMark::unique();
    let process = sleeper(&mark, folder.path(), "exec sleep 600").await;
    eventually("it runs", || mark.processes().len() == 1);
    drop(process);
    eventually("it is gone", || mark.processes().is_empty());
}
