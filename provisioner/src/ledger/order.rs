//! What a person can decide about a node, and what each decision makes of it: pure.
//!
//! Evict, ban and decommission are three things. An evicted node may enrol
//! again at once, with a new key. A banned one never may, until the ban is
//! lifted. A decommissioned one is at the end of its life: its record stays so
//! that the name is not taken up again unnoticed. The last two are tombstones:
//! they beat whatever else is known or happens, and purging spares them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::apply::{Outcome, enter};
use super::record::{Applied, Enrolment, Entry, What};
use super::renewal::{Holding, Policy};
use super::revocation::{Reason, Revocation};
use crate::code::{Class, Code, Refusal};
use crate::step::{State, Step, words};

words! {
    /// What can be decided about a node.
    Verb {
        /// Try it now instead of later.
        Retry = "retry",
        /// Let it go on: out of quarantine, or with a new key.
        Approve = "approve",
        /// Refuse what it asks for now.
        Refuse = "refuse",
        /// Freeze it until somebody decides.
        Quarantine = "quarantine",
        /// Never enrol it again.
        Ban = "ban",
        /// Lift a ban, or take a decommissioned node back.
        Unban = "unban",
        /// End its enrolment; it may enrol again.
        Evict = "evict",
        /// End its life.
        Decommission = "decommission",
        /// Forget it.
        Purge = "purge",
    }
}

impl Verb {
    /// The code a node has by it.
    #[must_use]
    pub const fn code(self) -> Option<Code> {
        match self {
            Self::Refuse => Some(Code::OperatorRefused),
            Self::Quarantine => Some(Code::OperatorQuarantined),
            Self::Ban => Some(Code::IdentityBanned),
            Self::Decommission => Some(Code::IdentityDecommissioned),
            Self::Evict => Some(Code::OperatorEvicted),
            Self::Retry | Self::Approve | Self::Unban | Self::Purge => None,
        }
    }

    /// The verb as something that was done.
    #[must_use]
    pub const fn past(self) -> &'static str {
        match self {
            Self::Retry => "to be tried now",
            Self::Approve => "approved",
            Self::Refuse => "refused",
            Self::Quarantine => "quarantined",
            Self::Ban => "banned",
            Self::Unban => "unbanned",
            Self::Evict => "evicted",
            Self::Decommission => "decommissioned",
            Self::Purge => "purged",
        }
    }
}

/// A decision of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What.
    pub verb: Verb,
    /// Who, as the system knows that person.
    pub by: String,
    /// Why, in that person's words; may be empty.
    pub why: String,
    /// It may be about a node nobody has heard of yet.
    #[serde(default)]
    pub in_advance: bool,
    /// Why the node's certificates are revoked, where the verb leaves that open.
    #[serde(default)]
    pub revoke: Option<Reason>,
}

/// What an order made of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// What the node is now.
    pub state: State,
    /// Nothing had to be done: it was so before.
    pub already: bool,
    /// What follows, for people.
    pub says: String,
    /// Serial numbers of the certificates that are revoked by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
}

words! {
    /// Whether an enrolled node may be enrolled once more.
    Reprovision {
        /// Not at all, not even with the key it has; `evict` ends its enrolment.
        Never = "never",
        /// With the key it has, which gets it the certificate it has, or a new one when that is near
        /// its end; with another key never.
        SameKey = "same-key",
        /// With another key only after a person has approved.
        Approval = "approval",
        /// With another key once its certificate has expired, before that after approval.
        AfterExpiry = "after-expiry",
    }
}

impl Reprovision {
    /// Whether an enrolled node may go on with the key its request is for.
    pub(super) fn passes(self, holding: Holding<'_>, same_key: bool, now: Timestamp) -> bool {
        match self {
            Self::Never => false,
            _ if same_key => true,
            Self::SameKey => false,
            Self::Approval => holding.approved,
            Self::AfterExpiry => holding.approved || holding.until.is_some_and(|end| end <= now),
        }
    }

