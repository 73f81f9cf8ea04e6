//! Whatever is done to the log is found, and named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Anchor, Audit, Event, Finding, Follower, Settings, segments, verify};

const EAGER: Settings = Settings {
    reserve: 0,
    checkpoint: Duration::ZERO,
};
/// Signs when it is opened and when it is closed only.
const LAZY: Settings = Settings {
    reserve: 0,
    checkpoint: Duration::from_secs(3_600),
};

fn append(audit: &mut Audit, nodes: &[&str]) -> Anchor {
    let at = Timestamp::UNIX_EPOCH;
    let events: Vec<_> = nodes
        .iter()
        .map(|node| (at, Event::Configured { node }))
        .collect();
    let anchor = audit.append(&events).unwrap();
    audit.known(anchor.clone());
    anchor
}

/// A log of `nodes` lines, signed to its end.
fn log(nodes: usize) -> (TempDir, Anchor) {
    let dir = tempfile::tempdir().unwrap();
    let mut audit = Audit::new(dir.path().to_path_buf(), None, LAZY);
    for n in 0..nodes {
        append(&mut audit, &[&format!("n{n}")]);
    }
    let anchor = append(&mut audit, &["last"]);
    audit.close();
    (dir, anchor)
}

fn file(dir: &Path) -> PathBuf {
    segments(dir).unwrap().remove(0)
}

fn lines(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(file(dir)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn put(dir: &Path, lines: &[String]) {
    fs::write(file(dir), lines.join("\n") + "\n").unwrap();
}

fn finding(dir: &Path, ledger: Option<Anchor>) -> Option<Finding> {
    let verdict = verify(dir, None, ledger).unwrap();
    assert_eq!(verdict.ok, verdict.finding.is_none());
    verdict.finding
}

#[test]
fn what_was_written_is_in_order_and_signed() {
    let (dir, anchor) = log(20);
    let verdict = verify(dir.path(), None, Some(anchor)).unwrap();
    assert!(verdict.ok, "{verdict:?}");
    // Opened, a checkpoint after it, twenty, the last, and the checkpoint at the end.
    assert_eq!(
        (verdict.records, verdict.checkpoints, verdict.unsigned),
        (24, 2, 0)
    );
}

#[test]
fn every_kind_of_change_is_named() {
    let (dir, anchor) = log(20);
    let whole = lines(dir.path());
    let says = |lines: &[String], ledger: Option<Anchor>| {
        put(dir.path(), lines);
        let found = finding(dir.path(), ledger).unwrap_or_else(|| panic!("not found"));
        (found.record, found.says)
    };
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        lines
    };

    let changed = with(&|l| l[9] = l[9].replace("\"n7\"", "\"n8\""));
    assert_ne!(changed, whole);
    let (record, text) = says(&changed, None);
    assert!(
        record == 10 && text.contains("was changed"),
        "{record}: {text}"
    );

    let (record, text) = says(&with(&|l| drop(l.drain(9..12))), None);
    assert!(
        record == 10 && text.contains("records 10 to 12 are missing"),
        "{record}: {text}"
    );

    let (record, text) = says(&with(&|l| l.swap(9, 10)), None);
    assert_eq!(record, 10, "{text}");

    let (record, text) = says(&with(&|l| l.insert(9, l[8].clone())), None);
    assert!(record == 10 && text.contains("order"), "{record}: {text}");

    let (record, text) = says(&with(&|l| drop(l.remove(0))), None);
    assert!(record == 1 && text.contains("missing"), "{record}: {text}");

    // A cut of the end is what the ledger is asked for.
    let (record, text) = says(&with(&|l| l.truncate(12)), Some(anchor.clone()));
    assert!(
        record == 13 && text.contains("the end is missing"),
        "{record}: {text}"
    );

    put(dir.path(), &whole);
    assert_eq!(finding(dir.path(), Some(anchor)), None);
}

/// The lines with another node in place of `n7`, numbered and hashed anew.
fn forged(lines: &[String]) -> Vec<String> {
    let mut forged = Vec::new();
    let mut prev = super::line::NOTHING_BEFORE.to_owned();
    for (line, seq) in lines.iter().zip(1_u64..) {
        let cut = line.rfind(",\"hash\":").unwrap();
        let mut value: serde_json::Value =
            serde_json::from_str(&format!("{}}}", &line[..cut])).unwrap();
        (value["seq"], value["prev"]) = (seq.into(), prev.into());
        if value["event"]["node"] == "n7" {
            value["event"]["node"] = "n77".into();
        }
        let body = value.to_string();
        prev = hex::encode(aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            body.as_bytes(),
        ));
        forged.push(format!("{},\"hash\":\"{prev}\"}}", &body[..body.len() - 1]));
    }
    forged
}

