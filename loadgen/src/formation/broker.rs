//! One running broker: started, watched until it is ready, killed and started again by faults.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::broker_config::BrokerConfig;
use super::layout::{Laid, Link};
use super::monitor::Monitor;
use super::nats_server::NatsServer;
pub use super::post::Post;
use super::ties::connections;
use crate::guard::RunMark;
use crate::process::{Launch, Process, ProcessError, ending, last_words};
use crate::scenario::Tls;

/// How long a broker may take from its start until it accepts clients.
pub const READY_WITHIN: Duration = Duration::from_secs(15);
/// How long a broker may take to end when asked.
const STOP_WITHIN: Duration = Duration::from_secs(3);
/// How long the links between brokers may take until they stand, once all are ready.
pub const LINKED_WITHIN: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// A broker did not come up.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// The program could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file the broker needs could not be written.
    #[error("broker {name}: {path} cannot be written: {source}", path = .path.display())]
    File {
        /// The broker.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error(
        "broker {name} ended with {status} before it was ready; nats-server's last words: {said} \
         (log: {log})",
        log = .log.display()
    )]
    Died {
        /// The broker.
        name: String,
        /// How it ended.
        status: String,
        /// The last line of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
    /// It was told to take leave and is still there.
    #[error(
        "broker {name} is still there {} s after it was made a lame duck; nats-server's last words: \
         {said} (log: {log})",
        .within.as_secs(),
        log = .log.display()
    )]
    Stays {
        /// The broker.
        name: String,
        /// How long it had.
        within: Duration,
        /// The last line of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
    /// It runs and is not ready in time.
    #[error(
        "broker {name} was not ready after {} s; nats-server's last words: {said} (log: {log})",
        READY_WITHIN.as_secs(),
        log = .log.display()
    )]
    NotReady {
        /// The broker.
        name: String,
        /// The last line of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
    /// A connection to another broker does not come about.
    #[error(
        "broker {name}: {link} did not stand after {} s; nats-server's last words: {said} (log: {log})",
        LINKED_WITHIN.as_secs(),
        log = .log.display()
    )]
    NotLinked {
        /// The broker.
        name: String,
        /// The link that is missing.
        link: Link,
        /// The last line of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
}

impl BrokerError {
    /// Whether somebody else took the port between its choice and its use.
    pub fn port_was_taken(&self) -> bool {
        matches!(self, Self::Died { said, .. } if said.contains("address already in use"))
    }
}

/// A broker of the formation.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    links: Vec<Link>,
    post: Post,
    folder: PathBuf,
    program: PathBuf,
    /// Cores that are its share of the machine.
    cores: usize,
    process: Option<Process>,
}

impl Broker {
    /// Writes the configuration into `folder` and starts the broker, one of `brokers` on this machine;
    /// it is not ready yet.
    ///
    /// # Errors
    /// When the configuration cannot be written or the program cannot be started.
    pub fn start(
        laid: Laid<'_>,
        folder: &Path,
        (server, brokers): (&NatsServer, usize),
        mark: &RunMark,
    ) -> Result<Self, BrokerError> {
        let machine = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let Laid {
            tier,
            config,
            links,
        } = laid;
        let post = Post {
            name: config.name.clone(),
            tier: tier.name.clone(),
            role: tier.role,
            tls: config.tls,
            address: format!("127.0.0.1:{}", config.port),
            monitor: Some(Monitor::on_loopback(config.monitor_port)),
        };
        let mut broker = Self {
            config,
            links,
            post,
            folder: folder.to_owned(),
            program: server.path.clone(),
            cores: (machine / brokers.max(1)).max(1),
            process: None,
        };
        let path = broker.config_path();
        let written = broker
            .config
            .render()
            .map_err(std::io::Error::other)
            .and_then(|text| super::files::write_secret(&path, &text));
        written.map_err(|source| BrokerError::File {
            name: broker.name().to_owned(),
            path,
            source,
        })?;
        broker.launch(mark)?;
        Ok(broker)
    }

