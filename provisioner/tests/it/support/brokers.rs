//! Real nats-servers on ports of their own choice.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LONG, NODE_USER, Pki};

/// A running broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Broker {
    /// Starts a broker with this configuration and waits until it listens.
    pub(crate) fn start(dir: &Path, name: &str, config: &Value) -> Self {
        let folder = dir.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("nats.conf"), config.to_string()).unwrap();
        let mut child = launch(&folder);
        let ports = ports(&mut child, &folder);
        let port = port(&ports["nats"]);
        Self {
            child,
            port,
            folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn rise(&mut self) {
        let file = self.folder.join("nats.conf");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        config["listen"] = format!("127.0.0.1:{}", self.port).into();
        std::fs::write(&file, config.to_string()).unwrap();
        self.child = launch(&self.folder);
        ports(&mut self.child, &self.folder);
    }

    /// What its monitor says, where it has one.
    pub(crate) fn monitor(&mut self, path: &str) -> Value {
        let port = port(&ports(&mut self.child, &self.folder)["monitoring"]);
        let text = super::get(&format!("127.0.0.1:{port}"), path);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_default()
    }
}

fn launch(folder: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("nats.log"));
    Command::new(binary())
        .arg("-c")
        .arg(folder.join("nats.conf"))
        .arg("--ports_file_dir")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
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

/// The file nats-server writes once it listens.
fn ports(child: &mut Child, folder: &Path) -> Value {
    let file = folder.join(format!("nats-server_{}.ports", child.id()));
    let begin = Instant::now();
    loop {
        let text = std::fs::read(&file).unwrap_or_default();
        if let Ok(ports) = serde_json::from_slice::<Value>(&text) {
            return ports;
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

/// The port of the first address.
fn port(urls: &Value) -> u16 {
    let url = urls[0].as_str().unwrap();
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// A port nobody has. It has to be known before its broker starts, so it is none of those the system
/// gives to whoever asks for any, the listeners for clients of the very same brokers among them.
fn port_of_a_cluster() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 200).unwrap() * 100;
    let mut ports = std::iter::repeat_with(|| 11_000 + own + NEXT.fetch_add(1, Ordering::Relaxed));
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.by_ref().take(100).find(is_free).unwrap()
}

/// What a cluster of three adds to the configuration of each, buckets included.
pub(crate) fn cluster(dir: &Path) -> [Value; 3] {
    let routes = [(); 3].map(|()| format!("127.0.0.1:{}", port_of_a_cluster()));
    [0, 1, 2].map(|n| {
        json!({
            "server_name": format!("production-{n}"),
            "http": "127.0.0.1:-1",
            "jetstream": { "store_dir": dir.join(format!("buckets-{n}")) },
            "cluster": { "name": "production", "listen": routes[n],
                         "routes": routes.each_ref().map(|route| format!("nats://{route}")) },
        })
    })
}
