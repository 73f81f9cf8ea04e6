//! Reads `[provisioner.renewal]`: certificates that are short enough to be renewed during a run.

use std::time::Duration;

use super::model::{Phase, Provisioner, Renewal};
use super::read::{Context, Reader};
use super::words::{Manage, NewKey, Reached};

/// The shortest life of a certificate that a provisioner gives.
const SHORTEST: Duration = Duration::from_secs(10 * 60);
/// The longest: within the life of the run's authority.
pub(super) const LONGEST: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// The least time a node needs to come.
const LEAST_WINDOW: Duration = Duration::from_secs(15);

/// How long what nodes get is valid.
pub(super) fn read_validity(section: &Reader<'_>, helper: bool, cx: &mut Context) -> Duration {
    let Some(validity) = section.duration("validity", cx) else {
        return LONGEST;
    };
    if !(SHORTEST..=LONGEST).contains(&validity.value) {
        let message = "validity is out of its bounds; write \"10m\" to \"14d\"";
        cx.mistake(validity.place, message);
    }
    if helper {
        let message = "validity is what the provisioner or its own helper gives, and `helper` is \
                       another one; leave it out, or leave helper out";
        cx.mistake(validity.place, message);
    }
    validity.value
}

/// When and how nodes are asked back, where they are.
pub(super) fn read_renewal(
    section: &Reader<'_>,
    manage: Manage,
    cx: &mut Context,
) -> Option<Renewal> {
    let place = section.place_of("renewal");
    let section = section.section("renewal", cx)?;
    if manage == Manage::None {
        let message = "with manage = \"none\" nobody asks nodes back; write manage = \"local\"";
        cx.mistake(place, message);
    }
    let mut number = |key: &str, usual: u64| {
        let found = section.count(key, cx).map_or(usual, |at| at.value);
        u32::try_from(found).unwrap_or(u32::MAX)
    };
    let (left, spread) = (number("left", 33), number("spread", 50));
    let (rate, at_once) = (number("rate", 120), number("at_once", 50));
    let window = section.duration("window", cx);
    if let Some(short) = window.as_ref().filter(|at| at.value < LEAST_WINDOW) {
        let message = "window is too short for two restarts; write \"15s\" or longer";
        cx.mistake(short.place, message);
    }
    Some(Renewal {
        left,
        spread,
        rate,
        at_once,
        window: window.map_or(Duration::from_secs(300), |at| at.value),
        new_key: section
            .choice("new_key", cx)
            .map_or(NewKey::Approval, |at| at.value),
    })
}

/// Nobody is renewed whom nobody asks back.
pub(super) fn check_renewal(provisioner: &Provisioner, phases: &[Phase], cx: &mut Context) {
    if provisioner.renewal.is_some() {
        return;
    }
    let waits = |phase: &&Phase| {
        let until = phase.until.as_ref();
        until.is_some_and(|until| until.every == Reached::Renewed)
    };
    for phase in phases.iter().filter(waits) {
        let message = format!(
            "until every = \"renewed\" of phase `{}`, and nobody asks nodes back; write \
             [provisioner.renewal], and [provisioner] validity = \"10m\"",
            phase.name
        );
        cx.findings.mistake_at(phase.location.clone(), message);
    }
}
