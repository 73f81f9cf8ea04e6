//! `provisioner.toml`: one checked [`Config`], or every mistake in one go.
//!
//! The file is read strictly (`example.toml` beside the sources holds every
//! key). Reading touches no other file; what the configuration names (keys,
//! certificates, passwords) is loaded by [`crate::site`], whose mistakes
//! carry the place of the key that names the file.

mod ca;
mod issuer;
mod ledger;
mod mistake;
mod placement;
mod read;
mod reader;
mod renewal;
mod streams;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit;
use crate::judge::RequestPolicy;
use crate::ledger::{Reprovision, Rules};
use crate::placement::Placement;
use crate::secret::Secret;

pub use ca::{AcmeConfig, Backend, Ca, CaKey, CaKind, Crl, Dns, Helper, Http, HttpApi, Passphrase};
pub use issuer::{Chain, Issuer};
pub use ledger::{Ledger, Shared};
pub use mistake::{Located, Mistake, Mistakes, Place};
pub use renewal::Renewal;
pub use streams::{Election, Events, Through};

/// Where the configuration is looked for when no `--config` is given.
pub const DEFAULT_PLACES: [&str; 2] = ["provisioner.toml", "/etc/muster/provisioner.toml"];

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Folder of the ledger and the status socket.
    pub state_dir: PathBuf,
    /// Who keeps what is known of the nodes.
    pub ledger: Ledger,
    /// The sender nodes see; by default the common name of the caller certificate.
    pub identity: Option<Located<String>>,
    /// The network of nodes without credentials.
    pub provisioning: Provisioning,
    /// The network of enrolled nodes.
    pub production: Production,
    /// Who may enrol.
    pub token: Token,
    /// What may be asked for.
    pub csr: Csr,
    /// Who signs.
    pub ca: Ca,
    /// Who issues server tokens, where nodes get those and no certificates.
    pub issuer: Option<Issuer>,
    /// What a node is sent.
    pub node: NodeFiles,
    /// Which brokers it is sent to, where there are several.
    pub placement: Placement,
    /// Bounds.
    pub limits: Limits,
    /// Waiting times.
    pub timeouts: Timeouts,
    /// What happens after a setback.
    pub retry: Retry,
    /// Whether an enrolled node may be enrolled once more.
    pub reprovision: Reprovision,
    /// How enrolled nodes are asked back before their certificates end, if they are.
    pub renewal: Option<Renewal>,
    /// How the audit log is kept.
    pub audit: audit::Settings,
    /// The stream that is told what is decided and done.
    pub events: Option<Events>,
    /// The election this service stands in.
    pub election: Option<Election>,
    /// The periodic search for nodes.
    pub sweep: Sweep,
    /// Address of `/metrics`, `/healthz` and `/readyz`; none when switched off.
    pub http: Option<String>,
    /// Logging.
    pub log: Log,
}

/// How a broker is spoken to.
#[derive(Clone, Debug)]
pub enum Tls {
    /// TLS without verifying the broker, as nodes without credentials do.
    Anonymous,
    /// TLS with the broker verified against these roots.
    Verified(Located<PathBuf>),
    /// No TLS at all.
    None,
}

/// `[network.provisioning]`.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// Broker URLs.
    pub servers: Vec<String>,
    /// The collective of nodes in provisioning mode.
    pub collective: Located<String>,
    /// NATS user.
    pub user: Option<String>,
    /// NATS password.
    pub password: Option<SecretSource>,
    /// Transport security.
    pub tls: Tls,
    /// Requests of protocol 1 are signed there too.
    pub signed: bool,
}

/// `[network.production]`.
#[derive(Clone, Debug)]
pub struct Production {
    /// Broker URLs.
    pub servers: Vec<String>,
    /// The collective enrolled nodes are looked for in.
    pub collective: Located<String>,
    /// Roots the broker is verified against.
    pub ca: Located<PathBuf>,
    /// Who the service is, there and as the caller of every request.
    pub caller: Caller,
}

