//! Real nats-servers for tests: free ports, files in a temporary folder, killed when dropped.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::authority::Authority;

/// A running nats-server.
pub struct Broker {
    child: Child,
    port: u16,
    /// Removed with its files when the broker is dropped.
    _folder: tempfile::TempDir,
}

/// What lets a node into the provisioning network.
pub const NODE_USER: (&str, &str) = ("node", "enrol");
/// The provisioner's account there.
pub const PROVISIONER_USER: (&str, &str) = ("provisioner", "change-me");

const PROVISIONING: &str = r#"
accounts {
  provisioning {
    users = [
      { user: "node", password: "enrol",
        permissions {
          publish   { allow: ["choria.lifecycle.>", "provisioning.reply.>", "provisioning.registration.>"] }
          subscribe { allow: ["provisioning.node.>", "provisioning.broadcast.agent.discovery", "provisioning.broadcast.agent.rpcutil",
                              "provisioning.broadcast.agent.choria_util", "provisioning.broadcast.agent.choria_provision"] } } }
      { user: "provisioner", password: "change-me" } ]
  }
}
"#;

impl Broker {
    /// Anonymous TLS, the provisioning accounts.
    pub fn provisioning(authority: &Authority) -> Self {
        let tls = "tls { cert_file: \"broker.pem\", key_file: \"broker.key\", timeout: 10 }\n";
        Self::start(authority, &format!("{tls}{PROVISIONING}"))
    }

    /// Mutual TLS, no limits on subjects.
    pub fn production(authority: &Authority) -> Self {
        let tls = "tls { cert_file: \"broker.pem\", key_file: \"broker.key\", ca_file: \"ca.pem\", \
                   verify: true, timeout: 10 }\n";
        Self::start(authority, tls)
    }

    fn start(authority: &Authority, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = authority.broker();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("broker.pem", &broker.certificate);
        write("broker.key", &broker.key);
        write("ca.pem", &authority.pem());
        // Another process may take the free port first: try again with another one.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = launch(folder.path(), port, config) {
                return Self {
                    child,
                    port,
                    _folder: folder,
                };
            }
        }
        panic!("nats-server does not start: {}", log(folder.path()));
    }

    pub fn tls_url(&self) -> String {
        format!("tls://127.0.0.1:{}", self.port)
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(folder: &Path, port: u16, config: &str) -> Option<Child> {
    let file = folder.join("nats.conf");
    let text = format!("listen: \"127.0.0.1:{port}\"\nlog_file: \"nats.log\"\n{config}");
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(nats_server())
        .arg("-c")
        .arg(&file)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server can be started");
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("nats.log")).unwrap_or_default()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// `NATS_SERVER`, else `.tools/nats-server` of the workspace, else the one on the path.
fn nats_server() -> PathBuf {
    if let Some(named) = std::env::var_os("NATS_SERVER") {
        return named.into();
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/nats-server");
    match own.exists() {
        true => own,
        false => "nats-server".into(),
    }
}

/// Runs a test with a limit, so that a hang is a failure.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}
