//! Which changes are refused: what only the ledger can know about a node.

use jiff::Timestamp;

use super::super::record::{Act, Applied, Change, Enrolment, KeyRecord};
use super::super::renewal::Policy;
use crate::step::State;

/// The rules only the ledger can know. What a person decides has rules of its own (`order`).
pub(super) fn refusal(
    change: &Change,
    enrolment: &Enrolment,
    key: Option<&KeyRecord>,
    shipped_to: Option<&str>,
    policy: Policy,
) -> Option<Applied> {
    if matches!(change.act, Act::Ordered(_)) {
        return None;
    }
    if is_held(enrolment.state, &change.act) {
        return Some(Applied::NotNow(enrolment.state));
    }
    if is_overtaken(&change.act, enrolment, key.is_some())
        || is_not_to_renew(&change.act, enrolment, change.at)
    {
        return Some(Applied::NotNow(enrolment.state));
    }
    let Act::Requested { key: name, .. } = &change.act else {
        return shipped_to.map(|other| Applied::KeyHeldBy(other.to_owned()));
    };
    if let Some(record) = key.filter(|record| record.identity != change.identity) {
        return Some(Applied::KeyHeldBy(record.identity.clone()));
    }
    let enrolled = enrolment.enrolled_key.as_ref()?;
    let passes = policy.passes(enrolment.holding(), name, change.at);
    (!passes).then(|| Applied::EnrolledWith(enrolled.clone()))
}

/// Whether what was decided about a node stands against what happens to it.
fn is_held(state: State, act: &Act) -> bool {
    match state {
        State::Banned | State::Decommissioned | State::Quarantined => true,
        // Only the node itself opens the matter again; but a frozen key freezes it all the same.
        State::Refused => match act {
            Act::Arrived { .. } => false,
            Act::SetBack(setback) => setback.state != State::Quarantined,
            _ => true,
        },
        _ => false,
    }
}

/// Whether there is nothing to renew, or somebody was first: one open renewal a node.
fn is_not_to_renew(act: &Act, enrolment: &Enrolment, at: Timestamp) -> bool {
    let settled = enrolment.stands();
    match (act, &enrolment.renewal) {
        (Act::RenewalAsked { .. }, None) => !settled,
        (Act::RenewalAsked { .. }, Some(renewal)) => !settled || renewal.is_open(at),
        (Act::RenewalLapsed(_), Some(renewal)) => !settled || renewal.lapsed.is_some(),
        (Act::RenewalLapsed(_), None) => true,
        _ => false,
    }
}

/// Whether a person decided in the middle of what this is about: approving a node takes its key,
/// so that it makes a new one, purging it leaves none.
fn is_overtaken(act: &Act, enrolment: &Enrolment, recorded: bool) -> bool {
    match act {
        Act::Asked { key, .. } | Act::Signed { key, .. } => {
            !recorded || enrolment.key.as_ref() != Some(key)
        }
        Act::StillEnrolled => enrolment.state != State::Working || enrolment.enrolled_key.is_none(),
        Act::Configured { .. } | Act::Restarted { .. } | Act::Confirmed { .. } => {
            enrolment.key.is_none()
        }
        _ => false,
    }
}
