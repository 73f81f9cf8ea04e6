//! What nodes find on their "disks" when they start for the first time; what they have alike is kept once.

use std::sync::Arc;

use server_core::node::{MemoryStorage, PROVISIONING_JWT, SERVER_CONF, ServerConf};
use server_core::words::Identity;

use super::{Ground, LifeError, needs_no_certificate};
use crate::message::ROOTS;
use crate::plan::PlannedBroker;
use crate::scenario::{Fleet, Issues, Start};

fn text(text: String) -> Arc<[u8]> {
    Arc::from(text.into_bytes())
}

impl Ground {
    /// What a node finds on its "disk" when it starts for the first time.
    pub(super) fn storage(
        &self,
        identity: &Identity,
        fleet: &Fleet,
        broker: &PlannedBroker,
    ) -> Result<MemoryStorage, LifeError> {
        let root = format!("/etc/choria/{identity}");
        if fleet.start == Start::Unprovisioned {
            let storage = MemoryStorage::with_common(root, Arc::clone(&self.files));
            if let Some(token) = &self.token {
                storage.insert(PROVISIONING_JWT, Arc::clone(token));
            }
            if self.plan.scenario.provisioner.issues == Issues::Tokens {
                storage.insert(ROOTS, Arc::clone(&self.roots));
            }
            return Ok(storage);
        }
        let storage = self.disk(fleet, broker)?.copy(root);
        if !needs_no_certificate(fleet, broker) {
            let issued = self.signing.node(identity.as_str(), fleet.key)?;
            storage.insert("ssl/certificate.pem", text(issued.certificate));
            storage.insert("ssl/private.pem", text(issued.key));
        }
        Ok(storage)
    }

    /// What all nodes of a fleet that start at this broker have on their disks.
    fn disk(&self, fleet: &Fleet, broker: &PlannedBroker) -> Result<Arc<MemoryStorage>, LifeError> {
        let key = (fleet.name.clone(), broker.name.clone());
        if let Some(disk) = self.disks.with(|disks| disks.get(&key).cloned()) {
            return Ok(disk);
        }
        let disk = MemoryStorage::with_common("/etc/choria", Arc::clone(&self.files));
        disk.insert(SERVER_CONF, text(self.server_conf(fleet, broker)?));
        disk.insert("ssl/ca.pem", Arc::clone(&self.roots));
        for (name, policy) in &self.access.policies {
            disk.insert(format!("policies/{name}"), text(policy.clone()));
        }
        let disk = Arc::new(disk);
        self.disks
            .with(|disks| disks.insert(key, Arc::clone(&disk)));
        Ok(disk)
    }

    /// Says nothing of the node's name, which its settings tell.
    fn server_conf(&self, fleet: &Fleet, broker: &PlannedBroker) -> Result<String, LifeError> {
        let production = &self.access.production;
        let servers = production.get(&broker.tier).map(|network| {
            // The one it starts at first, then the others in turn.
            let mut servers = network.servers.clone();
            let first = broker.place.checked_rem(servers.len());
            servers.rotate_left(first.unwrap_or_default());
            servers.join(",")
        });
        let settings = [
            ("collectives", fleet.collectives.join(",")),
            (
                "plugin.choria.middleware_hosts",
                servers.unwrap_or_default(),
            ),
            ("plugin.choria.server.provision", "false".to_owned()),
            ("plugin.choria.use_srv", "false".to_owned()),
            ("plugin.security.provider", "file".to_owned()),
            ("plugin.actionpolicy.enable_default", "true".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value));
        ServerConf::render("put in place by loadgen", &settings.into()).map_err(|error| {
            LifeError::Fleet {
                fleet: fleet.name.clone(),
                why: error.to_string(),
            }
        })
    }
}
