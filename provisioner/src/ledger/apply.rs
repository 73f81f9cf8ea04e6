//! What a change does to the records: pure, so that the same changes always
//! give the same ledger.

mod certificate;
mod outcome;
mod refusal;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::issuance::Issuance;
use super::order;
use super::record::{
    Act, Applied, Ask, Change, Enrolment, Entry, Evidence, KeyRecord, Setback, Source, What,
};
use super::renewal::Policy;
use super::revocation::Reason;
use crate::code::Code;
use crate::judge::CsrReply;
use crate::step::{State, Step};
use certificate::{keep, take_down, withheld};
pub(super) use certificate::{placed, shipped_key};
pub(super) use outcome::Outcome;
use refusal::refusal;

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

    /// Ends a step that was timed from the end of the one before.
    fn pass(&mut self, step: Step, at: Timestamp, says: &str) -> Outcome {
        self.complete(step, Some(self.mark), at, says)
    }

    /// Ends a step; the next one is timed from here.
    fn complete(
        &mut self,
        step: Step,
        began: Option<Timestamp>,
        at: Timestamp,
        says: &str,
    ) -> Outcome {
        let state = match step {
            Step::Arrive => State::Queued,
            Step::Confirm => State::Confirmed,
            _ => State::Working,
        };
        enter(self, step, state, at);
        self.mark = at;
        let took_us = began.map(|began| micros(began, at));
        let says = says.to_owned();
        let entry = Entry {
            at,
            step,
            took_us,
            what: What::Done { says },
        };
        Outcome {
            entry: Some(entry),
            completed: Some((step, took_us)),
            ..Outcome::refused(Applied::Done)
        }
    }

    /// Nothing keeps it from going on.
    fn forget_setbacks(&mut self) {
        self.setbacks = 0;
        (self.code, self.says) = (None, String::new());
    }

    /// It makes a new key, with a certificate of its own.
    pub(super) fn drop_key(&mut self) {
        (self.key, self.until, self.from) = (None, None, None);
    }

    /// It is enrolled no longer.
    pub(super) fn end_enrolment(&mut self) {
        (self.enrolled_key, self.enrolled_until, self.enrolled_from) = (None, None, None);
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
    if let Some(refused) = refusal(change, enrolment, key.as_ref(), shipped_to, policy) {
        return withheld(change, enrolment, key.as_mut(), shipped_to, refused);
    }
    let at = change.at;
    match &change.act {
        Act::Arrived { source, version } => {
            let says = arrival(*source, version.as_deref());
            let arrived = enrolment.complete(Step::Arrive, None, at, &says);
            enrolment.step = Step::Queue;
            arrived
        }
        Act::Taken { since } => {
            enrolment.attempts += 1;
            enrolment.next_try = None;
            let taken = enrolment.complete(Step::Queue, Some(*since), at, "");
            enrolment.step = Step::Inspect;
            taken
        }
        Act::TakenOver { from, .. } => {
            let from = from.clone();
            Outcome::told(at, enrolment.step, What::TakenOver { from })
        }
        Act::Inspected { says } => {
            enrolment.answered = true;
            enrolment.pass(Step::Inspect, at, says)
        }
        Act::Requested {
            key: name,
            csr,
            says,
            presented,
        } => {
            enrolment.token_until = presented.token_until;
            enrolment.keeps_key = presented.keeps_key.unwrap_or(enrolment.keeps_key);
            if let Some(record) = key.as_mut().filter(|_| presented.outdated) {
                record.reissue();
            }
            requested(change, enrolment, key, name, csr, policy);
            enrolment.pass(Step::Csr, at, says).with_key(true)
        }
        Act::Asked {
            key: name,
            by,
            prepared,
        } => {
            if let Some(record) = key {
                record.asks.push(asked(at, by, prepared.as_deref()));
            }
            enrolment.step = Step::Sign;
            let (by, name) = (by.clone(), name.clone());
            Outcome::told(at, Step::Sign, What::Asked { by, key: name }).with_key(key.is_some())
        }
        Act::Declined { key: name } => {
            let known = key.as_mut().is_some_and(settle);
            let key = name.clone();
            Outcome::told(at, Step::Sign, What::Declined { key }).with_key(known)
        }
        Act::Signed {
            key: name,
            issuance,
        } => signed(change, enrolment, key.as_mut(), name, issuance),
        Act::Configured { says } => enrolment.pass(Step::Configure, at, says),
        Act::Restarted { by } => enrolment.pass(Step::Restart, at, by.says()),
        Act::Confirmed { by } => confirmed(change, enrolment, *by),
        Act::StillEnrolled => {
            enter(enrolment, Step::Confirm, State::Confirmed, at);
            enrolment.mark = at;
            enrolment.forget_setbacks();
            // Found out while it was asked, and no step done.
            Outcome::told(at, Step::Inspect, What::StillEnrolled)
        }
        Act::RenewalAsked { closes } => {
            enrolment.ask_back(at, *closes);
            let closes = *closes;
            Outcome::told(at, enrolment.step, What::RenewalAsked { closes })
        }
        Act::RenewalLapsed(lapse) => {
            enrolment.lapse(lapse);
            Outcome::told(at, enrolment.step, What::RenewalLapsed(lapse.clone()))
        }
        Act::SetBack(setback) => set_back(change, enrolment, setback),
        Act::Ordered(order) => order::apply(order, &change.identity, enrolment, at, policy),
    }
}

