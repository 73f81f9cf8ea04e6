//! What a run came to, from books that are kept apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use loadgen::results::{Summary, Verdict};
use provisioner::hook::answerer::Signature;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::drive::Ran;
use super::plan::{HELPER, Plan};
use super::scenario::ROUNDS;

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Kills that hit something amid its work, by target.
    pub kills: BTreeMap<String, u64>,
    /// Kills that came too late to disturb anybody.
    pub missed: u64,
    /// Nodes that were to be enrolled.
    pub nodes: u64,
    /// Nodes that were confirmed and answered afterwards.
    pub enrolled: u64,
    /// Nodes that were not.
    pub lost: u64,
    /// Public keys for which there is more than one certificate.
    pub keys_signed_twice: u64,
    /// Nodes that were given more than one certificate.
    pub second_certificates: u64,
    /// Certificates helpers signed whose answer was lost with a kill: they were given to nobody.
    pub undelivered: u64,
    /// Nodes whose certificate is in no audit log.
    pub untold: u64,
    /// Audit logs that are not as they were written.
    pub audits_broken: u64,
    /// What is wrong, in words.
    pub wrong: Vec<String>,
}

impl Findings {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Kills that count.
    #[must_use]
    pub fn killed(&self) -> u64 {
        self.kills.values().sum()
    }
}

/// Reads what a run left.
///
/// # Errors
/// It left nothing that can be read.
pub fn check(plan: &Plan, ran: &Ran, provisioner: &Path) -> anyhow::Result<Findings> {
    if !ran.out().join("summary.json").exists() {
        let said = std::fs::read_to_string(ran.said()).unwrap_or_default();
        anyhow::bail!("loadgen ended with {:?}: {}", ran.exit, said.trim());
    }
    let summary: Summary = read(&ran.out().join("summary.json"))?;
    let verdict: Verdict = read(&ran.out().join("verdict.json"))?;
    let mut findings = Findings {
        nodes: plan.nodes,
        ..Findings::default()
    };
    count_kills(plan, ran, &summary, &mut findings);
    count_nodes(&summary, &mut findings);
    let signed = audits(plan, ran, provisioner, &mut findings)?;
    judge_certificates(&signed, &mut findings);
    if plan.shape.helpers {
        read_book(&ran.book(), &signed, &mut findings)?;
    }
    findings.wrong.extend(verdict.failed.iter().cloned());
    // A kill that came too late makes a measurement invalid, and disturbs nothing here.
    const FINE: [Option<i32>; 2] = [Some(0), Some(12)];
    if !FINE.contains(&ran.exit) && findings.wrong.is_empty() {
        let reasons = verdict.reasons.join("; ");
        findings
            .wrong
            .push(format!("loadgen ended with {:?}: {reasons}", ran.exit));
    }
    Ok(findings)
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{}", file.display()))
}

fn count_kills(plan: &Plan, ran: &Ran, summary: &Summary, findings: &mut Findings) {
    for fault in &summary.faults {
        if fault.happened {
            *findings.kills.entry(fault.target.clone()).or_default() += 1;
        } else {
            findings.missed += 1;
        }
    }
    let helpers = plan.kills.iter().filter(|kill| kill.target == HELPER);
    let hit = ran.helpers_killed;
    findings.missed += (helpers.count() as u64).saturating_sub(hit);
    if hit > 0 {
        findings.kills.insert(HELPER.to_owned(), hit);
    }
}

fn count_nodes(summary: &Summary, findings: &mut Findings) {
    let last = summary.rounds.get("ping-all/ping");
    // Each node that is gone is missed in every round; one missed in a single round counts as well.
    let missing = last.map(|all| all.missing.div_ceil(ROUNDS));
    let confirmed = summary.enrolment.as_ref().map_or(0, |all| all.confirmed);
    // Whoever was not asked afterwards is not known to be there.
    let unseen = findings.nodes.saturating_sub(confirmed);
    findings.lost = unseen.max(missing.unwrap_or(findings.nodes));
    findings.enrolled = findings.nodes.saturating_sub(findings.lost);
    if findings.lost > 0 {
        findings
            .wrong
            .push(format!("{} nodes are lost", findings.lost));
    }
}

/// What the audit logs tell of certificates.
#[derive(Debug, Default)]
struct Signed {
    /// Serial numbers of each key.
    keys: BTreeMap<String, BTreeSet<String>>,
    /// Keys with a certificate, of each node.
    nodes: BTreeMap<String, BTreeSet<String>>,
    confirmed: BTreeSet<String>,
}

impl Signed {
    fn learn(&mut self, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match event["what"].as_str() {
            Some("signed" | "taken_over") if event["serial"].is_string() => {
                self.keys
                    .entry(text("key"))
                    .or_default()
                    .insert(text("serial"));
                self.nodes
                    .entry(text("node"))
                    .or_default()
                    .insert(text("key"));
            }
            Some("confirmed") => {
                self.confirmed.insert(text("node"));
            }
            _ => {}
        }
    }
}