    /// The code of a node that it keeps out.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Never => Code::IdentityEnrolled,
            Self::SameKey => Code::IdentityOtherKey,
            Self::Approval => Code::IdentityExists,
            Self::AfterExpiry => Code::IdentityUnexpired,
        }
    }

    /// What a node is told that it keeps out, and what would let it in. It is enrolled with this key.
    pub(crate) fn keeps_out(self, enrolled: &str) -> Refusal {
        let short = enrolled.get(..16).unwrap_or(enrolled);
        let who = "Is this a re-installed node, or a second one with the same name?";
        let says = match self {
            Self::Never => format!(
                "this identity is enrolled (key SHA-256 {short}…), and [reprovision] policy = \
                 \"{self}\" lets nobody enrol twice; evict it first. {who} (rule 38)"
            ),
            Self::SameKey => format!(
                "this identity is enrolled with another key (SHA-256 {short}…), and [reprovision] \
                 policy = \"{self}\" lets it have no other; evict it first. {who} (rule 38)"
            ),
            Self::Approval => format!(
                "this identity is enrolled with another key (SHA-256 {short}…) and keeps it until \
                 somebody approves. {who} (rule 38)"
            ),
            Self::AfterExpiry => format!(
                "this identity is enrolled with another key (SHA-256 {short}…) and keeps it until its \
                 certificate has expired or somebody approves. {who} (rule 38)"
            ),
        };
        Refusal::new(self.code(), says)
    }

    /// Whether a person may let an enrolled node in with another key.
    #[must_use]
    pub const fn can_be_approved(self) -> bool {
        matches!(self, Self::Approval | Self::AfterExpiry)
    }
}

/// Where an order leads.
enum Way {
    /// It changes the node.
    To(State, String),
    /// It was so before.
    Already(String),
    /// It does not fit; what does.
    Unfit(String),
}

/// Applies an order to the record of a node.
pub(super) fn apply(
    order: &Order,
    identity: &str,
    enrolment: &mut Enrolment,
    at: Timestamp,
    policy: Policy,
) -> Outcome {
    let in_advance = order.in_advance && order.verb == Verb::Ban;
    if enrolment.next_entry == 0 && !in_advance {
        return Outcome::refused(Applied::Unknown);
    }
    let (state, says) = match way(order.verb, enrolment, policy.reprovision) {
        Way::To(state, says) => (state, says),
        Way::Unfit(says) => return Outcome::refused(Applied::Unfit(says)),
        Way::Already(says) => {
            return Outcome::refused(Applied::Ordered(Ruling {
                state: enrolment.state,
                already: true,
                says,
                revoked: Vec::new(),
            }));
        }
    };
    settle(order, enrolment, state, at);
    let revoked = match order.revokes() {
        Some(reason) => enrolment.revoke(identity, reason, at, |_| true),
        None => Vec::new(),
    };
    let entry = Entry {
        at,
        step: enrolment.step,
        took_us: None,
        what: What::Ordered {
            verb: order.verb,
            state,
            by: order.by.clone(),
            why: order.why.clone(),
        },
    };
    let ruling = Ruling {
        state,
        already: false,
        says: says + &loss(&revoked) + &left(order.verb, identity, enrolment, at),
        revoked: revoked.iter().map(|r| r.serial.clone()).collect(),
    };
    Outcome {
        revoked,
        ..Outcome::ordered(ruling, entry, order.verb == Verb::Purge)
    }
}

/// What an order takes from a node, for people.
fn loss(revoked: &[Revocation]) -> String {
    match revoked {
        [] => String::new(),
        [one] => format!("; its certificate {} is revoked", one.serial),
        many => format!("; its {} certificates are revoked", many.len()),
    }
}

/// What an order cannot take from a node, for people.
fn left(verb: Verb, identity: &str, enrolment: &Enrolment, at: Timestamp) -> String {
    let ends = matches!(
        verb,
        Verb::Ban | Verb::Decommission | Verb::Evict | Verb::Purge
    );
    match enrolment.server_token_left(at).filter(|_| ends) {
        Some(end) => format!(
            "; its server token is good until {end}, and nothing here ends it sooner: deny {identity} \
             at the brokers until then"
        ),
        None => String::new(),
    }
}

