//! What things cost, estimated: enough to refuse what cannot fit, not to quote.
//!
//! Every figure is a round number above what was seen on an ordinary two-core machine.

use std::time::Duration;

use super::PlannedBroker;
use crate::scenario::{Manage, Scenario, Start, Tls};

/// Memory of a node with its connection over plain TCP, bytes.
const NODE_PLAIN: u64 = 72 << 10;
/// Memory of a node with its TLS connection, key and certificate, bytes.
const NODE_TLS: u64 = 96 << 10;
/// Memory of a broker for a plain connection, bytes.
const BROKER_PLAIN: u64 = 28 << 10;
/// Memory of a broker for a TLS connection, bytes.
const BROKER_TLS: u64 = 68 << 10;
/// Memory of a broker without connections, bytes.
const BROKER_EMPTY: u64 = 24 << 20;
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
    let tls_of = |tier: &str| scenario.tier(tier).map_or(Tls::Mutual, |tier| tier.tls);
    let nodes_bytes = scenario
        .fleets
        .iter()
        .map(|fleet| match (tls_of(&fleet.attach), fleet.start) {
            (Tls::None, Start::Production) => fleet.nodes * NODE_PLAIN,
            _ => fleet.nodes * NODE_TLS,
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
