//! The writer as a whole: what it tells the audit log, and what ends it.

use super::super::super::store::LedgerError;
use super::super::super::writer::{Job, Work};
use super::*;

/// Member `a` as a writer with its audit log in this folder.
fn writer(bucket: &Arc<Bucket>, store: Arc<Store>, audit: &std::path::Path) -> Writer {
    let with = With {
        store,
        group: member(bucket, "a", &[]).group,
        policy: policy(),
        able: Arc::new(|| true),
        audit: Audit::new(audit.to_path_buf(), None, Rules::default().audit),
        observer: Box::new(|_: &[Committed]| {}),
        seed: Seed(7),
    };
    Writer::new(with, Arc::clone(bucket) as _)
}

/// Has a change made by a writer that runs.
async fn ask(
    jobs: &tokio::sync::mpsc::Sender<Job>,
    identity: &str,
    act: Act,
) -> Result<Applied, LedgerError> {
    let (done, answer) = tokio::sync::oneshot::channel();
    let work = Work::Change(wanted(identity, act));
    let done = Some(done);
    jobs.send(Job { work, done }).await.unwrap();
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, answer).await.unwrap().unwrap()
}

/// Stored, not acknowledged, and not to be read back in time: what comes next finds it.
#[tokio::test(start_paused = true)]
async fn what_was_stored_and_never_acknowledged_is_in_the_audit_log_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Arc::new(Bucket::default());
    let (_news, told) = tokio::sync::mpsc::channel(9);
    let (jobs, waiting) = tokio::sync::mpsc::channel(9);
    let store = Arc::new(Store::in_memory("replica").unwrap());
    let work = writer(&bucket, store, dir.path()).run(waiting, told);
    let asking = async {
        ask(&jobs, "n1", taken()).await.unwrap();
        bucket.away.store(true, Ordering::Relaxed);
        // The name of the key, then the node.
        *bucket.fates.lock().unwrap() = vec![Fate::StoredAndLost, Fate::Told];
        let unknown = ask(&jobs, "n1", requested("k1")).await;
        assert!(matches!(unknown, Err(LedgerError::Bucket(_))));
        bucket.away.store(false, Ordering::Relaxed);
        ask(&jobs, "n1", asked("k1")).await.unwrap();
        drop(jobs);
    };
    tokio::join!(work, asking);
    let log = std::fs::read_to_string(dir.path().join(format!("{:020}.jsonl", 1))).unwrap();
    let place = |what: &str| log.find(&format!(r#""what":"{what}","node":"n1""#));
    let (requested, asked) = (place("requested"), place("asked"));
    assert!(requested.is_some() && requested < asked, "{log}");
    assert_eq!(log.matches("requested").count(), 1, "{log}");
}

/// The bucket has it and the log cannot be written: nothing more is done before the log has it too.
#[tokio::test]
async fn what_the_audit_log_was_not_told_it_is_told_before_anything_else_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit");
    let bucket = Arc::new(Bucket::default());
    let (_news, told) = tokio::sync::mpsc::channel(9);
    let (jobs, waiting) = tokio::sync::mpsc::channel(9);
    let store = Arc::new(Store::in_memory("replica").unwrap());
    let work = writer(&bucket, store, &log).run(waiting, told);
    let asking = async {
        std::fs::write(&log, "no folder").unwrap();
        // That a node is there is not told.
        ask(&jobs, "n1", taken()).await.unwrap();
        let unaudited = ask(&jobs, "n1", requested("k1")).await;
        assert!(matches!(unaudited, Err(LedgerError::Audit(_))));
        let stored = bucket.value("n1").unwrap().1.enrolment.key;
        assert_eq!(stored.as_deref(), Some("k1"));
        let other = ask(&jobs, "n2", taken()).await;
        assert!(matches!(other, Err(LedgerError::Audit(_))));
        assert!(bucket.value("n2").is_none());
        std::fs::remove_file(&log).unwrap();
        ask(&jobs, "n2", taken()).await.unwrap();
        drop(jobs);
    };
    tokio::join!(work, asking);
    let lines = std::fs::read_to_string(log.join(format!("{:020}.jsonl", 1))).unwrap();
    let told = r#""what":"requested","node":"n1""#;
    assert_eq!(lines.matches(told).count(), 1, "{lines}");
    assert!(crate::audit::verify(&log, None, None).unwrap().ok);
}

/// What was not taken in would be decided about wrongly: the others go on instead.
#[tokio::test]
async fn a_replica_that_cannot_be_written_ends_the_member() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Arc::new(Bucket::default());
    act(&bucket, &member(&bucket, "b", &[]), 1, "n1", taken()).await;
    let (revision, value) = bucket.value("n1").unwrap();
    let store = Arc::new(Store::in_memory("damaged").unwrap());
    let write = store.database.begin_write().unwrap();
    let row = (1, b"no value".as_slice());
    write
        .open_table(replica::VALUES)
        .unwrap()
        .insert("n1", row)
        .unwrap();
    write.commit().unwrap();
    let writer = writer(&bucket, store, dir.path());
    let (jobs, waiting) = tokio::sync::mpsc::channel(9);
    let (news, told) = tokio::sync::mpsc::channel(9);
    let heard = News::Node {
        identity: "n1".to_owned(),
        revision,
        value: serde_json::to_vec(&value).unwrap().into(),
    };
    news.send(heard).await.unwrap();
    let ended = writer.run(waiting, told);
    let limit = std::time::Duration::from_secs(9);
    tokio::time::timeout(limit, ended).await.unwrap();
    assert!(jobs.is_closed(), "nobody takes changes any more");
}
