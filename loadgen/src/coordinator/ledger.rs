//! What the provisioner's ledger says and what our own nodes say, put side by side.

use crate::measure::{
    ConnectTotals, Enrolment, FleetCounts, Hist, NodeState, OpKey, PhaseView, Series, StepLatency,
    Totals,
};
use crate::message::{Tally, WorkerProgress};
use crate::plan::Plan;
use crate::provisioner::Status;
use crate::scenario::{Action, Manage, Reached, Start};

use super::machine::Progress;

/// Steps of an enrolment that take time: everything after the arrival.
pub(super) const ARRIVE: &str = "arrive";

/// Which nodes are expected where.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Per phase: fleets that connect or are enrolled in it or before, by place in the scenario.
    connected: Vec<Vec<bool>>,
    fleets: Vec<ExpectedFleet>,
    /// The provisioner is somebody else's: only our nodes tell how far it is.
    theirs: bool,
    /// Nodes are asked back to renew their certificates.
    renews: bool,
    to_enrol: u64,
    /// Provision operations, whose latencies tell of enrolment as nodes see it.
    provision_ops: Vec<OpKey>,
}

#[derive(Clone, Debug)]
struct ExpectedFleet {
    name: String,
    nodes: u64,
    /// Nodes that should end as confirmed by the provisioner.
    confirmed: u64,
}

impl Expected {
    /// What a plan expects.
    pub fn of(plan: &Plan) -> Self {
        let scenario = &plan.scenario;
        let mut so_far = vec![false; scenario.fleets.len()];
        let mut connected = Vec::new();
        let mut provision_ops = Vec::new();
        for phase in &scenario.phases {
            for op in &phase.ops {
                let joins = matches!(op.action, Action::Connect { .. } | Action::Provision { .. });
                for (fleet, joined) in scenario.fleets.iter().zip(&mut so_far) {
                    *joined |= joins && op.action.fleets().contains(&fleet.name);
                }
                if matches!(op.action, Action::Provision { .. }) {
                    provision_ops.push(OpKey::new(&phase.name, &op.name));
                }
            }
            connected.push(so_far.clone());
        }
        let fleets = scenario.fleets.iter().map(|fleet| ExpectedFleet {
            name: fleet.name.clone(),
            nodes: fleet.nodes,
            confirmed: match fleet.start {
                Start::Unprovisioned => fleet.expected_confirmed(),
                Start::Production => 0,
            },
        });
        Self {
            connected,
            fleets: fleets.collect(),
            theirs: scenario.provisioner.manage == Manage::External,
            renews: scenario.provisioner.renewal.is_some(),
            to_enrol: plan.expected_confirmed,
            provision_ops,
        }
    }

    /// The nodes of a worker that is gone are expected no more.
    pub fn lose(&mut self, plan: &Plan, worker: u32, workers: u32) {
        for node in plan.nodes_of_worker(worker, workers) {
            let node = plan.node(node);
            let fleet = node.and_then(|node| self.fleets.get_mut(node.fleet));
            if let Some(fleet) = fleet {
                fleet.nodes = fleet.nodes.saturating_sub(1);
                fleet.confirmed = fleet.confirmed.saturating_sub(1);
            }
        }
    }

    /// Whether the nodes of a fleet have begun in this phase or before.
    pub fn has_joined(&self, phase: usize, fleet: usize) -> bool {
        let joined = self.connected.get(phase).and_then(|joins| joins.get(fleet));
        joined.copied().unwrap_or_default()
    }