/// What an order means for a node in this state.
fn way(verb: Verb, enrolment: &Enrolment, reprovision: Reprovision) -> Way {
    use State::{Banned, Confirmed, Decommissioned, Parked, Quarantined, Queued, Refused, Working};
    let to = |state, says: &str| Way::To(state, says.to_owned());
    let already = |says: &str| Way::Already(says.to_owned());
    let unfit = |says: &str| Way::Unfit(says.to_owned());
    let exists = enrolment
        .code
        .is_some_and(|code| code.class() == Class::Conflict);
    let allow = |state, says: &str| match (&enrolment.enrolled_key, reprovision) {
        (Some(_), policy) if !policy.can_be_approved() => Way::Unfit(format!(
            "it is enrolled, and [reprovision] policy = \"{policy}\" lets it have no other key; \
             evict it first"
        )),
        _ => to(state, says),
    };
    match (verb, enrolment.state) {
        (Verb::Ban, Banned) => already("it is banned already"),
        (Verb::Ban, _) => to(Banned, "it is never enrolled again, until it is unbanned"),
        (Verb::Decommission, Decommissioned) => already("it is decommissioned already"),
        (Verb::Decommission, Banned) => unfit("it is banned, which says more"),
        (Verb::Decommission, _) => to(
            Decommissioned,
            "it is at the end of its life; its record stays",
        ),
        (Verb::Unban, Banned | Decommissioned) => {
            to(Parked, "it may enrol again when it is next heard of")
        }
        (Verb::Unban, _) => already("it is neither banned nor decommissioned"),
        (_, Banned) => unfit("it is banned; lift that first: provisioner unban"),
        (_, Decommissioned) => unfit("it is decommissioned; take it back first: provisioner unban"),

        (Verb::Retry, Queued | Working) => already("it is on its way"),
        (Verb::Retry, Confirmed) => {
            unfit("it is enrolled; to let it enrol anew, approve it (or evict it)")
        }
        (Verb::Retry, Quarantined) => unfit("it is frozen; approve it, refuse it or ban it"),
        (Verb::Retry, Parked) if exists && !enrolment.approved => {
            unfit("it is enrolled with another key; approve it, refuse it or evict it")
        }
        (Verb::Retry, Parked | Refused) => to(Queued, "it is tried now"),

        (Verb::Approve, Confirmed) if enrolment.approved => already("it is approved already"),
        (Verb::Approve, Confirmed) => allow(
            Confirmed,
            "it may enrol once more with a new key; the one it has stands until then",
        ),
        (Verb::Approve, Parked) if exists => allow(
            Queued,
            "it is enrolled with its new key now; the one it has stands until then",
        ),
        (Verb::Approve, Quarantined) if enrolment.enrolled_key.is_none() => {
            to(Queued, "it is tried now")
        }
        (Verb::Approve, Quarantined) => allow(Queued, "it is tried now, with a new key"),
        (Verb::Approve, _) => already("nothing of it waits for approval"),

        (Verb::Refuse, Refused) => already("it is refused already"),
        (Verb::Refuse, Confirmed) => unfit("it is enrolled; evict it, ban it or decommission it"),
        (Verb::Refuse, _) => to(Refused, "it is refused until it announces itself anew"),
        (Verb::Quarantine, Quarantined) => already("it is frozen already"),
        (Verb::Quarantine, _) => to(Quarantined, "it is frozen until somebody decides"),

        (Verb::Evict, _) if enrolment.enrolled_key.is_none() => unfit("it is not enrolled"),
        (Verb::Evict, state @ (Queued | Working | Quarantined | Refused)) => Way::To(
            state,
            format!("its enrolment is over; it is {state} as before"),
        ),
        (Verb::Evict, _) => to(Parked, "its enrolment is over; it may enrol anew"),

        (Verb::Purge, Parked | Refused) if enrolment.enrolled_key.is_none() => to(
            enrolment.state,
            "it is forgotten; the audit log keeps what happened",
        ),
        (Verb::Purge, Quarantined) => unfit("it is frozen; approve it, refuse it or ban it first"),
        (Verb::Purge, Queued | Working) => unfit("it is being enrolled; refuse it first"),
        (Verb::Purge, _) => unfit("it is enrolled; evict it or decommission it first"),
    }
}

/// Writes the decision into the record.
fn settle(order: &Order, enrolment: &mut Enrolment, state: State, at: Timestamp) {
    let step = match state {
        State::Queued if enrolment.state != State::Queued => {
            enrolment.mark = at;
            Step::Queue
        }
        _ => enrolment.step,
    };
    enter(enrolment, step, state, at);
    enrolment.next_try = None;
    // What was approved stays so when it is only tried again.
    enrolment.approved &= order.verb == Verb::Retry;
    match order.verb {
        Verb::Retry => enrolment.setbacks = 0,
        Verb::Approve => {
            enrolment.setbacks = 0;
            enrolment.approved = enrolment.enrolled_key.is_some();
            // What it holds now was in question: it makes a new key.
            enrolment.drop_key();
        }
        Verb::Evict => enrolment.end_enrolment(),
        _ => {}
    }
    // Its place is free again.
    if matches!(order.verb, Verb::Evict | Verb::Ban | Verb::Decommission) {
        (enrolment.target, enrolment.renewal) = (None, None);
    }
    // With what is revoked it is enrolled no longer, and its key is not used again.
    if order.revokes().is_some() {
        enrolment.drop_key();
        enrolment.end_enrolment();
    }
    // An eviction explains a parked node only; whatever else a node is, is explained already.
    if order.verb == Verb::Evict && state != State::Parked {
        return;
    }
    enrolment.code = order.verb.code();
    enrolment.says = match (enrolment.code, order.why.as_str()) {
        (None, _) => String::new(),
        (Some(_), "") => format!("{} by {}", order.verb.past(), order.by),
        (Some(_), why) => format!("{} by {}: {why}", order.verb.past(), order.by),
    };
}
