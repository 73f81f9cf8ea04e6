//! What the lines of the audit log tell.

use jiff::Timestamp;
use serde::Serialize;

use crate::code::Code;
use crate::ledger::{Act, Applied, Change, Committed, Pause, Reason, Verb};
use crate::step::{State, Step};

/// One thing that happened. Strings are as the ledger keeps them: without secrets.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// A service or a command opened the log.
    Opened {
        version: &'static str,
        /// The last line the ledger knows; later ones before this had no effect.
        ledger: u64,
        /// Bytes of an unfinished line that were removed.
        torn: u64,
    },
    Requested {
        node: &'a str,
        key: &'a str,
        /// The token it used up a use of: SHA-256 of issuer and unique name, hexadecimal.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
    },
    /// The node was asked back for another certificate; until then it is let in without approval.
    RenewalAsked {
        node: &'a str,
        until: Timestamp,
    },
    RenewalLapsed {
        node: &'a str,
        code: Code,
        says: &'a str,
    },
    Asked {
        node: &'a str,
        key: &'a str,
        by: &'a str,
    },
    Declined {
        node: &'a str,
        key: &'a str,
    },
    Signed {
        node: &'a str,
        key: &'a str,
        serial: &'a str,
        not_after: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<&'a str>,
    },
    /// A certificate exists and was not sent: meanwhile it was decided otherwise about its node, or
    /// another node has its key.
    Withheld {
        node: &'a str,
        key: &'a str,
        serial: &'a str,
        not_after: Option<Timestamp>,
    },
    /// Another member of the group had begun and is gone; this one goes on.
    TakenOver {
        node: &'a str,
        from: &'a str,
        /// Key and serial number of the certificate the node is to be sent, where one exists.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<&'a str>,
    },
    Configured {
        node: &'a str,
    },
    Restarted {
        node: &'a str,
    },
    Confirmed {
        node: &'a str,
    },
    SetBack {
        node: &'a str,
        step: Step,
        state: State,
        code: Code,
        says: &'a str,
    },
    Ordered {
        node: &'a str,
        verb: Verb,
        state: State,
        by: &'a str,
        why: &'a str,
    },
    /// A certificate may no longer be accepted.
    Revoked {
        node: &'a str,
        key: &'a str,
        serial: &'a str,
        reason: Reason,
    },
    /// A list of revoked certificates was made.
    Listed {
        /// Its number; a member of a group takes it from the bucket afterwards.
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        until: Timestamp,
    },
    Paused {
        by: &'a str,
        why: &'a str,
    },
    Resumed {
        by: &'a str,
        why: &'a str,
    },
    /// Signs every line before it.
    Checkpoint {
        /// SHA-256 of the public key (SPKI), hexadecimal.
        key: &'a str,
        /// Ed25519, base64.
        signature: &'a str,
    },
}

/// What a change that was applied is told as, and what was revoked by it.
pub(crate) fn events<'a>(
    change: &'a Change,
    applied: &'a Applied,
    seen: Option<&'a Committed>,
) -> impl Iterator<Item = Event<'a>> {
    let revoked = seen.into_iter().flat_map(|seen| &seen.revoked);
    let revoked = revoked.map(|revoked| Event::Revoked {
        node: &revoked.identity,
        key: &revoked.key,
        serial: &revoked.serial,
        reason: revoked.reason,
    });
    event(change, applied).into_iter().chain(revoked)
}

/// What a change that was applied is told as. Hearing of nodes and asking
/// whether they are there decides nothing and is not told: a flood of names
/// must not fill the disk.
fn event<'a>(change: &'a Change, applied: &'a Applied) -> Option<Event<'a>> {
    let node = change.identity.as_str();
    let event = match (&change.act, applied) {
        (Act::Ordered(order), Applied::Ordered(ruling)) if !ruling.already => Event::Ordered {
            node,
            verb: order.verb,
            state: ruling.state,
            by: &order.by,
            why: &order.why,
        },
        (
            Act::Signed { key, issuance },
            Applied::NotNow(_) | Applied::HeldBy(_) | Applied::KeyHeldBy(_),
        ) => Event::Withheld {
            node,
            key,
            serial: &issuance.serial,
            not_after: issuance.not_after,
        },
        (_, applied) if *applied != Applied::Done => return None,
        (Act::Requested { key, presented, .. }, _) => Event::Requested {
            node,
            key,
            token: presented.token.as_ref().map(|token| token.id.as_str()),
        },
        (Act::RenewalAsked { closes }, _) => Event::RenewalAsked {
            node,
            until: *closes,
        },
        (Act::RenewalLapsed(lapse), _) => Event::RenewalLapsed {
            node,
            code: lapse.code,
            says: &lapse.says,
        },
        (Act::Asked { key, by, .. }, _) => Event::Asked { node, key, by },
        (Act::Declined { key }, _) => Event::Declined { node, key },
        (Act::Signed { key, issuance }, _) => Event::Signed {
            node,
            key,
            serial: &issuance.serial,
            not_after: issuance.not_after,
            target: issuance.target.as_deref(),
        },
        (Act::TakenOver { from, certificate }, _) => {
            let certificate = certificate.as_ref();
            Event::TakenOver {
                node,
                from,
                key: certificate.map(|(key, _)| key.as_str()),
                serial: certificate.map(|(_, serial)| serial.as_str()),
            }
        }
        (Act::Configured { .. }, _) => Event::Configured { node },
        (Act::Restarted { .. }, _) => Event::Restarted { node },
        (Act::Confirmed { .. }, _) => Event::Confirmed { node },
        (Act::SetBack(setback), _) if setback.code != Code::RpcTimeout => Event::SetBack {
            node,
            step: setback.step,
            state: setback.state,
            code: setback.code,
            says: &setback.says,
        },
        _ => return None,
    };
    Some(event)
}

impl<'a> Event<'a> {
    /// What a number that was taken for a list is told as.
    pub(crate) fn listed(applied: &Applied, until: Timestamp) -> Option<Self> {
        let Applied::Numbered(list) = applied else {
            return None;
        };
        let number = Some(list.number);
        Some(Self::Listed { number, until })
    }

    /// What a pause, or the end of one, is told as.
    pub(crate) fn pause(on: bool, pause: &'a Pause) -> Self {
        let (by, why) = (pause.by.as_str(), pause.why.as_str());
        if on {
            Self::Paused { by, why }
        } else {
            Self::Resumed { by, why }
        }
    }
}
