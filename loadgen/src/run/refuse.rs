//! The preflight of a run: its programs, and whether this machine can hold it.

use crate::formation::nats_server::NatsServer;
use crate::plan::Plan;
use crate::preflight::{self, Finding, Machine};
use crate::scenario::{Check, Manage, OnFail};
use crate::site::Programs;

use super::Options;

/// The programs a plan needs, found and looked at.
///
/// # Errors
/// As findings that say what to do.
pub fn find_programs(plan: &Plan, options: &Options) -> (Option<Programs>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut note = |check, found: Result<String, String>| {
        let (ok, says) = match found {
            Ok(says) => (true, says),
            Err(says) => (false, says),
        };
        findings.push(Finding { check, ok, says });
    };
    let nats_server = NatsServer::find(options.nats_server.as_deref());
    let said = nats_server.as_ref().map(|server| {
        let path = server.path.display();
        format!("nats-server {} ({path})", server.version)
    });
    note("nats-server", said.map_err(ToString::to_string));
    let mut provisioner = None;
    if plan.scenario.provisioner.manage == Manage::Local {
        let found = crate::provisioner::find(options.provisioner.as_deref());
        let said = found.as_ref().map(|path| path.display().to_string());
        note("provisioner", said.map_err(ToString::to_string));
        provisioner = found.ok();
    }
    let programs = nats_server.ok().map(|nats_server| Programs {
        nats_server,
        provisioner,
    });
    (programs, findings)
}

/// Checks that this machine can hold the plan. `None` when the run must not go on; every refusal
/// has been told.
pub fn preflight(plan: &Plan, options: &Options, machine: &Machine) -> Preflight {
    let (programs, mut findings) = find_programs(plan, options);
    let workers = options.crew.count(plan, machine);
    findings.extend(options.crew.judge(plan, machine));
    findings.extend(preflight::judge(&plan.needs(workers), machine));
    if plan.scenario.topology.manage == Manage::External {
        findings.extend(preflight::greet_all(plan));
    }
    let survivors = plan.survivors.iter();
    findings.extend(survivors.flat_map(|left| left.findings(machine.descriptors)));
    let wanted = &plan.scenario.preflight.require;
    let required = |finding: &Finding| {
        // Without these there is no run, whatever the scenario wants checked.
        let always = matches!(finding.check, "nats-server" | "provisioner" | "workers");
        always
            || wanted
                .iter()
                .map(|check: &Check| check.word())
                .any(|word| word == finding.check)
    };
    let refused: Vec<Finding> = findings
        .iter()
        .filter(|finding| !finding.ok && required(finding))
        .cloned()
        .collect();
    let stop = plan.scenario.preflight.on_fail == OnFail::Stop;
    let split = refused.iter().all(|finding| finding.check != "workers");
    let go_on = programs.is_some() && split && (refused.is_empty() || !stop);
    Preflight {
        programs: programs.filter(|_| go_on),
        workers,
        findings,
        refused,
    }
}

/// What the preflight came to.
#[derive(Debug)]
pub struct Preflight {
    /// What to run with; `None` when the run is refused.
    pub programs: Option<Programs>,
    /// Workers in all.
    pub workers: u32,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
    /// What does not hold.
    pub refused: Vec<Finding>,
}

impl Preflight {
    /// Tells on standard error what does not hold.
    pub fn tell(&self) {
        let word = match self.programs {
            Some(_) => "warning",
            None => "refused",
        };
        for finding in &self.refused {
            eprintln!("loadgen: {word} ({}): {}", finding.check, finding.says);
        }
    }
}