/// Takes down the key a node came with.
fn requested(
    change: &Change,
    enrolment: &mut Enrolment,
    key: &mut Option<KeyRecord>,
    name: &str,
    csr: &CsrReply,
    policy: Policy,
) {
    enrolment.drop_key();
    match key {
        // A node that kept its key: what was asked and signed for it stands, as long as
        // that is not near its end.
        Some(record) => {
            record.csr = csr.clone();
            if record.is_to_reissue(name, enrolment, change.at, policy) {
                record.reissue();
            }
            if let Some(issuance) = &record.issuance {
                enrolment.until = issuance.not_after;
                enrolment.from = record.begun();
                enrolment.target.clone_from(&issuance.target);
            }
        }
        None => *key = Some(KeyRecord::of(&change.identity, csr.clone())),
    }
    enrolment.key = Some(name.to_owned());
}

fn asked(at: Timestamp, by: &str, prepared: Option<&[u8]>) -> Ask {
    Ask {
        at,
        by: by.to_owned(),
        prepared: prepared.map(|bytes| STANDARD.encode(bytes)),
        settled: false,
    }
}

fn signed(
    change: &Change,
    enrolment: &mut Enrolment,
    mut key: Option<&mut KeyRecord>,
    name: &str,
    issuance: &Issuance,
) -> Outcome {
    let kept = key.as_deref_mut().map(|record| keep(record, issuance));
    let (new_certificate, signed_twice) = kept.unwrap_or_default();
    let revoked = take_down(enrolment, change, name, issuance);
    enrolment.until = issuance.not_after;
    enrolment.from = key.as_deref().and_then(KeyRecord::begun);
    enrolment.target.clone_from(&issuance.target);
    let mut says = format!("{} {}", issuance.kind(), issuance.serial);
    if let Some(target) = &issuance.target {
        says += &format!(", placed at {target}");
    }
    Outcome {
        new_certificate,
        signed_twice,
        revoked,
        key_changed: kept.is_some(),
        ..enrolment.pass(Step::Sign, change.at, &says)
    }
}

fn confirmed(change: &Change, enrolment: &mut Enrolment, by: Evidence) -> Outcome {
    enrolment.enrolled_key = enrolment.key.take();
    enrolment.enrolled_until = enrolment.until.take();
    enrolment.enrolled_from = enrolment.from.take();
    enrolment.renewal = None;
    enrolment.approved = false;
    enrolment.forget_setbacks();
    // Those it had before stood until now (rule 38), one for the same key too.
    let now = enrolment.current();
    let (identity, at) = (&change.identity, change.at);
    let revoked = enrolment.revoke(identity, Reason::Superseded, at, |held| {
        now.as_ref() != Some(&held.serial)
    });
    Outcome {
        revoked,
        ..enrolment.pass(Step::Confirm, at, by.says())
    }
}

fn set_back(change: &Change, enrolment: &mut Enrolment, setback: &Setback) -> Outcome {
    enter(enrolment, setback.step, setback.state, change.at);
    enrolment.setbacks += 1;
    enrolment.code = Some(setback.code);
    enrolment.says.clone_from(&setback.says);
    enrolment.next_try = setback.next_try;
    let key = enrolment
        .key
        .clone()
        .filter(|_| setback.code == Code::NodeGone);
    let (identity, reason) = (&change.identity, Reason::CessationOfOperation);
    let revoked = enrolment.revoke(identity, reason, change.at, |held| {
        key.as_ref() == Some(&held.key)
    });
    if setback.new_key {
        enrolment.drop_key();
    }
    let what = What::SetBack {
        state: setback.state,
        code: setback.code,
        says: setback.says.clone(),
        next_try: setback.next_try,
    };
    Outcome {
        forget: is_forgettable(setback, enrolment),
        revoked,
        ..Outcome::told(change.at, setback.step, what)
    }
}

/// A name that never answered, holds nothing and is given up: most likely nobody has it.
fn is_forgettable(setback: &Setback, enrolment: &Enrolment) -> bool {
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
