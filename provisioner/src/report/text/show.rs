//! Everything about one node, for people.

use std::io::{self, Write};

use jiff::Timestamp;

use super::{between, micros};
use crate::code::{Class, Code};
use crate::ledger::{Entry, Turn, What};
use crate::report::Show;
use crate::step::State;

/// Prints everything about one node.
///
/// # Errors
/// The output is gone.
pub fn print_show(out: &mut dyn Write, show: &Show, now: Timestamp) -> io::Result<()> {
    let node = &show.node;
    let next = outlook(show, now);
    writeln!(out, "{}     {}{next}", node.identity, node.state)?;
    let mut day = String::new();
    for entry in &show.history {
        let today = entry.at.strftime("%Y-%m-%d UTC").to_string();
        if today != day {
            writeln!(out, "  {today}")?;
            day = today;
        }
        let at = entry.at.strftime("%H:%M:%S%.3f");
        let took = entry.took_us.map(micros).unwrap_or_default();
        let Told { title, says, why } = told(entry);
        writeln!(out, "  {title:<10} {at}  {took:>9}  {says}")?;
        if let Some(why) = why {
            writeln!(out, "             {why}")?;
        }
    }
    if let Some(certificate) = &show.certificate {
        let until = certificate.not_after.map(|t| t.to_string());
        let until = until.unwrap_or_default();
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

/// A line of the history.
struct Told {
    title: &'static str,
    says: String,
    /// Stands on a line of its own.
    why: Option<String>,
}

fn told(entry: &Entry) -> Told {
    let mut told = Told {
        title: entry.step.as_str(),
        says: String::new(),
        why: None,
    };
    told.says = match &entry.what {
        What::Done { says } => says.clone(),
        What::StillEnrolled => "it is enrolled and answers on the production network".to_owned(),
        What::Asked { by, .. } => format!("asked {by}"),
        What::TakenOver { from } => format!("taken over from {from}, which is gone"),
        What::Withheld { serial } => format!("certificate {serial} exists and was not sent"),
        What::Declined { .. } => "no certificate".to_owned(),
        What::RenewalAsked { closes } => {
            told.title = "renewal";
            let until = closes.strftime("%Y-%m-%d %H:%M UTC");
            format!("asked back for another certificate, expected until {until}")
        }
        What::RenewalLapsed(lapse) => {
            told.title = "renewal";
            told.why = Some(lapse.says.clone());
            format!("IN VAIN {}", lapse.code)
        }
        What::SetBack {
            state, code, says, ..
        } => {
            told.why = Some(says.clone());
            format!("{} {code}", state.as_str().to_uppercase())
        }
        What::Ordered { verb, by, why, .. } => {
            told.title = "operator";
            let why = match why.as_str() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            format!("{} by {by}{why}", verb.past().to_uppercase())
        }
    };
    told
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
