//! Before the first socket: can this machine hold the run? Every refusal says what to do.

mod machine;

pub use machine::Machine;

use std::path::Path;

use serde::Serialize;

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
    let arithmetic = format!(
        "{} connections + {DESCRIPTORS_BESIDES} = {need} descriptors, this process may have {limit}",
        needs.connections_per_worker
    );
    if need <= limit {
        return Finding::new("nofile", true, arithmetic);
    }
    let fits = limit.saturating_sub(DESCRIPTORS_BESIDES);
    Finding::new(
        "nofile",
        false,
        format!(
            "{arithmetic}: use at most {fits} nodes (--set nodes={fits}), or raise the limit first: ulimit -n {need}"
        ),
    )
}

fn broker_descriptors(needs: &Needs, machine: &Machine) -> Vec<Finding> {
    let Some(limit) = machine.descriptors else {
        return Vec::new();
    };
    let over = needs
        .broker_connections
        .iter()
        .map(|(name, connections)| (name, connections + DESCRIPTORS_BESIDES))
        .filter(|(_, need)| *need > limit);
    over.map(|(name, need)| {
        Finding::new(
            "nofile",
            false,
            format!(
                "broker {name} needs {need} descriptors, a process may have {limit}: \
                 give its tier more brokers (count), or raise the limit first: ulimit -n {need}"
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
    let available = u64::from(high.saturating_sub(low)) + 1;
    // A port is taken per connection and destination: the busiest broker decides.
    let busiest = needs
        .broker_connections
        .iter()
        .max_by_key(|(_, connections)| *connections);
    let Some((name, connections)) = busiest else {
        return Finding::new("ports", true, "no connections".to_owned());
    };
    let arithmetic = format!(
        "{connections} connections to {name}, {available} local ports ({low} to {high}) per destination"
    );
    if *connections <= available {
        return Finding::new("ports", true, arithmetic);
    }
    Finding::new(
        "ports",
        false,
        format!(
            "{arithmetic}: give its tier more brokers (count), or widen the range: \
             sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
        ),
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
        needs.nodes,
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
        }
    }

    fn needs(nodes: u64) -> Needs {
        Needs {
            nodes,
            connections_per_worker: nodes,
            workers: 1,
            broker_connections: vec![("hub-1".to_owned(), nodes)],
            broker_limits: vec![("hub-1".to_owned(), 10_000)],
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
            "50128 descriptors, this process may have 20000: use at most 19872 nodes",
            "broker hub-1 needs 50128 descriptors",
            "set max_conns = 50000",
            "50000 connections to hub-1, 28232 local ports",
            "about 10.0 GB for 50000 nodes and their brokers, 8.0 GB available",
        ]
        .iter()
        .zip(&refused)
        {
            assert!(says.contains(part), "{says:?} does not say {part:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = results_folder(&file.path().join("run"));
        assert!(!finding.ok);
        assert!(finding.says.contains("--out DIR"), "{}", finding.says);
    }
}
