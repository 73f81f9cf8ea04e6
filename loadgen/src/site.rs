//! Everything of a run that loadgen starts beside its workers: brokers, credentials, provisioners.
//!
//! ```text
//! Formation (brokers ready) ──► Callers, ProvisioningToken ──► provisioner.toml ──► Provisioner
//!        └──────────────────────────► Access (what workers are told) ◄──┘
//! ```

mod service;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Mutex;

use crate::coordinator::usage::Pid;
use crate::formation::broker::Post;
use crate::formation::credentials::{Callers, CredentialsError, ProvisioningToken};
use crate::formation::nats_server::NatsServer;
use crate::formation::policies::action_policies;
use crate::formation::{Formation, FormationError, Wanted, files};
use crate::guard::RunMark;
use crate::message::{Access, Network};
use crate::provisioner::{Provisioner, ProvisionerError, StatusCommand};
use crate::scenario::{Issues, Manage, Role, Scenario};

/// The site did not come up. What had been started is stopped again.
#[derive(Debug, Error)]
pub enum SiteError {
    /// A broker.
    #[error(transparent)]
    Formation(#[from] FormationError),
    /// A credential.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The provisioner.
    #[error(transparent)]
    Provisioner(#[from] ProvisionerError),
    /// A file.
    #[error("{path} cannot be written: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The programs a site is made of.
#[derive(Clone, Debug)]
pub struct Programs {
    /// nats-server.
    pub nats_server: NatsServer,
    /// The provisioner, where the scenario wants one.
    pub provisioner: Option<PathBuf>,
}

/// Brokers and provisioners of a run, running.
#[derive(Debug)]
pub struct Site {
    /// The brokers.
    pub formation: Formation,
    /// The callers' certificates.
    pub callers: Callers,
    /// The provisioners, in order. A fault holds the lock while it has one away.
    pub provisioners: Vec<Arc<Mutex<Provisioner>>>,
    run: String,
    issues: Issues,
    status: Option<StatusCommand>,
    token: Option<ProvisioningToken>,
    folder: PathBuf,
}

impl Site {
    /// Starts what the scenario wants, in `folder`, and waits until it is ready.
    ///
    /// # Errors
    /// When a part does not come up; the others are stopped again.
    pub async fn start(
        scenario: &Scenario,
        run: &str,
        folder: &Path,
        programs: &Programs,
        mark: &RunMark,
    ) -> Result<Self, SiteError> {
        std::fs::create_dir_all(folder).map_err(file_error(folder))?;
        let folder = std::path::absolute(folder).map_err(file_error(folder))?;
        let tiers = &scenario.topology.tiers;
        let brokers = folder.join("brokers");
        let formation = match scenario.topology.manage {
            Manage::External => Formation::elsewhere(run, tiers, &brokers)?,
            Manage::Local | Manage::None => {
                let wanted = Wanted {
                    tiers,
                    buckets: scenario.provisioner.count > 1
                        && scenario.provisioner.manage != Manage::None,
                    relayed: &scenario.relayed_links(),
                };
                Formation::start_as(run, wanted, &brokers, &programs.nats_server, mark).await?
            }
        };
        let issues = scenario.provisioner.issues;
        let mut site = Self {
            callers: Callers::write(&formation.authority, issues, &formation.roots(), &folder)?,
            formation,
            provisioners: Vec::new(),
            run: run.to_owned(),
            issues,
            status: None,
            token: None,
            folder,
        };
        if let Err(error) = site.start_provisioners(scenario, programs, mark).await {
            site.stop().await;
            return Err(error);
        }
        Ok(site)
    }

    async fn start_provisioners(
        &mut self,
        scenario: &Scenario,
        programs: &Programs,
        mark: &RunMark,
    ) -> Result<(), SiteError> {
        let urls = self.urls(Role::Provisioning);
        if urls.is_empty() {
            return Ok(());
        }
        let login = &self.formation.users.node;
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let token =
            ProvisioningToken::new(&urls, (&login.user, &login.password), self.issues, now)?;
        let path = self.folder.join("provisioning.jwt");
        files::write_secret(&path, &token.jwt).map_err(file_error(&path))?;
        let manage = scenario.provisioner.manage;
        let config = self.provisioner_config(scenario, &token, programs)?;
        self.token = Some(token);
        if manage == Manage::None {
            return Ok(());
        }
        let configs = self.write_members(config, scenario.provisioner.count)?;
        let (Manage::Local, Some(program)) = (manage, &programs.provisioner) else {
            for (_, file) in configs {
                tracing::info!(
                    file = %file.display(),
                    "what a provisioner has to know of this run; it must be started by somebody else"
                );
            }
            return Ok(());
        };
        for (name, config) in configs {
            let mut provisioner = Provisioner::new(&name, program.clone(), config);
            provisioner.launch(mark)?;
            let ready = provisioner.wait_ready().await;
            let own = provisioner.status();
            self.status = Some(match self.status.take() {
                Some(others) => others.or(own),
                None => own.clone(),
            });
            self.provisioners.push(Arc::new(Mutex::new(provisioner)));
            ready?;
        }
        Ok(())
    }

    /// What workers are told.
    pub fn access(&self) -> Access {
        let production = self.formation.of_role(Role::Production);
        let mut tiers: BTreeMap<String, Network> = BTreeMap::new();
        for post in production {
            let network = tiers.entry(post.tier.clone()).or_insert_with(|| Network {
                servers: Vec::new(),
                tls: post.tls,
                login: self.formation.login(&post.tier),
            });
            network.servers.push(post.url());
        }
        let token = self.token.as_ref();
        Access {
            provisioning_token: token.map(|token| Arc::from(token.jwt.as_str())),
            expired_token: token.map(|token| Arc::from(token.expired.as_str())),
            provisioning: self.urls(Role::Provisioning),
            production: tiers,
            roots: Arc::from(self.formation.roots()),
            caller: self.callers.loadgen.clone(),
            run: self.run.clone(),
            intermediate: self.formation.authority.intermediate().clone(),
            policies: action_policies(self.issues),
        }
    }

    /// How to ask the ledger; `None` without a provisioner of ours.
    pub fn status_command(&self) -> Option<StatusCommand> {
        self.status.clone()
    }

    /// Where the provisioner's metrics are.
    pub fn metrics(&self) -> Option<String> {
        let provisioner = self.provisioners.first()?.try_lock().ok()?;
        provisioner.metrics().map(str::to_owned)
    }

    /// The provisioners with their names.
    pub fn provisioners_by_name(&self) -> Vec<(String, Arc<Mutex<Provisioner>>)> {
        let named = self.provisioners.iter().filter_map(|provisioner| {
            let name = provisioner.try_lock().ok()?.name().to_owned();
            Some((name, Arc::clone(provisioner)))
        });
        named.collect()
    }

    /// The processes that run now.
    pub fn pids(&self) -> Vec<Pid> {
        let brokers = self.formation.pids().map(|(name, pid)| Pid {
            name: name.to_owned(),
            pid,
            broker: true,
        });
        let provisioners = self.provisioners.iter().filter_map(|provisioner| {
            let provisioner = provisioner.try_lock().ok()?;
            Some(Pid {
                name: provisioner.name().to_owned(),
                pid: provisioner.pid()?,
                broker: false,
            })
        });
        brokers.chain(provisioners).collect()
    }

    /// What ended though nobody asked it to, in words.
    pub fn unasked_end(&mut self) -> Option<String> {
        let provisioners = || {
            self.provisioners.iter().find_map(|provisioner| {
                // A fault has it in its hands.
                let mut provisioner = provisioner.try_lock().ok()?;
                Some(provisioner.died()?.to_string())
            })
        };
        self.formation.unasked_end().or_else(provisioners)
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Addresses of the brokers of one role, with scheme.
    pub fn urls(&self, role: Role) -> Vec<String> {
        self.formation.of_role(role).map(Post::url).collect()
    }

    /// Ends everything: provisioners first, so that they can take leave of the brokers.
    pub async fn stop(&mut self) {
        let stops = self.provisioners.iter().map(|provisioner| async {
            provisioner.lock().await.stop().await;
        });
        futures::future::join_all(stops).await;
        self.formation.stop().await;
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> SiteError + '_ {
    move |source| SiteError::File {
        path: path.to_owned(),
        source,
    }
}
