//! The dialer between a node and the network: where it dials, and what it hears and says there.

use std::sync::Arc;

use async_trait::async_trait;
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{BusError, Dial, Dialer, Link};

use super::liar::{Liar, deaf, late};
use super::lie::Lie;
use super::{Ground, address};
use crate::scenario::Behaviour;
use crate::worker::publish::PublishLine;

/// Dials for a node, keeping its connection at hand for what is published in its name. Brokers
/// that a scenario wants plain are dialled plain; requests stay signed.
pub(super) struct Tap {
    pub(super) dialer: Arc<SwarmDialer>,
    pub(super) ground: Arc<Ground>,
    /// The place of the provisioning broker it starts at.
    pub(super) provisioning: Option<usize>,
    pub(super) line: PublishLine,
    /// How it behaves while it is enrolled, and what it says instead of the truth.
    pub(super) behaviour: Behaviour,
    pub(super) lie: Option<Lie>,
}

#[async_trait]
impl Dialer for Tap {
    async fn dial(&self, mut dial: Dial) -> Result<Link, BusError> {
        let plain = |server: &String| self.ground.plain.contains(&address(server));
        if dial.servers.iter().all(plain) {
            dial.tls = None;
        }
        if let Some(login) = self.ground.login_at(&dial.servers) {
            login.apply(&mut dial);
        }
        // A production configuration names the brokers in the order of the plan. The token is the
        // same for the whole fleet.
        dial.in_order = true;
        let enrols = dial.servers == self.ground.access.provisioning;
        if let Some(at) = self.provisioning.filter(|_| enrols) {
            dial.servers.rotate_left(at);
        }
        let mut link = self.dialer.dial(dial).await?;
        self.line.connected(Arc::clone(&link.bus));
        if enrols {
            link = self.twisted(link);
        }
        Ok(link)
    }
}

impl Tap {
    fn twisted(&self, link: Link) -> Link {
        let inbound = match self.behaviour {
            Behaviour::Dead => deaf(link.inbound),
            Behaviour::Slow => late(link.inbound),
            _ => link.inbound,
        };
        let bus = match &self.lie {
            Some(lie) => Arc::new(Liar {
                bus: link.bus,
                lie: lie.clone(),
            }),
            None => link.bus,
        };
        Link { bus, inbound }
    }
}
