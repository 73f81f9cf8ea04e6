//! The `provisioner.toml` of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::formation::credentials::{Pair, TokenPair};
use crate::formation::organization;
use crate::scenario::Renewal;
use crate::units::show_duration;

/// What a run's provisioner has to know. Rendered into the file its `--config` names.
#[derive(Clone, Debug)]
pub struct ProvisionerConfig {
    /// Where its ledger is.
    pub state_dir: PathBuf,
    /// The network on which nodes announce themselves.
    pub provisioning: ProvisioningSide,
    /// Addresses of the network on which enrolled nodes live.
    pub production: Vec<String>,
    /// The collective in which they are looked for.
    pub collective: String,
    /// Trust anchors of the run.
    pub roots: PathBuf,
    /// Who it is, and what nodes get of it.
    pub issues: Issues,
    /// The token that nodes carry.
    pub token: TokenFiles,
    /// How long that is valid.
    pub validity: Duration,
    /// How nodes are asked back before its end, if they are.
    pub renewal: Option<Renewal>,
    /// Settings of the nodes, added to those a provisioner always sends.
    pub settings: BTreeMap<String, String>,
    /// Action policies of the nodes by file name.
    pub policies: BTreeMap<String, String>,
    /// Nodes that may be in any state at once.
    pub queue: u64,
    /// Its name among those it shares a ledger with; none where it is alone.
    pub member: Option<String>,
    /// Brokers that keep the shared ledger.
    pub buckets: Vec<String>,
}

/// What nodes get, with what the provisioner itself has of the same kind.
#[derive(Clone, Debug)]
pub enum Issues {
    /// Certificates.
    Certificates {
        /// Certificate and key of the caller `provisioner.mcollective`.
        caller: Pair,
        /// Certificate and key of the intermediate that signs nodes.
        intermediate: Pair,
        /// Helpers that sign in its place, if any.
        helpers: Option<Helpers>,
    },
    /// Server tokens.
    Tokens {
        /// Token and seed of the caller `up=provisioner`, a chain issuer of the organization.
        caller: TokenPair,
        /// The organization's public key, 64 hexadecimal digits.
        organization_key: String,
        /// Collectives that nodes may be in.
        collectives: Vec<String>,
    },
}

/// Processes that sign in the provisioner's place.
#[derive(Clone, Debug)]
pub struct Helpers {
    /// How many.
    pub count: u32,
    /// Program and arguments; the authority's files are added.
    pub command: Vec<String>,
}

/// How the provisioner reaches the provisioning network.
#[derive(Clone, Debug)]
pub struct ProvisioningSide {
    /// Addresses.
    pub servers: Vec<String>,
    /// Its user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// `anonymous` where the broker speaks TLS, `none` where it does not.
    pub tls: &'static str,
}

/// The provisioning token's verification key and shared secret.
#[derive(Clone, Debug)]
pub struct TokenFiles {
    /// Public key, PEM.
    pub key: PathBuf,
    /// Issuer that the token names.
    pub issuer: String,
    /// Claim `cht`.
    pub node_token: String,
}

#[derive(Serialize)]
struct File<'a> {
    state_dir: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<Shared<'a>>,
    network: Network<'a>,
    token: Token<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<Ca<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<Issuer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renewal: Option<Renewals>,
    node: Node<'a>,
    limits: Limits,
    http: Http,
}

#[derive(Serialize)]
struct Shared<'a> {
    kind: &'static str,
    member: &'a str,
    servers: &'a [String],
}

#[derive(Serialize)]
struct Network<'a> {
    provisioning: Provisioning<'a>,
    production: Production<'a>,
}

#[derive(Serialize)]
struct Provisioning<'a> {
    servers: &'a [String],
    user: &'a str,
    password: &'a str,
    tls: &'a str,
}

#[derive(Serialize)]
struct Production<'a> {
    servers: &'a [String],
    collective: &'a str,
    ca: &'a Path,
    #[serde(flatten)]
    caller: Caller<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Caller<'a> {
    Certificate {
        certificate: &'a Path,
        key: &'a Path,
    },
    Token {
        token: &'a Path,
        seed: &'a Path,
    },
}

