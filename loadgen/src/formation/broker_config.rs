//! The configuration of one nats-server, from what the formation wants of it.
//!
//! It is written as JSON, which nats-server reads as its own format: whatever a name or a path
//! holds, it is quoted by rule and not by hand.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use crate::scenario::Tls;

/// Name and password of the two users of a provisioning broker.
#[derive(Clone, Debug)]
pub struct ProvisioningUsers {
    /// What a node finds in its provisioning token.
    pub node: Login,
    /// What the provisioner connects with.
    pub provisioner: Login,
}

/// A NATS user.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password; of a broker that lives as long as the run.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Files with certificate and key of a broker and with the authority it trusts.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The broker's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The run's root.
    pub authority: PathBuf,
}

/// The other brokers of the same cluster, and the port for them.
#[derive(Clone, Debug)]
pub struct ClusterLink {
    /// The cluster's name.
    pub name: String,
    /// The port on which this broker accepts the others.
    pub port: u16,
    /// The ports of all brokers of the cluster.
    pub routes: Vec<u16>,
    /// The port that is told to others in place of its own.
    pub advertise: Option<u16>,
}

/// The hubs a leaf dials.
#[derive(Clone, Debug)]
pub struct LeafLink {
    /// Their ports for leaves, in the order they are tried.
    pub hubs: Vec<u16>,
    /// Whether the links speak TLS.
    pub tls: bool,
}

/// Where a hub accepts leaves.
#[derive(Clone, Copy, Debug)]
pub struct LeafListener {
    /// The port.
    pub port: u16,
    /// Whether the links speak TLS.
    pub tls: bool,
    /// Whether leaves are told of it.
    pub advertise: bool,
}

/// A region of a supercluster.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name, also that of its cluster.
    pub name: String,
    /// The ports of its brokers for other regions.
    pub ports: Vec<u16>,
}

/// The place of a broker in a supercluster.
#[derive(Clone, Debug)]
pub struct GatewayLink {
    /// Its own region.
    pub region: String,
    /// The port on which it accepts other regions.
    pub port: u16,
    /// Every region, its own included.
    pub regions: Vec<Region>,
    /// Whether the links speak TLS.
    pub tls: bool,
    /// The port that is told to others in place of its own.
    pub advertise: Option<u16>,
}

/// Everything a configuration is made of.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// The broker's name: `hub-1`.
    pub name: String,
    /// The port for clients.
    pub port: u16,
    /// The port of the monitoring endpoint.
    pub monitor_port: u16,
    /// How client connections are secured.
    pub tls: Tls,
    /// The certificate; used unless `tls` is [`Tls::None`].
    pub files: TlsFiles,
    /// At most so many client connections.
    pub max_connections: Option<u64>,
    /// The users of a provisioning broker; none on a production broker.
    pub provisioning: Option<ProvisioningUsers>,
    /// Links inside a cluster.
    pub cluster: Option<ClusterLink>,
    /// The hubs that this broker dials as a leaf.
    pub leaf_of: Option<LeafLink>,
    /// Where this broker accepts leaves.
    pub leaves: Option<LeafListener>,
    /// Its place in a supercluster.
    pub gateway: Option<GatewayLink>,
    /// Where it keeps buckets, if it does.
    pub buckets: Option<PathBuf>,
}

/// What a broker holds back for one connection that reads slowly. A fan-out of 50,000 replies is
/// about 57 MB on the connection of the caller; nats-server's default is 64 MB.
const MAX_PENDING_BYTES: u64 = 256 * 1024 * 1024;
/// How long a handshake may take, seconds: they queue when a whole fleet dials, and the default of
/// 2 s drops them half done.
const HANDSHAKE_SECONDS: u32 = 10;
/// How long a write to a connection may take: a caller that works off such a fan-out on a machine
/// whose cores are busy is slow, not gone.
const WRITE_DEADLINE: &str = "30s";
/// How long a broker hears nothing of a node before it asks. Nodes ask every two minutes, so that a
/// healthy connection is kept alive by one side alone: 50,000 of them are 417 pings a second.
const PING_INTERVAL: &str = "5m";

/// A broker that is told to go closes its clients' connections after this time, so that they may
/// find another one first: nats-server's own default.
const LAME_DUCK_GRACE: &str = "10s";
/// And has closed them after this time: the shortest that nats-server takes.
const LAME_DUCK_DURATION: &str = "30s";

#[derive(Serialize)]
struct ServerFile {
    server_name: String,
    listen: String,
    http: String,
    max_pending: u64,
    lame_duck_grace_period: &'static str,
    lame_duck_duration: &'static str,
    write_deadline: &'static str,
    ping_interval: &'static str,
    authorization: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_account: Option<&'static str>,
    no_system_account: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leafnodes: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jetstream: Option<Value>,
}

