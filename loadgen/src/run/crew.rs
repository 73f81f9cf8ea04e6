//! How a run is split over worker processes: how many, where, and over which control broker.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::control::broker::ControlBroker;
use crate::control::crew::{Crew, CrewError, CrewPlan, Limits};
use crate::control::link::Address;
use crate::formation::nats_server::NatsServer;
use crate::guard::RunMark;
use crate::plan::Plan;
use crate::preflight::{Finding, Machine};
use crate::scenario::Manage;
use crate::units::parse_duration;
use crate::worker::clock::RunClock;

/// Over which processes the fleet is split.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Workers")]
pub struct CrewOptions {
    /// Split the fleet over N processes [default: the scenario's, or as few as have descriptors
    /// enough]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub workers: Option<u32>,
    /// So many of them join from other machines; the command for there is shown
    #[arg(long, value_name = "N", default_value_t)]
    pub remote_workers: u32,
    /// How long workers may take to join [default: 20s, with --remote-workers 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub workers_within: Option<Duration>,
    /// The control broker, where it is not to be started for the run
    #[arg(long, value_name = "URL")]
    pub control: Option<String>,
    /// Its token
    #[arg(long, value_name = "T", requires = "control")]
    #[arg(env = crate::control::TOKEN, hide_env_values = true)]
    pub token: Option<String>,
    /// The certificates to trust, for a tls:// URL
    #[arg(long, value_name = "FILE", requires = "control")]
    pub control_ca: Option<PathBuf>,
    /// Where the control broker of the run listens [default: 127.0.0.1, with --remote-workers
    /// 0.0.0.0]
    #[arg(long, value_name = "IP", conflicts_with = "control")]
    pub control_listen: Option<IpAddr>,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|why| format!("{text:?} {why}"))
}

impl CrewOptions {
    /// Workers of a run of this plan.
    pub fn count(&self, plan: &Plan, machine: &Machine) -> u32 {
        let fewest = || match self.remote_workers {
            0 => plan.workers(machine.descriptors),
            // Workers from elsewhere come beside one of ours.
            remote => plan.workers(machine.descriptors).max(remote + 1),
        };
        self.workers.unwrap_or_else(fewest)
    }

    /// Whether the split makes sense, where anything is to be said of it.
    pub fn judge(&self, plan: &Plan, machine: &Machine) -> Vec<Finding> {
        let (workers, remote) = (self.count(plan, machine), self.remote_workers);
        let mut findings = Vec::new();
        let mut refuse = |says: String| {
            findings.push(Finding {
                check: "workers",
                ok: false,
                says,
            });
        };
        if remote > workers {
            refuse(format!(
                "--remote-workers {remote} is more than the {workers} workers of the run: \
                 --workers {remote}, or more"
            ));
        }
        if remote > 0 && plan.scenario.topology.manage == Manage::Local {
            refuse(
                "the brokers of this scenario listen on this machine's loopback alone, where \
                 workers from elsewhere cannot reach them: use brokers of your own ([topology] \
                 manage = \"external\"), or leave out --remote-workers"
                    .to_owned(),
            );
        }
        let may_lose = plan.scenario.generator.may_lose;
        if may_lose > 0 && may_lose >= workers {
            refuse(format!(
                "[generator] may_lose = {may_lose} leaves none of {workers} workers: --workers {}, \
                 or more",
                may_lose + 1
            ));
        }
        findings
    }

    /// Whether a control broker has to be started.
    pub fn starts_broker(&self) -> bool {
        self.control.is_none()
    }

    /// The control broker that was named.
    fn given(&self) -> Option<Address> {
        Some(Address {
            url: self.control.clone()?,
            token: self.token.clone(),
            ca: self.control_ca.clone(),
        })
    }

    /// Starts the control broker, unless one was named, and the local workers.
    ///
    /// # Errors
    /// When one of them does not start.
    pub(super) async fn start(&self, setting: Setting<'_>) -> Result<Crew, CrewError> {
        let listen = self.control_listen.unwrap_or(match self.remote_workers {
            0 => Ipv4Addr::LOCALHOST.into(),
            _ => Ipv4Addr::UNSPECIFIED.into(),
        });
        let broker = match self.given() {
            Some(given) => Err(given),
            None => {
                let (folder, server) = (setting.folder, setting.server);
                Ok(ControlBroker::start(folder, listen, server, setting.mark).await?)
            }
        };
        Crew::start(CrewPlan {
            run: setting.run,
            workers: setting.workers,
            remote: self.remote_workers,
            broker,
            program: setting.program,
            logs: setting.logs,
            mark: setting.mark,
            clock: setting.clock,
            limits: Limits::usual(self.workers_within, self.remote_workers),
        })
        .await
    }
}

/// What a crew is started with, beside what was asked for.
pub(super) struct Setting<'a> {
    pub(super) run: &'a str,
    pub(super) workers: u32,
    pub(super) folder: &'a Path,
    pub(super) logs: &'a Path,
    pub(super) program: &'a Path,
    pub(super) server: &'a NatsServer,
    pub(super) mark: &'a RunMark,
    pub(super) clock: RunClock,
}
