//! What a change does to the records: pure, so that the same changes always
//! give the same ledger.

mod certificate;
mod refusal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::order::{self, Ruling};
use super::record::{Act, Applied, Ask, Change, Enrolment, Entry, KeyRecord, Source, What};
use super::renewal::Policy;
use super::revocation::{Reason, Revocation};
use crate::code::Code;
use crate::step::{State, Step};
use certificate::{keep, take_down, withheld};
pub(super) use certificate::{placed, shipped_key};
use refusal::refusal;

/// The outcome of one change on the records it touches.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) applied: Applied,
    /// To be written, unless the change was refused.
    pub(super) entry: Option<Entry>,
    /// A step that was completed, with its duration in microseconds where the
    /// ledger knows when it began.
    pub(super) completed: Option<(Step, Option<u64>)>,
    /// The key record changed.
    pub(super) key_changed: bool,
    /// A certificate that was not known before.
    pub(super) new_certificate: bool,
    /// The key's second certificate.
    pub(super) signed_twice: bool,
    /// Everything known of the identity is to be forgotten.
    pub(super) forget: bool,
    /// Certificates that may no longer be accepted.
    pub(super) revoked: Vec<Revocation>,
}

impl Outcome {
    pub(super) fn refused(applied: Applied) -> Self {
        Self {
            applied,
            entry: None,
            completed: None,
            key_changed: false,
            new_certificate: false,
            signed_twice: false,
            forget: false,
            revoked: Vec::new(),
        }
    }

    /// What an order did.
    pub(super) fn ordered(ruling: Ruling, entry: Entry, forget: bool) -> Self {
        Self {
            entry: Some(entry),
            forget,
            ..Self::refused(Applied::Ordered(ruling))
        }
    }
}

impl Enrolment {
    /// A first record of an identity.
    pub(crate) fn newcomer(at: Timestamp) -> Self {
        Self {
            state: State::Queued,
            step: Step::Arrive,
            since: at,
            first_seen: at,
            mark: at,
            attempts: 0,
            setbacks: 0,
            answered: false,
            code: None,
            says: String::new(),
            next_try: None,
            key: None,
            enrolled_key: None,
            until: None,
            enrolled_until: None,
            certificates: Vec::new(),
            target: None,
            approved: false,
            from: None,
            enrolled_from: None,
            token_until: None,
            server_token_until: None,
            keeps_key: false,
            renewal: None,
            next_entry: 0,
        }
    }
}

/// The key a change is about, if any.
pub(super) fn key_of(act: &Act) -> Option<&str> {
    match act {
        Act::Requested { key, .. }
        | Act::Asked { key, .. }
        | Act::Declined { key }
        | Act::Signed { key, .. } => Some(key),
        _ => None,
    }
}

