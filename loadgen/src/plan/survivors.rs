//! Whether the brokers a fault leaves can hold the nodes of those it takes.

use serde::Serialize;

use super::PlannedBroker;
use crate::preflight::{DESCRIPTORS_BESIDES, Finding};
use crate::scenario::{Action, FaultOf, FaultOp, Scenario};
use crate::units::grouped;

/// What one broker fault leaves of one tier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survivors {
    /// The phase it falls in.
    pub phase: String,
    /// The tier.
    pub tier: String,
    /// The brokers it takes.
    pub down: Vec<String>,
    /// How many of the tier stay.
    pub staying: u64,
    /// Connections each of them must hold when all nodes of the tier come to them; `None` when
    /// none stays, and only the return is judged.
    pub each: Option<u64>,
    /// Connections to other brokers that each of them holds beside.
    pub links: u64,
    /// Connections each of them accepts, where the scenario says so.
    pub limit: Option<u64>,
    /// Whether they can; `None` when there is nothing to judge.
    pub fits: Option<bool>,
}

impl Survivors {
    /// What the preflight says of it where a process may have so many descriptors; nothing when
    /// there is nothing to judge.
    pub fn findings(&self, descriptors: Option<u64>) -> Vec<Finding> {
        let by_limit = self.by_limit();
        by_limit
            .into_iter()
            .chain(self.by_descriptors(descriptors))
            .collect()
    }

    fn by_descriptors(&self, descriptors: Option<u64>) -> Option<Finding> {
        let (each, have) = (self.each?, descriptors?);
        let need = each + self.links + DESCRIPTORS_BESIDES;
        let says = format!(
            "with {} down, each of {} left of {} needs {} descriptors ({} connections + {} links + \
             {DESCRIPTORS_BESIDES}), a process may have {}",
            self.down.join(", "),
            self.staying,
            self.tier,
            grouped(need),
            grouped(each),
            self.links,
            grouped(have)
        );
        if need <= have {
            return Some(Finding {
                check: "survivor-capacity",
                ok: true,
                says,
            });
        }
        let room = have.saturating_sub(self.links + DESCRIPTORS_BESIDES).max(1);
        let brokers = (each * self.staying).div_ceil(room) + self.down.len() as u64;
        let says = format!(
            "{says}: give the tier {brokers} brokers (count = {brokers}), or use fewer nodes"
        );
        Some(Finding {
            check: "survivor-capacity",
            ok: false,
            says,
        })
    }

    fn by_limit(&self) -> Option<Finding> {
        let (each, limit) = (self.each?, self.limit?);
        let arithmetic = format!(
            "with {} down, {} connections on each of {} left of {}, whose max_conns is {}",
            self.down.join(", "),
            grouped(each),
            self.staying,
            self.tier,
            grouped(limit)
        );
        let says = if each <= limit {
            arithmetic
        } else {
            format!("{arithmetic}: set max_conns = {each}, or give the tier more brokers (count)")
        };
        Some(Finding {
            check: "survivor-capacity",
            ok: each <= limit,
            says,
        })
    }
}

pub(super) fn survivors(scenario: &Scenario, brokers: &[PlannedBroker]) -> Vec<Survivors> {
    let mut all = Vec::new();
    for phase in &scenario.phases {
        for op in &phase.ops {
            if let Action::Fault(fault) = &op.action
                && fault.of == FaultOf::Brokers
                && fault.link.is_none()
            {
                all.extend(left_by(fault, &phase.name, brokers));
            }
        }
    }
    all
}

fn left_by(fault: &FaultOp, phase: &str, brokers: &[PlannedBroker]) -> Vec<Survivors> {
    let mut tiers: Vec<&str> = brokers
        .iter()
        .filter(|broker| fault.targets.contains(&broker.name))
        .map(|broker| broker.tier.as_str())
        .collect();
    tiers.dedup();
    tiers
        .into_iter()
        .map(|tier| left_of_tier(fault, phase, tier, brokers))
        .collect()
}

fn left_of_tier(fault: &FaultOp, phase: &str, tier: &str, brokers: &[PlannedBroker]) -> Survivors {
    let of_tier: Vec<&PlannedBroker> = brokers.iter().filter(|b| b.tier == tier).collect();
    let (down, up): (Vec<&PlannedBroker>, Vec<&PlannedBroker>) = of_tier
        .iter()
        .partition(|broker| fault.targets.contains(&broker.name));
    let staying = up.len() as u64;
    let connections: u64 = of_tier.iter().map(|broker| broker.nodes).sum();
    let each = (staying > 0).then(|| connections.div_ceil(staying));
    let limit = up.iter().filter_map(|broker| broker.max_conns).min();
    Survivors {
        phase: phase.to_owned(),
        tier: tier.to_owned(),
        down: down.iter().map(|broker| broker.name.clone()).collect(),
        staying,
        each,
        links: up
            .iter()
            .map(|broker| broker.links)
            .max()
            .unwrap_or_default(),
        limit,
        fits: each.zip(limit).map(|(each, limit)| each <= limit),
    }
}
