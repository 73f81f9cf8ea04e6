//! What came of nodes' enrolment, held against what their scenario expects.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of one fleet, by the provisioner's own account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FleetOutcome {
    /// The fleet.
    pub fleet: String,
    /// How its nodes behave.
    pub behaviour: String,
    /// What should come of them: `confirmed`, `parked`, `quarantined`.
    pub expect: String,
    /// The code that should be given as the reason.
    pub code: Option<String>,
    /// Nodes of the fleet.
    pub nodes: u64,
    /// Nodes of which that came.
    pub as_expected: u64,
    /// Nodes by what came of them: state, and code where one was given.
    pub found: BTreeMap<String, u64>,
}

impl FleetOutcome {
    /// Nodes of which something else came.
    pub fn unexpected(&self) -> u64 {
        self.nodes.saturating_sub(self.as_expected)
    }

    /// What should come, as [`FleetOutcome::found`] words it.
    pub fn expected(&self) -> String {
        worded(&self.expect, self.code.as_deref())
    }
}

/// A state with the reason for it.
pub fn worded(state: &str, code: Option<&str>) -> String {
    match code {
        Some(code) => format!("{state} {code}"),
        None => state.to_owned(),
    }
}
