//! Renewal: an enrolled node is asked back before its certificate ends.
//!
//! # Who may use an open renewal
//!
//! A node that renews leaves the production network, announces itself on the provisioning network
//! and is enrolled without anybody's approval, because this service asked it to. That network is
//! open: whoever holds the fleet's provisioning token can announce any name there and answer in
//! it. So an open renewal must be worth nothing to whoever merely claims the name:
//!
//! - **A node that keeps its key** comes back with a request over the very key it is enrolled
//!   with. Only who has that private key can sign it, and signs a nonce of that moment with it too,
//!   since a request can be overheard and sent again: so the request proves what the name does not.
//!   It is let in whenever a renewal was recorded, late too, and nobody with another key is let in
//!   by it at any time: for them the policy of re-provisioning holds as if no renewal were open.
//!   What a stranger can do is what they could do to any node that is being enrolled: answer beside
//!   it, which freezes the name (rule 22) and issues nothing.
//! - **A node that makes a new key each time**, as the original does, has nothing to prove who it
//!   is by. Whoever answers first would get its certificate. So it is not even asked back before
//!   a person has approved that (`provisioner approve`), unless `[renewal] new_key = "accept"`
//!   says that this network's word is good enough. Then another key is taken only while the
//!   window is open and only when the node itself no longer answers on the production network:
//!   what remains is the trust of a first enrolment, for some minutes a life. A key that was taken
//!   then goes on after it, however long the authority lets it wait.
//!
//! There is one open renewal a node at most: it is one field of its record, set where it was not
//! and by one member of a group (compare and set). It is recorded before the node is asked, so a
//! kill leaves nobody on the provisioning network whom nobody expects.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::order::Reprovision;
use super::record::{Enrolment, KeyRecord};
use crate::code::{Class, Code};
use crate::placement::draw;
use crate::step::State;

/// A node was asked back to have its certificate renewed. It stands until the node is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// When it was asked last.
    pub asked: Timestamp,
    /// Until when it is expected.
    pub closes: Timestamp,
    /// How often it was asked in vain.
    pub tries: u32,
    /// Why the last time was in vain; nothing while it is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<Lapse>,
}

/// A node that was asked back did not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapse {
    /// Why, for machines.
    pub code: Code,
    /// Why, for people.
    pub says: String,
    /// When it is asked again; never, when its certificate ends before.
    pub next_try: Option<Timestamp>,
}

impl Enrolment {
    /// What decides whether the node may enrol again.
    pub(super) fn holding(&self) -> Holding<'_> {
        Holding {
            enrolled: self.enrolled_key.as_deref(),
            until: self.enrolled_until,
            coming: self.key.as_deref(),
            approved: self.approved,
            renewal: self.renewal.as_ref(),
        }
    }
}

impl Renewal {
    /// Whether the node is expected now.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.lapsed.is_none() && now < self.closes
    }
}

/// Who may enrol though enrolled, and when certificates are renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What holds for nodes that come by themselves.
    pub reprovision: Reprovision,
    /// The share of a certificate's life, in percent, that is left when it is renewed.
    pub left: u8,
    /// The share of that time, in percent, over which nodes are spread; the rest is for those who
    /// did not come.
    pub spread: u8,
    /// A node that was asked back may come with another key.
    pub new_key: bool,
}

/// Name of the counter of nodes that were asked back.
pub(super) const COUNTER: &str = "renewals";
/// Serial numbers that a key's record carries; of older ones it is only counted that they were.
const SERIALS: usize = 8;
/// A third of the life, which leaves time to try again.
pub const LEFT: u8 = 33;
/// Half of the time in which certificates are renewed.
pub const SPREAD: u8 = 50;

impl From<Reprovision> for Policy {
    fn from(reprovision: Reprovision) -> Self {
        Self {
            reprovision,
            left: LEFT,
            spread: SPREAD,
            new_key: false,
        }
    }
}

/// What an enrolled node has and was told, as far as it decides whether it may enrol again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding<'a> {
    /// The key it is enrolled with.
    pub(crate) enrolled: Option<&'a str>,
    /// End of what it is enrolled with.
    pub(crate) until: Option<Timestamp>,
    /// The key it is on its way with.
    pub(crate) coming: Option<&'a str>,
    /// A person let it in once with another key.
    pub(crate) approved: bool,
    /// It was asked back.
    pub(crate) renewal: Option<&'a Renewal>,
}

