//! A formation: the brokers of a run on loopback, with the certificates and users they need.
//!
//! ```text
//! Layout (what the scenario wants) ──► Authority ──► BrokerConfig ──► Broker ──► ready
//! ```

pub mod broker;
pub mod broker_config;
pub mod certificates;
pub mod credentials;
pub mod files;
pub mod monitor;
pub mod nats_server;
pub mod policies;
pub mod ports;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Mutex;

use crate::guard::RunMark;
use crate::scenario::{Role, Tier, Tls};
use broker::{Broker, BrokerError, Post};
use broker_config::{BrokerConfig, ClusterLink, Login, ProvisioningUsers, TlsFiles};
use certificates::{Authority, CertificateError};
use nats_server::NatsServer;

/// The formation did not come up. Everything it had started is stopped again.
#[derive(Debug, Error)]
pub enum FormationError {
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A broker did not come up.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// A file could not be written.
    #[error("{path} cannot be written: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The machine has no free port.
    #[error("no free port on 127.0.0.1 for the brokers: {0}")]
    Ports(std::io::Error),
    /// A tier names another one that is not there.
    #[error("broker tier {tier} is leaf_of {of}, and there is no such tier")]
    NoSuchTier {
        /// The tier.
        tier: String,
        /// What it names.
        of: String,
    },
}

/// Running brokers with everything that belongs to them.
#[derive(Debug)]
pub struct Formation {
    /// The run's throwaway authority.
    pub authority: Authority,
    /// The users of the provisioning brokers.
    pub users: ProvisioningUsers,
    brokers: Vec<Manned>,
    folder: PathBuf,
}

/// A broker at its post. Whoever does something to it holds the lock meanwhile.
#[derive(Debug)]
struct Manned {
    post: Post,
    broker: Arc<Mutex<Broker>>,
}

