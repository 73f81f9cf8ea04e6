//! What `provisioner status --json` says, as far as a run needs it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The answer of the provisioner's `status` command. Fields this program does not know are left
/// aside, so that a newer provisioner can be driven.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Status {
    /// `running` or `stopped`.
    pub service: String,
    /// Both networks connected and the hook in order; false when stopped.
    #[serde(default)]
    pub ready: bool,
    /// What it waits for, a line each.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Address of its metrics.
    #[serde(default)]
    pub http: Option<String>,
    /// Enrolments by state.
    #[serde(default)]
    pub states: BTreeMap<String, u64>,
    /// Enrolments that are confirmed.
    pub confirmed: u64,
    /// Certificates in the ledger.
    pub certificates_issued: u64,
    /// Public keys with more than one certificate.
    pub keys_signed_twice: u64,
    /// How often a node was asked back to renew its certificate.
    #[serde(default)]
    pub renewals_asked: u64,
    /// First arrival.
    #[serde(default)]
    pub first_event: Option<jiff::Timestamp>,
    /// Latest confirmation.
    #[serde(default)]
    pub last_confirm: Option<jiff::Timestamp>,
    /// The steps in the order of the flow.
    #[serde(default)]
    pub steps: serde_json::Map<String, serde_json::Value>,
    /// Setbacks by code.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
}

/// One node in the answer of the provisioner's `nodes` command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NodeReport {
    /// The node.
    pub identity: String,
    /// What the provisioner is doing about it: `confirmed`, `parked`, `quarantined`.
    pub state: String,
    /// Why it does not go on.
    #[serde(default)]
    pub code: Option<String>,
}

/// How often a step was completed, and its latencies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Step {
    /// Completions.
    pub count: u64,
    /// Enrolments that are in the step at this moment.
    #[serde(default)]
    pub now: u64,
    /// Base64 of the HdrHistogram V2 record, microseconds.
    #[serde(default)]
    pub hist: Option<String>,
}

impl Status {
    /// Whether a running service answered.
    pub fn is_running(&self) -> bool {
        self.service == "running"
    }

    /// Whether a running service is ready to enrol.
    pub fn is_ready(&self) -> bool {
        self.service == "running" && self.ready
    }

    /// The steps in order.
    pub fn steps(&self) -> impl Iterator<Item = (&str, Step)> {
        self.steps.iter().filter_map(|(name, value)| {
            let step = Step::deserialize(value).ok()?;
            Some((name.as_str(), step))
        })
    }

    /// How many nodes have completed a step; 0 for a step that is not told.
    pub fn completed(&self, step: &str) -> u64 {
        self.steps()
            .find(|(name, _)| *name == step)
            .map_or(0, |(_, step)| step.count)
    }

    /// From the first arrival to the latest confirmation, microseconds.
    pub fn first_event_to_last_confirm_us(&self) -> Option<u64> {
        let span = self.last_confirm?.duration_since(self.first_event?);
        u64::try_from(span.as_micros()).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_answer_with_more_than_we_know_is_read() {
        let status: Status = serde_json::from_str(
            r#"{"schema":1,"service":"running","ready":true,"http":null,"states":{"queued":2},
                "confirmed":987,"certificates_issued":999,"keys_signed_twice":0,
                "first_event":"2026-11-22T14:03:11.020Z","last_confirm":"2026-11-22T14:03:16.300Z",
                "steps":{"arrive":{"count":1000,"latency_us":{},"hist":null},
                         "sign":{"count":999,"latency_us":{"p50":1},"hist":"HIST"}},
                "errors":{"node.silent":3},"a_new_field":[1]}"#,
        )
        .unwrap();
        assert!(status.is_ready());
        assert_eq!(status.completed("sign"), 999);
        assert_eq!(status.completed("confirm"), 0);
        assert_eq!(status.first_event_to_last_confirm_us(), Some(5_280_000));
    }
}
