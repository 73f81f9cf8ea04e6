//! Reports for people. Plain text: no colour, no assumption about a terminal.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::{Node, Service, Show, Status};
use crate::code::{Class, Code};
use crate::ledger::{Turn, What};
use crate::step::State;

/// Prints a status.
///
/// # Errors
/// The output is gone.
pub fn print_status(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    match (status.service, status.ready) {
        (Service::Running, true) => writeln!(out, "service      running, ready")?,
        (Service::Running, false) => writeln!(out, "service      running, not ready")?,
        (Service::Stopped, _) => {
            writeln!(out, "service      stopped; this is what its ledger holds")?
        }
    }
    for missing in &status.missing {
        writeln!(out, "             {missing}")?;
    }
    for (n, member) in status.members.iter().enumerate() {
        let title = if n == 0 { "members" } else { "" };
        let own = if member.own { " (answers here)" } else { "" };
        let able = if member.ready { "ready" } else { "not ready" };
        writeln!(out, "{title:<12} {}{own}, {able}", member.name)?;
    }
    if let Some(election) = &status.election {
        let leader = election.leader.as_deref().unwrap_or("unknown");
        match election.leads {
            true => writeln!(out, "election     leads")?,
            false => writeln!(out, "election     stands by; the leader is {leader}")?,
        }
        if let Some(trouble) = &election.trouble {
            writeln!(out, "             {trouble}")?;
        }
    }
    if let Some(events) = &status.events {
        writeln!(
            out,
            "events       told up to line {} of the audit log",
            events.told
        )?;
        if let Some(trouble) = &events.trouble {
            writeln!(out, "             not now: {trouble}")?;
        }
    }
    if let Some(pause) = &status.paused {
        let since = pause.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(out, "paused       since {since} by {}", pause.by)?;
        match pause.why.as_str() {
            "" => writeln!(out, "; go on: provisioner resume")?,
            why => writeln!(out, ": {why}; go on: provisioner resume")?,
        }
    }
    if let Some(http) = &status.http {
        writeln!(out, "metrics      http://{http}/metrics")?;
    }
    let states: Vec<_> = State::ALL
        .iter()
        .filter_map(|s| Some((s, *status.states.get(s.as_str())?)))
        .filter(|(s, n)| *n > 0 || **s == State::Confirmed)
        .map(|(s, n)| format!("{n} {s}"))
        .collect();
    writeln!(out, "nodes        {}", states.join(", "))?;
    writeln!(
        out,
        "certificates {} issued, {} keys signed twice",
        status.certificates_issued, status.keys_signed_twice
    )?;
    if status.certificates_revoked > 0 {
        writeln!(out, "revoked      {}", status.certificates_revoked)?;
    }
    if status.renewals_asked > 0 {
        writeln!(out, "renewals     {} asked for", status.renewals_asked)?;
    }
    if !status.targets.is_empty() {
        let targets = status
            .targets
            .iter()
            .map(|(target, n)| format!("{n} {target}"));
        writeln!(
            out,
            "placed at    {}",
            targets.collect::<Vec<_>>().join(", ")
        )?;
    }
    if let Some(first) = &status.first_event {
        let last = status.last_confirm.as_deref().unwrap_or("none yet");
        writeln!(out, "first event  {first}\nlast confirm {last}")?;
    }

    let mut table = plain_table(["STEP", "COUNT", "P50", "P90", "P99", "MAX"]);
    for (step, report) in status.steps.in_order() {
        let l = &report.latency_us;
        let cells = [l.p50, l.p90, l.p99, l.max].map(|us| us.map_or("-".to_owned(), micros));
        let mut row = vec![step.to_string(), report.count.to_string()];
        row.extend(cells);
        table.add_row(row);
    }
    writeln!(out, "\n{}", trimmed(&table))?;
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

/// Prints a list of nodes.
///
/// # Errors
/// The output is gone.
pub fn print_nodes(out: &mut dyn Write, nodes: &[Node], now: Timestamp) -> io::Result<()> {
    if nodes.is_empty() {
        return writeln!(out, "no nodes");
    }
    let mut table = plain_table([
        "IDENTITY", "STATE", "STEP", "SINCE", "TRIES", "CODE", "SAYS",
    ]);
    for node in nodes {
        table.add_row([
            node.identity.clone(),
            node.state.to_string(),
            node.step.to_string(),
            between(node.since, now),
            node.tries.to_string(),
            node.code.map(|c| c.to_string()).unwrap_or_default(),
            node.says.chars().take(100).collect(),
        ]);
    }
    writeln!(out, "{}", trimmed(&table))
}

/// Prints everything about one node.
///
/// # Errors
/// The output is gone.
pub fn print_show(out: &mut dyn Write, show: &Show, now: Timestamp) -> io::Result<()> {
    let node = &show.node;
    let next = outlook(show, now);
    writeln!(out, "{}     {}{next}", node.identity, node.state)?;
    for entry in &show.history {
        let at = entry.at.strftime("%H:%M:%S%.3f");
        let took = entry.took_us.map(micros).unwrap_or_default();
        let step = entry.step;
        match &entry.what {
            What::Done { says } => writeln!(out, "  {step:<10} {at}  {took:>9}  {says}")?,
            What::Asked { by, .. } => writeln!(out, "  {step:<10} {at}  {took:>9}  asked {by}")?,
            What::TakenOver { from } => {
                writeln!(
                    out,
                    "  {step:<10} {at}  {took:>9}  taken over from {from}, which is gone"
                )?;
            }
            What::Withheld { serial } => {
                let says = format!("certificate {serial} exists and was not sent");
                writeln!(out, "  {step:<10} {at}  {took:>9}  {says}")?;
            }
            What::Declined { .. } => {
                writeln!(out, "  {step:<10} {at}  {took:>9}  no certificate")?;
            }
            What::RenewalAsked { closes } => {
                let until = closes.strftime("%H:%M:%S");
                let says = format!("asked back for another certificate, expected until {until}");
                writeln!(out, "  renewal    {at}  {took:>9}  {says}")?;
            }
            What::RenewalLapsed(lapse) => {
                writeln!(out, "  renewal    {at}  {took:>9}  IN VAIN {}", lapse.code)?;
                writeln!(out, "             {}", lapse.says)?;
            }
            What::SetBack {
                state, code, says, ..
            } => {
                let state = state.as_str().to_uppercase();
                writeln!(out, "  {step:<10} {at}  {took:>9}  {state} {code}")?;
                writeln!(out, "             {says}")?;
            }
            What::Ordered { verb, by, why, .. } => {
                let verb = verb.past().to_uppercase();
                let why = if why.is_empty() {
                    String::new()
                } else {
                    format!(": {why}")
                };
                writeln!(out, "  operator   {at}  {took:>9}  {verb} by {by}{why}")?;
            }
        }
    }
    if let Some(certificate) = &show.certificate {
        let until = certificate
            .not_after
            .map(|t| t.to_string())
            .unwrap_or_default();
        let kind = match certificate.token {
            true => "server token",
            false => "certificate",
        };
        writeln!(out, "  {kind} {} until {until}", certificate.serial)?;
    }
    if let Some(end) = show
        .server_token_until
        .filter(|end| outlives(show, *end, now))
    {
        let name = &node.identity;
        writeln!(
            out,
            "  a server token of it is good until {end}: nothing here ends it sooner, deny {name} at \
             the brokers until then"
        )?;
    }
    if node.tries > 1 {
        writeln!(out, "  set back {} times in a row", node.tries)?;
    }
    Ok(())
}

/// Whether a server token outlives what the node is enrolled with.
fn outlives(show: &Show, end: Timestamp, now: Timestamp) -> bool {
    let enrolled = show.node.state == State::Confirmed;
    let current = show.certificate.as_ref().filter(|_| enrolled);
    let current = current.and_then(|certificate| certificate.not_after);
    end > now && current.is_none_or(|until| until < end)
}

/// What becomes of a node next, and what a person can do about it.
fn outlook(show: &Show, now: Timestamp) -> String {
    let (node, name) = (&show.node, &show.node.identity);
    match (node.state, node.next_try) {
        (State::Parked, _) if node.code.is_some_and(|c| c.class() == Class::Conflict) => {
            match node.code {
                Some(Code::IdentityEnrolled | Code::IdentityOtherKey) => {
                    format!(", waits for the end of its enrolment: provisioner evict {name}")
                }
                _ => format!(", waits for approval: provisioner approve {name}"),
            }
        }
        (State::Parked, Some(at)) if at > now => {
            let left = between(now, at);
            format!(", next try in {left} (retry now: provisioner retry {name})")
        }
        (State::Parked, Some(_)) => ", next try now".to_owned(),
        (State::Parked | State::Refused, None) => {
            format!(", tried again when it announces itself (retry now: provisioner retry {name})")
        }
        (State::Quarantined, _) => {
            format!(", frozen until somebody decides: provisioner approve, refuse or ban {name}")
        }
        (State::Banned | State::Decommissioned, _) => {
            format!(", never enrolled again: {}", node.says)
        }
        (State::Confirmed, _) if show.approved => ", may enrol once more with a new key".to_owned(),
        (State::Confirmed, _) => renewal(show),
        _ => String::new(),
    }
}

/// What becomes of the certificate of an enrolled node.
fn renewal(show: &Show) -> String {
    let minute = |at: &Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    match &show.renews {
        Some(Turn::Later(at)) => format!(", its certificate is renewed at {}", minute(at)),
        Some(Turn::Due { .. }) => ", its certificate is renewed next".to_owned(),
        Some(Turn::Open | Turn::Unused) => ", asked back for another certificate".to_owned(),
        Some(Turn::Waits { code, says }) => format!(", not renewed: {code}: {says}"),
        Some(Turn::Never) | None => String::new(),
    }
}

fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    table
}

/// Lines without the blanks a table ends them with.
fn trimmed(table: &Table) -> String {
    let lines: Vec<_> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n")
}

fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{} s", us / 1_000_000),
    }
}

fn between(from: Timestamp, to: Timestamp) -> String {
    let span = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    let whole = Duration::from_secs(span.as_secs());
    humantime::format_duration(whole)
        .to_string()
        .replace(' ', "")
}
