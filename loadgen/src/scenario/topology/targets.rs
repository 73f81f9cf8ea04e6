//! Which brokers and provisioners a fault is meant for.

use crate::scenario::mistake::{nearest, suggestion};
use crate::scenario::model::{FaultOf, Provisioner, Tier, Topology};
use crate::scenario::words::Manage;

/// Names of the brokers and provisioners a fault's target stands for.
pub(in crate::scenario) fn targets(
    target: &str,
    topology: &Topology,
    provisioner: &Provisioner,
) -> Result<(FaultOf, Vec<String>), String> {
    use FaultOf::{Brokers, Provisioners};

    let brokers: Vec<String> = topology.tiers.iter().flat_map(Tier::brokers).collect();
    let provisioners: Vec<String> = match provisioner.manage {
        Manage::None => Vec::new(),
        Manage::Local | Manage::External => (1..=provisioner.count)
            .map(|number| format!("provisioner-{number}"))
            .collect(),
    };
    // The name of a tier of one means that one; of several it would be a guess.
    let sole = |names: &[String]| {
        let has = |number| names.contains(&format!("{target}-{number}"));
        (has(1) && !has(2)).then(|| format!("{target}-1"))
    };
    let pick = |names: &[String]| -> Vec<String> {
        let matching = names.iter().filter(|name| matches_pattern(target, name));
        let picked: Vec<String> = matching.cloned().collect();
        if picked.is_empty() {
            sole(names).into_iter().collect()
        } else {
            picked
        }
    };
    match (pick(&brokers), pick(&provisioners)) {
        (brokers, provisioners) if !brokers.is_empty() && !provisioners.is_empty() => Err(format!(
            "\"{target}\" means brokers and provisioners; write one operation for each"
        )),
        (picked, _) if !picked.is_empty() => Ok((Brokers, picked)),
        (_, picked) if !picked.is_empty() => Ok((Provisioners, picked)),
        _ => {
            let all: Vec<&str> = brokers
                .iter()
                .chain(&provisioners)
                .map(String::as_str)
                .collect();
            if all.contains(&format!("{target}-2").as_str()) {
                return Err(format!(
                    "\"{target}\" has several; write \"{target}-1\" or \"{target}-*\""
                ));
            }
            let near = match nearest(target, all.iter().copied()) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => suggestion(target, "targets", all),
            };
            Err(format!(
                "there is no broker or provisioner \"{target}\"{near}"
            ))
        }
    }
}

/// Whether a name matches a pattern in which `*` stands for any text.
pub(in crate::scenario) fn matches_pattern(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => {
            let Some(rest) = name.strip_prefix(head) else {
                return false;
            };
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches_pattern(tail, &rest[at..]))
        }
    }
}
