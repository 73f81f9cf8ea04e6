//! The status of a service, for people.

use std::io::{self, Write};

use super::{micros, plain_table, trimmed};
use crate::report::{Service, Status};
use crate::step::State;

/// A line: its title, empty where it goes on with the one above, and what it says.
type Line = (&'static str, String);

/// Prints a status.
///
/// # Errors
/// The output is gone.
pub fn print_status(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let lines = [standing(status), company(status), counts(status)];
    for (title, says) in lines.iter().flatten() {
        writeln!(out, "{title:<12} {says}")?;
    }
    steps(out, status)?;
    for (what, codes) in [
        ("setbacks so far", &status.errors),
        ("noticed or not taken in since the start", &status.dropped),
    ] {
        if !codes.is_empty() {
            writeln!(out, "\n{what}")?;
        }
        for (code, count) in codes {
            writeln!(out, "  {count:>7}  {code}")?;
        }
    }
    Ok(())
}

/// Whether it works, and what is missing.
fn standing(status: &Status) -> Vec<Line> {
    let service = match (status.service, status.ready) {
        (Service::Running, true) => "running, ready",
        (Service::Running, false) => "running, not ready",
        (Service::Stopped, _) => "stopped; this is what its ledger holds",
    };
    let missing = status.missing.iter().map(|missing| ("", missing.clone()));
    [("service", service.to_owned())]
        .into_iter()
        .chain(missing)
        .collect()
}

/// Who else is there, and whom it tells.
fn company(status: &Status) -> Vec<Line> {
    let mut lines = Vec::new();
    for (n, member) in status.members.iter().enumerate() {
        let title = if n == 0 { "members" } else { "" };
        let own = if member.own { " (answers here)" } else { "" };
        let able = if member.ready { "ready" } else { "not ready" };
        lines.push((title, format!("{}{own}, {able}", member.name)));
    }
    if let Some(election) = &status.election {
        let leader = election.leader.as_deref().unwrap_or("unknown");
        let says = match election.leads {
            true => "leads".to_owned(),
            false => format!("stands by; the leader is {leader}"),
        };
        lines.push(("election", says));
        lines.extend(election.trouble.clone().map(|trouble| ("", trouble)));
    }
    if let Some(events) = &status.events {
        let says = format!("told up to line {} of the audit log", events.told);
        lines.push(("events", says));
        let trouble = events.trouble.as_ref();
        lines.extend(trouble.map(|trouble| ("", format!("not now: {trouble}"))));
    }
    if let Some(pause) = &status.paused {
        let since = pause.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        let why = match pause.why.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let says = format!(
            "since {since} by {}{why}; go on: provisioner resume",
            pause.by
        );
        lines.push(("paused", says));
    }
    let http = status.http.as_ref();
    lines.extend(http.map(|http| ("metrics", format!("http://{http}/metrics"))));
    lines
}

/// What it has done so far.
fn counts(status: &Status) -> Vec<Line> {
    let states = State::ALL
        .iter()
        .filter_map(|s| Some((s, *status.states.get(s.as_str())?)))
        .filter(|(s, n)| *n > 0 || **s == State::Confirmed)
        .map(|(s, n)| format!("{n} {s}"));
    let certificates = format!(
        "{} issued, {} keys signed twice",
        status.certificates_issued, status.keys_signed_twice
    );
    let mut lines = vec![("nodes", listed(states)), ("certificates", certificates)];
    if status.certificates_revoked > 0 {
        lines.push(("revoked", status.certificates_revoked.to_string()));
    }
    if status.renewals_asked > 0 {
        lines.push(("renewals", format!("{} asked for", status.renewals_asked)));
    }
    if !status.targets.is_empty() {
        let targets = status.targets.iter();
        let targets = targets.map(|(target, n)| format!("{n} {target}"));
        lines.push(("placed at", listed(targets)));
    }
    if let Some(first) = &status.first_event {
        let last = status.last_confirm.as_deref().unwrap_or("none yet");
        lines.push(("first event", first.clone()));
        lines.push(("last confirm", last.to_owned()));
    }
    lines
}

/// How often each step was done, and how long it took.
fn steps(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let mut table = plain_table(["STEP", "COUNT", "P50", "P90", "P99", "MAX"]);
    for (step, report) in status.steps.in_order() {
        let l = &report.latency_us;
        let cells = [l.p50, l.p90, l.p99, l.max].map(|us| us.map_or("-".to_owned(), micros));
        let mut row = vec![step.to_string(), report.count.to_string()];
        row.extend(cells);
        table.add_row(row);
    }
    writeln!(out, "\n{}", trimmed(&table))
}

fn listed(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}
