//! Certificates in the records: taken down with their key, and those that came too late.

use super::super::issuance::Issuance;
use super::super::record::{Act, Applied, Change, Enrolment, Entry, KeyRecord, What};
use super::super::revocation::{Held, Reason, Revocation};
use super::{Outcome, settle};
use crate::step::{State, Step};

/// Takes down with its node that a certificate or server token exists; what the node has to give up
/// for it is returned.
pub(super) fn take_down(
    enrolment: &mut Enrolment,
    change: &Change,
    key: &str,
    issuance: &Issuance,
) -> Vec<Revocation> {
    if issuance.is_token() {
        enrolment.hold_token(issuance);
        return Vec::new();
    }
    let held = Held {
        key: key.to_owned(),
        serial: issuance.serial.clone(),
        not_after: issuance.not_after,
    };
    enrolment.hold(&change.identity, held, change.at)
}

/// The key that comes with a certificate because an authority made it.
pub(in crate::ledger) fn shipped_key(act: &Act) -> Option<&str> {
    match act {
        Act::Signed { issuance, .. } => issuance.shipped_key(),
        _ => None,
    }
}

/// The target that goes with a new certificate that its node is to have.
pub(in crate::ledger) fn placed(act: &Act, outcome: &Outcome) -> Option<String> {
    match act {
        Act::Signed { issuance, .. } if outcome.applied == Applied::Done => {
            issuance.target.clone().filter(|_| outcome.new_certificate)
        }
        _ => None,
    }
}

/// What is refused leaves no trace, except a certificate: it exists, whatever was decided
/// about its node meanwhile.
pub(super) fn withheld(
    change: &Change,
    enrolment: &mut Enrolment,
    key: Option<&mut KeyRecord>,
    shipped_to: Option<&str>,
    refused: Applied,
) -> Outcome {
    let outcome = Outcome::refused(refused);
    let Act::Signed {
        key: name,
        issuance,
    } = &change.act
    else {
        return outcome;
    };
    let Some(record) = key.filter(|record| record.identity == change.identity) else {
        return outcome;
    };
    let (new_certificate, signed_twice) = keep(record, issuance);
    if shipped_to.is_some() {
        // A node that comes with the same request is sent what is kept with it: never this, which
        // another node could use. It is to get another one.
        record.issuance = None;
        record.renewals += u32::from(new_certificate);
    }
    let mut revoked = take_down(enrolment, change, name, issuance);
    // What was decided about the node takes this one too, and of a node that was purged
    // meanwhile nobody could revoke it later.
    let reason = match enrolment.state {
        State::Banned => Some(Reason::PrivilegeWithdrawn),
        State::Decommissioned => Some(Reason::CessationOfOperation),
        _ => (enrolment.next_entry == 0).then_some(Reason::Superseded),
    };
    if let Some(reason) = reason {
        revoked.extend(enrolment.revoke(&change.identity, reason, change.at, |_| true));
    }
    if enrolment.key.as_ref() == Some(name) && shipped_to.is_none() {
        enrolment.until = issuance.not_after;
    }
    let entry = Entry {
        at: change.at,
        step: Step::Sign,
        took_us: None,
        what: What::Withheld {
            serial: issuance.serial.clone(),
        },
    };
    Outcome {
        // Nobody remembers a node that was purged meanwhile; its key stays known.
        entry: (enrolment.next_entry > 0).then_some(entry),
        key_changed: true,
        new_certificate,
        signed_twice,
        revoked,
        ..outcome
    }
}

/// Takes a certificate down with its key; whether it is new, and the key's second.
pub(super) fn keep(record: &mut KeyRecord, issuance: &Issuance) -> (bool, bool) {
    settle(record);
    let new = record.take_down(&issuance.serial);
    record.issuance = Some(issuance.clone());
    let twice = record.certificates() == record.wanted() + 1;
    (new, new && twice)
}
