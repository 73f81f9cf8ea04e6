//! What the provisioner says of each node, held against what the scenario expects of its fleet.

use std::collections::BTreeMap;

use crate::measure::{FleetOutcome, worded};
use crate::plan::Plan;
use crate::provisioner::NodeReport;
use crate::scenario::{Outcome, Start};

/// What the ledger has not heard of.
const UNHEARD: &str = "unheard";

/// What is expected of the fleets that are enrolled.
#[derive(Clone, Debug)]
pub(super) struct Outcomes {
    fleets: Vec<Wanted>,
}

#[derive(Clone, Debug)]
struct Wanted {
    /// Its place in the scenario.
    place: usize,
    expect: Outcome,
    /// As it is told before anything has come.
    told: FleetOutcome,
}

impl Outcomes {
    /// What a plan expects; nothing where every node is to be confirmed, which counting shows.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let fleets = plan.scenario.fleets.iter().enumerate();
        let wanted = fleets.filter(|(_, fleet)| fleet.start == Start::Unprovisioned);
        let fleets: Vec<Wanted> = wanted
            .map(|(place, fleet)| Wanted {
                place,
                expect: fleet.expect,
                told: FleetOutcome {
                    fleet: fleet.name.clone(),
                    behaviour: fleet.behaviour.to_string(),
                    expect: fleet.expect.to_string(),
                    code: fleet.code.clone(),
                    nodes: fleet.nodes,
                    ..FleetOutcome::default()
                },
            })
            .collect();
        let counted = |wanted: &Wanted| wanted.expect == Outcome::Confirmed;
        (!fleets.iter().all(counted)).then_some(Self { fleets })
    }

    /// What has come of each fleet so far.
    pub(super) fn judge(&self, nodes: &[NodeReport]) -> Vec<FleetOutcome> {
        let mut of_fleet: BTreeMap<&str, Vec<&NodeReport>> = BTreeMap::new();
        for node in nodes {
            // FLEET-00001.example.net
            if let Some((fleet, _)) = node.identity.rsplit_once('-') {
                of_fleet.entry(fleet).or_default().push(node);
            }
        }
        let judged = self.fleets.iter().map(|wanted| {
            let own = of_fleet.get(wanted.told.fleet.as_str());
            wanted.judge(own.map_or(&[], Vec::as_slice))
        });
        judged.collect()
    }

    /// The same as far as nodes themselves tell it: how many of each fleet `arrived` on the
    /// production network. Why the others did not, only their provisioner knows.
    pub(super) fn seen(&self, arrived: impl Fn(&str) -> u64) -> Vec<FleetOutcome> {
        let seen = self.fleets.iter().map(|wanted| {
            let mut told = wanted.told.clone();
            let enrolled = arrived(&told.fleet).min(told.nodes);
            let others = told.nodes - enrolled;
            told.code = None;
            told.as_expected = match wanted.expect {
                Outcome::Confirmed => enrolled,
                _ => others,
            };
            for (what, nodes) in [("enrolled", enrolled), ("not enrolled", others)] {
                if nodes > 0 {
                    told.found.insert(what.to_owned(), nodes);
                }
            }
            told
        });
        seen.collect()
    }

    /// Nodes that have come to what is expected of them, and how many should, over the fleets
    /// that `have_joined` by their place in the scenario.
    pub(super) fn settled(
        &self,
        nodes: &[NodeReport],
        have_joined: impl Fn(usize) -> bool,
    ) -> (u64, u64) {
        let judged = self.judge(nodes);
        let joined = self.fleets.iter().zip(&judged);
        let joined = joined.filter(|(wanted, _)| have_joined(wanted.place));
        joined.fold((0, 0), |(settled, expected), (_, of)| {
            (settled + of.as_expected, expected + of.nodes)
        })
    }
}

