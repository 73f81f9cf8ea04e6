//! Before the first socket: can this machine hold the run? Every refusal says what to do.

mod machine;
mod reach;
mod waiting;

pub use machine::{Machine, local_port_range};
pub use reach::{Greeting, ReachError, greet, greet_all};

use std::path::Path;

use serde::Serialize;

use crate::message::DIALS;
use crate::units::grouped;

/// What a run needs of the machine, all processes of it together unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Nodes in all.
    pub nodes: u64,
    /// Connections of the process that holds most of them.
    pub connections_per_worker: u64,
    /// Worker processes.
    pub workers: u64,
    /// Per broker: its name and the connections it must be able to hold.
    pub broker_connections: Vec<(String, u64)>,
    /// Per broker: its name and the connections it accepts at most, where the scenario says so.
    pub broker_limits: Vec<(String, u64)>,
    /// Whether the brokers are processes of ours.
    pub brokers_ours: bool,
    /// Source addresses that connections are spread over.
    pub sources: u64,
    /// Memory of all processes, bytes.
    pub memory_bytes: u64,
}

/// Descriptors a process needs besides its connections: logs, pipes, listeners, the runtime.
pub const DESCRIPTORS_BESIDES: u64 = 128;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `nofile`, `ports`, `memory`, `broker-max-conns`, `results`.
    pub check: &'static str,
    /// Whether the run can go on.
    pub ok: bool,
    /// The arithmetic, and what to do where it does not hold.
    pub says: String,
}

impl Finding {
    fn new(check: &'static str, ok: bool, says: String) -> Self {
        Self { check, ok, says }
    }
}

/// Judges what a run needs against what the machine has.
pub fn judge(needs: &Needs, machine: &Machine) -> Vec<Finding> {
    let mut findings = vec![worker_descriptors(needs, machine)];
    findings.extend(broker_descriptors(needs, machine));
    findings.extend(broker_limits(needs));
    findings.push(ports(needs, machine));
    findings.push(backlog(needs, machine));
    findings.push(memory(needs, machine));
    findings
}

/// Judges whether results can be written into `folder`, by writing there.
///
/// # Errors
/// Never; what fails is the finding.
pub fn results_folder(folder: &Path) -> Finding {
    let tried = std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop));
    match tried {
        Ok(()) => Finding::new(
            "results",
            true,
            format!("results go to {}", folder.display()),
        ),
        Err(error) => Finding::new(
            "results",
            false,
            format!(
                "the results folder {} cannot be written: {error}; name another with --out DIR",
                folder.display()
            ),
        ),
    }
}

fn worker_descriptors(needs: &Needs, machine: &Machine) -> Finding {
    let need = needs.connections_per_worker + DESCRIPTORS_BESIDES;
    let Some(limit) = machine.descriptors else {
        let says = "the limit of descriptors cannot be read".to_owned();
        return Finding::new("nofile", true, says);
    };
    let whose = match needs.workers {
        0 | 1 => "this process".to_owned(),
        n => format!("each of {n} workers"),
    };
    let arithmetic = format!(
        "needs {} descriptors ({} connections + {DESCRIPTORS_BESIDES}), {whose} may have {}",
        grouped(need),
        grouped(needs.connections_per_worker),
        grouped(limit)
    );
    if need <= limit {
        return Finding::new("nofile", true, arithmetic);
    }
    let fits = limit.saturating_sub(DESCRIPTORS_BESIDES).max(1);
    Finding::new(
        "nofile",
        false,
        format!(
            "{arithmetic}: use --workers {}, or raise the limit first: ulimit -n {need}",
            needs.nodes.div_ceil(fits)
        ),
    )
}

fn broker_descriptors(needs: &Needs, machine: &Machine) -> Vec<Finding> {
    let Some(limit) = machine.descriptors.filter(|_| needs.brokers_ours) else {
        return Vec::new();
    };
    let over = needs
        .broker_connections
        .iter()
        .map(|(name, connections)| (name, connections + DESCRIPTORS_BESIDES))
        .filter(|(_, need)| *need > limit);
    over.map(|(name, need)| {
        let times = need.div_ceil(limit.saturating_sub(DESCRIPTORS_BESIDES).max(1));
        Finding::new(
            "nofile",
            false,
            format!(
                "broker {name} needs {} descriptors, a process may have {}: give its tier {times} \
                 times as many brokers (count), or raise the limit first: ulimit -n {need}",
                grouped(need),
                grouped(limit)
            ),
        )
    })
    .collect()
}

fn broker_limits(needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, limit) in &needs.broker_limits {
        let wanted = needs.broker_connections.iter().find(|(own, _)| own == name);
        let Some((_, connections)) = wanted.filter(|(_, connections)| connections > limit) else {
            continue;
        };
        findings.push(Finding::new(
            "broker-max-conns",
            false,
            format!(
                "broker {name} must hold {connections} connections and max_conns is {limit}: \
                 set max_conns = {connections}, or give its tier more brokers (count)"
            ),
        ));
    }
    findings
}

