//! Links between brokers, and what faults do to them.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::scenario::words::{CutMode, LinkKind};
use crate::units::{Bandwidth, as_text};

/// A link between two brokers that we start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BrokerLink {
    /// What kind of link.
    pub kind: LinkKind,
    /// The first broker; of a leaf link the leaf.
    pub from: String,
    /// The second.
    pub to: String,
}

impl BrokerLink {
    /// Who dials whom over it where it is relayed, and whether it is the second broker that does.
    /// Leaves dial their hubs, and each broker of a region the others; of two brokers with a route
    /// one is enough.
    pub fn dials(&self) -> impl Iterator<Item = (bool, &str, &str)> {
        let back = (self.kind == LinkKind::Gateway).then_some((true, &*self.to, &*self.from));
        std::iter::once((false, &*self.from, &*self.to)).chain(back)
    }

    /// Whether a broker is at one of its ends.
    pub fn touches(&self, broker: &str) -> bool {
        self.from == broker || self.to == broker
    }
}

impl fmt::Display for BrokerLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} ({})", self.from, self.to, self.kind)
    }
}

/// A fault on links between brokers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkFault {
    /// Only the links to these brokers, as written; all others of the targets when `None`.
    pub peer: Option<String>,
    /// The links it falls on.
    pub links: Vec<BrokerLink>,
    /// What it does to them.
    #[serde(flatten)]
    pub effect: LinkEffect,
}

/// What a fault does to a link.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum LinkEffect {
    /// Nothing crosses it.
    Cut {
        /// Whether that is told.
        mode: CutMode,
    },
    /// It takes its time.
    Slow {
        /// Added in each direction.
        #[serde(serialize_with = "as_text")]
        latency: Duration,
        /// Bytes a second in each direction, all connections together.
        bandwidth: Option<Bandwidth>,
    },
}
