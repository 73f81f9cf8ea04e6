//! Helpers of every kind of bad, one service, one node each.

use std::os::unix::fs::PermissionsExt;

use crate::support::{Provisioner, Site, Swarm, get};

/// Does what the name of the node says.
pub(crate) const HELPER: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, tempfile, time
request = json.load(sys.stdin)
what = request["identity"].split(".")[0]
here = os.path.dirname(os.path.abspath(__file__))
if what == "exits":
    print("CA unreachable", file=sys.stderr)
    sys.exit(1)
if what == "garbage":
    print("{ this is not JSON")
    sys.exit(0)
if what == "hangs":
    time.sleep(600)
if what == "much":
    print(json.dumps({"msg": "x" * 10_000_000}))
    sys.exit(0)
if what == "grandchild":
    subprocess.Popen(["sleep", "600"])
    sys.exit(0)
if what == "defers":
    print(json.dumps({"defer": True, "msg": "not before noon"}))
    sys.exit(0)
made_key = None
with tempfile.TemporaryDirectory() as folder:
    csr = os.path.join(folder, "csr.pem")
    open(csr, "w").write(request["csr"]["csr"])
    if what == "keyless":
        made = os.path.join(folder, "made.key")
        subprocess.run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", made,
            "-out", csr, "-subj", "/CN=" + request["identity"]], check=True, capture_output=True)
        made_key = open(made).read()
    ext = os.path.join(folder, "ext")
    name = "other.example.net" if what == "wrong" else request["identity"]
    open(ext, "w").write("subjectAltName=DNS:" + name + "\nextendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n")
    done = subprocess.run(["openssl", "x509", "-req", "-in", csr, "-CA", here + "/intermediate.pem",
        "-CAkey", here + "/intermediate.key", "-days", "30", "-extfile", ext],
        check=True, capture_output=True, text=True)
chain = done.stdout + open(here + "/intermediate.pem").read()
configuration = {
    "identity": request["identity"],
    "plugin.choria.middleware_hosts": open(here + "/production.url").read(),
    "plugin.security.provider": "file",
}
ssldir = request["csr"]["ssldir"]
for key, file in [("certificate", "certificate"), ("key", "private"), ("ca", "ca")]:
    configuration["plugin.security.file." + key] = ssldir + "/" + file + ".pem"
if what != "stays":
    configuration["plugin.choria.server.provision"] = "false"
answer = {"certificate": chain, "ca": open(here + "/ca.pem").read(), "configuration": configuration}
if made_key:
    answer["key"] = made_key
print(json.dumps(answer))
"#;

/// Nobody knows whether the helper had signed when the service was killed: the node makes a new
/// key, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_helper_is_asked_costs_the_key_and_no_more() {
    const NODE: &str = "web1.example.net";
    let site = Site::start();
    let helper = site.path("helper.py");
    std::fs::write(&helper, HELPER).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(site.path("production.url"), site.production.url()).unwrap();
    let ca = "[ca]\nkind = \"exec\"\ncommand = [\"./helper.py\"]\nroots = \"ca.pem\"\n\
              timeout = \"15s\"\n";
    let config = site.config_with_ca(ca, "");
    let mut service = Provisioner::start_with(&config, &[("PROVISIONER_TEST_HOLD", "asked=1h")]);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let count = |show: &serde_json::Value, field: &str, value: &str| {
        let entries = show["history"].as_array().map_or(&[][..], Vec::as_slice);
        entries.iter().filter(|entry| entry[field] == value).count()
    };
    service
        .show_when(NODE, |show| count(show, "what", "asked") == 1)
        .await;
    service.kill();

    let service = Provisioner::start(&config);
    let show = service
        .show_when(NODE, |show| show["state"] == "confirmed")
        .await;
    assert_eq!(count(&show, "code", "ca.unknown_outcome"), 1, "{show:#}");
    assert_eq!(count(&show, "what", "asked"), 2, "{show:#}");
}