    /// How far things are with a phase.
    pub fn progress<'a>(
        &self,
        phase: usize,
        workers: impl Iterator<Item = &'a WorkerProgress> + Clone,
        status: Option<&Status>,
        faults_open: bool,
    ) -> Progress {
        let of_phase = |worker: &WorkerProgress| worker.phase == Some(phase);
        let mut progress = Progress {
            ops_issued: workers
                .clone()
                .all(|worker| of_phase(worker) && worker.issued),
            ops_done: workers
                .clone()
                .all(|worker| of_phase(worker) && worker.done),
            faults_open,
            ..Progress::default()
        };
        for (place, fleet) in self.fleets.iter().enumerate() {
            if self.has_joined(phase, place) {
                progress.expect_connected += fleet.nodes;
                progress.expect_confirmed += fleet.confirmed;
            }
        }
        let mut own = 0;
        for worker in workers.clone() {
            progress.connected += worker.fleets.iter().map(|f| self.connected(f)).sum::<u64>();
            own += worker.tally.confirmed;
            progress.renewed += worker.tally.renewed;
        }
        let ledger = status.map_or(0, |status| status.confirmed);
        progress.confirmed = if self.theirs {
            self.enrolled(workers)
        } else {
            own.min(ledger)
        };
        progress
    }

    /// Nodes that have got to the production network, of those that should.
    fn enrolled<'a>(&self, workers: impl Iterator<Item = &'a WorkerProgress> + Clone) -> u64 {
        let fleets = self.fleets.iter().filter(|fleet| fleet.confirmed > 0);
        fleets
            .map(|fleet| arrived(&fleet.name, workers.clone()))
            .sum()
    }

    /// The enrolment as far as nodes tell it, where the provisioner is somebody else's.
    pub fn enrolment_seen<'a>(
        &self,
        workers: impl Iterator<Item = &'a WorkerProgress> + Clone,
        totals: &Totals,
    ) -> Option<Enrolment> {
        let confirmed = self.enrolled(workers);
        self.theirs.then(|| Enrolment {
            expected: self.to_enrol,
            confirmed,
            stuck: self.to_enrol.saturating_sub(confirmed),
            to_restart: self.seen_by_nodes(totals, Series::ToRestart),
            to_confirmed: self.seen_by_nodes(totals, Series::Actual),
            ..Enrolment::default()
        })
    }

    fn seen_by_nodes(&self, totals: &Totals, series: Series) -> Option<Hist> {
        let mut all = Hist::new();
        for key in &self.provision_ops {
            let found = totals.ops.get(key).and_then(|op| op.series.get(&series));
            found.into_iter().for_each(|hist| all.merge(hist));
        }
        (!all.is_empty()).then_some(all)
    }

    fn connected(&self, counts: &FleetCounts) -> u64 {
        const ON_A_NETWORK: [NodeState; 6] = [
            NodeState::Joined,
            NodeState::Arrived,
            NodeState::Csr,
            NodeState::Configured,
            NodeState::Connected,
            NodeState::Confirmed,
        ];
        let known = self.fleets.iter().any(|fleet| fleet.name == counts.fleet);
        let each = ON_A_NETWORK.iter().map(|state| counts.of(*state));
        if known { each.sum() } else { 0 }
    }

    /// The enrolment as the ledger tells it, with what only nodes can tell. Once every node was
    /// enrolled, how many were and how long it took stay as they are, as a node on its way to a new
    /// certificate was confirmed and its coming back is no later end of the enrolment; whether it
    /// is confirmed again stands beside that.
    pub fn enrolment(&self, status: &Status, totals: &Totals) -> Enrolment {
        let before = totals.enrolment.as_ref();
        let whole = before.filter(|before| self.renews && before.confirmed == before.expected);
        let confirmed = whole.map_or(status.confirmed, |before| before.confirmed);
        let span = whole.map(|before| before.first_event_to_last_confirm_us);
        let back = totals.renewals.as_ref().map_or(0, |all| all.back);
        let open = status.renewals_asked.saturating_sub(back);
        let steps = status.steps().filter(|(name, _)| *name != ARRIVE);
        let steps = steps.map(|(name, step)| StepLatency {
            step: name.to_owned(),
            latency: step.hist.as_deref().map_or_else(Hist::new, |hist| {
                Hist::from_base64(hist).unwrap_or_else(|error| {
                    tracing::warn!(step = name, %error, "a histogram of the ledger");
                    Hist::new()
                })
            }),
        });
        Enrolment {
            expected: self.to_enrol,
            confirmed,
            confirmed_now: Some(status.confirmed),
            renewals_open: self.renews.then_some(open),
            stuck: self.to_enrol.saturating_sub(confirmed),
            errors: status.errors.values().sum(),
            errors_by_code: status.errors.clone(),
            certificates_issued: Some(status.certificates_issued),
            keys_signed_twice: Some(status.keys_signed_twice),
            renewals_asked: self.renews.then_some(status.renewals_asked),
            first_event_to_last_confirm_us: span
                .unwrap_or_else(|| status.first_event_to_last_confirm_us()),
            outcomes: Vec::new(),
            steps: steps.collect(),
            to_restart: self.seen_by_nodes(totals, Series::ToRestart),
            to_confirmed: self.seen_by_nodes(totals, Series::Actual),
        }
    }
}