#[derive(Serialize)]
struct Token<'a> {
    keys: [TokenKey<'a>; 1],
    issuers: [&'a str; 1],
    node_token: &'a str,
}

#[derive(Serialize)]
struct TokenKey<'a> {
    name: &'a str,
    file: &'a Path,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Ca<'a> {
    BuiltIn {
        certificate: &'a Path,
        key: &'a Path,
        roots: &'a Path,
        validity: String,
    },
    Pool {
        command: Vec<String>,
        helpers: u32,
        intermediates: &'a Path,
        roots: &'a Path,
    },
}

#[derive(Serialize)]
struct Issuer<'a> {
    organization: &'static str,
    seed: &'a Path,
    token: &'a Path,
    organization_key: &'a str,
    validity: String,
    collectives: &'a [String],
}

#[derive(Serialize)]
struct Renewals {
    left: u32,
    spread: u32,
    rate: u32,
    at_once: u32,
    window: String,
    new_key: String,
}

#[derive(Serialize)]
struct Node<'a> {
    settings: &'a BTreeMap<String, String>,
    policies: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Limits {
    queue: u64,
}

#[derive(Serialize)]
struct Http {
    listen: &'static str,
}

impl ProvisionerConfig {
    /// The text of the file.
    ///
    /// # Errors
    /// Never for values of these types; the serializer's signature has one.
    pub fn render(&self) -> Result<String, toml::ser::Error> {
        let file = File {
            state_dir: &self.state_dir,
            ledger: self.member.as_deref().map(|member| Shared {
                kind: "shared",
                member,
                servers: &self.buckets,
            }),
            network: Network {
                provisioning: Provisioning {
                    servers: &self.provisioning.servers,
                    user: &self.provisioning.user,
                    password: &self.provisioning.password,
                    tls: self.provisioning.tls,
                },
                production: Production {
                    servers: &self.production,
                    collective: &self.collective,
                    ca: &self.roots,
                    caller: self.caller(),
                },
            },
            token: Token {
                keys: [TokenKey {
                    name: "loadgen",
                    file: &self.token.key,
                }],
                issuers: [&self.token.issuer],
                node_token: &self.token.node_token,
            },
            ca: self.ca(),
            issuer: self.issuer(),
            renewal: self.renewal.as_ref().map(|renewal| Renewals {
                left: renewal.left,
                spread: renewal.spread,
                rate: renewal.rate,
                at_once: renewal.at_once,
                window: show_duration(renewal.window),
                new_key: renewal.new_key.to_string(),
            }),
            node: Node {
                settings: &self.settings,
                policies: &self.policies,
            },
            limits: Limits { queue: self.queue },
            http: Http {
                listen: "127.0.0.1:0",
            },
        };
        let text = toml::to_string_pretty(&file)?;
        Ok(format!("# Written by loadgen for one run.\n{text}"))
    }

    fn life(&self) -> String {
        show_duration(self.validity)
    }

    fn caller(&self) -> Caller<'_> {
        match &self.issues {
            Issues::Certificates { caller, .. } => Caller::Certificate {
                certificate: &caller.certificate,
                key: &caller.key,
            },
            Issues::Tokens { caller, .. } => Caller::Token {
                token: &caller.token,
                seed: &caller.seed,
            },
        }
    }

    fn issuer(&self) -> Option<Issuer<'_>> {
        match &self.issues {
            Issues::Certificates { .. } => None,
            Issues::Tokens {
                caller,
                organization_key,
                collectives,
            } => Some(Issuer {
                organization: organization::NAME,
                seed: &caller.seed,
                token: &caller.token,
                organization_key,
                validity: self.life(),
                collectives,
            }),
        }
    }

    fn ca(&self) -> Option<Ca<'_>> {
        let Issues::Certificates {
            intermediate: Pair { certificate, key },
            helpers,
            ..
        } = &self.issues
        else {
            return None;
        };
        let Some(helpers) = helpers else {
            return Some(Ca::BuiltIn {
                certificate,
                key,
                roots: &self.roots,
                validity: self.life(),
            });
        };
        let files = [
            ("--certificate", certificate),
            ("--key", key),
            ("--roots", &self.roots),
        ];
        let mut command = helpers.command.clone();
        for (option, file) in files {
            command.extend([option.to_owned(), file.display().to_string()]);
        }
        Some(Ca::Pool {
            command,
            helpers: helpers.count,
            intermediates: certificate,
            roots: &self.roots,
        })
    }
}