/// Applies one change. `key` is the record of [`key_of`], if there is one; `shipped_to` is another
/// identity that has the key of [`shipped_key`].
pub(super) fn apply(
    change: &Change,
    enrolment: &mut Enrolment,
    key: &mut Option<KeyRecord>,
    shipped_to: Option<&str>,
    policy: Policy,
) -> Outcome {
    if let Act::Ordered(order) = &change.act {
        return order::apply(order, &change.identity, enrolment, change.at, policy);
    }
    if let Some(refused) = refusal(change, enrolment, key.as_ref(), shipped_to, policy) {
        return withheld(change, enrolment, key.as_mut(), shipped_to, refused);
    }
    let at = change.at;
    let (mut key_changed, mut new_certificate, mut signed_twice) = (false, false, false);
    let mut revoked = Vec::new();
    let done = |enrolment: &mut Enrolment, step: Step, state: State, since, says: String| {
        let took_us = (step != Step::Arrive).then(|| micros(since, at));
        enter(enrolment, step, state, at);
        enrolment.mark = at;
        (Some((step, took_us)), took_us, What::Done { says })
    };
    let (completed, took_us, what) = match &change.act {
        Act::Arrived { source, version } => {
            let says = arrival(*source, version.as_deref());
            let completed = done(enrolment, Step::Arrive, State::Queued, at, says);
            enrolment.step = Step::Queue;
            completed
        }
        Act::Taken { since } => {
            enrolment.attempts += 1;
            enrolment.next_try = None;
            let completed = done(
                enrolment,
                Step::Queue,
                State::Working,
                *since,
                String::new(),
            );
            enrolment.step = Step::Inspect;
            completed
        }
        Act::TakenOver { from, .. } => (None, None, What::TakenOver { from: from.clone() }),
        Act::Inspected { says } => {
            enrolment.answered = true;
            let since = enrolment.mark;
            done(
                enrolment,
                Step::Inspect,
                State::Working,
                since,
                says.clone(),
            )
        }
        Act::Requested {
            key: name,
            csr,
            says,
            presented,
        } => {
            enrolment.token_until = presented.token_until;
            enrolment.keeps_key = presented.keeps_key.unwrap_or(enrolment.keeps_key);
            match key {
                // A node that kept its key: what was asked and signed for it stands, as long as
                // that is not near its end.
                Some(record) => {
                    record.csr = csr.clone();
                    if record.is_to_reissue(name, enrolment, at, policy) {
                        record.reissue();
                    }
                    if let Some(issuance) = &record.issuance {
                        enrolment.until = issuance.not_after;
                        enrolment.from = record.begun();
                        enrolment.target.clone_from(&issuance.target);
                    }
                }
                None => {
                    *key = Some(KeyRecord::of(&change.identity, csr.clone()));
                }
            }
            key_changed = true;
            enrolment.key = Some(name.clone());
            let since = enrolment.mark;
            done(enrolment, Step::Csr, State::Working, since, says.clone())
        }
        Act::Asked {
            key: name,
            by,
            prepared,
        } => {
            if let Some(record) = key {
                record.asks.push(Ask {
                    at,
                    by: by.clone(),
                    prepared: prepared.as_ref().map(|bytes| STANDARD.encode(bytes)),
                    settled: false,
                });
                key_changed = true;
            }
            enrolment.step = Step::Sign;
            let (by, key) = (by.clone(), name.clone());
            (None, None, What::Asked { by, key })
        }
        Act::Declined { key: name } => {
            key_changed = key.as_mut().is_some_and(settle);
            (None, None, What::Declined { key: name.clone() })
        }
        Act::Signed {
            key: name,
            issuance,
        } => {
            if let Some(record) = key {
                (new_certificate, signed_twice) = keep(record, issuance);
                key_changed = true;
            }
            revoked = take_down(enrolment, change, name, issuance);
            enrolment.until = issuance.not_after;
            enrolment.from = key.as_ref().and_then(KeyRecord::begun);
            enrolment.target.clone_from(&issuance.target);
            let says = match &issuance.target {
                None => format!("{} {}", issuance.kind(), issuance.serial),
                Some(target) => format!(
                    "{} {}, placed at {target}",
                    issuance.kind(),
                    issuance.serial
                ),
            };
            let since = enrolment.mark;
            done(enrolment, Step::Sign, State::Working, since, says)
        }
        Act::Configured { says } => {
            let since = enrolment.mark;
            done(
                enrolment,
                Step::Configure,
                State::Working,
                since,
                says.clone(),
            )
        }
        Act::Restarted { by } => {
            let since = enrolment.mark;
            done(
                enrolment,
                Step::Restart,
                State::Working,
                since,
                by.says().to_owned(),
            )
        }
        Act::Confirmed { by } => {
            enrolment.enrolled_key = enrolment.key.take();
            enrolment.enrolled_until = enrolment.until.take();
            enrolment.enrolled_from = enrolment.from.take();
            enrolment.renewal = None;
            // Those it had before stood until now (rule 38), one for the same key too.
            let now = enrolment.current();
            revoked = enrolment.revoke(&change.identity, Reason::Superseded, at, |held| {
                now.as_ref() != Some(&held.serial)
            });
            (enrolment.setbacks, enrolment.approved) = (0, false);
            (enrolment.code, enrolment.says) = (None, String::new());
            let since = enrolment.mark;
            done(
                enrolment,
                Step::Confirm,
                State::Confirmed,
                since,
                by.says().to_owned(),
            )
        }
        Act::StillEnrolled => {
            enter(enrolment, Step::Confirm, State::Confirmed, at);
            enrolment.mark = at;
            enrolment.setbacks = 0;
            (enrolment.code, enrolment.says) = (None, String::new());
            let says = "it is enrolled and answers on the production network".to_owned();
            (None, None, What::Done { says })
        }
        Act::RenewalAsked { closes } => {
            enrolment.ask_back(at, *closes);
            (None, None, What::RenewalAsked { closes: *closes })
        }
        Act::RenewalLapsed(lapse) => {
            enrolment.lapse(lapse);
            (None, None, What::RenewalLapsed(lapse.clone()))
        }
        Act::SetBack(setback) => {
            enter(enrolment, setback.step, setback.state, at);
            enrolment.setbacks += 1;
            enrolment.code = Some(setback.code);
            enrolment.says.clone_from(&setback.says);
            enrolment.next_try = setback.next_try;
            if setback.new_key {
                enrolment.key = None;
            }
            let what = What::SetBack {
                state: setback.state,
                code: setback.code,
                says: setback.says.clone(),
                next_try: setback.next_try,
            };
            (None, None, what)
        }
        Act::Ordered(_) => return Outcome::refused(Applied::Unknown),
    };
    let step = match &change.act {
        Act::SetBack(setback) => setback.step,
        Act::Asked { .. } | Act::Declined { .. } => Step::Sign,
        // Found out while it was asked, and no step done.
        Act::StillEnrolled => Step::Inspect,
        _ => completed.map_or(enrolment.step, |(step, _)| step),
    };
    Outcome {
        applied: Applied::Done,
        entry: Some(Entry {
            at,
            step,
            took_us,
            what,
        }),
        completed,
        key_changed,
        new_certificate,
        signed_twice,
        forget: is_forgettable(change, enrolment),
        revoked,
    }
}