/// Nodes of a fleet that have got to the production network, whether or not they are there still.
pub(super) fn arrived<'a>(fleet: &str, workers: impl Iterator<Item = &'a WorkerProgress>) -> u64 {
    let counts = workers.flat_map(|worker| &worker.fleets);
    let own = counts.filter(|counts| counts.fleet == fleet);
    own.map(|counts| counts.confirmed).sum()
}

/// Where the ledger and our own nodes tell different stories. Either way somebody is wrong, and
/// the run fails.
pub fn disagreements(enrolment: &Enrolment, tally: &Tally) -> Vec<String> {
    let mut wrong = Vec::new();
    let (ledger, own) = (enrolment.confirmed, tally.confirmed);
    if ledger != own {
        wrong.push(format!(
            "the provisioner's ledger has {ledger} nodes confirmed, and {own} of our nodes were \
             asked for it on the production network"
        ));
    }
    if let Some(asked) = enrolment.renewals_asked
        && asked < tally.renewed
    {
        wrong.push(format!(
            "the provisioner's ledger has {asked} nodes asked back, and {} of our nodes were renewed",
            tally.renewed
        ));
    }
    wrong.extend(unconfirmed_renewals(enrolment));
    if let Some(issued) = enrolment.certificates_issued {
        let csrs = tally.csrs;
        if issued > csrs {
            wrong.push(format!(
                "the provisioner's ledger has {issued} certificates, and our nodes made only {csrs} \
                 requests"
            ));
        }
        if issued < ledger {
            wrong.push(format!(
                "the provisioner's ledger has {ledger} nodes confirmed with only {issued} \
                 certificates"
            ));
        } else if enrolment.renewals_asked.is_some() && issued < ledger + tally.renewed {
            wrong.push(format!(
                "the provisioner's ledger has {issued} certificates for {ledger} nodes enrolled, \
                 and {} of our nodes were renewed: some came back without a new one",
                tally.renewed
            ));
        }
    }
    wrong
}

/// Renewals that ended for our nodes and not for the ledger. A node that is still away is rightly
/// not confirmed.
fn unconfirmed_renewals(enrolment: &Enrolment) -> Option<String> {
    let (now, open) = (enrolment.confirmed_now?, enrolment.renewals_open?);
    let unsettled = enrolment.confirmed.saturating_sub(now);
    (unsettled > open).then(|| {
        format!(
            "the provisioner's ledger has {now} of {} enrolled nodes confirmed at the end, and no \
             more than {open} were asked back and are not back yet: renewals were not confirmed",
            enrolment.confirmed
        )
    })
}

/// Whether the workers together host what the plan says.
pub fn missing_nodes(plan: &Plan, hosted: u64) -> Option<String> {
    let planned = plan.nodes;
    (hosted != planned)
        .then(|| format!("the workers host {hosted} nodes together, and the plan has {planned}"))
}

/// First connections to the production network, where nodes made them in the course of their
/// enrolment; `None` where operations of the scenario tell of them.
pub fn connect(plan: &Plan, tally: &Tally) -> Option<ConnectTotals> {
    let mut ops = plan.scenario.phases.iter().flat_map(|phase| &phase.ops);
    let enrols = ops.any(|op| matches!(op.action, Action::Provision { .. }));
    if !enrols || tally.first_dials == 0 {
        return None;
    }
    let dialled = tally.first_dial_us;
    let up = tally.last_up_us;
    Some(ConnectTotals {
        ok: tally.first_up,
        errors: tally.first_dials.saturating_sub(tally.first_up),
        duration_us: dialled
            .zip(up)
            .map(|(first, last)| last.saturating_sub(first)),
        attempts: Some(tally.first_dials),
    })
}

