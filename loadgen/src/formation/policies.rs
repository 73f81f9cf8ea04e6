//! What the nodes of a run let callers do.

use std::collections::BTreeMap;

use super::credentials::{LOADGEN, OPERATOR, PROVISIONER, caller_id};
use crate::scenario::Issues;

/// Agents with actions to authorize. Discovery has none.
const AGENTS: [&str; 4] = ["rpcutil", "choria_util", "choria_provision", "muster"];

/// Action policies by file name, for callers with certificates or with tokens: the operator and loadgen may do everything, the provisioner what
/// it needs on an enrolled node, everybody else nothing.
pub fn action_policies(issues: Issues) -> BTreeMap<String, String> {
    let [operator, loadgen, provisioner] =
        [OPERATOR, LOADGEN, PROVISIONER].map(|name| caller_id(name, issues));
    let policy = format!(
        "policy default deny\n\
         allow\t{operator}\t*\t*\t*\n\
         allow\t{loadgen}\t*\t*\t*\n\
         allow\t{provisioner}\tping inventory restart reprovision shutdown\t*\t*\n"
    );
    AGENTS
        .iter()
        // Agents that a scenario adds to make nodes heavier are covered by the default.
        .chain(&["default"])
        .map(|agent| (format!("{agent}.policy"), policy.clone()))
        .collect()
}
