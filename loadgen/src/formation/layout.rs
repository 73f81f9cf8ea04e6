//! How the brokers of a formation are laid out: which port is whose and who is linked to whom.
//! Nothing is started here.
//!
//! ```text
//! tiers, ports ──► Layout ──► BrokerConfig and expected links of every broker
//! ```

use std::fmt;
use std::path::Path;

use super::broker_config::{
    BrokerConfig, ClusterLink, GatewayLink, LeafLink, LeafListener, ProvisioningUsers, Region,
    TlsFiles,
};
use crate::scenario::{BrokerLink, Role, Tier, Tls};

/// Ports of one broker.
pub const PORTS: usize = 5;

/// What is wanted of brokers that we start.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The tiers.
    pub tiers: &'a [Tier],
    /// Whether a production broker keeps buckets, in the formation's folder.
    pub buckets: bool,
    /// Links between brokers that are led over relays; all others run from broker to broker.
    pub relayed: &'a [BrokerLink],
}

impl<'a> Wanted<'a> {
    /// The brokers of these tiers and nothing else.
    pub fn plain(tiers: &'a [Tier]) -> Self {
        Self {
            tiers,
            buckets: false,
            relayed: &[],
        }
    }
}

/// A connection between brokers that must stand before the formation is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// To this broker of the same cluster.
    Route(String),
    /// As a leaf to the first of these brokers; to any of them once faults have fallen.
    Hub(Vec<String>),
    /// To some broker of this region.
    Gateway(String),
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(broker) => write!(f, "the route to {broker}"),
            Self::Hub(brokers) => {
                let first = brokers.first().map_or("a hub", String::as_str);
                write!(f, "the leaf link to {first}")
            }
            Self::Gateway(region) => write!(f, "the gateway to region {region}"),
        }
    }
}

/// One broker, laid out.
#[derive(Debug)]
pub struct Laid<'a> {
    /// The tier it is of.
    pub tier: &'a Tier,
    /// What it is started with.
    pub config: BrokerConfig,
    /// What it must be connected to.
    pub links: Vec<Link>,
}

/// How many brokers a tier has.
pub fn brokers_in(tier: &Tier) -> usize {
    usize::try_from(tier.count).unwrap_or_default()
}

/// The brokers with their ports, before they are linked.
struct Layout<'a> {
    tiers: &'a [Tier],
    spots: Vec<Spot<'a>>,
}

/// One broker's name and ports.
struct Spot<'a> {
    tier: &'a Tier,
    index: usize,
    name: String,
    client: u16,
    monitor: u16,
    cluster: u16,
    leaf: u16,
    gateway: u16,
}

/// Lays out the brokers of `tiers`, each with [`PORTS`] of `ports`. Certificates are named in
/// `folder`.
pub fn lay_out<'a>(
    tiers: &'a [Tier],
    ports: &[u16],
    users: &ProvisioningUsers,
    folder: &Path,
) -> Vec<Laid<'a>> {
    let named = tiers.iter().flat_map(|tier| {
        let names = tier.brokers().enumerate();
        names.map(move |(index, name)| (tier, index, name))
    });
    let spots = named.zip(ports.chunks_exact(PORTS));
    let spots = spots.filter_map(|((tier, index, name), ports)| {
        let [client, monitor, cluster, leaf, gateway] = *ports else {
            return None;
        };
        Some(Spot {
            tier,
            index,
            name,
            client,
            monitor,
            cluster,
            leaf,
            gateway,
        })
    });
    let layout = Layout {
        tiers,
        spots: spots.collect(),
    };
    let spots = layout.spots.iter();
    spots.map(|spot| layout.link(spot, users, folder)).collect()
}