impl Formation {
    /// Starts the brokers of `tiers` and waits until every one is ready. Configurations, logs and
    /// certificates are in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written or a broker does not become ready.
    pub async fn start(
        run: &str,
        tiers: &[Tier],
        folder: &Path,
        server: &NatsServer,
        mark: &RunMark,
    ) -> Result<Self, FormationError> {
        std::fs::create_dir_all(folder).map_err(file_error(folder))?;
        let authority = Authority::new(run, time::OffsetDateTime::now_utc())?;
        let root = folder.join("ca.pem");
        files::write_public(&root, authority.root()).map_err(file_error(&root))?;
        let mut formation = Self {
            authority,
            users: users(),
            brokers: Vec::new(),
            folder: folder.to_owned(),
        };
        for attempt in 1.. {
            match formation.start_brokers(tiers, server, mark).await {
                Ok(()) => break,
                Err(FormationError::Broker(error)) if error.port_was_taken() && attempt < 3 => {
                    tracing::warn!(%error, "a port was taken by somebody else; choosing again");
                    formation.stop().await;
                }
                Err(error) => {
                    formation.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(formation)
    }

    async fn start_brokers(
        &mut self,
        tiers: &[Tier],
        server: &NatsServer,
        mark: &RunMark,
    ) -> Result<(), FormationError> {
        for (tier, config) in self.plan(tiers)? {
            self.write_certificate(&config)?;
            let started =
                Broker::start(config, (&tier.name, tier.role), &self.folder, server, mark)?;
            self.brokers.push(Manned {
                post: started.post().clone(),
                broker: Arc::new(Mutex::new(started)),
            });
        }
        for manned in &self.brokers {
            manned.broker.lock().await.wait_ready().await?;
        }
        Ok(())
    }

    /// Gives every broker its ports and its links to the others.
    fn plan<'a>(&self, tiers: &'a [Tier]) -> Result<Vec<(&'a Tier, BrokerConfig)>, FormationError> {
        /// Client, monitoring, cluster and leaf port.
        const PORTS: usize = 4;
        let total: usize = tiers.iter().map(brokers_in).sum();
        let all = ports::free(total * PORTS).map_err(FormationError::Ports)?;
        let mut ports = all.chunks_exact(PORTS);
        let placed: Vec<(&Tier, Vec<&[u16]>)> = tiers
            .iter()
            .map(|tier| (tier, ports.by_ref().take(brokers_in(tier)).collect()))
            .collect();
        let mut planned = Vec::with_capacity(total);
        for (tier, own) in &placed {
            let hubs = match &tier.leaf_of {
                None => Vec::new(),
                Some(of) => leaf_ports(&placed, tier, of)?,
            };
            let is_hub = tiers
                .iter()
                .any(|other| other.leaf_of.as_ref() == Some(&tier.name));
            let routes = cluster_ports(&placed, tier);
            for ((index, ports), name) in own.iter().enumerate().zip(tier.brokers()) {
                let [port, monitor_port, cluster_port, leaf_port] = **ports else {
                    continue;
                };
                let cluster = (routes.len() > 1).then(|| ClusterLink {
                    name: cluster_name(tier).to_owned(),
                    port: cluster_port,
                    routes: routes.clone(),
                });
                let config = BrokerConfig {
                    files: self.tls_files(&name),
                    name,
                    port,
                    monitor_port,
                    tls: tier.tls,
                    max_connections: tier.max_conns,
                    provisioning: (tier.role == Role::Provisioning).then(|| self.users.clone()),
                    cluster,
                    leaf_of: rotated(&hubs, index),
                    leaf_port: is_hub.then_some(leaf_port),
                };
                planned.push((*tier, config));
            }
        }
        Ok(planned)
    }

    fn tls_files(&self, broker: &str) -> TlsFiles {
        // nats-server reads relative paths from its working folder, so these are absolute.
        let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
        TlsFiles {
            certificate: folder.join(format!("{broker}.pem")),
            key: folder.join(format!("{broker}.key")),
            authority: folder.join("ca.pem"),
        }
    }

    fn write_certificate(&self, config: &BrokerConfig) -> Result<(), FormationError> {
        if config.tls == Tls::None {
            return Ok(());
        }
        let issued = self.authority.broker(&config.name)?;
        let (certificate, key) = (&config.files.certificate, &config.files.key);
        files::write_public(certificate, &issued.certificate).map_err(file_error(certificate))?;
        files::write_secret(key, &issued.key).map_err(file_error(key))
    }

    /// The folder with configurations, logs and certificates.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where every broker stands, those of a tier side by side.
    pub fn posts(&self) -> impl Iterator<Item = &Post> {
        self.brokers.iter().map(|manned| &manned.post)
    }

    /// The posts of one role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Post> {
        self.posts().filter(move |post| post.role == role)
    }

    /// The posts of one tier.
    pub fn of_tier<'a>(&'a self, tier: &'a str) -> impl Iterator<Item = &'a Post> {
        self.posts().filter(move |post| post.tier == tier)
    }

    /// The brokers by name, to do something to them.
    pub fn brokers_by_name(&self) -> Vec<(String, Arc<Mutex<Broker>>)> {
        let named = self.brokers.iter();
        named
            .map(|manned| (manned.post.name.clone(), Arc::clone(&manned.broker)))
            .collect()
    }

    /// The name and process of every broker that runs and that nobody does something to.
    pub fn pids(&self) -> impl Iterator<Item = (&str, u32)> {
        self.brokers.iter().filter_map(|manned| {
            let pid = manned.broker.try_lock().ok()?.pid()?;
            Some((manned.post.name.as_str(), pid))
        })
    }

    /// What ended though nobody asked it to, in words.
    pub fn unasked_end(&self) -> Option<String> {
        self.brokers.iter().find_map(|manned| {
            // A fault has it in its hands.
            let mut broker = manned.broker.try_lock().ok()?;
            let status = broker.ended()?;
            Some(broker.ended_unasked(&status))
        })
    }

    /// Ends every broker, all of them side by side.
    pub async fn stop(&mut self) {
        let stops = self.brokers.iter().map(|manned| async {
            manned.broker.lock().await.stop().await;
        });
        futures::future::join_all(stops).await;
        self.brokers.clear();
    }
}

fn brokers_in(tier: &Tier) -> usize {
    usize::try_from(tier.count).unwrap_or_default()
}

fn users() -> ProvisioningUsers {
    let login = |user: &str| Login {
        user: user.to_owned(),
        password: uuid::Uuid::new_v4().simple().to_string(),
    };
    ProvisioningUsers {
        node: login("node"),
        provisioner: login("provisioner"),
    }
}

fn cluster_name(tier: &Tier) -> &str {
    tier.cluster.as_deref().unwrap_or(&tier.name)
}

fn cluster_ports(placed: &[(&Tier, Vec<&[u16]>)], tier: &Tier) -> Vec<u16> {
    placed
        .iter()
        .filter(|(other, _)| cluster_name(other) == cluster_name(tier) && other.role == tier.role)
        .flat_map(|(_, own)| own.iter().filter_map(|ports| ports.get(2).copied()))
        .collect()
}

fn leaf_ports(
    placed: &[(&Tier, Vec<&[u16]>)],
    tier: &Tier,
    of: &str,
) -> Result<Vec<u16>, FormationError> {
    let hub = placed.iter().find(|(other, _)| other.name == of);
    let (_, own) = hub.ok_or_else(|| FormationError::NoSuchTier {
        tier: tier.name.clone(),
        of: of.to_owned(),
    })?;
    Ok(own
        .iter()
        .filter_map(|ports| ports.get(3).copied())
        .collect())
}

/// The hubs in the order in which leaf `index` tries them: each leaf begins at another one.
fn rotated(hubs: &[u16], index: usize) -> Vec<u16> {
    let mut order = hubs.to_vec();
    if !order.is_empty() {
        let first = index % order.len();
        order.rotate_left(first);
    }
    order
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> FormationError + '_ {
    move |source| FormationError::File {
        path: path.to_owned(),
        source,
    }
}
