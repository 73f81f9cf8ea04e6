//! Server tokens: what an issuer makes of a captured helper's wishes, and everything it refuses.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use provisioner::code::Code;
use provisioner::config::Config;
use provisioner::hook::{Decision, ExecHook, ExecSettings, Hook, HookRequest};
use provisioner::issuer::{Holder, TokenIssuer};
use provisioner::judge::{CsrReply, Ed25519Reply, judge_possession};
use provisioner::site::{Issues, Site};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use server_core::trust::jwt::{ServerClaims, verify_member};
use server_core::words::UnixTime;

/// Keys and tokens made for the captures of the original; they protect nothing.
const KEYS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../server-core/tests/golden/provisioning/keys"
);
/// The nonce the captured node signed.
const NONCE: &str = "b4773d8caadf4ef9bdd752b286482701";
pub(crate) const NODE: &str = "n2.example.net";

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/helper");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn key(name: &str) -> String {
    std::fs::read_to_string(Path::new(KEYS).join(name)).unwrap()
}

/// The captured reply to `gen25519`.
pub(crate) fn reply() -> Ed25519Reply {
    let stdin: Value = serde_json::from_str(&golden("v2.stdin.json")).unwrap();
    let text = |key: &str| stdin["ed25519_pubkey"][key].as_str().unwrap().to_owned();
    Ed25519Reply {
        public_key: text("public_key"),
        directory: text("directory"),
        signature: text("signature"),
        nonce: NONCE.to_owned(),
    }
}

/// A folder with a whole site whose issuer is the captured chain issuer.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key_pair = openssl::rsa::Rsa::generate(2_048).unwrap();
    let pkey = openssl::pkey::PKey::from_rsa(key_pair).unwrap();
    let mut name = openssl::x509::X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "provisioner.mcollective")
        .unwrap();
    let name = name.build();
    let mut made = openssl::x509::X509::builder().unwrap();
    made.set_version(2).unwrap();
    made.set_subject_name(&name).unwrap();
    made.set_issuer_name(&name).unwrap();
    made.set_pubkey(&pkey).unwrap();
    let day = |days| openssl::asn1::Asn1Time::days_from_now(days).unwrap();
    made.set_not_before(&day(0)).unwrap();
    made.set_not_after(&day(9)).unwrap();
    made.sign(&pkey, openssl::hash::MessageDigest::sha256())
        .unwrap();
    let write = |name: &str, text: &[u8]| write_secret(&dir.path().join(name), text);
    let certificate = made.build().to_pem().unwrap();
    write("ca.pem", &certificate);
    write("caller.pem", &certificate);
    write("caller.key", &pkey.private_key_to_pem_pkcs8().unwrap());
    for name in [
        "provisioner.seed",
        "provisioner.jwt",
        "issuer.public",
        "user.jwt",
    ] {
        write(name, key(name).as_bytes());
    }
    dir
}

