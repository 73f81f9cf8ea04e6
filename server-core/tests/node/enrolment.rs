//! A node's whole way on real brokers: from a provisioning token to an answer on the production network.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use server_core::bus::Dial;
use server_core::bus::nats::NatsDialer;
use server_core::client::{Call, Client, ClientConfig, Watch};
use server_core::events::{Event, EventKind, PROVISION_MODE_SERVER, SERVER};
use server_core::node::{
    DirStorage, Ended, MemoryStorage, Node, NodeConfig, NodeError, PROVISIONING_JWT, Shared,
    Storage,
};
use server_core::trust::jwt::{ProvisioningClaims, SigningKey, issue};
use server_core::trust::{CertificateSigner, KeyAlgorithm, KeyPair, tls};
use server_core::wire::Limits;
use server_core::wire::rpc::{RpcReply, StatusCode};
use server_core::words::{Collective, Identity, Shutdown};

use crate::authority::{Authority, Credentials};
use crate::support::{Broker, NODE_USER, PROVISIONER_USER, within};

const LIMIT: Duration = Duration::from_secs(20);
const TOKEN: &str = "s3cret";
const PROVISIONER: &str = "provisioner.mcollective";

/// Both networks and a provisioner's two clients.
pub struct Field {
    pub authority: Authority,
    pub intermediate: Authority,
    pub provisioning: Broker,
    pub production: Broker,
    pub enroller: Client,
    pub operator: Client,
}

impl Field {
    pub async fn new() -> Self {
        let authority = Authority::root();
        let intermediate = authority.intermediate();
        let provisioning = Broker::provisioning(&authority);
        let production = Broker::production(&authority);
        let caller = authority.caller(PROVISIONER);

        let mut dial = Dial::new(vec![provisioning.tls_url()], "enroller");
        dial.tls = Some(tls::server_verified(&authority.pem()).unwrap());
        dial.user = Some(PROVISIONER_USER.0.to_owned());
        dial.password = Some(PROVISIONER_USER.1.to_owned());
        let enroller = client(dial, Collective::provisioning(), &caller).await;

        let mut dial = Dial::new(vec![production.tls_url()], "operator");
        dial.tls = Some(tls::mutual(&authority.pem(), &caller.certificate, &caller.key).unwrap());
        let operator = client(dial, Collective::mcollective(), &caller).await;
        Self {
            authority,
            intermediate,
            provisioning,
            production,
            enroller,
            operator,
        }
    }

    /// What a node is shipped with: nothing but the token.
    pub fn ship(&self, storage: &dyn Storage) {
        let claims = ProvisioningClaims {
            cht: TOKEN.to_owned(),
            chs: true,
            chpd: true,
            chu: self.provisioning.tls_url(),
            chusr: NODE_USER.0.to_owned(),
            chpwd: NODE_USER.1.to_owned(),
            purpose: "choria_provisioning".to_owned(),
            ..ProvisioningClaims::default()
        };
        let key = SigningKey::new(&KeyPair::generate(KeyAlgorithm::Ed25519).unwrap()).unwrap();
        let text = issue(&claims, &key).unwrap();
        storage
            .write(PROVISIONING_JWT, text.as_bytes(), 0o600)
            .unwrap();
    }

    /// The settings sent to a node, and policies that let the provisioner do everything.
    pub fn configuration(&self, identity: &str, csr: &Value) -> Value {
        let settings = json!({
            "identity": identity,
            "collectives": "mcollective",
            "plugin.choria.server.provision": "false",
            "plugin.choria.middleware_hosts": self.production.host(),
            "plugin.security.provider": "file",
            "plugin.security.file.certificate": format!("{}/certificate.pem", text(&csr["ssldir"])),
            "plugin.security.file.key": format!("{}/private.pem", text(&csr["ssldir"])),
            "plugin.security.file.ca": format!("{}/ca.pem", text(&csr["ssldir"])),
        });
        let policy = format!("policy default deny\nallow\tchoria={PROVISIONER}\t*\t*\t*\n");
        json!({
            "token": TOKEN,
            "config": settings.to_string(),
            "certificate": self.intermediate.certify(text(&csr["csr"])),
            "ca": self.authority.pem(),
            "ssldir": csr["ssldir"],
            "key": "", "ecdh_public": "", "server_jwt": "",
            "action_policies": { "rpcutil.policy": policy, "choria_provision.policy": policy },
            "opa_policies": {},
        })
    }
}

