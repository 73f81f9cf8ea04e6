//! What the nodes of a run let callers do.

use std::collections::BTreeMap;

use super::credentials::{LOADGEN, OPERATOR, PROVISIONER};

/// Agents with actions to authorize. Discovery has none.
const AGENTS: [&str; 4] = ["rpcutil", "choria_util", "choria_provision", "muster"];

/// Action policies by file name: the operator and loadgen may do everything, the provisioner what
/// it needs on an enrolled node, everybody else nothing.
pub fn action_policies() -> BTreeMap<String, String> {
    let policy = format!(
        "policy default deny\n\
         allow\tchoria={OPERATOR}\t*\t*\t*\n\
         allow\tchoria={LOADGEN}\t*\t*\t*\n\
         allow\tchoria={PROVISIONER}\tping inventory restart reprovision shutdown\t*\t*\n"
    );
    AGENTS
        .iter()
        // Agents that a scenario adds to make nodes heavier are covered by the default.
        .chain(&["default"])
        .map(|agent| (format!("{agent}.policy"), policy.clone()))
        .collect()
}
