//! What a version of the runner can do. The format is read whole; what cannot be run yet is
//! refused before anything starts, naming what can.

use super::behaviour::Behaviour;
use super::mistake::{Location, Mistake, Mistakes};
use super::model::{Action, FaultOf, Scenario, Tier};
use super::words::{Do, FaultKind, Format, Manage, Reached, SourceAddress, Start};

/// What can be run. Whoever runs scenarios says so, once.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Operations.
    pub ops: &'static [Do],
    /// Faults on brokers.
    pub broker_faults: &'static [FaultKind],
    /// Faults on provisioners.
    pub provisioner_faults: &'static [FaultKind],
    /// How nodes may behave.
    pub behaviours: &'static [Behaviour],
    /// How nodes may begin.
    pub starts: &'static [Start],
    /// Who may run the brokers.
    pub brokers: &'static [Manage],
    /// Who may run the provisioners.
    pub provisioners: &'static [Manage],
    /// How many provisioners there may be.
    pub most_provisioners: u32,
    /// Formations, in the words of the plan.
    pub formations: &'static [&'static str],
    /// Where connections may come from.
    pub sources: &'static [SourceAddress],
    /// Files that can be written.
    pub formats: &'static [Format],
}

impl Capabilities {
    /// Refuses what cannot be run, each with its place and what can be.
    ///
    /// # Errors
    /// Everything that is not available.
    pub fn check(&self, scenario: &Scenario) -> Result<(), Mistakes> {
        let mut missing = Missing(Vec::new());
        self.check_formation(scenario, &mut missing);
        self.check_fleets(scenario, &mut missing);
        self.check_phases(scenario, &mut missing);
        match missing.0.as_slice() {
            [] => Ok(()),
            _ => Err(Mistakes(missing.0)),
        }
    }

    fn check_formation(&self, scenario: &Scenario, missing: &mut Missing) {
        let start = || match scenario.topology.tiers.first() {
            Some(tier) => tier.location.clone(),
            None => scenario.provisioner.location.clone(),
        };
        let manage = scenario.topology.manage;
        missing.unless_in(self.brokers, manage, &start(), "topology manage");
        let formation = crate::plan::formation(&scenario.topology);
        if manage == Manage::Local && !self.formations.contains(&formation) {
            missing.tell(
                &start(),
                &format!("formation \"{formation}\""),
                self.formations,
            );
        }
        let provisioner = &scenario.provisioner;
        let at = &provisioner.location;
        missing.unless_in(
            self.provisioners,
            provisioner.manage,
            at,
            "provisioner manage",
        );
        if provisioner.manage == Manage::External && scenario.topology.manage == Manage::External {
            let what = "a provisioner of somebody else on brokers of somebody else";
            missing.tell(at, what, &["its provisioner on brokers that we start"]);
        }
        if provisioner.count > self.most_provisioners {
            let most = format!("up to {}", self.most_provisioners);
            missing.tell(at, &format!("{} provisioners", provisioner.count), &[&most]);
        }
        let keeper = scenario.topology.tiers.iter().any(Tier::keeps_bucket);
        if provisioner.count > 1 && manage == Manage::Local && !keeper {
            let what = "several provisioners without a production broker that stands alone";
            let instead = "one tier with count = 1 and no leaves or gateways, for their bucket";
            missing.tell(at, what, &[instead]);
        }
        let generator = &scenario.generator;
        missing.unless_in(self.sources, generator.source, &start(), "generator source");
        for format in &scenario.output.formats {
            missing.unless_in(self.formats, *format, &start(), "output format");
        }
    }

    fn check_fleets(&self, scenario: &Scenario, missing: &mut Missing) {
        for fleet in &scenario.fleets {
            missing.unless_in(
                self.behaviours,
                fleet.behaviour,
                &fleet.location,
                "behaviour",
            );
            missing.unless_in(self.starts, fleet.start, &fleet.location, "start");
        }
    }

    fn check_phases(&self, scenario: &Scenario, missing: &mut Missing) {
        for phase in &scenario.phases {
            let until = phase.until.as_ref().map(|until| until.every);
            if until == Some(Reached::Settled) && scenario.provisioner.manage != Manage::Local {
                let what = "until every node is settled, without a provisioner that tells of them,";
                missing.tell(&phase.location, what, &["connected", "confirmed"]);
            }
        }
        for op in scenario.phases.iter().flat_map(|phase| &phase.ops) {
            let word = match &op.action {
                Action::Connect { .. } => Do::Connect,
                Action::Provision { .. } => Do::Provision,
                Action::Request(_) => Do::Request,
                Action::Publish { .. } => Do::Publish,
                Action::Disconnect { .. } => Do::Disconnect,
                Action::Churn { .. } => Do::Churn,
                Action::Fault(_) => Do::Fault,
            };
            missing.unless_in(self.ops, word, &op.location, "do");
            if let Action::Fault(fault) = &op.action {
                let theirs = scenario.topology.manage == Manage::External;
                if theirs && fault.of == FaultOf::Brokers {
                    let what = "a fault on brokers of somebody else";
                    missing.tell(&op.location, what, &["faults on brokers that we start"]);
                    continue;
                }
                let theirs = scenario.provisioner.manage == Manage::External;
                if theirs && fault.of == FaultOf::Provisioners {
                    let what = "a fault on a provisioner of somebody else";
                    missing.tell(&op.location, what, &["faults on those that we start"]);
                    continue;
                }
                let (kinds, of) = match fault.of {
                    FaultOf::Brokers => (self.broker_faults, "a broker"),
                    FaultOf::Provisioners => (self.provisioner_faults, "a provisioner"),
                };
                let what = format!("on {of}, fault kind");
                missing.unless_in(kinds, fault.kind, &op.location, &what);
            }
        }
    }
}

/// What is not available, as it is found.
struct Missing(Vec<Mistake>);

impl Missing {
    fn unless_in<T: Copy + PartialEq + std::fmt::Display>(
        &mut self,
        available: &[T],
        wanted: T,
        location: &Location,
        what: &str,
    ) {
        if available.contains(&wanted) {
            return;
        }
        let words: Vec<String> = available.iter().map(T::to_string).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.tell(location, &format!("{what} = \"{wanted}\""), &words);
    }

    fn tell(&mut self, location: &Location, what: &str, available: &[&str]) {
        let available = match available {
            [] => "none".to_owned(),
            words => words.join(", "),
        };
        let mistake = Mistake {
            location: location.clone(),
            message: format!("{what} is not available in this version; available: {available}"),
        };
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }
}
