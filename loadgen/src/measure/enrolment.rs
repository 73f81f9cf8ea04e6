//! What is known of a run's enrolments.

use std::collections::BTreeMap;

use super::{FleetOutcome, Hist};

/// What the provisioner's ledger says of a run's enrolments.
#[derive(Clone, Debug, Default)]
pub struct Enrolment {
    /// Nodes that are expected to be confirmed.
    pub expected: u64,
    /// Nodes that were.
    pub confirmed: u64,
    /// Nodes that are at this moment, by the ledger: those on their way to a new certificate are
    /// not.
    pub confirmed_now: Option<u64>,
    /// Times a node was asked back and is not seen back yet.
    pub renewals_open: Option<u64>,
    /// Expected to be confirmed and not, when the phase ended.
    pub stuck: u64,
    /// Refusals, failures and retries, all kinds.
    pub errors: u64,
    /// Errors by code.
    pub errors_by_code: BTreeMap<String, u64>,
    /// Certificates that were issued.
    pub certificates_issued: Option<u64>,
    /// How often a node was asked back to renew its certificate.
    pub renewals_asked: Option<u64>,
    /// Public keys with more than one certificate: must be 0, whatever happens.
    pub keys_signed_twice: Option<u64>,
    /// From the first startup event to the last confirmation, µs.
    pub first_event_to_last_confirm_us: Option<u64>,
    /// What came of each fleet, where not all are expected to be confirmed.
    pub outcomes: Vec<FleetOutcome>,
    /// One distribution per step, in the order of the steps.
    pub steps: Vec<StepLatency>,
    /// From a node's event to the restart request.
    pub to_restart: Option<Hist>,
    /// From a node's event to its confirmation.
    pub to_confirmed: Option<Hist>,
}

/// How long one step of enrolment took.
#[derive(Clone, Debug)]
pub struct StepLatency {
    /// Name of the step: `queue`, `inspect`, `csr`, `sign`, `configure`, `restart`, `confirm`.
    pub step: String,
    /// Its distribution.
    pub latency: Hist,
}

impl Enrolment {
    /// Nodes of which something else came than is right for their fleet, and of how many that is
    /// known; where every node is to be confirmed, those that are not.
    pub fn unexpected(&self) -> Option<(u64, u64)> {
        if self.outcomes.is_empty() {
            return Some((self.stuck, self.expected));
        }
        let fleets = self.outcomes.iter();
        let sums = fleets.map(|of| (of.unexpected(), of.nodes));
        sums.reduce(|(some, all), (of, nodes)| (some + of, all + nodes))
    }

    /// Nodes that are expected to be confirmed and are not at this moment, by the ledger.
    pub fn unsettled(&self) -> Option<u64> {
        let now = self.confirmed_now?;
        Some(self.expected.saturating_sub(now))
    }

    /// Confirmed nodes per minute, from the first event to the last confirmation.
    pub fn per_min(&self) -> Option<f64> {
        let us = self.first_event_to_last_confirm_us.filter(|us| *us > 0)?;
        Some(self.confirmed as f64 * 60e6 / us as f64)
    }
}
