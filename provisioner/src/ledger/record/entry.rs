//! The history of an identity, as `show` tells it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::order::Verb;
use super::super::renewal::{self, Lapse};
use crate::code::Code;
use crate::step::{State, Step};

/// One line of an identity's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// In which step.
    pub step: Step,
    /// How long the step took, microseconds, when this completes it.
    pub took_us: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

impl Entry {
    /// The counter of the ledger that it belongs to.
    pub(in super::super) fn counter(&self) -> Option<String> {
        match &self.what {
            What::Done { .. } => Some(format!("done.{}", self.step)),
            What::RenewalAsked { .. } => Some(renewal::COUNTER.to_owned()),
            _ => self.code().map(|code| format!("code.{code}")),
        }
    }

    /// Why the node does not go on, where this says so.
    pub(in super::super) fn code(&self) -> Option<Code> {
        match &self.what {
            What::SetBack { code, .. } => Some(*code),
            What::Ordered { verb, .. } => verb.code(),
            What::RenewalLapsed(lapse) => Some(lapse.code),
            _ => None,
        }
    }
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The step was completed.
    Done {
        /// What was seen.
        says: String,
    },
    /// It was taken up though it is enrolled, and answers on the production network.
    StillEnrolled,
    /// Another member of the group goes on with it.
    TakenOver {
        /// The member that is gone.
        from: String,
    },
    /// An authority was asked.
    Asked {
        /// Kind of hook.
        by: String,
        /// The key.
        key: String,
    },
    /// The authority gave no certificate.
    Declined {
        /// The key.
        key: String,
    },
    /// A certificate came back when the node was no longer to have it, or with a key that another
    /// node has: it exists and was not sent.
    Withheld {
        /// Its serial number, hex.
        serial: String,
    },
    /// The node was asked back for another certificate.
    RenewalAsked {
        /// Until when it was expected.
        closes: Timestamp,
    },
    /// It was asked back in vain.
    RenewalLapsed(Lapse),
    /// The enrolment did not go on.
    SetBack {
        /// What it became.
        state: State,
        /// Why.
        code: Code,
        /// The same for people.
        says: String,
        /// When it was to be tried again.
        next_try: Option<Timestamp>,
    },
    /// A person decided.
    Ordered {
        /// What.
        verb: Verb,
        /// What it became.
        state: State,
        /// Who.
        by: String,
        /// Why, in that person's words.
        why: String,
    },
}
