//! The `provisioner.toml` of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What a run's provisioner has to know. Rendered into the file its `--config` names.
#[derive(Clone, Debug)]
pub struct ProvisionerConfig {
    /// Where its ledger is.
    pub state_dir: PathBuf,
    /// The network on which nodes announce themselves.
    pub provisioning: ProvisioningSide,
    /// Addresses of the network on which enrolled nodes live.
    pub production: Vec<String>,
    /// Trust anchors of the run.
    pub roots: PathBuf,
    /// Certificate and key of the caller `provisioner.mcollective`.
    pub caller: (PathBuf, PathBuf),
    /// Certificate and key of the intermediate that signs nodes.
    pub intermediate: (PathBuf, PathBuf),
    /// Helpers that sign in its place, if any.
    pub helpers: Option<Helpers>,
    /// The token that nodes carry.
    pub token: TokenFiles,
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
    ca: Ca<'a>,
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
    ca: &'a Path,
    certificate: &'a Path,
    key: &'a Path,
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
        validity: &'a str,
    },
    Pool {
        command: Vec<String>,
        helpers: u32,
        intermediates: &'a Path,
        roots: &'a Path,
    },
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
                    ca: &self.roots,
                    certificate: &self.caller.0,
                    key: &self.caller.1,
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

    fn ca(&self) -> Ca<'_> {
        let (certificate, key) = (&self.intermediate.0, &self.intermediate.1);
        let Some(helpers) = &self.helpers else {
            return Ca::BuiltIn {
                certificate,
                key,
                roots: &self.roots,
                // Within the intermediate's own life; the certificates end with the run.
                validity: "14d",
            };
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
        Ca::Pool {
            command,
            helpers: helpers.count,
            intermediates: certificate,
            roots: &self.roots,
        }
    }
}