impl BrokerConfig {
    /// The text of the configuration file.
    ///
    /// # Errors
    /// Never for values of these types; the serializer's signature has one.
    pub fn render(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&ServerFile {
            server_name: self.name.clone(),
            listen: loopback(self.port),
            http: loopback(self.monitor_port),
            max_pending: MAX_PENDING_BYTES,
            lame_duck_grace_period: LAME_DUCK_GRACE,
            lame_duck_duration: LAME_DUCK_DURATION,
            write_deadline: WRITE_DEADLINE,
            ping_interval: PING_INTERVAL,
            authorization: json!({ "timeout": HANDSHAKE_SECONDS }),
            max_connections: self.max_connections,
            tls: self.tls(),
            accounts: self.accounts(),
            system_account: self.needs_system_account().then_some(SYSTEM_ACCOUNT),
            no_system_account: self.tells_nobody(),
            cluster: self.cluster.as_ref().map(cluster),
            leafnodes: self.leafnodes(),
            gateway: self.gateway.as_ref().map(|link| self.gateway(link)),
            jetstream: self.buckets.as_ref().map(|dir| json!({ "store_dir": dir })),
        })
    }

    /// Whether the broker shows a certificate to anybody.
    pub fn shows_certificate(&self) -> bool {
        let leaf = self.leaf_of.as_ref().is_some_and(|link| link.tls);
        let leaves = self.leaves.is_some_and(|listener| listener.tls);
        let gateway = self.gateway.as_ref().is_some_and(|link| link.tls);
        self.tls != Tls::None || leaf || leaves || gateway
    }

    /// nats-server wants a named one where leaves and gateways meet.
    fn needs_system_account(&self) -> bool {
        self.gateway.is_some() && (self.leaves.is_some() || self.leaf_of.is_some())
    }

    /// Brokers of one cluster would tell each other of every client that comes and goes, in JSON, and
    /// nobody here listens.
    fn tells_nobody(&self) -> bool {
        // Buckets are kept with the help of the system account.
        let alone = self.buckets.is_none();
        alone && self.gateway.is_none() && self.leaves.is_none() && self.leaf_of.is_none()
    }

    fn accounts(&self) -> Option<Value> {
        let mut accounts = serde_json::Map::new();
        if let Some(users) = &self.provisioning {
            accounts.insert("provisioning".to_owned(), provisioning_account(users));
        }
        if self.needs_system_account() {
            accounts.insert(SYSTEM_ACCOUNT.to_owned(), json!({}));
        }
        (!accounts.is_empty()).then_some(Value::Object(accounts))
    }

    fn tls(&self) -> Option<Value> {
        match self.tls {
            Tls::None => None,
            Tls::Server => Some(json!({
                "cert_file": self.files.certificate,
                "key_file": self.files.key,
                "timeout": HANDSHAKE_SECONDS,
            })),
            Tls::Mutual => Some(self.mutual()),
        }
    }

    fn mutual(&self) -> Value {
        json!({
            "cert_file": self.files.certificate,
            "key_file": self.files.key,
            "ca_file": self.files.authority,
            "verify": true,
            "timeout": HANDSHAKE_SECONDS,
        })
    }

    /// Links to other sites and regions are secured as the tier's clients are, brokers always
    /// showing certificates to each other; routes inside a cluster stay plain.
    fn leafnodes(&self) -> Option<Value> {
        let mut leafnodes = serde_json::Map::new();
        if let Some(listener) = self.leaves {
            leafnodes.insert("listen".to_owned(), loopback(listener.port).into());
            if !listener.advertise {
                leafnodes.insert("no_advertise".to_owned(), true.into());
            }
            if listener.tls {
                leafnodes.insert("tls".to_owned(), self.mutual());
            }
        }
        if let Some(link) = &self.leaf_of {
            let scheme = if link.tls { "tls" } else { "nats" };
            let urls = link.hubs.iter().map(|port| url(scheme, *port));
            let urls: Vec<String> = urls.collect();
            let mut remote = json!({ "urls": urls, "no_randomize": true });
            if link.tls {
                remote["tls"] = json!({
                    "cert_file": self.files.certificate,
                    "key_file": self.files.key,
                    "ca_file": self.files.authority,
                    "timeout": HANDSHAKE_SECONDS,
                });
            }
            leafnodes.insert("remotes".to_owned(), json!([remote]));
        }
        (!leafnodes.is_empty()).then_some(Value::Object(leafnodes))
    }

    fn gateway(&self, link: &GatewayLink) -> Value {
        let scheme = if link.tls { "tls" } else { "nats" };
        let regions = link.regions.iter().map(|region| {
            let urls: Vec<String> = region.ports.iter().map(|port| url(scheme, *port)).collect();
            json!({ "name": region.name, "urls": urls })
        });
        let mut gateway = json!({
            "name": link.region,
            "listen": loopback(link.port),
            "gateways": regions.collect::<Vec<_>>(),
        });
        if link.tls {
            gateway["tls"] = self.mutual();
        }
        if let Some(port) = link.advertise {
            gateway["advertise"] = loopback(port).into();
        }
        gateway
    }
}

/// The account in which brokers speak of themselves, where it has to be named.
const SYSTEM_ACCOUNT: &str = "system";

fn cluster(link: &ClusterLink) -> Value {
    let routes = link.routes.iter().map(|port| url("nats", *port));
    let routes: Vec<String> = routes.collect();
    let mut cluster = json!({ "name": link.name, "listen": loopback(link.port), "routes": routes });
    if let Some(port) = link.advertise {
        cluster["advertise"] = loopback(port).into();
    }
    cluster
}

/// The provisioning account: a node may announce itself, answer, and be spoken to; it may not
/// speak to other nodes or read their replies.
fn provisioning_account(users: &ProvisioningUsers) -> Value {
    json!({ "users": [
        {
            "user": users.node.user,
            "password": users.node.password,
            "permissions": {
                "publish": { "allow": [
                    "choria.lifecycle.>",
                    "provisioning.reply.>",
                    "provisioning.registration.>",
                ] },
                "subscribe": { "allow": [
                    "provisioning.node.>",
                    "provisioning.broadcast.agent.discovery",
                    "provisioning.broadcast.agent.rpcutil",
                    "provisioning.broadcast.agent.choria_util",
                    "provisioning.broadcast.agent.choria_provision",
                ] },
            },
        },
        { "user": users.provisioner.user, "password": users.provisioner.password },
    ] })
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://{}", loopback(port))
}
