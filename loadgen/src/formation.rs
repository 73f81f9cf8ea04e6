//! A formation: the brokers of a run on loopback, with the certificates and users they need.
//!
//! ```text
//! tiers ──► layout ──► BrokerConfig ──► Broker ──► ready ──► linked ──► heard everywhere
//!              │           ▲ certificates of the Authority
//!              └─ detour ──┘ over relays, for links that a fault is to fall on
//! ```

pub mod broker;
pub mod broker_config;
pub mod certificates;
pub mod credentials;
pub mod detour;
pub mod external;
pub mod files;
pub mod layout;
pub mod monitor;
pub mod nats_server;
pub mod organization;
pub mod policies;
pub mod ports;
pub mod post;
pub mod probe;
pub mod relay;
pub mod ties;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Mutex;

use crate::guard::RunMark;
use crate::scenario::{BrokerLink, Role, Tier};
use broker::{Broker, BrokerError, Post};
use broker_config::{BrokerConfig, Login, ProvisioningUsers};
use certificates::{Authority, CertificateError};
use detour::Listeners;
use external::{ExternalError, reach_all};
use layout::Laid;
use nats_server::NatsServer;
use probe::ProbeError;
use relay::{Relayed, Relays};
use ties::{TieError, wait_tied};

pub use layout::Wanted;

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
    /// Brokers of somebody else.
    #[error(transparent)]
    External(#[from] ExternalError),
    /// A relayed link does not stand, or runs past its relay.
    #[error(transparent)]
    Tie(#[from] TieError),
    /// The brokers are no network.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// Running brokers with everything that belongs to them.
#[derive(Debug)]
pub struct Formation {
    /// The run's throwaway authority.
    pub authority: Authority,
    /// The users of the provisioning brokers.
    pub users: ProvisioningUsers,
    /// Trust anchors beside the run's own, PEM: those of somebody else's brokers.
    others: String,
    /// Who nodes and callers are at each tier of somebody else.
    logins: BTreeMap<String, crate::message::Login>,
    brokers: Vec<Manned>,
    folder: PathBuf,
    /// The production broker that keeps buckets.
    keeper: Option<String>,
    /// Where links run that faults are to fall on.
    relays: Option<Relays>,
}

/// A broker at its post. Whoever does something to it holds the lock meanwhile.
#[derive(Debug)]
struct Manned {
    post: Post,
    /// None where it is somebody else's.
    broker: Option<Arc<Mutex<Broker>>>,
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
        Self::start_as(run, Wanted::plain(tiers), folder, server, mark).await
    }

    /// The same with more to be wanted of it.
    ///
    /// # Errors
    /// As [`Formation::start`], and when a link does not run over its relay.
    pub async fn start_as(
        run: &str,
        wanted: Wanted<'_>,
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
            others: String::new(),
            logins: BTreeMap::new(),
            brokers: Vec::new(),
            folder: folder.to_owned(),
            keeper: None,
            relays: None,
        };
        for attempt in 1.. {
            match formation.start_brokers(wanted, server, mark).await {
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

    /// The brokers of somebody else, with what they need of us. Nothing is started.
    ///
    /// # Errors
    /// When a file that the scenario names cannot be read, or a certificate cannot be made.
    pub fn elsewhere(run: &str, tiers: &[Tier], folder: &Path) -> Result<Self, FormationError> {
        std::fs::create_dir_all(folder).map_err(file_error(folder))?;
        let mut formation = Self {
            authority: Authority::new(run, time::OffsetDateTime::now_utc())?,
            users: users(),
            others: String::new(),
            logins: BTreeMap::new(),
            brokers: Vec::new(),
            folder: folder.to_owned(),
            keeper: None,
            relays: None,
        };
        for reach in reach_all(tiers)? {
            if let Some(ca) = &reach.ca {
                formation.others.push('\n');
                formation.others.push_str(ca);
            }
            if let Some(issuer) = reach.issuer {
                formation.authority = Authority::given(issuer, time::OffsetDateTime::now_utc())?;
            }
            if let (Role::Provisioning, Some(user)) = (reach.role, &reach.login.user) {
                let password = reach.login.password.clone().unwrap_or_default();
                let user = user.clone();
                let login = Login { user, password };
                formation.users = ProvisioningUsers {
                    node: login.clone(),
                    provisioner: login,
                };
            }
            for (name, address) in reach.brokers {
                let post = Post {
                    name,
                    tier: reach.tier.clone(),
                    role: reach.role,
                    tls: reach.tls,
                    address,
                    monitor: None,
                };
                formation.brokers.push(Manned { post, broker: None });
            }
            formation.logins.insert(reach.tier, reach.login);
        }
        Ok(formation)
    }

    /// Trust anchors of everything in the run, PEM.
    pub fn roots(&self) -> String {
        format!("{}{}", self.authority.root(), self.others)
    }

    /// Who nodes and callers are at the brokers of a tier.
    pub fn login(&self, tier: &str) -> crate::message::Login {
        self.logins.get(tier).cloned().unwrap_or_default()
    }

    /// The brokers that are processes of ours.
    fn ours(&self) -> impl Iterator<Item = (&Post, &Arc<Mutex<Broker>>)> {
        let all = self.brokers.iter();
        all.filter_map(|manned| Some((&manned.post, manned.broker.as_ref()?)))
    }

    async fn start_brokers(
        &mut self,
        wanted: Wanted<'_>,
        server: &NatsServer,
        mark: &RunMark,
    ) -> Result<(), FormationError> {
        let tiers = wanted.tiers;
        let total: usize = tiers.iter().map(layout::brokers_in).sum();
        let ports = ports::free(total * layout::PORTS).map_err(FormationError::Ports)?;
        let mut laid = layout::lay_out(tiers, &ports, &self.users, &self.folder);
        let keeper = laid.iter_mut().find(|laid| laid.tier.keeps_bucket());
        if let Some(keeper) = keeper.filter(|_| wanted.buckets) {
            keeper.config.buckets = Some(self.folder.join("buckets"));
            self.keeper = Some(keeper.config.name.clone());
        }
        self.lead_over_relays(&mut laid, wanted.relayed).await?;
        let order: Vec<String> = laid.iter().map(|laid| laid.config.name.clone()).collect();
        // A leaf that finds its hub not yet there goes to another one, and stays with it.
        let (leaves, others): (Vec<_>, Vec<_>) = laid
            .into_iter()
            .partition(|laid| laid.config.leaf_of.is_some());
        for wave in [others, leaves] {
            for laid in wave {
                self.write_certificate(&laid.config)?;
                let started = Broker::start(laid, &self.folder, (server, total), mark)?;
                self.brokers.push(Manned {
                    post: started.post().clone(),
                    broker: Some(Arc::new(Mutex::new(started))),
                });
            }
            for (_, broker) in self.ours() {
                broker.lock().await.wait_ready().await?;
            }
        }
        self.brokers
            .sort_by_key(|manned| order.iter().position(|name| *name == manned.post.name));
        for (_, broker) in self.ours() {
            broker.lock().await.wait_linked().await?;
        }
        for relayed in self.relayed() {
            wait_tied(&relayed.ties, |_| true).await?;
        }
        self.probe().await
    }

    /// Starts the relays of `links`, and lets brokers dial these.
    async fn lead_over_relays(
        &mut self,
        laid: &mut [Laid<'_>],
        links: &[BrokerLink],
    ) -> Result<(), FormationError> {
        if links.is_empty() {
            return Ok(());
        }
        let listeners = Listeners::of(laid);
        let started = Relays::start(links, |link, broker| listeners.port(link.kind, broker));
        let (mut relays, detours) = started.await.map_err(FormationError::Ports)?;
        detour::lead(laid, links, (&detours, relays.nowhere()), &listeners);
        relays.tie(|link| detour::ties(laid, link, &detours));
        self.relays = Some(relays);
        Ok(())
    }

    /// The links that are led over relays.
    pub fn relayed(&self) -> &[Relayed] {
        self.relays.as_ref().map_or(&[], Relays::lines)
    }

    /// Makes sure that each network is one: what is said at one broker is heard at every other.
    async fn probe(&self) -> Result<(), FormationError> {
        for role in [Role::Provisioning, Role::Production] {
            let posts: Vec<&Post> = self.of_role(role).collect();
            if posts.len() > 1 {
                let login = (role == Role::Provisioning).then_some(&self.users.provisioner);
                probe::all_hear_each_other(&posts, &self.authority, login).await?;
            }
        }
        Ok(())
    }

    fn write_certificate(&self, config: &BrokerConfig) -> Result<(), FormationError> {
        if !config.shows_certificate() {
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

    /// The broker that keeps buckets.
    pub fn keeps_buckets(&self) -> Option<&Post> {
        let keeper = self.keeper.as_ref()?;
        self.posts().find(|post| post.name == *keeper)
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
        self.ours()
            .map(|(post, broker)| (post.name.clone(), Arc::clone(broker)))
            .collect()
    }

    /// The name and process of every broker that runs and that nobody does something to.
    pub fn pids(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ours().filter_map(|(post, broker)| {
            let pid = broker.try_lock().ok()?.pid()?;
            Some((post.name.as_str(), pid))
        })
    }

    /// What ended though nobody asked it to, in words.
    pub fn unasked_end(&self) -> Option<String> {
        self.ours().find_map(|(_, broker)| {
            // A fault has it in its hands.
            let mut broker = broker.try_lock().ok()?;
            let status = broker.ended()?;
            Some(broker.ended_unasked(&status))
        })
    }

    /// Ends every broker, all of them side by side.
    pub async fn stop(&mut self) {
        let stops = self.ours().map(|(_, broker)| async {
            broker.lock().await.stop().await;
        });
        futures::future::join_all(stops).await;
        self.brokers.clear();
        self.relays = None;
    }
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

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> FormationError + '_ {
    move |source| FormationError::File {
        path: path.to_owned(),
        source,
    }
}
