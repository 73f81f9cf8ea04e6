//! Real nats-servers: free ports, files in a temporary folder, killed when dropped.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::certificates::Authority;

pub struct Broker {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    config: String,
}

impl Broker {
    /// With these settings beside its address.
    pub fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    /// Under TLS; `more` goes into the `tls` block.
    pub fn with_tls(authority: &Authority, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = authority.issue("broker");
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("broker.pem", &broker.certificate);
        write("broker.key", &broker.key);
        write("ca.pem", &authority.pem());
        let config = format!(
            "tls {{ cert_file: \"broker.pem\", key_file: \"broker.key\", timeout: 10, {more} }}"
        );
        Self::start_in(folder, &config)
    }

    fn start_in(folder: tempfile::TempDir, config: &str) -> Self {
        // Another process may take the free port first: try again with another one.
        for _ in 0..5 {
            let port = free_port();
            if let Some(child) = launch(folder.path(), port, config) {
                let config = config.to_owned();
                return Self {
                    child,
                    port,
                    folder,
                    config,
                };
            }
        }
        panic!("nats-server does not start: {}", log(folder.path()));
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port.
    pub fn revive(&mut self) {
        let folder = self.folder.path();
        self.child =
            launch(folder, self.port, &self.config).unwrap_or_else(|| panic!("{}", log(folder)));
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(folder: &Path, port: u16, config: &str) -> Option<Child> {
    let file = folder.join("nats.conf");
    let text = format!("listen: \"127.0.0.1:{port}\"\nlog_file: \"nats.log\"\n{config}\n");
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

pub fn free_port() -> u16 {
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