impl Policy {
    /// Whether an enrolled node may go on with this key.
    pub(crate) fn passes(self, holding: Holding<'_>, key: &str, now: Timestamp) -> bool {
        let same = holding.enrolled == Some(key);
        // Let in while the window was open: its node left production for this and has nothing else.
        let let_in = holding.coming == Some(key);
        match holding.renewal {
            Some(_) if same => true,
            Some(renewal) if self.new_key && (let_in || renewal.is_open(now)) => true,
            _ => self.reprovision.passes(holding, same, now),
        }
    }

    /// From when on a certificate of this life is renewed.
    #[must_use]
    pub fn begin(self, from: Timestamp, until: Timestamp) -> Timestamp {
        let life = until.duration_since(from).max(SignedDuration::ZERO);
        until - life / 100 * i32::from(self.left)
    }

    /// When a node is asked back: somewhere in the first part of the time in which its certificate
    /// is renewed, by its name, so that a fleet that was enrolled in a minute is not renewed in
    /// one.
    #[must_use]
    pub fn moment(self, identity: &str, from: Timestamp, until: Timestamp) -> Timestamp {
        let begin = self.begin(from, until);
        let share = f64::from(self.spread) / 100.0 * draw(&until.to_string(), identity);
        let whole = until.duration_since(begin).as_secs_f64();
        begin + SignedDuration::from_secs_f64(whole * share)
    }
}

/// By what it is known what the renewal of a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// When, and with which keys.
    pub policy: Policy,
    /// Stands in for the life of a certificate that an earlier version recorded without its begin.
    pub validity: SignedDuration,
    /// How long a node that is asked back has to come.
    pub window: SignedDuration,
}

/// What the renewal of a node waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Its time.
    Later(Timestamp),
    /// Nothing: it can be asked back.
    Due {
        /// End of its certificate: the sooner, the more urgent.
        until: Timestamp,
    },
    /// The node, which was asked.
    Open,
    /// Nobody: the node was asked and its time is over.
    Unused,
    /// A person.
    Waits {
        /// What for.
        code: Code,
        /// The same for people.
        says: String,
    },
    /// It is not enrolled, or not with a certificate that could be renewed.
    Never,
}

impl Enrolment {
    /// What its renewal waits for.
    #[must_use]
    pub fn turn(&self, identity: &str, terms: &Terms, now: Timestamp) -> Turn {
        let policy = terms.policy;
        let Some(until) = self.enrolled_until.filter(|_| self.is_renewable(now)) else {
            return Turn::Never;
        };
        if let Some(renewal) = &self.renewal {
            match &renewal.lapsed {
                None if now < renewal.closes => return Turn::Open,
                None => return Turn::Unused,
                Some(Lapse { next_try: None, .. }) => return Turn::Never,
                Some(Lapse {
                    next_try: Some(at), ..
                }) if *at > now => return Turn::Later(*at),
                Some(_) => {}
            }
        }
        let from = self.enrolled_from.unwrap_or(until - terms.validity);
        let moment = policy.moment(identity, from, until);
        if moment > now {
            return Turn::Later(moment);
        }
        // Nobody here sees a token that was put on the node meanwhile: who approves says so.
        let ends_soon = |end: &Timestamp| !self.approved && *end <= now + terms.window;
        if let Some(end) = self.token_until.filter(ends_soon) {
            let says = format!(
                "its provisioning token ends at {end}, so it could not enrol again; put a new one \
                 on the node, and approve or evict it"
            );
            let code = Code::RenewalToken;
            return Turn::Waits { code, says };
        }
        if !(self.keeps_key || self.approved || policy.new_key) {
            let says = format!(
                "its certificate is to be renewed, and it makes a new key each time: it is asked \
                 back once that is approved (provisioner approve {identity})"
            );
            let code = Code::RenewalApproval;
            return Turn::Waits { code, says };
        }
        Turn::Due { until }
    }

    /// The service is about to ask it back.
    pub(super) fn ask_back(&mut self, asked: Timestamp, closes: Timestamp) {
        let tries = self.renewal.take().map_or(0, |before| before.tries);
        self.renewal = Some(Renewal {
            asked,
            closes,
            tries,
            lapsed: None,
        });
    }

    /// It was asked back in vain.
    pub(super) fn lapse(&mut self, lapse: &Lapse) {
        if let Some(renewal) = &mut self.renewal {
            renewal.tries = renewal.tries.saturating_add(1);
            renewal.lapsed = Some(lapse.clone());
        }
    }