    /// Starts the process again after [`Broker::kill`], on the same ports.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn launch(&mut self, mark: &RunMark) -> Result<(), BrokerError> {
        self.process = Some(Process::start_with(
            Launch {
                name: &self.config.name,
                program: &self.program,
                args: vec!["--config".into(), self.config_path().into()],
                log: self.log_path(),
            },
            &runtime(self.cores),
            mark,
        )?);
        Ok(())
    }

    /// Waits until the broker accepts clients.
    ///
    /// # Errors
    /// When it ends instead, or takes longer than [`READY_WITHIN`].
    pub async fn wait_ready(&mut self) -> Result<(), BrokerError> {
        let deadline = Instant::now() + READY_WITHIN;
        let monitor = self.monitor();
        loop {
            if let Some(status) = self.ended() {
                return Err(self.died(&status));
            }
            if monitor.ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(BrokerError::NotReady {
                    name: self.name().to_owned(),
                    said: self.last_words(),
                    log: self.log_path(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until every connection to other brokers stands; all of them must be ready.
    ///
    /// # Errors
    /// When the broker ends, or a link takes longer than [`LINKED_WITHIN`].
    pub async fn wait_linked(&mut self) -> Result<(), BrokerError> {
        let deadline = Instant::now() + LINKED_WITHIN;
        loop {
            if let Some(status) = self.ended() {
                return Err(self.died(&status));
            }
            let Some(link) = self.missing_link().await else {
                return Ok(());
            };
            if Instant::now() > deadline {
                return Err(BrokerError::NotLinked {
                    name: self.name().to_owned(),
                    link,
                    said: self.last_words(),
                    log: self.log_path(),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The first of its links that does not stand. A broker that does not answer has none.
    async fn missing_link(&self) -> Option<Link> {
        let monitor = self.monitor();
        for link in &self.links {
            // A leaf is to begin at the hub that is its own.
            let first = match link {
                Link::Hub(hubs) => Link::Hub(hubs.iter().take(1).cloned().collect()),
                other => other.clone(),
            };
            let stands = connections(&monitor, &first).await.unwrap_or_default();
            if stands.is_empty() {
                return Some(first);
            }
        }
        None
    }

    /// How it ended, when it did though nobody asked it to.
    pub fn ended(&mut self) -> Option<String> {
        self.process.as_mut()?.ended().map(ending)
    }

    /// Tells of its end in the middle of a run.
    pub fn ended_unasked(&self, status: &str) -> String {
        format!(
            "broker {} ({}) ended with {status} during the run; nats-server's last words: {} (log: {})",
            self.name(),
            self.post.url(),
            self.last_words(),
            self.log_path().display()
        )
    }

    /// The error that tells of its unexpected end.
    pub fn died(&self, status: &str) -> BrokerError {
        BrokerError::Died {
            name: self.name().to_owned(),
            status: status.to_owned(),
            said: self.last_words(),
            log: self.log_path(),
        }
    }

    /// Kills it where it stands, as a fault does.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Lets it stand still with everything it holds, as a fault does, until [`Broker::thaw`].
    pub fn freeze(&self) {
        if let Some(process) = &self.process {
            process.freeze();
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        if let Some(process) = &self.process {
            process.thaw();
        }
    }

    /// Makes it a lame duck: it tells its clients to go, closes those that do not, and ends.
    ///
    /// # Errors
    /// When it has not ended `within` that time.
    pub async fn retire(&mut self, within: Duration) -> Result<(), BrokerError> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if process.retire(within).await.is_none() {
            return Err(BrokerError::Stays {
                name: self.name().to_owned(),
                within,
                said: self.last_words(),
                log: self.log_path(),
            });
        }
        self.process = None;
        Ok(())
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(STOP_WITHIN).await;
        }
    }

    /// What stays the same of it.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// The broker's name: `hub-1`.
    pub fn name(&self) -> &str {
        &self.post.name
    }

    /// Its monitoring endpoint.
    pub fn monitor(&self) -> Monitor {
        Monitor::on_loopback(self.config.monitor_port)
    }

    /// The operating system's id of its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join(format!("{}.conf", self.config.name))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.config.name))
    }

    fn last_words(&self) -> String {
        match last_words(&self.log_path()) {
            Some(line) => format!("{line:?}"),
            None => "none".to_owned(),
        }
    }
}

/// How a broker's Go runtime is set, save where the environment says otherwise.
///
/// Walking the stacks of tens of thousands of idle connections costs more than the memory that it frees,
/// up to a limit that leaves room for six brokers on a small machine. Threads beyond a broker's share of
/// the cores look for work that others have: 7 % of what six brokers on two cores spend.
fn runtime(cores: usize) -> Vec<(&'static str, OsString)> {
    let settings = [
        ("GOGC", "400".to_owned()),
        ("GOMEMLIMIT", "1400MiB".to_owned()),
        ("GOMAXPROCS", cores.to_string()),
    ];
    let unset = |(name, _): &(&str, String)| std::env::var_os(name).is_none();
    let values = settings.into_iter().filter(unset);
    values.map(|(name, value)| (name, value.into())).collect()
}

/// The scheme of a server address: `nats` or `tls`.
pub fn scheme(tls: Tls) -> &'static str {
    match tls {
        Tls::None => "nats",
        Tls::Server | Tls::Mutual => "tls",
    }
}