/// Everything but `[issuer]`, whose keys are given.
fn config(dir: &Path, issuer: &str) -> PathBuf {
    let file = dir.join("provisioner.toml");
    let text = format!(
        r#"state_dir = "state"
[network.provisioning]
servers = ["tls://127.0.0.1:1"]
[network.production]
servers = ["tls://127.0.0.1:1"]
collective = "choria"
ca = "ca.pem"
certificate = "caller.pem"
key = "caller.key"
[token]
keys = [{{ name = "factory", file = "issuer.public" }}]
node_token = "s3cret"
[node.settings]
"plugin.choria.middleware_hosts" = "tls://127.0.0.1:1"
"plugin.security.provider" = "file"
[issuer]
{issuer}
"#
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// A file that nobody but its owner may read.
fn write_secret(file: &Path, text: &[u8]) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
}

fn chain(seed: &str, token: &str, key: &str) -> String {
    format!(
        "seed = {seed:?}\ntoken = {token:?}\norganization_key = {:?}\n",
        key.trim()
    )
}

fn load(dir: &Path, issuer: &str) -> Result<Site, String> {
    let file = config(dir, issuer);
    let config = Config::load(Some(&file)).map_err(|error| error.to_string())?;
    Site::load(config).map_err(|mistakes| mistakes.to_string())
}

pub(crate) fn with_issuer<T>(rules: &str, act: impl FnOnce(&TokenIssuer) -> T) -> T {
    let dir = folder();
    let chain = chain("provisioner.seed", "provisioner.jwt", &key("issuer.public"));
    let site = load(dir.path(), &format!("{chain}{rules}")).unwrap();
    match &site.issues {
        Issues::Tokens(issuer) => act(issuer),
        Issues::Certificates(_) => panic!("[issuer] was not read"),
    }
}

pub(crate) fn prepared(issuer: &TokenIssuer, wanted: &Value) -> Result<ServerClaims, Code> {
    let reply = reply();
    let holder = Holder {
        identity: NODE,
        public_key: &reply.public_key,
    };
    let wanted: Map<String, Value> = wanted.as_object().unwrap().clone();
    let mut rng = StdRng::seed_from_u64(7);
    let made = issuer.prepare(holder, Some(&wanted), None, Timestamp::now(), &mut rng);
    made.map_err(|refusal| refusal.code)
}

#[test]
fn a_captured_key_is_proven_and_a_forged_proof_is_not() {
    let judged = judge_possession(&reply(), NODE, false).unwrap();
    assert_eq!(judged.identity(), NODE);
    let code = |change: fn(&mut Ed25519Reply)| {
        let mut reply = reply();
        change(&mut reply);
        judge_possession(&reply, NODE, false).unwrap_err().code
    };
    assert_eq!(code(|r| r.nonce.push('0')), Code::CsrPopFailed);
    assert_eq!(code(|r| r.signature = "00".repeat(64)), Code::CsrPopFailed);
    assert_eq!(code(|r| r.signature = "abc".to_owned()), Code::RpcProtocol);
    assert_eq!(code(|r| r.public_key.clear()), Code::RpcProtocol);
    assert_eq!(
        code(|r| r.public_key.make_ascii_uppercase()),
        Code::RpcProtocol
    );
    // A point of small order, for which anybody can sign.
    let weak = code(|r| r.public_key = format!("01{}", "00".repeat(31)));
    assert!(
        [Code::KeyWeak, Code::CsrPopFailed].contains(&weak),
        "{weak:?}"
    );
    let named = judge_possession(&reply(), "../etc", false).unwrap_err();
    assert_eq!(named.code, Code::IdentitySyntax);
}

#[tokio::test]
async fn a_helper_of_the_original_is_asked_and_understood() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, answer) = (dir.path().join("stdin"), dir.path().join("stdout"));
    std::fs::write(&answer, golden("v2.stdout.json")).unwrap();
    let script = format!("cat > '{}'; cat '{}'", seen.display(), answer.display());
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let stdin: Value = serde_json::from_str(&golden("v2.stdin.json")).unwrap();
    let request = HookRequest {
        request: judge_possession(&reply(), NODE, false).unwrap(),
        csr: CsrReply {
            ed25519: Some(reply()),
            ..CsrReply::default()
        },
        inventory: serde_json::from_str(stdin["inventory"].as_str().unwrap()).unwrap(),
        claims: stdin["jwt"].clone(),
        attempt: 1,
        renewal: 0,
        now: Timestamp::now(),
    };
    let hook = ExecHook::new(ExecSettings {
        timeout: Duration::from_secs(20),
        ..ExecSettings::new(command)
    });
    let answer = hook.decide(&request, None).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(seen).unwrap(),
        golden("v2.stdin.json")
    );
    let Decision::Issue(issued) = answer.decision else {
        panic!("{answer:?}")
    };
    assert_eq!(issued.certificate, "");
    let wanted = Value::Object(issued.server_claims.unwrap());
    let claims = with_issuer("permissions = [\"streams\", \"submission\"]", |issuer| {
        prepared(issuer, &wanted)
    });
    assert!(claims.unwrap().permissions.submission);
    let more = with_issuer("", |issuer| prepared(issuer, &wanted));
    assert_eq!(more.unwrap_err(), Code::IssuerClaims);
}

#[test]
fn what_was_prepared_gives_one_token_that_leads_to_the_organization() {
    let reply = reply();
    let holder = Holder {
        identity: NODE,
        public_key: &reply.public_key,
    };
    let now = Timestamp::now();
    with_issuer("publish = [\"metrics.>\"]\nvalidity = \"30d\"", |issuer| {
        let claims = prepared(issuer, &json!({})).unwrap();
        assert_eq!(claims.collectives, ["choria"]);
        assert_eq!(claims.pub_subjects, ["metrics.>"]);
        let token = issuer.issue(holder, &claims, now).unwrap();
        assert_eq!(issuer.issue(holder, &claims, now).unwrap(), token);
        let known = [issuer.organization().clone()];
        let at = UnixTime::from_secs(now.as_second());
        let read: ServerClaims = verify_member(token.text(), &known, 0, at).unwrap();
        assert_eq!(read, claims);
        assert_eq!(token.id(), claims.standard.jti);

        let code = |holder| issuer.issue(holder, &claims, now).unwrap_err().code;
        let other_key = "11".repeat(32);
        let stranger = Holder {
            public_key: &other_key,
            ..holder
        };
        assert_eq!(code(stranger), Code::IssuerToken);
        assert_eq!(
            code(Holder {
                identity: "n3.example.net",
                ..holder
            }),
            Code::IssuerToken
        );
        let late = Timestamp::from_second(1_826_930_790).unwrap();
        assert_eq!(
            issuer.issue(holder, &claims, late).unwrap_err().code,
            Code::IssuerExpired
        );
        assert_eq!(
            issuer.self_test(late).unwrap_err().code,
            Code::IssuerExpired
        );
    });
}

