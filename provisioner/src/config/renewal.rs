//! `[renewal]`: enrolled nodes are asked back before their certificates end.

use std::time::Duration;

use jiff::SignedDuration;

use super::Config;
use super::reader::Section;
use crate::ledger::{LEFT, Policy, RenewalTerms, SPREAD};

const SECOND: Duration = Duration::from_secs(1);

/// `[renewal]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The share of a certificate's life, in percent, that is left when its renewal begins.
    pub left: u8,
    /// The share of that time, in percent, over which nodes are spread.
    pub spread: u8,
    /// Nodes asked back in a minute.
    pub rate: u32,
    /// Nodes asked back that are not enrolled again yet.
    pub at_once: usize,
    /// How long a node has to come.
    pub window: Duration,
    /// A node may come with another key without approval.
    pub new_key: bool,
}

pub(super) fn read(section: Section<'_, '_>) -> Renewal {
    let percent = |key: &str, default: u8| {
        let found = section.number(key, usize::from(default), 1..100);
        u8::try_from(found).unwrap_or(default)
    };
    let rate = section.number("rate", 120, 1..60_001);
    let renewal = Renewal {
        left: percent("left", LEFT),
        spread: percent("spread", SPREAD),
        rate: u32::try_from(rate).unwrap_or(u32::MAX),
        at_once: section.number("at_once", 50, 1..10_001),
        window: section.duration("window", 300 * SECOND, 15 * SECOND),
        new_key: section.word("new_key", &["approval", "accept"], "approval") == "accept",
    };
    section.finish();
    renewal
}

impl Config {
    /// Who may enrol though enrolled, and when certificates are renewed.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        let (left, spread, new_key) = match &self.renewal {
            Some(renewal) => (renewal.left, renewal.spread, renewal.new_key),
            None => (LEFT, SPREAD, false),
        };
        Policy {
            reprovision: self.reprovision,
            left,
            spread,
            new_key,
        }
    }

    /// How long what nodes are given is good: server tokens where there is an issuer, certificates elsewhere.
    #[must_use]
    pub fn validity(&self) -> Duration {
        let of_tokens = self.issuer.as_ref().map(|issuer| issuer.validity);
        of_tokens.unwrap_or(self.ca.validity)
    }

    /// The terms of renewals, where nodes are asked back.
    #[must_use]
    pub fn renewal_terms(&self) -> Option<RenewalTerms> {
        let signed = |time: Duration| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        self.renewal.as_ref().map(|renewal| RenewalTerms {
            policy: self.policy(),
            validity: signed(self.validity()),
            window: signed(renewal.window),
        })
    }
}