/// A name that never answered, holds nothing and is given up: most likely nobody has it.
fn is_forgettable(change: &Change, enrolment: &Enrolment) -> bool {
    let Act::SetBack(setback) = &change.act else {
        return false;
    };
    let given_up = setback.state == State::Parked && setback.next_try.is_none();
    let holds_nothing = enrolment.key.is_none() && enrolment.enrolled_key.is_none();
    setback.code == Code::RpcTimeout && given_up && !enrolment.answered && holds_nothing
}

pub(super) fn enter(enrolment: &mut Enrolment, step: Step, state: State, at: Timestamp) {
    enrolment.step = step;
    if enrolment.state != state {
        enrolment.state = state;
        enrolment.since = at;
    }
}

fn settle(key: &mut KeyRecord) -> bool {
    let Some(ask) = key.asks.last_mut() else {
        return false;
    };
    // What was to be signed is in the certificate now, or never will be.
    (ask.prepared, ask.settled) = (None, true);
    true
}

fn arrival(source: Source, version: Option<&str>) -> String {
    let how = match source {
        Source::Startup => "startup event",
        Source::Alive => "alive event",
        Source::Sweep => "answered a sweep",
        Source::Late => "answered late",
        Source::Ledger => "taken up again",
    };
    match version {
        Some(version) => format!("{how}, version {version}"),
        None => how.to_owned(),
    }
}

/// Microseconds from one time to another; 0 when the clock went back.
fn micros(from: Timestamp, to: Timestamp) -> u64 {
    let micros = to.as_microsecond().saturating_sub(from.as_microsecond());
    u64::try_from(micros).unwrap_or(0)
}
