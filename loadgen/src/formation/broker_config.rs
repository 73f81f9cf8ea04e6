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
    /// Ports of the hub brokers that this leaf dials, and whether they speak TLS.
    pub leaf_of: Vec<u16>,
    /// The port on which this broker accepts leaves.
    pub leaf_port: Option<u16>,
}

/// What a broker holds back for one connection that reads slowly. A fan-out of 50,000 replies is
/// about 57 MB on the connection of the caller; nats-server's default is 64 MB.
const MAX_PENDING_BYTES: u64 = 256 * 1024 * 1024;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounts: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leafnodes: Option<Value>,
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
            max_connections: self.max_connections,
            tls: self.tls(),
            accounts: self.provisioning.as_ref().map(provisioning_accounts),
            cluster: self.cluster.as_ref().map(cluster),
            leafnodes: self.leafnodes(),
        })
    }

    fn tls(&self) -> Option<Value> {
        // Handshakes queue when a whole fleet dials; the default of 2 s drops them half done.
        const HANDSHAKE_SECONDS: u32 = 10;
        match self.tls {
            Tls::None => None,
            Tls::Server => Some(json!({
                "cert_file": self.files.certificate,
                "key_file": self.files.key,
                "timeout": HANDSHAKE_SECONDS,
            })),
            Tls::Mutual => Some(json!({
                "cert_file": self.files.certificate,
                "key_file": self.files.key,
                "ca_file": self.files.authority,
                "verify": true,
                "timeout": HANDSHAKE_SECONDS,
            })),
        }
    }

    fn leafnodes(&self) -> Option<Value> {
        if let Some(port) = self.leaf_port {
            return Some(json!({ "listen": loopback(port) }));
        }
        if self.leaf_of.is_empty() {
            return None;
        }
        let urls: Vec<String> = self.leaf_of.iter().map(|port| route(*port)).collect();
        Some(json!({ "remotes": [{ "urls": urls }] }))
    }
}

fn cluster(link: &ClusterLink) -> Value {
    let routes: Vec<String> = link.routes.iter().map(|port| route(*port)).collect();
    json!({ "name": link.name, "listen": loopback(link.port), "routes": routes })
}

/// The provisioning account: a node may announce itself, answer, and be spoken to; it may not
/// speak to other nodes or read their replies.
fn provisioning_accounts(users: &ProvisioningUsers) -> Value {
    json!({ "provisioning": { "users": [
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
    ] } })
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn route(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}