    /// Whether it is enrolled and on production, as far as is known. Somebody who came in its name
    /// with another key and was kept out changes nothing of that: anybody can claim a name.
    #[must_use]
    pub fn stands(&self) -> bool {
        let kept_out = self.state == State::Parked
            && self.key.is_none()
            && self
                .code
                .is_some_and(|code| code.class() == Class::Conflict);
        self.enrolled_key.is_some() && (self.state == State::Confirmed || kept_out)
    }

    /// Whether it may be off the production network because it was asked back. One that came and
    /// got stuck is so as long as it is; when its certificate is over, holding the others back for
    /// it would only take them along.
    #[must_use]
    pub fn is_away(&self, now: Timestamp) -> bool {
        let asked = self.renewal.as_ref();
        let Some(renewal) = asked.filter(|renewal| renewal.lapsed.is_none()) else {
            return false;
        };
        if self.stands() {
            return renewal.is_open(now);
        }
        let on_its_way = matches!(self.state, State::Queued | State::Working | State::Parked);
        on_its_way && self.is_unexpired(now)
    }

    fn is_renewable(&self, now: Timestamp) -> bool {
        self.stands() && self.is_unexpired(now)
    }

    fn is_unexpired(&self, now: Timestamp) -> bool {
        self.enrolled_until.is_some_and(|until| now < until)
    }

    /// When to ask again after asking in vain: twice as long each time, never longer than half of
    /// what is left, and not after the end.
    #[must_use]
    pub fn ask_again(&self, window: SignedDuration, now: Timestamp) -> Option<Timestamp> {
        let until = self.enrolled_until?;
        let tries = self.renewal.as_ref().map_or(0, |renewal| renewal.tries);
        let longest = until.duration_since(now) / 2;
        let pause = window.saturating_mul(1 << tries.min(16)).min(longest);
        (pause >= SignedDuration::from_secs(1)).then(|| now + pause)
    }
}

impl KeyRecord {
    /// Whether the key's certificate is so near its end that who comes with the key gets another.
    fn is_due(&self, now: Timestamp, policy: Policy) -> bool {
        let end = self.issuance.as_ref().and_then(|issued| issued.not_after);
        let begin = self.begun();
        end.zip(begin)
            .is_some_and(|(end, begin)| policy.begin(begin, end) <= now)
    }

    /// Whether a key that was signed for before is to have another certificate, now that its node
    /// comes with it again.
    pub(super) fn is_to_reissue(
        &self,
        key: &str,
        enrolment: &Enrolment,
        at: Timestamp,
        policy: Policy,
    ) -> bool {
        if self.is_due(at, policy) {
            return true;
        }
        let enrolled = enrolment.enrolled_key.as_deref() == Some(key);
        match &self.issuance {
            // It was asked back with this certificate.
            Some(issued) => {
                let same = issued.not_after == enrolment.enrolled_until;
                enrolled && same && enrolment.renewal.is_some()
            }
            // An answer was lost. A node that keeps its key cannot come with another one, and for
            // this one a certificate exists in any case.
            None => enrolled && self.open_ask().is_some_and(|ask| ask.prepared.is_none()),
        }
    }

    /// When an authority was asked for the certificate it has.
    pub(super) fn begun(&self) -> Option<Timestamp> {
        self.asks.last().map(|ask| ask.at)
    }

    /// Lets one more certificate be made for the key.
    pub(super) fn reissue(&mut self) {
        self.issuance = None;
        self.renewals += 1;
        // A key may be kept for years, and its record is written whole each time: the last ask
        // tells since when it has its certificate, and none of them is repeated.
        self.asks.drain(..self.asks.len().saturating_sub(1));
        for ask in &mut self.asks {
            (ask.prepared, ask.settled) = (None, true);
        }
    }

    /// Takes down the serial number of a certificate that was made for it; whether it is new.
    pub(super) fn take_down(&mut self, serial: &str) -> bool {
        if self.serials.iter().any(|known| known == serial) {
            return false;
        }
        self.serials.push(serial.to_owned());
        let surplus = self.serials.len().saturating_sub(SERIALS);
        self.serials.drain(..surplus);
        self.older_serials = self
            .older_serials
            .saturating_add(u32::try_from(surplus).unwrap_or(u32::MAX));
        true
    }

    /// How many certificates were made for it.
    #[must_use]
    pub fn certificates(&self) -> usize {
        self.serials.len() + self.older_serials as usize
    }

    /// How many certificates were to be made for it.
    pub(super) const fn wanted(&self) -> usize {
        1 + self.renewals as usize
    }

    /// Whether it has more certificates than were to be made for it.
    pub(super) fn is_signed_twice(&self) -> bool {
        self.certificates() > self.wanted()
    }
}

#[cfg(test)]
mod tests;