/// While no service runs, everything after the last checkpoint but one is written anew, with one
/// more line so that the log is longer than the ledger knows.
#[test]
fn a_tail_written_anew_is_not_signed_when_the_log_is_opened() {
    let (dir, anchor) = log(20);
    let whole = lines(dir.path());
    let mut anew = whole.clone();
    // Its closing checkpoint is gone.
    anew.pop();
    anew.extend([whole[5].clone(), whole[6].clone()]);
    put(dir.path(), &forged(&anew));
    let mut audit = Audit::new(dir.path().to_path_buf(), Some(anchor.clone()), LAZY);
    let error = audit.append(&[]).unwrap_err().to_string();
    assert!(error.contains("is not the one the ledger knows"), "{error}");

    // Lines that do not follow each other behind it are no better.
    let mut cut = whole.clone();
    cut.extend([whole[5].clone()]);
    put(dir.path(), &cut);
    let error = audit.append(&[]).unwrap_err().to_string();
    assert!(error.contains("lines were removed"), "{error}");

    put(dir.path(), &whole);
    audit.append(&[]).unwrap();
}

/// Somebody who can hash, but has not the key, makes the chain fit again.
#[test]
fn a_chain_hashed_anew_does_not_fit_its_checkpoint() {
    let (dir, _) = log(20);
    put(dir.path(), &forged(&lines(dir.path())));
    let found = finding(dir.path(), None).unwrap();
    assert_eq!(found.record, 24);
    assert!(found.says.contains("signature"), "{}", found.says);
}

#[test]
fn a_log_signed_by_another_key_is_not_ours() {
    let (dir, _) = log(3);
    let (other, _) = log(3);
    let verdict = verify(dir.path(), Some(&super::key::public_in(other.path())), None).unwrap();
    assert!(
        verdict
            .finding
            .is_some_and(|f| f.says.contains("another key"))
    );
}

#[test]
fn another_implementation_verifies_the_checkpoint() {
    let (dir, _) = log(3);
    let last: serde_json::Value = serde_json::from_str(lines(dir.path()).last().unwrap()).unwrap();
    let message = format!(
        "muster audit checkpoint 1\n{}\n{}\n",
        last["seq"],
        last["prev"].as_str().unwrap()
    );
    let signature =
        openssl::base64::decode_block(last["event"]["signature"].as_str().unwrap()).unwrap();
    let pem = fs::read(super::key::public_in(dir.path())).unwrap();
    let key = openssl::pkey::PKey::public_key_from_pem(&pem).unwrap();
    let mut verifier = openssl::sign::Verifier::new_without_digest(&key).unwrap();
    assert!(
        verifier
            .verify_oneshot(&signature, message.as_bytes())
            .unwrap()
    );
}

#[test]
fn a_torn_line_is_removed_and_told_and_the_chain_goes_on() {
    let (dir, anchor) = log(3);
    let mut text = fs::read(file(dir.path())).unwrap();
    text.extend_from_slice(b"{\"seq\":9,\"at\":");
    fs::write(file(dir.path()), text).unwrap();
    assert_eq!(finding(dir.path(), None), None, "a kill is no change");
    let mut audit = Audit::new(dir.path().to_path_buf(), Some(anchor), EAGER);
    let anchor = append(&mut audit, &["after"]);
    assert_eq!(finding(dir.path(), Some(anchor)), None);
    let text = fs::read_to_string(file(dir.path())).unwrap();
    assert!(text.contains("\"torn\":14"), "{text}");
}

