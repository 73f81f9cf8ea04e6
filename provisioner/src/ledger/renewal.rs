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
//!   what remains is the trust of a first enrolment, for some minutes a life.
//!
//! There is one open renewal a node at most: it is one field of its record, set where it was not
//! and by one member of a group (compare and set). It is recorded before the node is asked, so a
//! kill leaves nobody on the provisioning network whom nobody expects.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::order::Reprovision;
use super::record::{Enrolment, KeyRecord};
use crate::code::Code;
use crate::placement::draw;

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

impl Policy {
    /// Whether an enrolled node may go on with this key.
    pub(super) fn passes(self, enrolment: &Enrolment, key: &str, now: Timestamp) -> bool {
        let same = enrolment.enrolled_key.as_deref() == Some(key);
        match &enrolment.renewal {
            Some(_) if same => true,
            Some(renewal) if self.new_key && renewal.is_open(now) => true,
            _ => self.reprovision.passes(enrolment, same, now),
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
        if let Some(end) = self.token_until.filter(|end| *end <= now + terms.window) {
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

    fn is_renewable(&self, now: Timestamp) -> bool {
        self.state == crate::step::State::Confirmed
            && self.enrolled_key.is_some()
            && self.enrolled_until.is_some_and(|until| now < until)
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
        if let Some(ask) = self.asks.last_mut() {
            ask.settled = true;
        }
    }

    /// Whether it has more certificates than were to be made for it.
    pub(super) fn is_signed_twice(&self) -> bool {
        self.serials.len() as u64 > 1 + u64::from(self.renewals)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::step::State;

    const POLICY: Policy = Policy {
        reprovision: Reprovision::Approval,
        left: 33,
        spread: 50,
        new_key: false,
    };
    const WINDOW: SignedDuration = SignedDuration::from_mins(5);
    const LIFE: SignedDuration = SignedDuration::from_hours(24);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    fn enrolled() -> Enrolment {
        let mut node = Enrolment::newcomer(at(0));
        node.state = State::Confirmed;
        node.enrolled_key = Some("k1".to_owned());
        (node.enrolled_from, node.enrolled_until) = (Some(at(0)), Some(at(0) + LIFE));
        node.keeps_key = true;
        node
    }

    const TERMS: Terms = Terms {
        policy: POLICY,
        validity: LIFE,
        window: WINDOW,
    };

    fn turn(node: &Enrolment, now: Timestamp) -> Turn {
        node.turn("n1", &TERMS, now)
    }

    fn waits(node: &Enrolment, now: Timestamp) -> Option<Code> {
        match turn(node, now) {
            Turn::Waits { code, .. } => Some(code),
            _ => None,
        }
    }

    #[test]
    fn a_renewal_waits_for_its_time_then_for_whoever_it_needs() {
        let mut node = enrolled();
        let end = at(0) + LIFE;
        let Turn::Later(moment) = turn(&node, at(0)) else {
            panic!("it is not due at once");
        };
        assert!(POLICY.begin(at(0), end) <= moment && moment < end);
        assert_eq!(turn(&node, moment), Turn::Due { until: end });
        node.keeps_key = false;
        assert_eq!(waits(&node, moment), Some(Code::RenewalApproval));
        node.approved = true;
        assert_eq!(turn(&node, moment), Turn::Due { until: end });
        node.token_until = Some(moment + WINDOW);
        assert_eq!(waits(&node, moment), Some(Code::RenewalToken));
        assert_eq!(
            turn(&node, end),
            Turn::Never,
            "what is over cannot be renewed"
        );
    }

    #[test]
    fn one_renewal_is_open_and_one_in_vain_is_tried_again_later_each_time() {
        let mut node = enrolled();
        let now = at(60 * 20);
        node.renewal = Some(Renewal {
            asked: now,
            closes: now + WINDOW,
            tries: 0,
            lapsed: None,
        });
        assert_eq!(turn(&node, now), Turn::Open);
        assert_eq!(turn(&node, now + WINDOW), Turn::Unused);
        let first = node.ask_again(WINDOW, now).unwrap();
        node.renewal.as_mut().unwrap().tries = 2;
        let third = node.ask_again(WINDOW, now).unwrap();
        assert_eq!(first.duration_since(now), WINDOW);
        assert_eq!(third.duration_since(now), WINDOW * 4);
        node.renewal.as_mut().unwrap().lapsed = Some(Lapse {
            code: Code::RenewalUnused,
            says: String::new(),
            next_try: Some(third),
        });
        assert_eq!(turn(&node, now), Turn::Later(third));
        assert!(matches!(turn(&node, third), Turn::Due { .. }));
        assert_eq!(node.ask_again(WINDOW, at(0) + LIFE), None);
    }

    #[test]
    fn an_open_renewal_lets_in_the_same_key_and_no_other() {
        let mut node = enrolled();
        for reprovision in [
            Reprovision::Never,
            Reprovision::SameKey,
            Reprovision::Approval,
        ] {
            node.renewal = None;
            let policy = Policy {
                reprovision,
                ..POLICY
            };
            let before = policy.passes(&node, "k2", at(0));
            node.renewal = Some(Renewal {
                asked: at(0),
                closes: at(5),
                tries: 0,
                lapsed: None,
            });
            assert!(policy.passes(&node, "k1", at(1)), "{reprovision}");
            assert!(
                policy.passes(&node, "k1", at(9)),
                "{reprovision}: late is not too late"
            );
            assert!(
                !before && !policy.passes(&node, "k2", at(1)),
                "{reprovision}"
            );
            let accepting = Policy {
                new_key: true,
                ..policy
            };
            assert!(accepting.passes(&node, "k2", at(1)));
            assert!(!accepting.passes(&node, "k2", at(5)), "the window is over");
        }
    }

    proptest! {
        #[test]
        fn a_fleet_of_one_minute_is_spread(left in 1_u8..100, hours in 1_i64..20_000) {
            let policy = Policy { left, ..POLICY };
            let (from, until) = (at(0), at(hours * 60));
            let begin = policy.begin(from, until);
            let half = until.duration_since(begin) / 2;
            let mut first_half = 0;
            for node in 0..200 {
                let moment = policy.moment(&format!("n{node}"), from, until);
                prop_assert!(begin <= moment && moment <= begin + half);
                first_half += usize::from(moment < begin + half / 2);
            }
            prop_assert!((50..150).contains(&first_half), "{first_half} of 200");
        }
    }
}
