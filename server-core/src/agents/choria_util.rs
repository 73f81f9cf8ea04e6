//! What a node says of its connection.

use async_trait::async_trait;
use serde_json::json;

use super::{Agent, AgentContext, Answer, Call, Metadata, Mode};

pub(super) struct ChoriaUtil(Metadata);

impl ChoriaUtil {
    pub(super) fn new() -> Self {
        Self(Metadata::new("choria_util", "Choria Utilities", &["info"]))
    }
}

#[async_trait]
impl Agent for ChoriaUtil {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    async fn handle(&self, context: &AgentContext<'_>, _: &Call) -> Answer {
        let node = context.node();
        let stats = node.bus_stats();
        let hosts: Vec<&str> = node
            .servers
            .iter()
            .map(|server| {
                server
                    .split_once("://")
                    .map_or(server.as_str(), |(_, host)| host)
            })
            .collect();
        Answer::ok(json!({
            "security": node.conf.get("plugin.security.provider").unwrap_or("file"),
            "connector": "choria",
            "client_version": env!("CARGO_PKG_VERSION"),
            "client_flavour": "async-nats",
            "client_options": {
                "servers": node.servers,
                "dont_randomize_servers": false,
                "name": node.identity,
                "pedantic": false,
                "secure": node.tls,
                "allow_reconnect": true,
                "max_reconnect_attempts": -1,
                "reconnect_time_wait": 2,
                "connect_timeout": node.connect_timeout_secs,
                "ping_interval": 120,
                "max_outstanding_pings": 2,
            },
            "client_stats": {
                "in_msgs": stats.in_msgs,
                "out_msgs": stats.out_msgs,
                "in_bytes": stats.in_bytes,
                "out_bytes": stats.out_bytes,
                "reconnects": stats.reconnects,
            },
            "connected_server": node.server(),
            "facter_domain": "",
            "facter_command": "",
            "srv_domain": node.conf.get("plugin.choria.srv_domain").unwrap_or_default(),
            "using_srv": false,
            "middleware_servers": hosts,
            "path": std::env::var("PATH").unwrap_or_default(),
            "choria_version": format!("muster {}", node.version),
            "secure_protocol": node.mode == Mode::Production,
            "connector_tls": node.tls,
        }))
    }
}