#[test]
fn nothing_is_told_behind_a_log_that_was_cut_or_on_a_full_disk() {
    let (dir, anchor) = log(3);
    let whole = lines(dir.path());
    put(dir.path(), &whole[..3]);
    let mut audit = Audit::new(dir.path().to_path_buf(), Some(anchor.clone()), EAGER);
    let error = audit.append(&[]).unwrap_err().to_string();
    assert!(error.contains("lines were removed"), "{error}");
    put(dir.path(), &whole);
    audit.append(&[]).unwrap();

    let full = Settings {
        reserve: u64::MAX,
        ..EAGER
    };
    let mut audit = Audit::new(dir.path().to_path_buf(), Some(anchor), full);
    let error = audit.append(&[]).unwrap_err().to_string();
    assert!(error.contains("reserve"), "{error}");
}

/// A device that takes nothing stands for a disk that is full.
#[test]
fn a_write_that_fails_is_an_error_and_the_next_one_goes_on() {
    let (dir, anchor) = log(3);
    let next = super::segment(dir.path(), 9_999);
    std::os::unix::fs::symlink("/dev/full", &next).unwrap();
    let mut audit = Audit::new(dir.path().to_path_buf(), Some(anchor.clone()), EAGER);
    let failed = audit.append(&[(Timestamp::UNIX_EPOCH, Event::Configured { node: "n1" })]);
    assert!(failed.is_err());
    fs::remove_file(&next).unwrap();
    let anchor = append(&mut audit, &["n1"]);
    assert_eq!(finding(dir.path(), Some(anchor)), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// One byte changed anywhere is found.
    #[test]
    fn no_byte_can_be_changed(at in 0.0_f64..1.0, with in 1_u8..=255) {
        let (dir, anchor) = log(6);
        let mut bytes = fs::read(file(dir.path())).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
        let index = ((bytes.len() as f64 * at) as usize).min(bytes.len() - 2);
        bytes[index] ^= with;
        fs::write(file(dir.path()), bytes).unwrap();
        prop_assert!(finding(dir.path(), Some(anchor)).is_some());
    }
}

#[test]
fn a_follower_reads_what_is_whole_and_goes_on_where_it_was() {
    let (dir, last) = log(3);
    let all = |follower: &mut Follower| {
        std::iter::from_fn(|| follower.next().unwrap()).collect::<Vec<_>>()
    };
    let mut follower = Follower::behind(dir.path().to_path_buf(), None);
    let read = all(&mut follower);
    let texts: Vec<_> = read.iter().map(|line| line.text.clone()).collect();
    assert_eq!(texts, lines(dir.path()));
    assert!(
        read.iter()
            .any(|line| line.anchor == last && line.node.as_deref() == Some("last"))
    );
    // A line that is being written is none yet.
    let (path, whole) = (file(dir.path()), fs::read(file(dir.path())).unwrap());
    let torn = [whole.as_slice(), b"{\"seq\":"].concat();
    fs::write(&path, torn).unwrap();
    assert_eq!(all(&mut follower), []);
    fs::write(&path, whole).unwrap();
    let mut audit = Audit::new(dir.path().to_path_buf(), Some(last.clone()), LAZY);
    let more = append(&mut audit, &["more"]);
    assert!(all(&mut follower).iter().any(|line| line.anchor == more));
    // Begun in the middle; and behind a line that is another now.
    let mut follower = Follower::behind(dir.path().to_path_buf(), Some(last.clone()));
    assert_eq!(all(&mut follower)[0].anchor.seq, last.seq + 1);
    let other = Anchor {
        hash: "ab".repeat(32),
        ..last
    };
    let mut follower = Follower::behind(dir.path().to_path_buf(), Some(other));
    assert!(
        follower
            .next()
            .unwrap_err()
            .says
            .contains("is not the one it was")
    );
}
