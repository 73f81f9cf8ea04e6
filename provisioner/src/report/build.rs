//! From the ledger to reports, the same beside a running service and without one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use jiff::Timestamp;

use super::{
    Certificate, Enrolled, Latency, Node, SCHEMA, Service, Show, Status, StepReport, Steps,
};
use crate::ledger::{Enrolment, LONGEST_US, LedgerError, RenewalTerms, Store};
use crate::step::{State, Step};

/// The status of a ledger.
///
/// # Errors
/// The ledger cannot be read.
pub fn status(store: &Store) -> Result<Status, LedgerError> {
    let counters = store.counters()?;
    let state = |state: &State| {
        let count = counters.get(&format!("state.{state}"));
        (state.to_string(), count)
    };
    let mut steps = Steps::default();
    for &step in Step::ALL {
        let count = counters.get(&format!("done.{step}"));
        *steps.of(step) = StepReport {
            now: counters.get(&format!("at.{step}")),
            ..step_report(count, &store.latencies(step)?)
        };
    }
    Ok(Status {
        schema: SCHEMA,
        service: Service::Stopped,
        ready: false,
        missing: Vec::new(),
        http: None,
        members: Vec::new(),
        election: None,
        events: None,
        paused: store.pause()?,
        states: State::ALL.iter().map(state).collect(),
        confirmed: counters.get("state.confirmed"),
        certificates_issued: counters.get("certificates"),
        keys_signed_twice: counters.get("keys_signed_twice"),
        targets: counters
            .under("target.")
            .filter(|(_, n)| *n > 0)
            .map(|(target, n)| (target.to_owned(), n))
            .collect(),
        renewals_asked: counters.get("renewals"),
        certificates_revoked: counters.get("revoked"),
        first_event: time(counters.get("first_event_us")),
        last_confirm: time(counters.get("last_confirm_us")),
        steps,
        dropped: std::collections::BTreeMap::new(),
        errors: counters
            .under("code.")
            .map(|(c, n)| (c.to_owned(), n))
            .collect(),
    })
}

/// The nodes in a state, or all of them, in alphabetical order.
///
/// # Errors
/// The ledger cannot be read.
pub fn nodes(store: &Store, only: Option<State>) -> Result<Vec<Node>, LedgerError> {
    let mut found = Vec::new();
    store.each(|identity, enrolment| {
        if only.is_none_or(|state| state == enrolment.state) {
            found.push(node(identity, enrolment));
        }
        true
    })?;
    Ok(found)
}

/// Everything about one node; by these terms its certificate is renewed now, where it is.
///
/// # Errors
/// The ledger cannot be read.
pub fn show(
    store: &Store,
    identity: &str,
    renewed: Option<(&RenewalTerms, Timestamp)>,
) -> Result<Option<Show>, LedgerError> {
    let Some(enrolment) = store.enrolment(identity)? else {
        return Ok(None);
    };
    let key = enrolment.key.as_ref().or(enrolment.enrolled_key.as_ref());
    let certificate = match key {
        Some(key) => store.key(key)?.and_then(|record| {
            let certificates = record.certificates();
            let issuance = record.issuance?;
            Some(Certificate {
                key: key.clone(),
                token: issuance.is_token(),
                serial: issuance.serial,
                not_after: issuance.not_after,
                chain: issuance.chain,
                certificates_for_key: certificates,
            })
        }),
        None => None,
    };
    Ok(Some(Show {
        first_seen: enrolment.first_seen,
        attempts: enrolment.attempts,
        target: enrolment.target.clone(),
        enrolled: enrolment.enrolled_key.clone().map(|key| Enrolled {
            key,
            until: enrolment.enrolled_until,
            coming: enrolment.key.clone(),
        }),
        approved: enrolment.approved,
        renews: renewed.map(|(terms, now)| enrolment.turn(identity, terms, now)),
        renewal: enrolment.renewal.clone(),
        server_token_until: enrolment.server_token_until,
        history: store.entries(identity)?,
        certificate,
        node: node(identity, enrolment),
    }))
}

/// The known name that is most like an unknown one, if any is much like it.
///
/// # Errors
/// The ledger cannot be read.
pub fn nearest(store: &Store, unknown: &str) -> Result<Option<String>, LedgerError> {
    /// Names less alike are no help.
    const ALIKE: f64 = 0.85;
    let mut best = (ALIKE, None);
    store.each_name(|name| {
        let alike = strsim::jaro_winkler(name, unknown);
        if alike > best.0 {
            best = (alike, Some(name.to_owned()));
        }
    })?;
    Ok(best.1)
}

fn node(identity: &str, enrolment: Enrolment) -> Node {
    Node {
        identity: identity.to_owned(),
        state: enrolment.state,
        step: enrolment.step,
        since: enrolment.since,
        tries: enrolment.setbacks,
        code: enrolment.code,
        says: enrolment.says,
        next_try: enrolment.next_try,
    }
}

fn step_report(count: u64, latencies: &[(u64, u64)]) -> StepReport {
    let mut report = StepReport {
        count,
        ..StepReport::default()
    };
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3) else {
        return report;
    };
    for &(value, times) in latencies {
        // Values were clamped to the bounds when they were written.
        let _ = histogram.record_n(value, times);
    }
    if histogram.is_empty() {
        return report;
    }
    // A percentile needs samples enough to tell it from its neighbours.
    let at = |percentile: f64, least: u64| {
        (histogram.len() >= least).then(|| histogram.value_at_percentile(percentile))
    };
    report.latency_us = Latency {
        p50: at(50.0, 2),
        p90: at(90.0, 10),
        p99: at(99.0, 100),
        max: Some(histogram.max()),
    };
    let mut bytes = Vec::new();
    if V2DeflateSerializer::new()
        .serialize(&histogram, &mut bytes)
        .is_ok()
    {
        report.hist = Some(STANDARD.encode(bytes));
    }
    report
}

fn time(micros: u64) -> Option<String> {
    let micros = i64::try_from(micros).ok().filter(|m| *m > 0)?;
    Timestamp::from_microsecond(micros)
        .ok()
        .map(|t| t.to_string())
}
