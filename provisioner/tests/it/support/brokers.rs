//! Real nats-servers on ports of their own choice.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LONG, NODE_USER, Pki};

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    /// Starts a broker with this configuration and waits until it listens.
    pub(crate) fn start(dir: &Path, name: &str, config: &Value) -> Self {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("nats.conf");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = std::fs::File::create(folder.join("nats.log")).unwrap();
        let mut child = Command::new(binary())
            .arg("-c")
            .arg(&file)
            .arg("--ports_file_dir")
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let port = listening_port(&mut child, &folder);
        Self { child, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Anonymous TLS, nodes and the provisioner by name and password.
pub(crate) fn provisioning(pki: &Pki) -> Value {
    let (user, password) = NODE_USER;
    json!({
        "listen": "127.0.0.1:-1",
        "tls": { "cert_file": pki.file("broker.pem"), "key_file": pki.file("broker.key"), "timeout": 10 },
        "accounts": { "provisioning": { "users": [
            { "user": user, "password": password, "permissions": {
                "publish": { "allow": ["choria.lifecycle.>", "provisioning.reply.>", "provisioning.registration.>"] },
                "subscribe": { "allow": ["provisioning.node.>", "provisioning.broadcast.agent.discovery",
                    "provisioning.broadcast.agent.rpcutil", "provisioning.broadcast.agent.choria_util",
                    "provisioning.broadcast.agent.choria_provision"] } } },
            { "user": "provisioner", "password": "change-me" },
        ] } },
    })
}

/// Mutual TLS for everybody.
pub(crate) fn production(pki: &Pki) -> Value {
    json!({
        "listen": "127.0.0.1:-1",
        "tls": { "cert_file": pki.file("broker.pem"), "key_file": pki.file("broker.key"),
                 "ca_file": pki.file("ca.pem"), "verify": true, "timeout": 10 },
    })
}

/// `NATS_SERVER`, or the one in `.tools`, or the one in the path.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("NATS_SERVER") {
        return named.into();
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/nats-server");
    if tools.exists() {
        tools
    } else {
        "nats-server".into()
    }
}

/// The port in the file nats-server writes once it listens.
fn listening_port(child: &mut Child, folder: &Path) -> u16 {
    let file = folder.join(format!("nats-server_{}.ports", child.id()));
    let begin = Instant::now();
    loop {
        let text = std::fs::read(&file).unwrap_or_default();
        if let Ok(ports) = serde_json::from_slice::<Value>(&text) {
            let url = ports["nats"][0].as_str().unwrap();
            return url.rsplit(':').next().unwrap().parse().unwrap();
        }
        let ended = child.try_wait().unwrap();
        let log = || std::fs::read_to_string(folder.join("nats.log")).unwrap_or_default();
        assert!(ended.is_none(), "nats-server ended: {}", log());
        assert!(
            begin.elapsed() < LONG,
            "nats-server does not listen: {}",
            log()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
