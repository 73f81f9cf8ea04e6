//! A small fleet onto mutual TLS by authorities whose keys are elsewhere: in a token, and at an ACME
//! server.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use openssl::x509::X509;

use crate::common::{COMMAND, TEMPLATE, softhsm};
use crate::support::{Provisioner, Site, Swarm, assert_ok, provisioner};

const NODES: usize = 20;
const PIN: &str = "4711-geheim";

/// Enrols everybody, and counts who asked whom; the certificate of the first.
async fn enrols(site: &Site, service: &Provisioner, hook: &str) -> X509 {
    let mut swarm = Swarm::new();
    for n in 0..NODES {
        swarm.add(&format!("n{n}.example.net"), &site.token);
    }
    let all = NODES as u64;
    let status = service
        .status_when("all confirmed", |s| s["confirmed"] == all)
        .await;
    assert_eq!(status["certificates_issued"], all, "{status:#}");
    let counted = [
        format!("provisioner_hook_requests_total{{hook=\"{hook}\",outcome=\"issue\"}} {NODES}\n"),
        format!("provisioner_hook_request_duration_seconds_count{{hook=\"{hook}\"}} {NODES}\n"),
        format!("provisioner_hook_in_flight{{hook=\"{hook}\"}} 0\n"),
    ];
    service
        .metrics_when(|text| counted.iter().all(|line| text.contains(line)))
        .await;
    let chain = swarm.file("n0.example.net", "ssl/certificate.pem").unwrap();
    X509::from_pem(chain.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_token_enrols_a_small_fleet() {
    let Some(library) = softhsm() else {
        // Not by `eprintln`, which is only shown of tests that fail.
        let says = b"SKIPPED: SoftHSM is not installed (apt-get install softhsm2)\n";
        std::io::stderr().write_all(says).unwrap();
        return;
    };
    let site = Site::start();
    let (conf, tokens) = (site.path("softhsm2.conf"), site.path("tokens"));
    std::fs::create_dir(&tokens).unwrap();
    let settings = format!("directories.tokendir = {}\n", tokens.display());
    std::fs::write(&conf, settings).unwrap();
    std::fs::write(site.path("token.pin"), PIN).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "muster", "--pin", PIN])
        .args(["--so-pin", "12345678"])
        .env("SOFTHSM2_CONF", &conf)
        .output();
    assert_ok(&made.unwrap());
    let uri = format!("pkcs11:token=muster;object=enrolment-ca?module-path={library}");
    let root = ["--root", "given-root.pem", "--root-key", "given-root.key"];
    let made = provisioner()
        .args(["ca", "init", "--out", "token", "--name", "Token", "--key"])
        .args([&uri, "--key-pin-file", "token.pin"])
        .args(root)
        .env("SOFTHSM2_CONF", &conf)
        .current_dir(site.dir.path())
        .output();
    assert_ok(&made.unwrap());
    assert!(!site.path("token/intermediate.key").exists());

    let ca = format!(
        "[ca]\nkind = \"built-in\"\ncertificate = \"token/intermediate.pem\"\nkey = \"{uri}\"\n\
         key_pin_file = \"token.pin\"\nroots = \"ca.pem\"\n"
    );
    let config = site.config_with_ca(&ca, "");
    let conf = conf.to_str().unwrap();
    let service = Provisioner::start_with(&config, &[("SOFTHSM2_CONF", conf)]);
    let leaf = enrols(&site, &service, "built-in").await;
    let issuer = std::fs::read(site.path("token/intermediate.pem")).unwrap();
    let issuer = X509::from_pem(&issuer).unwrap();
    assert!(leaf.verify(&issuer.public_key().unwrap()).unwrap());
    assert!(!service.log().contains(PIN));
}

/// A server that is killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, variable: &str, program: &str, arguments: &[&str]) -> Server {
    let program = std::env::var(variable).unwrap_or_else(|_| program.to_owned());
    let log = std::fs::File::create(dir.join(format!("{variable}.log"))).unwrap();
    let child = Command::new(&program)
        .args(arguments)
        .env("HOME", dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Server(child.unwrap_or_else(|error| panic!("{program}: {error}; see tools/conformance")))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs step-ca (STEP_CA) and pebble-challtestsrv"]
async fn an_acme_server_enrols_a_small_fleet() {
    let site = Site::start();
    let dir = site.dir.path();
    let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, management, dns] = free.map(|port| port.local_addr().unwrap().port());
    let (told, asked) = (
        format!("127.0.0.1:{management}"),
        format!("127.0.0.1:{dns}"),
    );
    let off = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
    let arguments = [&["-management", &told, "-dns01", &asked][..], &off].concat();
    let name_server = start(
        dir,
        "PEBBLE_CHALLTESTSRV",
        "pebble-challtestsrv",
        &arguments,
    );
    let config = serde_json::json!({
        "root": "ca.pem", "crt": "intermediate.pem", "key": "intermediate.key",
        "address": format!("127.0.0.1:{port}"), "dnsNames": ["localhost"],
        "db": {"type": "badgerv2", "dataSource": "step-ca-db"},
        "authority": {
            "claims": {"maxTLSCertDuration": "720h"},
            "provisioners": [{"type": "ACME", "name": "acme", "challenges": ["dns-01"],
                "options": {"x509": {"template": TEMPLATE}}}],
        },
    });
    std::fs::write(site.path("ca.json"), config.to_string()).unwrap();
    std::fs::write(site.path("command.py"), COMMAND).unwrap();
    let step_ca = start(
        dir,
        "STEP_CA",
        "step-ca",
        &["ca.json", "--resolver", &asked],
    );
    let ca = format!(
        "[ca]\nkind = \"http\"\napi = \"acme\"\nserver_ca = \"ca.pem\"\nroots = \"ca.pem\"\n\
         url = \"https://localhost:{port}/acme/acme/directory\"\nterms_of_service_agreed = true\n\
         dns_command = [\"python3\", {:?}, \"{management}\", {:?}]\n",
        site.path("command.py"),
        site.path("names.log")
    );
    let service = Provisioner::start(&site.config_with_ca(&ca, ""));
    let leaf = enrols(&site, &service, "acme").await;
    let issuer = std::fs::read(site.path("intermediate.pem")).unwrap();
    let issuer = X509::from_pem(&issuer).unwrap();
    assert!(leaf.verify(&issuer.public_key().unwrap()).unwrap());
    drop((step_ca, name_server));
}
