//! Leads links over their relays: what each broker dials, tells of itself and must end up with.

use std::collections::BTreeMap;

use super::layout::{Laid, Link};
use super::monitor::Monitor;
use super::relay::Detour;
use super::ties::Tie;
use crate::scenario::{BrokerLink, LinkKind};

/// Where every broker listens for others, as it was laid out.
#[derive(Debug)]
pub struct Listeners(BTreeMap<String, Ports>);

#[derive(Debug)]
struct Ports {
    cluster: Option<u16>,
    leaves: Option<u16>,
    gateway: Option<u16>,
}

impl Listeners {
    /// Those of a layout.
    pub fn of(laid: &[Laid<'_>]) -> Self {
        let each = laid.iter().map(|laid| {
            let config = &laid.config;
            let ports = Ports {
                cluster: config.cluster.as_ref().map(|own| own.port),
                leaves: config.leaves.as_ref().map(|own| own.port),
                gateway: config.gateway.as_ref().map(|own| own.port),
            };
            (config.name.clone(), ports)
        });
        Self(each.collect())
    }

    /// Where a broker listens for links of a kind.
    pub fn port(&self, kind: LinkKind, broker: &str) -> Option<u16> {
        let ports = self.0.get(broker)?;
        match kind {
            LinkKind::Route => ports.cluster,
            LinkKind::Leaf => ports.leaves,
            LinkKind::Gateway => ports.gateway,
        }
    }
}

/// Lets brokers dial the relays of `links`, and tell nobody of a way past them: others are sent to
/// the port `nowhere`.
pub fn lead(
    laid: &mut [Laid<'_>],
    links: &[BrokerLink],
    (detours, nowhere): (&[Detour], u16),
    listeners: &Listeners,
) {
    for link in links {
        for laid in laid
            .iter_mut()
            .filter(|laid| link.touches(&laid.config.name))
        {
            hide(laid, link.kind, nowhere);
            if link.kind == LinkKind::Route && laid.config.name == link.to {
                // One of the two dials, so that there is one way.
                let other = listeners.port(link.kind, &link.from);
                if let Some(cluster) = &mut laid.config.cluster {
                    cluster.routes.retain(|port| Some(*port) != other);
                }
            }
        }
        let own = detours.iter().filter(|detour| {
            let ends = (detour.dialer.as_str(), detour.dialed.as_str());
            link.dials().any(|(_, from, to)| ends == (from, to))
        });
        for Detour {
            dialer,
            dialed,
            port,
        } in own
        {
            let direct = listeners.port(link.kind, dialed);
            let of_dialer = laid.iter_mut().find(|laid| laid.config.name == *dialer);
            let ports = of_dialer
                .into_iter()
                .flat_map(|laid| dialled(laid, link.kind));
            ports
                .filter(|own| Some(**own) == direct)
                .for_each(|own| *own = *port);
        }
    }
}

/// The ports that a broker dials for links of a kind.
fn dialled<'a>(
    laid: &'a mut Laid<'_>,
    kind: LinkKind,
) -> Box<dyn Iterator<Item = &'a mut u16> + 'a> {
    let config = &mut laid.config;
    match kind {
        LinkKind::Route => Box::new(config.cluster.iter_mut().flat_map(|own| &mut own.routes)),
        LinkKind::Leaf => Box::new(config.leaf_of.iter_mut().flat_map(|own| &mut own.hubs)),
        LinkKind::Gateway => {
            let regions = config.gateway.iter_mut().flat_map(|own| &mut own.regions);
            Box::new(regions.flat_map(|region| &mut region.ports))
        }
    }
}

fn hide(laid: &mut Laid<'_>, kind: LinkKind, nowhere: u16) {
    let config = &mut laid.config;
    match kind {
        LinkKind::Route => {
            if let Some(own) = &mut config.cluster {
                own.advertise = Some(nowhere);
            }
        }
        LinkKind::Leaf => {
            if let Some(own) = &mut config.leaves {
                own.advertise = false;
            }
        }
        LinkKind::Gateway => {
            if let Some(own) = &mut config.gateway {
                own.advertise = Some(nowhere);
            }
        }
    }
}

/// What must stand at both ends of a link, once brokers dial as they were led.
pub fn ties(laid: &[Laid<'_>], link: &BrokerLink, detours: &[Detour]) -> Vec<Tie> {
    let tie = |own: &str, peer: &str| {
        let laid_of = |name: &str| laid.iter().find(|laid| laid.config.name == name);
        let (own, peer) = (laid_of(own)?, laid_of(peer)?);
        let (wanted, through) = match link.kind {
            LinkKind::Route => {
                let mut detours = detours.iter();
                let detour = detours
                    .find(|of| of.dialer == own.config.name && of.dialed == peer.config.name);
                (
                    Link::Route(peer.config.name.clone()),
                    detour.map(|of| vec![of.port]),
                )
            }
            LinkKind::Leaf => {
                let hub = |link: &&Link| matches!(link, Link::Hub(_));
                let dials = own.config.leaf_of.as_ref()?;
                let hubs = own.links.iter().find(hub)?;
                (hubs.clone(), Some(dials.hubs.clone()))
            }
            LinkKind::Gateway => {
                let region = |name: &str| Some(&laid_of(name)?.config.gateway.as_ref()?.region);
                let (here, there) = (region(&own.config.name)?, region(&peer.config.name)?);
                // Brokers of a region tell each other what they dial, and so share their relays.
                let shared = detours.iter().filter(|of| {
                    region(&of.dialer) == Some(here) && region(&of.dialed) == Some(there)
                });
                let through = shared.map(|of| of.port).collect();
                (Link::Gateway(there.clone()), Some(through))
            }
        };
        Some(Tie {
            broker: own.config.name.clone(),
            peer: peer.config.name.clone(),
            monitor: Monitor::on_loopback(own.config.monitor_port),
            link: wanted,
            through,
        })
    };
    let there = tie(&link.from, &link.to);
    let back = (link.kind != LinkKind::Leaf).then(|| tie(&link.to, &link.from));
    there.into_iter().chain(back.flatten()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::path::Path;

    use super::*;
    use crate::formation::broker_config::{Login, ProvisioningUsers};
    use crate::formation::layout::{PORTS, lay_out};
    use crate::scenario::parse;

    /// What every broker of a topology dials and tells once the links that `fault` names are led
    /// over relays at ports from 9,001 on; listeners are at 1,000 × broker + 3 (cluster), 4
    /// (leaves) and 5 (gateway).
    fn led(topology: &str, fault: &str) -> String {
        let text = format!(
            "schema = 1\nname = \"t\"\n{topology}\n[[fleet]]\nname = \"n\"\nnodes = 4\n\
             start = \"production\"\nattach = \"hub\"\n[provisioner]\nmanage = \"none\"\n\
             [[phase]]\nname = \"p\"\nduration = \"9s\"\n[[phase.op]]\ndo = \"fault\"\n{fault}\n"
        );
        let parsed = parse(Path::new("t.toml"), &text, &[]);
        let scenario = parsed.unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let tiers = &scenario.topology.tiers;
        let ports: Vec<u16> = (0..tiers.iter().map(|tier| tier.count).sum::<u32>() as u16)
            .flat_map(|broker| (1..=PORTS as u16).map(move |n| (broker + 1) * 1_000 + n))
            .collect();
        let login = || Login {
            user: "u".to_owned(),
            password: "p".to_owned(),
        };
        let users = ProvisioningUsers {
            node: login(),
            provisioner: login(),
        };
        let mut laid = lay_out(tiers, &ports, &users, Path::new("/f"));
        let links = scenario.relayed_links();
        let dials = links.iter().flat_map(BrokerLink::dials).zip(9_001..);
        let detours: Vec<Detour> = dials
            .map(|((_, dialer, dialed), port)| Detour {
                dialer: dialer.to_owned(),
                dialed: dialed.to_owned(),
                port,
            })
            .collect();
        let listeners = Listeners::of(&laid);
        lead(&mut laid, &links, (&detours, 9_000), &listeners);
        let mut lines = Vec::new();
        for laid in &mut laid {
            let ports = |kind, laid: &mut Laid<'_>| -> Vec<u16> {
                dialled(laid, kind).map(|port| *port).collect()
            };
            let routes = ports(LinkKind::Route, laid);
            let (hubs, regions) = (ports(LinkKind::Leaf, laid), ports(LinkKind::Gateway, laid));
            let config = &laid.config;
            lines.push(format!(
                "{}: routes {routes:?} {:?}, hubs {hubs:?} {:?}, regions {regions:?} {:?}",
                config.name,
                config.cluster.as_ref().and_then(|own| own.advertise),
                config.leaves.as_ref().map(|own| own.advertise),
                config.gateway.as_ref().and_then(|own| own.advertise),
            ));
        }
        for link in &links {
            for tie in ties(&laid, link, &detours) {
                lines.push(format!(
                    "{}: {} through {:?}",
                    tie.broker, tie.link, tie.through
                ));
            }
        }
        lines.join("\n")
    }

    const LEAVES: &str = "[topology]\n[[topology.broker]]\nname = \"hub\"\ncount = 2\n\
                          [[topology.broker]]\nname = \"edge\"\ncount = 2\nleaf_of = \"hub\"\n";
    const REGIONS: &str = "[topology]\n[[topology.broker]]\nname = \"hub\"\ngateway = \"eu\"\n\
                           count = 2\n[[topology.broker]]\nname = \"us\"\ngateway = \"us\"\n";

    #[test]
    fn brokers_dial_the_relays_of_links_with_a_fault_and_the_others_directly() {
        let cut = |target: &str, peer: &str| {
            format!("kind = \"cut-link\"\ndown = \"1s\"\ntarget = \"{target}\"\n{peer}")
        };
        let all = [
            led(LEAVES, &cut("edge-1", "")),
            led(LEAVES, &cut("edge-1", "peer = \"hub-2\"")),
            led(LEAVES, &cut("hub-1", "peer = \"hub-*\"")),
            led(REGIONS, &cut("us-1", "")),
            led(REGIONS, &cut("hub-*", "peer = \"us-*\"")),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }
}