impl Wanted {
    fn judge(&self, nodes: &[&NodeReport]) -> FleetOutcome {
        let mut told = self.told.clone();
        for node in nodes {
            let code = node.code.as_deref();
            let reason = told.code.is_none() || told.code.as_deref() == code;
            told.as_expected += u64::from(reason && is(self.expect, &node.state, code));
            *told.found.entry(worded(&node.state, code)).or_default() += 1;
        }
        let heard = u64::try_from(nodes.len()).unwrap_or(u64::MAX);
        match told.nodes.saturating_sub(heard) {
            0 => {}
            unheard => {
                told.found.insert(UNHEARD.to_owned(), unheard);
            }
        }
        told
    }
}

fn is(expect: Outcome, state: &str, code: Option<&str>) -> bool {
    match expect {
        Outcome::Confirmed => state == "confirmed",
        Outcome::Unconfirmed => state != "confirmed",
        // From time to time a parked node is tried once more, for the reason it was parked for.
        Outcome::Parked => matches!(state, "parked" | "queued" | "working") && code.is_some(),
        Outcome::Quarantined => state == "quarantined",
        Outcome::Refused => state == "refused",
        Outcome::Banned => state == "banned",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use super::*;
    use crate::scenario::parse;

    fn node(identity: &str, state: &str, code: Option<&str>) -> NodeReport {
        NodeReport {
            identity: format!("{identity}.example.net"),
            state: state.to_owned(),
            code: code.map(str::to_owned),
        }
    }

    #[test]
    fn every_node_is_held_against_what_is_right_for_its_fleet() {
        let text = include_str!("../../../scenarios/hostile-nodes.toml");
        let scenario = parse(Path::new("hostile-nodes.toml"), text, &[]).unwrap();
        let outcomes = Outcomes::of(&Plan::new(scenario)).unwrap();
        let pem = Some("csr.pem_format");
        let nodes = [
            node("honest-00001", "confirmed", None),
            node("honest-00002", "parked", Some("rpc.timeout")),
            node("not-pem-00001", "working", pem),
            node("not-pem-00002", "confirmed", None),
            node("twice-00001", "parked", Some("rpc.duplicate_responder")),
        ];
        let judged = outcomes.judge(&nodes);
        let of = |fleet: &str| judged.iter().find(|of| of.fleet == fleet).unwrap();
        assert_eq!(of("honest").as_expected, 1);
        assert_eq!(of("honest").found["parked rpc.timeout"], 1);
        assert_eq!(of("honest").found[UNHEARD], of("honest").nodes - 2);
        assert_eq!(
            of("not-pem").as_expected,
            1,
            "tried again for the same reason"
        );
        assert_eq!(of("not-pem").expected(), "parked csr.pem_format");
        assert_eq!(of("twice").as_expected, 0, "it should be quarantined");
        let twice = judged.iter().position(|of| of.fleet == "twice").unwrap();
        let (settled, expected) = outcomes.settled(&nodes, |place| place != twice);
        assert_eq!(settled, 2);
        let all: u64 = judged.iter().map(|of| of.nodes).sum();
        assert_eq!(expected, all - of("twice").nodes);
    }

    #[test]
    fn without_the_provisioners_word_it_counts_who_got_there() {
        let text = include_str!("../../../scenarios/hostile-nodes.toml");
        let scenario = parse(Path::new("hostile-nodes.toml"), text, &[]).unwrap();
        let outcomes = Outcomes::of(&Plan::new(scenario)).unwrap();
        let seen = outcomes.seen(|fleet| if fleet == "honest" { 39 } else { 2 });
        let of = |fleet: &str| seen.iter().find(|of| of.fleet == fleet).unwrap();
        assert_eq!(of("honest").unexpected(), 1);
        assert_eq!(of("slow").unexpected(), 0);
        assert_eq!(
            of("wrong-name").unexpected(),
            2,
            "they should not be enrolled"
        );
        assert_eq!(of("wrong-name").found["enrolled"], 2);
    }

    #[test]
    fn where_all_are_to_be_confirmed_counting_is_enough() {
        let text = include_str!("../../../scenarios/quickstart.toml");
        let scenario = parse(Path::new("quickstart.toml"), text, &[]).unwrap();
        assert!(Outcomes::of(&Plan::new(scenario)).is_none());
    }
}
