//! The records of the ledger, and the changes that make them.

mod entry;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::issuance::Issuance;
use super::order::{Order, Ruling};
use super::renewal::{Lapse, Renewal};
use super::revocation::{Held, ListNumber};
use crate::code::Code;
use crate::judge::CsrReply;
use crate::placement::draw;
use crate::step::{State, Step, words};

pub use entry::{Entry, What};

words! {
    /// What told of a node.
    Source {
        /// Its `startup` event.
        Startup = "startup",
        /// An `alive` event: its startup was missed.
        Alive = "alive",
        /// It answered a sweep.
        Sweep = "sweep",
        /// It answered a question after it was given up.
        Late = "late",
        /// A parked or resumed enrolment whose time came.
        Ledger = "ledger",
    }
}

/// One transition of one enrolment.
#[derive(Clone, Debug)]
pub struct Change {
    /// The node.
    pub identity: String,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub act: Act,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Act {
    /// The node was heard of and waits for a place.
    Arrived {
        /// How.
        source: Source,
        /// The version it runs, where the event says so.
        version: Option<String>,
    },
    /// It got a place; it had been waiting since then.
    Taken {
        /// Begin of the wait.
        since: Timestamp,
    },
    /// Another member worked on it and is gone; this one goes on where it stands.
    TakenOver {
        /// The member that is gone.
        from: String,
        /// The key and serial number of the certificate it is to be sent, where one exists: the
        /// audit log of the member that is gone may end before it.
        certificate: Option<(String, String)>,
    },
    /// Its token is good and its inventory read.
    Inspected {
        /// What was seen, for people.
        says: String,
    },
    /// It made a key and a request that may be signed.
    Requested {
        /// SHA-256 of the public key's SPKI, hex.
        key: String,
        /// Its reply to `gencsr`.
        csr: CsrReply,
        /// What was seen, for people.
        says: String,
        /// What came with it.
        presented: Box<Presented>,
    },
    /// An authority is about to be asked.
    Asked {
        /// The key.
        key: String,
        /// Kind of hook.
        by: String,
        /// The bytes to be signed, where the hook fixes them beforehand.
        prepared: Option<Vec<u8>>,
    },
    /// An authority answered without a certificate, and none exists.
    Declined {
        /// The key.
        key: String,
    },
    /// A certificate exists and was judged good.
    Signed {
        /// The key.
        key: String,
        /// What the node is to be sent.
        issuance: Box<Issuance>,
    },
    /// The node has certificate and settings.
    Configured {
        /// What was seen, for people.
        says: String,
    },
    /// The node is restarting.
    Restarted {
        /// What said so.
        by: Evidence,
    },
    /// The node was seen on the production network.
    Confirmed {
        /// What said so.
        by: Evidence,
    },
    /// It was taken up though it is enrolled, and it answers on the production network: whatever
    /// told of it was late or untrue.
    StillEnrolled,
    /// It is enrolled, and about to be asked to come back for another certificate.
    RenewalAsked {
        /// Until when it is expected.
        closes: Timestamp,
    },
    /// It was asked in vain.
    RenewalLapsed(Lapse),
    /// It does not go on for now.
    SetBack(Setback),
    /// A person decided.
    Ordered(Order),
}

/// What a node presented along with its request, and what is seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// Its token, where that is for a number of nodes only.
    pub token: Option<TokenUse>,
    /// The end of its token.
    pub token_until: Option<Timestamp>,
    /// Whether it comes with the same key when it is enrolled again, where it said so.
    pub keeps_key: Option<bool>,
    /// The certificate that was made for its key is of authorities that nodes no longer trust.
    pub outdated: bool,
}

/// The use of a token that enrols a number of identities only, each as often as it likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// SHA-256 of its issuer and unique name, hex.
    pub id: String,
    /// How many identities it is for.
    pub uses: u32,
}

/// Why an enrolment does not go on, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// The step it happened in.
    pub step: Step,
    /// What it is now.
    pub state: State,
    /// Why, for machines.
    pub code: Code,
    /// Why, for people.
    pub says: String,
    /// When it is tried again; never, when there is no time.
    pub next_try: Option<Timestamp>,
    /// The node has to make a new key next time.
    pub new_key: bool,
}

/// What settled a step that a reply may miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The node's reply.
    Reply,
    /// A lifecycle event that stands for it.
    Event,
    /// Event and ping on the production network.
    StartupAndPing,
    /// A ping alone: the event fell into a time when nobody listened.
    PingAfterGap,
}