/// Brings a running phase's bar up to date: towards its barrier, through its rounds, or through
/// its time.
pub fn show_progress(
    plan: &Plan,
    phase: usize,
    view: &mut PhaseView,
    progress: &Progress,
    rounds: u64,
) {
    let Some(phase) = plan.scenario.phases.get(phase) else {
        return;
    };
    let set = |view: &mut PhaseView, done: u64, of: u64, unit: &str| {
        (view.done, view.of, view.unit) = (done, of, unit.to_owned());
    };
    let to_do: u64 = phase
        .ops
        .iter()
        .filter(|op| matches!(op.action, Action::Request(_)))
        .filter_map(|op| op.pace.count())
        .sum();
    match (&phase.until, phase.duration) {
        (Some(until), _) if until.every == Reached::Connected => {
            set(view, progress.connected, progress.expect_connected, "nodes");
        }
        (Some(until), _) if until.every == Reached::Settled => {
            set(view, progress.settled, progress.expect_settled, "nodes");
        }
        (Some(until), _) if until.every == Reached::Renewed => {
            set(view, progress.renewed, progress.expect_confirmed, "nodes");
        }
        (Some(_), _) => set(view, progress.confirmed, progress.expect_confirmed, "nodes"),
        (None, Some(duration)) => {
            let of = crate::measure::micros(duration);
            set(view, view.elapsed_us.min(of), of, "µs");
        }
        (None, None) => set(view, rounds.min(to_do), to_do, "rounds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_got_to_production_and_left_has_been_enrolled_all_the_same() {
        let worker = |state, nodes| WorkerProgress {
            fleets: ["honest", "wrong-name"]
                .map(|fleet| FleetCounts {
                    fleet: fleet.to_owned(),
                    nodes: [(state, nodes)].into(),
                    confirmed: nodes,
                })
                .into(),
            ..WorkerProgress::default()
        };
        let workers = [worker(NodeState::Confirmed, 2), worker(NodeState::Down, 3)];
        assert_eq!(arrived("wrong-name", workers.iter()), 5);
    }

    #[test]
    fn every_disagreement_is_told() {
        let enrolment = |confirmed, issued| Enrolment {
            confirmed,
            certificates_issued: Some(issued),
            ..Enrolment::default()
        };
        let tally = |confirmed, csrs| Tally {
            confirmed,
            csrs,
            ..Tally::default()
        };
        assert!(disagreements(&enrolment(10, 12), &tally(10, 13)).is_empty());
        assert_eq!(disagreements(&enrolment(10, 10), &tally(9, 10)).len(), 1);
        assert_eq!(disagreements(&enrolment(10, 11), &tally(10, 10)).len(), 1);
        assert_eq!(disagreements(&enrolment(10, 9), &tally(10, 10)).len(), 1);
    }

    #[test]
    fn renewals_in_name_only_are_told() {
        // Ten nodes, enrolled and renewed, as the ledger has it at the end.
        let told = |confirmed_now, open, issued, asked| {
            let enrolment = Enrolment {
                expected: 10,
                confirmed: 10,
                confirmed_now: Some(confirmed_now),
                renewals_open: Some(open),
                renewals_asked: Some(asked),
                certificates_issued: Some(issued),
                ..Enrolment::default()
            };
            let tally = Tally {
                confirmed: 10,
                renewed: 10,
                csrs: 25,
                ..Tally::default()
            };
            disagreements(&enrolment, &tally).len()
        };
        assert_eq!(told(10, 0, 20, 10), 0);
        assert_eq!(told(8, 2, 20, 12), 0, "two are away for a second renewal");
        assert_eq!(told(8, 1, 20, 11), 1, "one is back and not confirmed");
        assert_eq!(told(0, 0, 20, 10), 1, "no renewal was confirmed");
        assert_eq!(told(10, 0, 19, 10), 1, "one has its old certificate");
        assert_eq!(told(10, 0, 20, 9), 1, "one was not asked");
    }

    #[test]
    fn an_enrolment_that_was_whole_stays_so_while_nodes_are_renewed() {
        let expected = Expected {
            connected: Vec::new(),
            fleets: Vec::new(),
            theirs: false,
            renews: true,
            to_enrol: 10,
            provision_ops: Vec::new(),
        };
        let mut totals = Totals::default();
        for (second, confirmed, unsettled) in [(5, 10, 0), (50, 8, 2), (60, 10, 0)] {
            let status = Status {
                confirmed,
                first_event: Some(jiff::Timestamp::UNIX_EPOCH),
                last_confirm: Some(jiff::Timestamp::constant(second, 0)),
                ..Status::default()
            };
            let enrolment = expected.enrolment(&status, &totals);
            assert_eq!((enrolment.confirmed, enrolment.stuck), (10, 0));
            assert_eq!(enrolment.first_event_to_last_confirm_us, Some(5_000_000));
            assert_eq!(enrolment.unsettled(), Some(unsettled));
            totals.enrolment = Some(enrolment);
        }
    }
}