/// A helper that goes missing while the service runs makes it not ready, one that is back ready
/// again, and the node that had to wait is enrolled.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_goes_missing_makes_the_service_not_ready_until_it_is_back() {
    const NODE: &str = "web1.example.net";
    let site = Site::start();
    let (helper, away) = (site.path("helper.py"), site.path("away.py"));
    std::fs::write(&helper, HELPER).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(site.path("production.url"), site.production.url()).unwrap();
    let ca = "[ca]\nkind = \"exec\"\ncommand = [\"./helper.py\"]\nroots = \"ca.pem\"\n\
              timeout = \"15s\"\n";
    let config = site.config_with_ca(ca, "");
    let service = Provisioner::start(&config);
    service
        .status_when("ready", |status| status["ready"] == true)
        .await;
    std::fs::rename(&helper, &away).unwrap();
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);

    let parked = |show: &serde_json::Value| show["history"].to_string().contains("hook.config");
    service.show_when(NODE, parked).await;
    let status = service
        .status_when("not ready", |status| status["ready"] == false)
        .await;
    let missing = status["missing"].to_string();
    assert!(missing.contains("hook: "), "{status:#}");
    assert!(missing.contains("helper.py"), "{status:#}");
    let told = get(status["http"].as_str().unwrap(), "/readyz");
    assert!(told.contains("helper.py"), "{told}");

    std::fs::rename(&away, &helper).unwrap();
    service
        .status_when("ready again", |status| status["ready"] == true)
        .await;
    service.ask(&["retry", NODE]);
    service
        .show_when(NODE, |show| show["state"] == "confirmed")
        .await;
}

