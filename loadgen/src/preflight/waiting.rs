//! Ports that closed connections still hold (TIME_WAIT). Brokers of ours are at new ports each time;
//! those of somebody else stay where they are, and an earlier run of ours may be a minute ago.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};

use procfs::net::{TcpState, tcp, tcp6};

use super::{Finding, local_port_range};
use crate::formation::external::Reach;
use crate::plan::Plan;
use crate::units::grouped;

/// Judges the ports to every broker of somebody else; nothing where all are free or nothing can be
/// read.
pub(super) fn judge(plan: &Plan, reaches: &[Reach]) -> Vec<Finding> {
    let Some((low, high)) = local_port_range() else {
        return Vec::new();
    };
    let held = held_by_destination();
    let sources = plan.scenario.generator.addrs.len().max(1) as u64;
    let ports = (u64::from(high.saturating_sub(low)) + 1) * sources;
    let mut findings = Vec::new();
    for (name, address) in reaches.iter().flat_map(|reach| &reach.brokers) {
        let planned = plan.brokers.iter().find(|broker| &broker.name == name);
        let resolved = address.to_socket_addrs().into_iter().flatten();
        let held: u64 = resolved.filter_map(|at| held.get(&at)).sum();
        if let Some(broker) = planned.filter(|_| held > 0) {
            findings.push(left(name, broker.connections, held, ports));
        }
    }
    findings
}

fn left(name: &str, connections: u64, held: u64, ports: u64) -> Finding {
    let arithmetic = format!(
        "{} connections to {name}, {} local ports, {} of them held for a minute by closed \
         connections (TIME_WAIT)",
        grouped(connections),
        grouped(ports),
        grouped(held)
    );
    if connections + held <= ports {
        return Finding::new("ports", true, arithmetic);
    }
    let way_out = "wait a minute, or come from more addresses ([generator] source = \
                   \"bind-no-port\", addrs = [...])";
    Finding::new("ports", false, format!("{arithmetic}: {way_out}"))
}

fn held_by_destination() -> BTreeMap<SocketAddr, u64> {
    let sockets = [tcp(), tcp6()].into_iter().flatten().flatten();
    let mut held = BTreeMap::new();
    for socket in sockets.filter(|socket| socket.state == TcpState::TimeWait) {
        *held.entry(socket.remote_address).or_default() += 1;
    }
    held
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn closed_connections_hold_ports_of_brokers_that_stay() {
        assert!(left("hub-1", 5_000, 23_000, 28_232).ok);
        let refused = left("hub-1", 5_000, 27_000, 28_232);
        assert!(!refused.ok && refused.check == "ports");
        for part in ["27,000 of them held for a minute", "wait a minute, or"] {
            assert!(refused.says.contains(part), "{}", refused.says);
        }
    }
}