#[test]
fn a_hook_gets_less_than_is_allowed_and_never_more() {
    with_issuer("collectives = [\"choria\", \"eu\"]", |issuer| {
        let less = prepared(
            issuer,
            &json!({ "collectives": ["choria"], "ou": "choria" }),
        )
        .unwrap();
        assert_eq!(less.collectives, ["choria"]);
        let soon = Timestamp::now().as_second() + 600;
        let short = prepared(issuer, &json!({ "exp": soon })).unwrap();
        assert!((soon - 5..=soon).contains(&short.standard.exp.unwrap()));
        for (wanted, code) in [
            (json!({ "collectives": ["us"] }), Code::IssuerClaims),
            (
                json!({ "permissions": { "governor": true } }),
                Code::IssuerClaims,
            ),
            (json!({ "ou": "acme" }), Code::IssuerClaims),
            (json!({ "identity": "n3.example.net" }), Code::IssuerClaims),
            (json!({ "public_key": "11" }), Code::IssuerClaims),
            (json!({ "pub_subjects": [">"] }), Code::IssuerClaims),
            (json!({ "exp": 1 }), Code::IssuerClaims),
            (json!({ "collectives": "choria" }), Code::HookProtocol),
        ] {
            assert_eq!(prepared(issuer, &wanted).unwrap_err(), code, "{wanted}");
        }
    });
}

#[test]
fn what_is_wrong_with_the_issuer_is_told_with_the_file_and_the_way_out() {
    let dir = folder();
    write_secret(&dir.path().join("torn.seed"), b"abc");
    let organization = key("issuer.public");
    let says = |issuer: &str| load(dir.path(), issuer).unwrap_err();
    let torn = says("seed = \"torn.seed\"\n");
    assert!(
        torn.contains("`issuer.seed` (") && torn.contains("torn.seed) is no issuer's"),
        "{torn}"
    );
    assert!(torn.contains("64 hexadecimal digits"), "{torn}");
    let absent = says("seed = \"absent.seed\"\n");
    assert!(
        absent.contains("absent.seed: cannot be opened: No such file"),
        "{absent}"
    );
    let good = |key: &str| chain("provisioner.seed", "provisioner.jwt", key);
    let other = says(&good(&"11".repeat(32)));
    assert!(other.contains("another organization's key"), "{other}");
    let user = says(&chain("provisioner.seed", "user.jwt", &organization));
    assert!(
        user.contains("user.jwt)") && user.contains("lets it issue nothing"),
        "{user}"
    );
    let elsewhere = says(&format!("organization = \"acme\"\n{}", good(&organization)));
    assert!(elsewhere.contains("organization \"choria\""), "{elsewhere}");
    let half = says("seed = \"provisioner.seed\"\ntoken = \"provisioner.jwt\"\n");
    assert!(half.contains("organization_key"), "{half}");
    let unknown = says(&format!("{}permissions = [\"root\"]", good(&organization)));
    assert!(
        unknown.contains("submission, streams, governor, service_host"),
        "{unknown}"
    );
    let http = format!(
        "{}[ca]\nkind = \"http\"\napi = \"vault\"\n",
        good(&organization)
    );
    assert!(says(&http).contains("webhook"), "{}", says(&http));
    assert!(load(dir.path(), &good(&organization)).is_ok());
}

/// What a helper wants in a token is tried by the checks of issuing.
#[test]
fn a_helpers_wishes_are_tried_with_nothing_signed() {
    let dir = folder();
    let chain = chain("provisioner.seed", "provisioner.jwt", &key("issuer.public"));
    let simulate = |claims: Value| {
        let script = format!(
            "read -r question; id=${{question#*'\"request_id\":\"'}}; \
             printf '{{\"request_id\":\"%s\",\"decision\":\"issue\",\"server_claims\":%s}}' \
             \"${{id%%'\"'*}}\" '{claims}'"
        );
        let ca = format!(
            "{chain}collectives = [\"choria\", \"eu\"]\npermissions = [\"streams\"]\n[ca]\n\
             kind = \"exec\"\ncontract = \"muster\"\ncommand = [\"sh\", \"-c\", {script:?}]\n"
        );
        let file = config(dir.path(), &ca);
        let done = assert_cmd::Command::cargo_bin("provisioner")
            .unwrap()
            .args(["simulate", NODE, "--json", "--config"])
            .arg(file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{said}"));
        (done.status.code(), told)
    };
    let soon = Timestamp::now().as_second() + 3_600;
    let (code, told) = simulate(json!({ "collectives": ["eu"], "exp": soon }));
    assert_eq!(
        (code, &told["decision"]),
        (Some(0), &json!("issue")),
        "{told}"
    );
    assert_eq!(told["server_claims"]["collectives"], json!(["eu"]));
    assert_eq!(
        told["server_claims"]["permissions"],
        json!({ "streams": true })
    );
    assert!(told["validity_s"].as_u64().unwrap() <= 3_600, "{told}");
    let text = told.to_string();
    assert!(!text.contains("tcs") && !text.contains("eyJ"), "{text}");
    for (wanted, reason) in [
        (json!({ "collectives": ["us"] }), "issuer.claims"),
        (json!({ "exp": 1 }), "issuer.claims"),
        (json!({ "collectives": "eu" }), "hook.protocol"),
    ] {
        let (code, told) = simulate(wanted);
        assert_eq!(
            (code, &told["reason_code"]),
            (Some(1), &json!(reason)),
            "{told}"
        );
    }
}