/// An authority may make keys where the configuration says so: each goes to its node encrypted, and
/// one that a kill kept from it is lost with its certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_an_authority_reaches_its_node_and_nobody_else() {
    const NODE: &str = "keyless.example.net";
    let site = Site::start();
    let helper = site.path("helper.py");
    std::fs::write(&helper, HELPER).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(site.path("production.url"), site.production.url()).unwrap();
    let ca = "[ca]\nkind = \"exec\"\ncommand = [\"./helper.py\"]\nroots = \"ca.pem\"\n\
              timeout = \"15s\"\nkeys = \"authority\"\n";
    let config = site.config_with_ca(ca, "");
    let mut service = Provisioner::start_with(&config, &[("PROVISIONER_TEST_HOLD", "signed=1h")]);
    let mut swarm = Swarm::new();
    swarm.add(NODE, &site.token);
    let done = |show: &serde_json::Value, step: &str| {
        let entries = show["history"].as_array().map_or(&[][..], Vec::as_slice);
        entries
            .iter()
            .any(|entry| entry["what"] == "done" && entry["step"] == step)
    };
    service.show_when(NODE, |show| done(show, "sign")).await;
    service.kill();

    let service = Provisioner::start(&config);
    let show = service
        .show_when(NODE, |show| show["state"] == "confirmed")
        .await;
    assert!(show["history"].to_string().contains("key.lost"), "{show:#}");
    let key = swarm.file(NODE, "ssl/private.pem").unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(key.as_bytes()).unwrap();
    let chain = swarm.file(NODE, "ssl/certificate.pem").unwrap();
    let leaf = openssl::x509::X509::from_pem(chain.as_bytes()).unwrap();
    assert!(leaf.public_key().unwrap().public_eq(&key));
    assert!(swarm.file(NODE, "ssl/csr.pem").is_none());
    // Neither the key nor what of it stands in PEM is anywhere but on the node.
    let middle = swarm.file(NODE, "ssl/private.pem").unwrap();
    let middle = middle.lines().nth(5).unwrap();
    assert!(!service.log().contains(middle));
    let ledger = std::fs::read_dir(site.path("state")).unwrap();
    for file in ledger
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes
            .windows(middle.len())
            .any(|part| part == middle.as_bytes());
        assert!(!found, "{} holds the key", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_helpers_park_their_node_and_good_ones_enrol() {
    let site = Site::start();
    let helper = site.path("helper.py");
    std::fs::write(&helper, HELPER).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(site.path("production.url"), site.production.url()).unwrap();
    let ca = format!(
        "[ca]\nkind = \"exec\"\ncommand = [\"{}\"]\nroots = \"ca.pem\"\ntimeout = \"15s\"\n",
        helper.display()
    );
    let more = "[retry]\nfirst = \"10m\"\nmax = \"10m\"\n";
    let mut service = Provisioner::start(&site.config_with_ca(&ca, more));

    let mut swarm = Swarm::new();
    let cases = [
        ("exits.example.net", "hook.exit", "sign"),
        ("garbage.example.net", "hook.protocol", "sign"),
        ("hangs.example.net", "hook.timeout", "sign"),
        ("much.example.net", "hook.output_too_large", "sign"),
        ("defers.example.net", "hook.deferred", "sign"),
        ("wrong.example.net", "cert.san_extra", "sign"),
        ("stays.example.net", "config.no_exit", "configure"),
    ];
    for (node, _, _) in cases {
        swarm.add(node, &site.token);
    }
    swarm.add("grandchild.example.net", &site.token);
    swarm.add("good.example.net", &site.token);
    for (node, code, step) in cases {
        let show = service.show_when(node, |s| s["state"] == "parked").await;
        assert_eq!(
            (show["code"].as_str(), show["step"].as_str()),
            (Some(code), Some(step)),
            "{show:#}"
        );
    }
    // It said nothing before its grandchild was killed.
    let show = service
        .show_when("grandchild.example.net", |s| s["state"] == "parked")
        .await;
    assert!(
        show["code"]
            .as_str()
            .is_some_and(|code| code.starts_with("hook.")),
        "{show:#}"
    );
    service
        .show_when("good.example.net", |s| s["state"] == "confirmed")
        .await;
    assert!(service.is_alive());
    assert_eq!(service.ask(&["status"])["keys_signed_twice"], 0);
}

/// Signs in our contract, line by line; dies at its first sight of one node, and puts another off.
const POOLED: &str = r#"#!/usr/bin/env python3
import json, os, subprocess, sys, tempfile
here = os.path.dirname(os.path.abspath(__file__))
def sign(q):
    with tempfile.TemporaryDirectory() as folder:
        csr, ext = os.path.join(folder, "csr.pem"), os.path.join(folder, "ext")
        open(csr, "w").write(q["csr_pem"])
        open(ext, "w").write("subjectAltName=DNS:" + q["identity"] + "\nextendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n")
        return subprocess.run(["openssl", "x509", "-req", "-in", csr, "-CA", here + "/intermediate.pem",
            "-CAkey", here + "/intermediate.key", "-days", "30", "-extfile", ext],
            check=True, capture_output=True, text=True).stdout
for line in sys.stdin:
    q = json.loads(line)
    answer = {"request_id": q["request_id"], "decision": "ok"}
    if q["op"] == "sign":
        what = q["identity"].split(".")[0]
        if what == "dies" and q["attempt"] == 1:
            os._exit(9)
        if what == "later":
            answer.update(decision="defer", reason_code="maintenance", message="not before noon")
        elif what == "foreign":
            answer.update(decision="refuse", reason_code="not_ours")
        else:
            answer.update(decision="issue", cert_chain_pem=sign(q))
            placement = {"good1": "west", "astray": "wset"}.get(what)
            if placement:
                answer.update(placement=placement)
    print(json.dumps(answer), flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn pooled_helpers_enrol_and_are_replaced_when_they_die() {
    let site = Site::start();
    let helper = site.path("pooled.py");
    std::fs::write(&helper, POOLED).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ca = "[ca]\nkind = \"pool\"\ncommand = [\"./pooled.py\"]\nroots = \"ca.pem\"\n\
              intermediates = \"intermediate.pem\"\nhelpers = 1\n";
    let more = format!(
        "[retry]\nfirst = \"1s\"\nmax = \"2s\"\n[placement.targets.west]\nservers = [\"{}\"]\n",
        site.production.url()
    );
    let mut service = Provisioner::start(&site.config_with_ca(ca, &more));
    let mut swarm = Swarm::new();
    for node in ["good1", "good2", "dies", "later", "foreign", "astray"] {
        swarm.add(&format!("{node}.example.net"), &site.token);
    }
    for node in ["good1", "good2", "dies"] {
        let node = format!("{node}.example.net");
        service
            .show_when(&node, |s| s["state"] == "confirmed")
            .await;
    }
    // A hook may name a target, one that is there.
    let target = |node: &str| service.ask(&["show", node])["target"].clone();
    assert_eq!(target("good1.example.net"), "west");
    assert_eq!(target("good2.example.net"), serde_json::Value::Null);
    let astray = service
        .show_when("astray.example.net", |s| s["code"] == "hook.unknown_target")
        .await;
    assert!(
        astray.to_string().contains("the targets are west"),
        "{astray:#}"
    );
    let later = service
        .show_when("later.example.net", |s| s["state"] == "parked")
        .await;
    assert_eq!(later["code"], "hook.deferred", "{later:#}");
    assert!(
        later.to_string().contains("maintenance: not before noon"),
        "{later:#}"
    );
    let foreign = service
        .show_when("foreign.example.net", |s| s["state"] == "refused")
        .await;
    assert_eq!(foreign["code"], "hook.refused", "{foreign:#}");
    assert!(service.is_alive());
    assert_eq!(service.ask(&["status"])["keys_signed_twice"], 0);
    assert!(service.log().contains("a pooled helper is started again"));
}