fn audits(
    plan: &Plan,
    ran: &Ran,
    provisioner: &Path,
    findings: &mut Findings,
) -> anyhow::Result<Signed> {
    let site = ran.out().join("site");
    let mut signed = Signed::default();
    for number in 1..=plan.shape.provisioners {
        let config = site.join(match number {
            1 => "provisioner.toml".to_owned(),
            n => format!("provisioner-{n}.toml"),
        });
        let state = site.join(match plan.shape.provisioners {
            1 => "state".to_owned(),
            _ => format!("state-{number}"),
        });
        let verified = Command::new(provisioner)
            .args(["audit", "verify", "--json", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()?;
        let verdict: Value = serde_json::from_slice(&verified.stdout).unwrap_or_default();
        if verdict["ok"] != true {
            findings.audits_broken += 1;
            let said = String::from_utf8_lossy(&verified.stderr);
            findings.wrong.push(format!(
                "audit verify of provisioner-{number}: {} {said}",
                verdict["finding"]
            ));
        }
        for event in effective(&state.join("audit"), plan.shape.provisioners == 1)? {
            signed.learn(&event);
        }
    }
    Ok(signed)
}

/// The events of an audit log. In front of an `embedded` ledger a line may tell of what a kill
/// then kept from happening: the next `opened` says up to which line things happened.
fn effective(audit: &Path, embedded: bool) -> anyhow::Result<Vec<Value>> {
    let listed = std::fs::read_dir(audit).with_context(|| format!("{}", audit.display()))?;
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort_unstable();
    let mut events: Vec<(u64, Value)> = Vec::new();
    for file in files {
        for line in BufReader::new(File::open(file)?).lines() {
            let line: Value = serde_json::from_str(&line?)?;
            let (seq, event) = (line["seq"].as_u64().unwrap_or(0), line["event"].clone());
            if let (true, "opened", Some(known)) = (
                embedded,
                event["what"].as_str().unwrap_or_default(),
                event["ledger"].as_u64(),
            ) {
                events.retain(|(seq, _)| *seq <= known);
            }
            events.push((seq, event));
        }
    }
    Ok(events.into_iter().map(|(_, event)| event).collect())
}

fn judge_certificates(signed: &Signed, findings: &mut Findings) {
    let twice = signed.keys.iter().filter(|(_, serials)| serials.len() > 1);
    let twice: Vec<&String> = twice.map(|(key, _)| key).collect();
    let second = signed.nodes.iter().filter(|(_, keys)| keys.len() > 1);
    let second: Vec<&String> = second.map(|(node, _)| node).collect();
    let untold = signed.confirmed.iter();
    let untold: Vec<&String> = untold
        .filter(|node| !signed.nodes.contains_key(*node))
        .collect();
    findings.keys_signed_twice = twice.len() as u64;
    findings.second_certificates = second.len() as u64;
    findings.untold = untold.len() as u64;
    for (what, whom) in [
        ("keys were signed for twice", twice),
        ("nodes have a second certificate", second),
        (
            "nodes are enrolled with a certificate that no audit log tells of",
            untold,
        ),
    ] {
        if let Some(first) = whom.first() {
            let line = format!("{} {what}: {first} …", whom.len());
            findings.wrong.push(line);
        }
    }
}

/// What the helpers wrote down themselves.
fn read_book(book: &Path, signed: &Signed, findings: &mut Findings) -> anyhow::Result<()> {
    let mut keys: BTreeMap<String, u64> = BTreeMap::new();
    for line in BufReader::new(File::open(book)?).lines() {
        let signature: Signature = serde_json::from_str(&line?)?;
        *keys.entry(signature.key).or_default() += 1;
    }
    let twice = keys.values().filter(|times| **times > 1).count() as u64;
    if twice > 0 {
        findings
            .wrong
            .push(format!("helpers signed {twice} keys twice"));
    }
    findings.keys_signed_twice = findings.keys_signed_twice.max(twice);
    let given = |key: &&String| signed.keys.contains_key(*key);
    findings.undelivered = keys.keys().filter(|key| !given(key)).count() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn log(folder: &Path, events: &[Value]) {
        let lines = events.iter().enumerate().map(|(number, event)| {
            let line = json!({ "seq": number + 1, "event": event });
            format!("{line}\n")
        });
        std::fs::write(folder.join("1.jsonl"), lines.collect::<String>()).unwrap();
    }

    fn signed(key: &str, serial: &str) -> Value {
        json!({ "what": "signed", "node": "n1", "key": key, "serial": serial })
    }

    #[test]
    fn what_a_kill_kept_from_happening_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let opened = json!({ "what": "opened", "ledger": 1 });
        log(folder.path(), &[signed("a", "1"), signed("b", "2"), opened]);
        let count = |embedded| effective(folder.path(), embedded).unwrap().len();
        assert_eq!((count(true), count(false)), (2, 3));
    }

    #[test]
    fn a_second_certificate_is_found_whoever_asked_for_it() {
        let judged = |events: &[Value]| {
            let (mut signed, mut findings) = (Signed::default(), Findings::default());
            events.iter().for_each(|event| signed.learn(event));
            judge_certificates(&signed, &mut findings);
            let Findings {
                keys_signed_twice,
                second_certificates,
                untold,
                ..
            } = findings;
            (keys_signed_twice, second_certificates, untold)
        };
        let confirmed = json!({ "what": "confirmed", "node": "n1" });
        let once = [signed("a", "1"), signed("a", "1"), confirmed.clone()];
        assert_eq!(judged(&once), (0, 0, 0));
        assert_eq!(judged(&[signed("a", "1"), signed("a", "2")]), (1, 0, 0));
        assert_eq!(judged(&[signed("a", "1"), signed("b", "2")]), (0, 1, 0));
        assert_eq!(judged(&[confirmed]), (0, 0, 1));
    }
}
