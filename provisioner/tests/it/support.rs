//! Two real brokers, a provisioner as a child process, nodes in this process.

mod brokers;
mod certificates;
mod impostor;
mod provisioner;
mod swarm;

pub(crate) use brokers::Broker;
pub(crate) use certificates::Pki;
pub(crate) use impostor::{Impostor, Manners, announce, announce_unflushed};
pub(crate) use provisioner::{Provisioner, get, provisioner};
pub(crate) use swarm::{Swarm, node_dial};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest any state is waited for; far above what an idle machine needs.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Name and password of nodes on the provisioning broker.
pub(crate) const NODE_USER: (&str, &str) = ("node", "enrol");
/// What nodes want to see in every request.
pub(crate) const NODE_TOKEN: &str = "s3cret-of-the-fleet";

/// A provisioning and a production network with everything a provisioner needs.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) provisioning: Broker,
    pub(crate) production: Broker,
    /// The others of the production cluster, where it is one.
    pub(crate) others: Vec<Broker>,
    /// The token nodes are shipped with.
    pub(crate) token: String,
}

impl Site {
    /// Starts the brokers and makes keys, certificates and the token.
    pub(crate) fn start() -> Self {
        Self::begin(false)
    }

    /// The same with a production broker that keeps buckets.
    pub(crate) fn start_with_buckets() -> Self {
        Self::begin(true)
    }

    /// The same with a production broker that asks nobody for a certificate.
    pub(crate) fn start_without_client_certificates() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::make(dir.path());
        let provisioning = Broker::start(dir.path(), "provisioning", &brokers::provisioning(&pki));
        let mut config = brokers::production(&pki);
        config["tls"]["verify"] = false.into();
        let production = Broker::start(dir.path(), "production", &config);
        Self::of(dir, provisioning, production, Vec::new())
    }

    fn begin(buckets: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::make(dir.path());
        let provisioning = Broker::start(dir.path(), "provisioning", &brokers::provisioning(&pki));
        let mut config = brokers::production(&pki);
        if buckets {
            config["jetstream"] = serde_json::json!({ "store_dir": dir.path().join("buckets") });
            config["http"] = "127.0.0.1:-1".into();
        }
        let production = Broker::start(dir.path(), "production", &config);
        Self::of(dir, provisioning, production, Vec::new())
    }

    /// The same with a production cluster of three, which keeps three copies of a bucket.
    pub(crate) fn start_with_cluster() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::make(dir.path());
        let provisioning = Broker::start(dir.path(), "provisioning", &brokers::provisioning(&pki));
        let mut all: Vec<_> = brokers::cluster(dir.path())
            .into_iter()
            .map(|own| {
                let mut config = brokers::production(&pki);
                config
                    .as_object_mut()
                    .unwrap()
                    .extend(own.as_object().unwrap().clone());
                let name = config["server_name"].as_str().unwrap().to_owned();
                Broker::start(dir.path(), &name, &config)
            })
            .collect();
        let production = all.remove(0);
        Self::of(dir, provisioning, production, all)
    }

    fn of(dir: TempDir, provisioning: Broker, production: Broker, others: Vec<Broker>) -> Self {
        let token = make_token(dir.path(), &provisioning.url(), "signer.key");
        Self {
            dir,
            provisioning,
            production,
            others,
            token,
        }
    }

    /// The broker of a production cluster that leads the bucket.
    pub(crate) async fn leader(&mut self) -> &mut Broker {
        let leader = until("a leader of the bucket", || {
            let told = self.production.monitor("/jsz?accounts=true&streams=true");
            let streams = &told["account_details"][0]["stream_detail"];
            let leader = streams[0]["cluster"]["leader"].as_str()?;
            leader.rsplit('-').next()?.parse::<usize>().ok()
        });
        match leader.await {
            0 => &mut self.production,
            other => &mut self.others[other - 1],
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration of one of several, which share a ledger.
    pub(crate) fn member(&self, name: &str, more: &str) -> PathBuf {
        let ledger = format!("[ledger]\nkind = \"shared\"\nmember = \"{name}\"\n{more}");
        self.config_named(name, &ledger)
    }

    /// A configuration in a file and with a state folder of this name.
    pub(crate) fn config_named(&self, name: &str, more: &str) -> PathBuf {
        let text = std::fs::read_to_string(self.config(more)).unwrap();
        let text = text.replace("state_dir = \"state\"", &format!("state_dir = \"{name}\""));
        let file = self.path(&format!("{name}.toml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A configuration with the built-in authority; `more` is added at its end.
    pub(crate) fn config(&self, more: &str) -> PathBuf {
        let ca = "[ca]\nkind = \"built-in\"\ncertificate = \"intermediate.pem\"\n\
                  key = \"intermediate.key\"\nroots = \"ca.pem\"\n";
        self.config_with_ca(ca, more)
    }

    /// A configuration with this `[ca]` section.
    pub(crate) fn config_with_ca(&self, ca: &str, more: &str) -> PathBuf {
        let production = std::iter::once(&self.production).chain(&self.others);
        let production: Vec<_> = production.map(Broker::url).collect();
        let text = format!(
            r#"
state_dir = "state"
[network.provisioning]
servers = ["{provisioning}"]
user = "provisioner"
password = "change-me"
[network.production]
servers = {production:?}
ca = "ca.pem"
certificate = "provisioner.mcollective.pem"
key = "provisioner.mcollective.key"
[token]
keys = [{{ name = "factory", file = "signer.key.pub" }}]
node_token = "{NODE_TOKEN}"
{ca}
[node.settings]
"plugin.choria.middleware_hosts" = "{hosts}"
"collectives" = "mcollective"
[node.policies]
"rpcutil.policy" = """
policy default deny
allow	choria=provisioner.mcollective	*	*	*
"""
[http]
listen = "127.0.0.1:0"
{more}
"#,
            provisioning = self.provisioning.url(),
            hosts = production.join(","),
        );
        let file = self.path("provisioner.toml");
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// A token signed by a key of that name, which is made when it is not there.
pub(crate) fn make_token(dir: &Path, url: &str, key: &str) -> String {
    token(dir, url, key, &[])
}

/// A token with limits, signed by the key of the site.
pub(crate) fn make_limited_token(dir: &Path, url: &str, limits: &[&str]) -> String {
    token(dir, url, "signer.key", limits)
}

fn token(dir: &Path, url: &str, key: &str, limits: &[&str]) -> String {
    if !dir.join(key).exists() {
        let done = provisioner()
            .args(["token", "key", "--out", key])
            .current_dir(dir)
            .output();
        assert_ok(&done.unwrap());
    }
    std::fs::write(dir.join("node.password"), NODE_USER.1).unwrap();
    std::fs::write(dir.join("node.token"), NODE_TOKEN).unwrap();
    let args = [
        "token",
        "new",
        "--signing-key",
        key,
        "--url",
        url,
        "--user",
        NODE_USER.0,
    ];
    let files = [
        "--password-file",
        "node.password",
        "--token-file",
        "node.token",
    ];
    let done = provisioner()
        .args(args)
        .args(files)
        .args(["--validity", "1d"])
        .args(limits)
        .current_dir(dir)
        .output()
        .unwrap();
    assert_ok(&done);
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

pub(crate) fn assert_ok(output: &std::process::Output) {
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits until `wanted` gives a value.
pub(crate) async fn until<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(begin.elapsed() < LONG, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
