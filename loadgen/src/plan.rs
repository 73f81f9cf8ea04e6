//! What a scenario comes to, worked out before the first socket opens.

use crate::scenario::{Manage, Role, Topology};

/// The word for how the production brokers are laid out: `single`, `cluster`, `leafnodes`,
/// `gateways`, or `external` where they are somebody else's.
pub fn formation(topology: &Topology) -> &'static str {
    let production = || {
        topology
            .tiers
            .iter()
            .filter(|tier| tier.role == Role::Production)
    };
    if topology.manage == Manage::External {
        "external"
    } else if production().any(|tier| tier.gateway.is_some()) {
        "gateways"
    } else if production().any(|tier| tier.leaf_of.is_some()) {
        "leafnodes"
    } else if production().map(|tier| tier.count).sum::<u32>() > 1 {
        "cluster"
    } else {
        "single"
    }
}