impl Evidence {
    /// A phrase for people.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Reply => "the node said so",
            Self::Event => "its event said so, the reply was lost",
            Self::StartupAndPing => "startup event seen, ping answered",
            Self::PingAfterGap => {
                "ping answered; its startup event fell into a gap of this service"
            }
        }
    }
}

/// What is known of one identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// What it is doing.
    pub state: State,
    /// The step it is in, or got stuck in.
    pub step: Step,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it was first heard of.
    pub first_seen: Timestamp,
    /// End of the last completed step: the next one is timed from here.
    pub mark: Timestamp,
    /// How often it was begun.
    pub attempts: u32,
    /// Setbacks in a row.
    pub setbacks: u32,
    /// Whether the node ever answered.
    pub answered: bool,
    /// Why it does not go on.
    pub code: Option<Code>,
    /// The same for people.
    pub says: String,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// The key the node holds now: its recorded request is used, not a new one.
    pub key: Option<String>,
    /// The key it was confirmed with.
    pub enrolled_key: Option<String>,
    /// End of the certificate signed for `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// End of the certificate it was confirmed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_until: Option<Timestamp>,
    /// The certificates that are good for it, as far as they were not expired by the last one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Held>,
    /// The target it is placed at, where nodes are placed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// A person allowed it to enrol once with another key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approved: bool,
    /// When the certificate signed for `key` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When the certificate it was confirmed with was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_from: Option<Timestamp>,
    /// The end of the provisioning token it showed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_until: Option<Timestamp>,
    /// The end of the server token of it that ends last: no list revokes one, so that brokers may let
    /// its holder in until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_token_until: Option<Timestamp>,
    /// It comes with the same key when it is enrolled again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_key: bool,
    /// It was asked back for another certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// Number of the next entry.
    pub next_entry: u64,
}

/// What is known of one public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Whose it is.
    pub identity: String,
    /// The reply to `gencsr` it came in.
    pub csr: CsrReply,
    /// Every time an authority was asked to sign for it.
    pub asks: Vec<Ask>,
    /// Serial numbers of the last certificates that exist for it.
    pub serials: Vec<String>,
    /// How many there were before those.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub older_serials: u32,
    /// The latest of them with what goes along.
    pub issuance: Option<Issuance>,
    /// How often it was to get another certificate because the last one came to its end.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub renewals: u32,
    /// An authority made it and shipped it: it stays known even if nobody asks to have it signed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shipped: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
const fn is_none_yet(count: &u32) -> bool {
    *count == 0
}

/// One time an authority was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// When.
    pub at: Timestamp,
    /// Kind of hook.
    pub by: String,
    /// The bytes to be signed, base64.
    pub prepared: Option<String>,
    /// Whether the answer is known.
    pub settled: bool,
}

impl KeyRecord {
    /// A key nobody was asked about yet.
    pub(super) fn of(identity: &str, csr: CsrReply) -> Self {
        Self {
            identity: identity.to_owned(),
            csr,
            asks: Vec::new(),
            serials: Vec::new(),
            older_serials: 0,
            issuance: None,
            renewals: 0,
            shipped: false,
        }
    }

    /// The last question nobody knows the answer of.
    #[must_use]
    pub fn open_ask(&self) -> Option<&Ask> {
        self.asks.last().filter(|ask| !ask.settled)
    }
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It happened.
    Done,
    /// Refused: the key belongs to another identity.
    KeyHeldBy(String),
    /// Refused: the identity is confirmed with another key.
    EnrolledWith(String),
    /// Refused: the token was for a number of nodes, of which this is one.
    TokenHeldBy(String),
    /// Refused: the identity is banned, quarantined or unknown here.
    NotNow(State),
    /// Refused: the certificate's serial number is another certificate's.
    SerialUsed,
    /// What an order made of the node.
    Ordered(Ruling),
    /// A list of revoked certificates may be made with this number.
    Numbered(ListNumber),
    /// Refused: the order does not fit what the node is; a sentence that says what does.
    Unfit(String),
    /// Refused: nothing is known of the identity.
    Unknown,
    /// Refused: another member of the group holds the enrolment.
    HeldBy(String),
}

impl TokenUse {
    /// The numbers of its uses, beginning with one that is the node's own choice.
    pub(super) fn places(&self, node: &str) -> impl Iterator<Item = u32> {
        let uses = self.uses.max(1);
        let drawn = draw(&self.id, node) * f64::from(uses);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to uses"
        )]
        let first = drawn as u32;
        (0..uses).map(move |step| (first + step) % uses)
    }
}