fn ports(needs: &Needs, machine: &Machine) -> Finding {
    let Some((low, high)) = machine.port_range else {
        let says = "the range of local ports cannot be read".to_owned();
        return Finding::new("ports", true, says);
    };
    let each = u64::from(high.saturating_sub(low)) + 1;
    let available = each * needs.sources.max(1);
    // A port is taken per connection and destination: the busiest broker decides.
    let busiest = needs
        .broker_connections
        .iter()
        .max_by_key(|(_, connections)| *connections);
    let Some((name, connections)) = busiest else {
        return Finding::new("ports", true, "no connections".to_owned());
    };
    let arithmetic = format!(
        "{} connections to {name}, {} local ports ({low} to {high}{}) for one destination",
        grouped(*connections),
        grouped(available),
        match needs.sources {
            0 | 1 => String::new(),
            n => format!(", from {n} addresses"),
        }
    );
    if *connections <= available {
        return Finding::new("ports", true, arithmetic);
    }
    let addresses = connections.div_ceil(each).max(2);
    Finding::new(
        "ports",
        false,
        format!(
            "{arithmetic}: give its tier more brokers (count), or come from {addresses} \
             addresses ([generator] source = \"bind-no-port\", addrs = [...]), or widen the range: \
             sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
        ),
    )
}

/// Whether all dials that may be under way find room before a broker accepts them.
fn backlog(needs: &Needs, machine: &Machine) -> Finding {
    let Some(room) = machine.backlog.filter(|_| needs.brokers_ours) else {
        let says = "the backlog of the brokers' machine cannot be read".to_owned();
        return Finding::new("backlog", true, says);
    };
    let at_once = u64::from(DIALS).max(needs.workers);
    let arithmetic = format!(
        "{at_once} dials at once, {} may wait to be accepted (somaxconn)",
        grouped(room)
    );
    if at_once <= room {
        return Finding::new("backlog", true, arithmetic);
    }
    Finding::new(
        "backlog",
        false,
        format!("{arithmetic}: sysctl -w net.core.somaxconn={at_once}"),
    )
}

fn memory(needs: &Needs, machine: &Machine) -> Finding {
    let Some(available) = machine.memory_available else {
        let says = "the free memory cannot be read".to_owned();
        return Finding::new("memory", true, says);
    };
    let arithmetic = format!(
        "about {} for {} nodes and their brokers, {} available",
        gib(needs.memory_bytes),
        grouped(needs.nodes),
        gib(available)
    );
    if needs.memory_bytes <= available {
        return Finding::new("memory", true, arithmetic);
    }
    let per_node = (needs.memory_bytes / needs.nodes.max(1)).max(1);
    let fits = available / per_node;
    Finding::new(
        "memory",
        false,
        format!("{arithmetic}: use fewer nodes (about {fits} fit: --set nodes={fits})"),
    )
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn machine() -> Machine {
        Machine {
            descriptors: Some(20_000),
            port_range: Some((32_768, 60_999)),
            memory_available: Some(8_000_000_000),
            backlog: Some(512),
        }
    }

    fn needs(nodes: u64) -> Needs {
        Needs {
            nodes,
            connections_per_worker: nodes,
            workers: 1,
            broker_connections: vec![("hub-1".to_owned(), nodes)],
            broker_limits: vec![("hub-1".to_owned(), 10_000)],
            brokers_ours: true,
            sources: 1,
            memory_bytes: nodes * 200_000,
        }
    }

    fn refusals(needs: &Needs) -> Vec<(&'static str, String)> {
        judge(needs, &machine())
            .into_iter()
            .filter(|finding| !finding.ok)
            .map(|finding| (finding.check, finding.says))
            .collect()
    }

    #[test]
    fn what_fits_is_not_refused() {
        assert_eq!(refusals(&needs(10_000)), []);
    }

    #[test]
    fn every_refusal_has_its_arithmetic_and_a_way_out() {
        let refused = refusals(&needs(50_000));
        let checks: Vec<&str> = refused.iter().map(|(check, _)| *check).collect();
        assert_eq!(
            checks,
            ["nofile", "nofile", "broker-max-conns", "ports", "memory"]
        );
        for (part, (_, says)) in [
            "needs 50,128 descriptors (50,000 connections + 128), this process may have 20,000: use --workers 3",
            "broker hub-1 needs 50,128 descriptors, a process may have 20,000: give its tier 3 times as many",
            "set max_conns = 50000",
            "50,000 connections to hub-1, 28,232 local ports (32768 to 60999) for one destination: give",
            "about 10.0 GB for 50,000 nodes and their brokers, 8.0 GB available",
        ]
        .iter()
        .zip(&refused)
        {
            assert!(says.contains(part), "{says:?} does not say {part:?}");
        }
    }

    fn refused_for(check: &str, needs: &Needs) -> Option<String> {
        let refused = refusals(needs);
        let found = refused.into_iter().find(|(own, _)| *own == check);
        found.map(|(_, says)| says)
    }

    #[test]
    fn several_addresses_have_ports_enough() {
        let mut needs = needs(50_000);
        needs.sources = 2;
        assert_eq!(refused_for("ports", &needs), None);
    }

    #[test]
    fn dials_need_room_before_the_brokers() {
        let mut machine = machine();
        machine.backlog = Some(16);
        let found = judge(&needs(1_000), &machine);
        let refused = found.iter().find(|finding| !finding.ok).unwrap();
        assert_eq!(refused.check, "backlog");
        let way_out = "sysctl -w net.core.somaxconn=192";
        assert!(refused.says.contains(way_out), "{}", refused.says);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = results_folder(&file.path().join("run"));
        assert!(!finding.ok);
        assert!(finding.says.contains("--out DIR"), "{}", finding.says);
    }
}
