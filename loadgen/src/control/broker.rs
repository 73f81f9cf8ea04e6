//! The control broker of a run: a small nats-server that carries nothing but control messages.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;

use super::link::Address;
use crate::formation::files::write_secret;
use crate::formation::monitor::Monitor;
use crate::formation::nats_server::NatsServer;
use crate::formation::ports;
use crate::guard::RunMark;
use crate::process::{Launch, Process, ProcessError, ending, last_words};

/// The largest control message: the snapshot of a worker with many operations is far below it.
const MAX_PAYLOAD_BYTES: u64 = 8 << 20;
/// What may wait for one reader.
const MAX_PENDING_BYTES: u64 = 256 << 20;
const READY_WITHIN: Duration = Duration::from_secs(15);
const STOP_WITHIN: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);
/// How often a port that somebody else took in between is chosen again.
const ATTEMPTS: u32 = 3;

/// The control broker did not come up.
#[derive(Debug, Error)]
pub enum ControlBrokerError {
    /// Its process could not be started.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of it could not be written, or no port is free.
    #[error("the control broker cannot be set up in {folder}: {source}", folder = .folder.display())]
    Setup {
        /// Its folder.
        folder: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It ended, or was not ready in time.
    #[error("the control broker {how}; its last words: {said} (log: {log})", log = .log.display())]
    Failed {
        /// What happened.
        how: String,
        /// The last line of its log.
        said: String,
        /// The log.
        log: PathBuf,
    },
}

/// The running control broker.
#[derive(Debug)]
pub struct ControlBroker {
    process: Process,
    log: PathBuf,
    port: u16,
    token: String,
    listen: IpAddr,
}

impl ControlBroker {
    /// Starts it with its files in `folder` and waits until it is ready. It listens on `listen`,
    /// which is loopback unless workers join from other machines.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(
        folder: &Path,
        listen: IpAddr,
        server: &NatsServer,
        mark: &RunMark,
    ) -> Result<Self, ControlBrokerError> {
        for _ in 1..ATTEMPTS {
            match Self::try_start(folder, listen, server, mark).await {
                Err(ControlBrokerError::Failed { said, .. })
                    if said.contains("address already in use") => {}
                started => return started,
            }
        }
        Self::try_start(folder, listen, server, mark).await
    }

    async fn try_start(
        folder: &Path,
        listen: IpAddr,
        server: &NatsServer,
        mark: &RunMark,
    ) -> Result<Self, ControlBrokerError> {
        let setup = |source| ControlBrokerError::Setup {
            folder: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(setup)?;
        let free = ports::free(2).map_err(setup)?;
        let (Some(port), Some(monitor)) = (free.first().copied(), free.get(1).copied()) else {
            return Err(setup(std::io::ErrorKind::AddrNotAvailable.into()));
        };
        let token = uuid::Uuid::new_v4().simple().to_string();
        let config = folder.join("control.conf");
        let text = json!({
            "server_name": "control",
            "listen": std::net::SocketAddr::new(listen, port).to_string(),
            "http": format!("{}:{monitor}", Ipv4Addr::LOCALHOST),
            "authorization": { "token": token },
            "max_payload": MAX_PAYLOAD_BYTES,
            "max_pending": MAX_PENDING_BYTES,
        });
        write_secret(&config, &format!("{text:#}\n")).map_err(setup)?;
        let log = folder.join("control.log");
        let launch = Launch {
            name: "control",
            program: &server.path,
            args: vec!["--config".into(), config.into()],
            log: log.clone(),
        };
        let mut broker = Self {
            process: Process::start(launch, mark)?,
            log,
            port,
            token,
            listen,
        };
        broker.wait_ready(Monitor::on_loopback(monitor)).await?;
        Ok(broker)
    }

    async fn wait_ready(&mut self, monitor: Monitor) -> Result<(), ControlBrokerError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(how) = self.ended() {
                return Err(self.failed(how));
            }
            if monitor.ready().await {
                return Ok(());
            }
            if Instant::now() > deadline {
                let how = format!("was not ready after {} s", READY_WITHIN.as_secs());
                return Err(self.failed(how));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How it ended, when it has.
    fn ended(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        Some(format!("ended with {}", ending(status)))
    }

    fn failed(&self, how: String) -> ControlBrokerError {
        ControlBrokerError::Failed {
            how,
            said: last_words(&self.log).map_or("none".to_owned(), |line| format!("{line:?}")),
            log: self.log.clone(),
        }
    }

    /// Its end in words, when it ended though nobody asked it to.
    pub fn died(&mut self) -> Option<String> {
        let how = self.ended()?;
        Some(self.failed(how).to_string())
    }

    /// Where processes of this machine reach it.
    pub fn address(&self) -> Address {
        let host = match self.listen {
            listen if listen.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            listen => listen,
        };
        self.address_at(host)
    }

    /// Where processes of other machines reach it.
    pub fn address_from_elsewhere(&self) -> Address {
        let host = match self.listen {
            listen if listen.is_unspecified() => own_address().unwrap_or(listen),
            listen => listen,
        };
        self.address_at(host)
    }

    fn address_at(&self, host: IpAddr) -> Address {
        let at = std::net::SocketAddr::new(host, self.port);
        Address {
            url: format!("nats://{at}"),
            token: Some(self.token.clone()),
            ca: None,
        }
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        self.process.stop(STOP_WITHIN).await;
    }
}

/// The address of this machine that others most likely see: the one it would send from. No packet
/// leaves; 192.0.2.1 is nobody's (RFC 5737).
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