impl<'a> Layout<'a> {
    fn link(&self, spot: &Spot<'a>, users: &ProvisioningUsers, folder: &Path) -> Laid<'a> {
        let tier = spot.tier;
        let mut links = Vec::new();
        let config = BrokerConfig {
            name: spot.name.clone(),
            port: spot.client,
            monitor_port: spot.monitor,
            tls: tier.tls,
            files: tls_files(folder, &spot.name),
            max_connections: tier.max_conns,
            provisioning: (tier.role == Role::Provisioning).then(|| users.clone()),
            cluster: self.cluster(spot, &mut links),
            leaf_of: self.hubs(spot, &mut links),
            leaves: self.leaves(spot),
            gateway: self.gateway(spot, &mut links),
            buckets: None,
        };
        Laid {
            tier,
            config,
            links,
        }
    }

    fn of_cluster<'b>(&'b self, tier: &'b Tier) -> impl Iterator<Item = &'b Spot<'a>> {
        let own = tier.cluster_name();
        let joined = move |spot: &&Spot<'a>| {
            own.is_some() && spot.tier.cluster_name() == own && spot.tier.role == tier.role
        };
        self.spots.iter().filter(joined)
    }

    fn cluster(&self, spot: &Spot<'_>, links: &mut Vec<Link>) -> Option<ClusterLink> {
        let all: Vec<&Spot<'_>> = self.of_cluster(spot.tier).collect();
        if all.len() < 2 {
            return None;
        }
        let others = all.iter().filter(|other| other.name != spot.name);
        links.extend(others.map(|other| Link::Route(other.name.clone())));
        Some(ClusterLink {
            name: spot.tier.cluster_name()?.to_owned(),
            port: spot.cluster,
            routes: all.iter().map(|other| other.cluster).collect(),
            advertise: None,
        })
    }

    /// The hubs in the order in which this leaf tries them: each leaf begins at another one.
    fn hubs(&self, spot: &Spot<'_>, links: &mut Vec<Link>) -> Option<LeafLink> {
        let hub = spot.tier.leaf_of.as_ref()?;
        let mut all: Vec<&Spot<'_>> = self
            .spots
            .iter()
            .filter(|other| &other.tier.name == hub)
            .collect();
        if all.is_empty() {
            return None;
        }
        let first = spot.index % all.len();
        all.rotate_left(first);
        links.push(Link::Hub(all.iter().map(|hub| hub.name.clone()).collect()));
        Some(LeafLink {
            hubs: all.iter().map(|other| other.leaf).collect(),
            tls: all.iter().any(|other| other.tier.tls != Tls::None),
        })
    }

    fn leaves(&self, spot: &Spot<'_>) -> Option<LeafListener> {
        let own = Some(&spot.tier.name);
        let is_hub = self.tiers.iter().any(|tier| tier.leaf_of.as_ref() == own);
        is_hub.then_some(LeafListener {
            port: spot.leaf,
            tls: spot.tier.tls != Tls::None,
            advertise: true,
        })
    }

    fn gateway(&self, spot: &Spot<'_>, links: &mut Vec<Link>) -> Option<GatewayLink> {
        let own = spot.tier.gateway.as_ref()?;
        let mut regions: Vec<Region> = Vec::new();
        let joined = |other: &&Spot<'_>| other.tier.role == spot.tier.role;
        for other in self.spots.iter().filter(joined) {
            let Some(name) = &other.tier.gateway else {
                continue;
            };
            match regions.iter_mut().find(|region| &region.name == name) {
                Some(region) => region.ports.push(other.gateway),
                None => regions.push(Region {
                    name: name.clone(),
                    ports: vec![other.gateway],
                }),
            }
        }
        let others = regions.iter().filter(|region| &region.name != own);
        links.extend(others.map(|region| Link::Gateway(region.name.clone())));
        Some(GatewayLink {
            region: own.clone(),
            port: spot.gateway,
            regions,
            tls: spot.tier.tls != Tls::None,
            advertise: None,
        })
    }
}

fn tls_files(folder: &Path, broker: &str) -> TlsFiles {
    // nats-server reads relative paths from its working folder, so these are absolute.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    TlsFiles {
        certificate: folder.join(format!("{broker}.pem")),
        key: folder.join(format!("{broker}.key")),
        authority: folder.join("ca.pem"),
    }
}