/// Who the service is.
#[derive(Clone, Debug)]
pub enum Caller {
    /// The holder of a certificate: mutual TLS, requests of protocol 1.
    Certificate {
        /// Its certificate, RSA.
        certificate: Located<PathBuf>,
        /// Its key.
        key: Located<PathBuf>,
    },
    /// The holder of a client token of an organization: requests of protocol 2.
    Token {
        /// The token.
        token: Located<PathBuf>,
        /// The seed of its key, 64 hexadecimal digits.
        seed: Located<PathBuf>,
    },
}

/// A secret, written in the configuration or in a file of its own.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// The secret itself.
    Text(Secret),
    /// A file whose first line it is.
    File(Located<PathBuf>),
}

/// `[token]`.
#[derive(Clone, Debug)]
pub struct Token {
    /// Keys that may have signed a node's token.
    pub keys: Vec<TokenKey>,
    /// Accepted issuers (`iss`).
    pub issuers: Vec<String>,
    /// Wanted audience, when the tokens have one.
    pub audience: Option<String>,
    /// Clock difference forgiven.
    pub leeway: Duration,
    /// Claim `cht` of the nodes' token, which every request has to carry.
    pub node_token: SecretSource,
}

/// One key of `[token] keys`.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// Its name, as `show` prints it.
    pub name: String,
    /// Public key, PEM or hex.
    pub file: Located<PathBuf>,
}

/// `[csr]`.
#[derive(Clone, Debug)]
pub struct Csr {
    /// Which keys are certified, and what a request may hold beyond the node's own name.
    pub policy: RequestPolicy,
}

/// `[node]`: templates by setting and by policy file.
#[derive(Clone, Debug)]
pub struct NodeFiles {
    /// Settings of `server.conf`.
    pub settings: Vec<(String, Located<String>)>,
    /// Action policies by file name.
    pub policies: Vec<(String, Located<String>)>,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes waiting or parked.
    pub queue: usize,
    /// Nodes being asked whether they are there.
    pub probes: usize,
    /// Nodes being enrolled at once.
    pub nodes: usize,
    /// Helpers running at once.
    pub hook: usize,
    /// Built-in signatures at once.
    pub ca: usize,
    /// Restarted nodes awaited on the production network.
    pub confirm: usize,
}

/// `[timeouts]`.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The first question to a node.
    pub probe: Duration,
    /// Any other question.
    pub node: Duration,
    /// A reply to `restart`, or the event that stands for it.
    pub restart: Duration,
    /// From restart to seen on the production network.
    pub confirm: Duration,
    /// How long the certificate of a node stands that was not seen with it.
    pub unconfirmed: Duration,
    /// Age at which an event is stale.
    pub event_age: Duration,
}

/// `[retry]`.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// More questions to a node that answered before.
    pub attempts: usize,
    /// First delay of a parked node.
    pub first: Duration,
    /// Longest delay of a parked node.
    pub max: Duration,
    /// Tries of a node that never answered.
    pub forget_after: usize,
}

/// `[sweep]`.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Time between two sweeps.
    pub interval: Duration,
    /// Silence that ends one.
    pub window: Duration,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct Log {
    /// Level or filter directives.
    pub level: Located<String>,
    /// JSON lines instead of text.
    pub json: bool,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file at all.
    #[error("no configuration: neither {} nor {} is there; name one with --config", DEFAULT_PLACES[0], DEFAULT_PLACES[1])]
    NotFound,
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

impl Config {
    /// The named file, or the first of [`DEFAULT_PLACES`] that is there.
    ///
    /// # Errors
    /// No file, an unreadable one, or every mistake in it.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let file = match named {
            Some(file) => file.to_path_buf(),
            None => DEFAULT_PLACES
                .iter()
                .map(PathBuf::from)
                .find(|place| place.exists())
                .ok_or(ConfigError::NotFound)?,
        };
        let text = std::fs::read_to_string(&file).map_err(|source| ConfigError::Read {
            file: file.clone(),
            source,
        })?;
        Ok(Self::parse(&file, &text)?)
    }

    /// What the ledger holds to.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules {
            policy: self.policy(),
            audit: self.audit,
        }
    }

    /// Reads `text` as if it stood in `file`, touching no other file.
    ///
    /// # Errors
    /// Every mistake, in the order of the file.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Mistakes> {
        read::config(file, text)
    }
}

#[cfg(test)]
mod tests;
