//! What things cost, estimated: enough to refuse what cannot fit, not to quote.
//!
//! Every figure is a round number above what was seen on an ordinary two-core machine.

use std::time::Duration;

use super::PlannedBroker;
use crate::scenario::{Manage, Role, Scenario, Start, Tls};

/// Memory of a node with its connection over plain TCP, bytes.
const NODE_PLAIN: u64 = 12 << 10;
/// Memory of a node with its TLS connection, key and certificate, bytes.
const NODE_TLS: u64 = 32 << 10;
/// Memory of a broker for a plain connection, bytes.
const BROKER_PLAIN: u64 = 30 << 10;
/// Memory of a broker for a TLS connection, bytes.
const BROKER_TLS: u64 = 72 << 10;
/// Memory of a broker without connections, bytes.
const BROKER_EMPTY: u64 = 24 << 20;
/// Memory of a worker without nodes, bytes.
pub(super) const WORKER_EMPTY: u64 = 32 << 20;
/// Memory of a provisioner without nodes, bytes.
const PROVISIONER_EMPTY: u64 = 48 << 20;
/// Memory of a provisioner for a node, bytes.
const PROVISIONER_NODE: u64 = 6 << 10;

/// Connections a second that come up, where nothing else sets the pace.
pub(super) const CONNECTS_PER_S: f64 = 1_500.0;
/// Nodes a second that are enrolled, where nothing else sets the pace.
pub(super) const ENROLMENTS_PER_S: f64 = 350.0;
/// From the restart request to confirmed: two seconds of it are the protocol's own delay.
pub(super) const RESTARTING: Duration = Duration::from_millis(2_500);
/// Replies a second that one fan-out brings in.
pub(super) const REPLIES_PER_S: f64 = 20_000.0;
/// Brokers, certificates and provisioners coming up.
pub(super) const STARTING: Duration = Duration::from_secs(2);

/// Memory of everything that we start, at its highest.
pub(super) fn memory(scenario: &Scenario, brokers: &[PlannedBroker]) -> super::PlannedMemory {
    let production = brokers.iter().filter(|b| b.role == Role::Production);
    let nodes_bytes = production
        .map(|broker| match broker.tls {
            Tls::None => broker.nodes * NODE_PLAIN,
            Tls::Server | Tls::Mutual => broker.nodes * NODE_TLS,
        })
        .sum();
    let brokers_bytes = match scenario.topology.manage {
        Manage::Local => brokers
            .iter()
            .map(|broker| {
                let each = match broker.tls {
                    Tls::None => BROKER_PLAIN,
                    Tls::Server | Tls::Mutual => BROKER_TLS,
                };
                BROKER_EMPTY + broker.connections * each
            })
            .sum(),
        Manage::External | Manage::None => 0,
    };
    let enrolled = scenario
        .fleets
        .iter()
        .filter(|f| f.start == Start::Unprovisioned);
    let enrolled: u64 = enrolled.map(|fleet| fleet.nodes).sum();
    let provisioners_bytes = match scenario.provisioner.manage {
        Manage::Local => {
            u64::from(scenario.provisioner.count) * PROVISIONER_EMPTY + enrolled * PROVISIONER_NODE
        }
        Manage::External | Manage::None => 0,
    };
    super::PlannedMemory {
        nodes_bytes,
        brokers_bytes,
        provisioners_bytes,
    }
}