async fn client(dial: Dial, collective: Collective, caller: &Credentials) -> Client {
    let signer = CertificateSigner::from_pem(&caller.certificate, &caller.key).unwrap();
    let identity = Identity::parse("provisioner.example.net").unwrap();
    let config = ClientConfig::new(collective, identity, Arc::new(signer));
    let dialer = NatsDialer::default();
    let connected = Client::connect(&dialer, dial, config);
    within("connect", LIMIT, connected).await.unwrap()
}

/// One directed call, answered.
pub async fn ask(
    client: &Client,
    node: &Identity,
    agent: &str,
    action: &str,
    data: Value,
) -> RpcReply {
    let request = client
        .prepare(&Call::rpc(agent, action, data).unwrap())
        .unwrap();
    let mut replies = client.listen(&request, 16).await.unwrap();
    client.publish_to(&request, node).await.unwrap();
    let reply = within(action, LIMIT, replies.next())
        .await
        .expect("a reply");
    assert_eq!(reply.sender, *node);
    reply.rpc(&Limits::default()).unwrap()
}

/// The next lifecycle event that is not an alive one: those come when chance wants.
pub async fn event(watch: &mut Watch) -> Event {
    loop {
        let message = within("event", LIMIT, watch.next()).await.unwrap();
        let event = Event::parse(&message.payload, &Limits::default()).unwrap();
        assert_eq!(message.subject, event.subject());
        if !matches!(event.kind, EventKind::Alive { .. }) {
            return event;
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn node(id: &Identity, storage: &Arc<dyn Storage>, algorithm: KeyAlgorithm) -> Node {
    let config = NodeConfig {
        key_algorithm: algorithm,
        ..NodeConfig::new(id.clone())
    };
    Node::builder(config)
        .storage(Arc::clone(storage))
        .shared(Shared::swarm(server_core::node::Verification::Shared))
        .build()
        .unwrap()
}

/// From the startup event to a pong on the production network.
async fn enrol(storage: Arc<dyn Storage>, algorithm: KeyAlgorithm) {
    let field = Field::new().await;
    let id = Identity::parse("n1.example.net").unwrap();
    let mut before = field
        .enroller
        .watch("choria.lifecycle.event.>", 64)
        .await
        .unwrap();
    let mut after = field
        .operator
        .watch("choria.lifecycle.event.>", 64)
        .await
        .unwrap();
    field.enroller.flush().await.unwrap();
    field.operator.flush().await.unwrap();
    field.ship(storage.as_ref());
    let shutdown = Shutdown::new();
    let run = tokio::spawn(node(&id, &storage, algorithm).run(shutdown.clone()));

    let startup = event(&mut before).await;
    assert_eq!(
        (startup.identity.clone(), startup.component.as_str()),
        (id.clone(), PROVISION_MODE_SERVER)
    );
    assert!(matches!(startup.kind, EventKind::Startup { .. }));
    let ping = field.enroller.prepare(&Call::ping()).unwrap();
    let mut pongs = field.enroller.listen(&ping, 4).await.unwrap();
    field.enroller.publish_broadcast(&ping).await.unwrap();
    assert!(within("pong", LIMIT, pongs.next()).await.unwrap().is_pong());

    let ask_here = async |action: &str, data: Value| {
        ask(&field.enroller, &id, "choria_provision", action, data).await
    };
    let jwt = ask_here("jwt", json!({ "token": TOKEN })).await;
    assert_eq!(text(&jwt.data["ecdh_public"]).len(), 64);
    let inventory = ask(&field.enroller, &id, "rpcutil", "inventory", json!({})).await;
    assert_eq!(inventory.data["collectives"], json!(["provisioning"]));
    let early = ask_here("restart", json!({ "token": TOKEN, "splay": 1 })).await;
    assert_eq!(
        early.statuscode,
        StatusCode::Aborted,
        "nothing to restart into: {}",
        early.statusmsg
    );
    let csr = ask_here("gencsr", json!({ "token": TOKEN })).await;
    assert_eq!(csr.statuscode, StatusCode::Ok, "{}", csr.statusmsg);

    let configuration = field.configuration(id.as_str(), &csr.data);
    let configured = ask_here("configure", configuration).await;
    assert_eq!(
        configured.statuscode,
        StatusCode::Ok,
        "{}",
        configured.statusmsg
    );
    assert_eq!(
        text(&configured.data["message"]),
        format!("Wrote 9 lines to {}", storage.describe("server.conf"))
    );
    assert_eq!(event(&mut before).await.kind, EventKind::Provisioned);

    // The key it has a certificate for is kept; without one it would have made another.
    let same = ask_here("gencsr", json!({ "token": TOKEN })).await;
    assert_eq!(same.data["public_key"], csr.data["public_key"]);
    assert_eq!(same.data["keeps_key"], true);

    let asked = tokio::time::Instant::now();
    let restart = ask_here("restart", json!({ "token": TOKEN, "splay": 1 })).await;
    assert_eq!(
        text(&restart.data["message"]),
        "Restarting Choria Server after 2s"
    );
    assert_eq!(event(&mut before).await.kind, EventKind::Shutdown);
    let startup = event(&mut after).await;
    assert_eq!(
        (startup.identity.clone(), startup.component.as_str()),
        (id.clone(), SERVER)
    );
    assert!(
        asked.elapsed() >= Duration::from_secs(2),
        "the promised delay was kept"
    );

    let ping = field.operator.prepare(&Call::ping()).unwrap();
    let mut pongs = field.operator.listen(&ping, 4).await.unwrap();
    field.operator.publish_to(&ping, &id).await.unwrap();
    assert!(within("pong", LIMIT, pongs.next()).await.unwrap().is_pong());
    let info = ask(&field.operator, &id, "rpcutil", "ping", json!({})).await;
    assert_eq!(info.statuscode, StatusCode::Ok);
    let denied = ask(&field.operator, &id, "muster", "echo", json!({ "size": 3 })).await;
    assert_eq!(denied.statuscode, StatusCode::Aborted, "no policy, no call");
    let again = ask(
        &field.operator,
        &id,
        "choria_provision",
        "gencsr",
        json!({ "token": TOKEN }),
    )
    .await;
    assert_eq!(
        again.statusmsg,
        "Cannot reconfigure a server that is not in provisioning mode"
    );

    shutdown.cancel();
    assert_eq!(
        within("stop", LIMIT, run).await.unwrap().unwrap(),
        Ended::Stopped
    );
    assert_eq!(event(&mut after).await.kind, EventKind::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_enrolled_with_a_p256_key() {
    enrol(
        Arc::new(MemoryStorage::new("/etc/choria")),
        KeyAlgorithm::P256,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_enrolled_into_its_folder_with_an_rsa_key() {
    let folder = tempfile::tempdir().unwrap();
    let storage = DirStorage::open(folder.path().join("etc")).unwrap();
    enrol(Arc::new(storage), KeyAlgorithm::Rsa2048).await;
    let mode = |name: &str| {
        let path = folder.path().join("etc").join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for (name, wanted) in [
        ("server.conf", 0o600),
        ("ssl", 0o700),
        ("ssl/private.pem", 0o600),
        ("ssl/certificate.pem", 0o644),
        ("policies", 0o700),
        ("policies/rpcutil.policy", 0o400),
    ] {
        assert_eq!(mode(name), wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_its_tls_files_says_which() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new("/etc/choria"));
    let conf = b"plugin.choria.middleware_hosts=127.0.0.1:1\n";
    storage.write("server.conf", conf, 0o600).unwrap();
    let id = Identity::parse("n1.example.net").unwrap();
    let ended = node(&id, &storage, KeyAlgorithm::P256)
        .run(Shutdown::new())
        .await;
    let error = ended.unwrap_err();
    assert!(
        matches!(&error, NodeError::Tls { path, .. } if path == "/etc/choria/ssl/ca.pem"),
        "{error}"
    );
    assert_eq!(error.code(), "node.tls");
}
