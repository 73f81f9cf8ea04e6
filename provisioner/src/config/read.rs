//! From the tables of the file to a [`Config`], one function a table.

mod bounds;
mod ca;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mistake::{Located, Mistakes};
use super::reader::{Document, Section};
use crate::judge::policy::Oid;
use crate::judge::{BlockedKeys, KeyKind, RequestPolicy};
use crate::secret::Secret;

use super::{
    Caller, Config, Csr, NodeFiles, Production, Provisioning, SecretSource, Tls, Token, TokenKey,
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Kinds of key that `[csr] keys` may name.
const KEY_KINDS: [&str; 6] = ["p256", "p384", "ed25519", "rsa2048", "rsa3072", "rsa4096"];

/// Reads the whole file. A value that is missing or wrong is recorded as a
/// mistake and stood in for, so that the rest is still looked at.
pub(super) fn config(file: &Path, text: &str) -> Result<Config, Mistakes> {
    let doc = Document::new(file, text);
    let table = doc.parse();
    let root = Section::root(&doc, &table);

    let state_dir = root.needed_path("state_dir", "\"state\"");
    let network = root.section("network");
    let node = root.section("node");
    let production = production(network.section("production"));
    let placement = root.section("placement");
    let issuer = root.has("issuer").then(|| {
        let collective = &production.collective.value;
        super::issuer::read(root.section("issuer"), collective)
    });
    let ledger = super::ledger::read(root.section("ledger"));
    let config = Config {
        file: file.to_path_buf(),
        state_dir: state_dir.map(|p| p.value).unwrap_or_default(),
        election: root
            .has("election")
            .then(|| super::streams::election(root.section("election"), &ledger)),
        ledger,
        identity: root.text("identity", "\"provisioner1.example.net\""),
        provisioning: provisioning(network.section("provisioning")),
        placement: super::placement::read(placement, &production.collective.value),
        production,
        token: token(root.section("token")),
        csr: csr(root.section("csr")),
        ca: ca::read(root.section("ca"), issuer.is_some()),
        issuer,
        node: NodeFiles {
            settings: texts(node.section("settings"), "\"text\""),
            policies: texts(node.section("policies"), "\"policy default deny\""),
        },
        limits: bounds::limits(root.section("limits")),
        timeouts: bounds::timeouts(root.section("timeouts")),
        retry: bounds::retry(root.section("retry")),
        reprovision: bounds::reprovision(root.section("reprovision")),
        renewal: root
            .has("renewal")
            .then(|| super::renewal::read(root.section("renewal"))),
        audit: bounds::audit(root.section("audit")),
        events: root
            .has("events")
            .then(|| super::streams::events(root.section("events"))),
        sweep: bounds::sweep(root.section("sweep")),
        http: bounds::http(root.section("http")),
        log: bounds::log(root.section("log")),
    };
    network.finish();
    node.finish();
    root.finish();

    let list = doc.into_mistakes();
    if list.is_empty() {
        Ok(config)
    } else {
        let file = file.to_path_buf();
        Err(Mistakes { file, list })
    }
}

fn provisioning(section: Section<'_, '_>) -> Provisioning {
    let servers = servers(&section, "[\"tls://provisioning.example.net:4222\"]");
    let collective = section
        .text("collective", "\"provisioning\"")
        .unwrap_or_else(|| located("provisioning".to_owned()));
    let user = section.text("user", "\"provisioner\"").map(|t| t.value);
    let password = secret(&section, "password");
    let ca = section.path("ca", "\"broker-ca.pem\"");
    let default = if ca.is_some() {
        "verified"
    } else {
        "anonymous"
    };
    let tls = match section
        .word("tls", &["anonymous", "verified", "none"], default)
        .as_str()
    {
        "none" => Tls::None,
        "verified" => match ca {
            Some(ca) => Tls::Verified(ca),
            None => {
                section.missing("ca", "\"broker-ca.pem\"");
                Tls::Anonymous
            }
        },
        _ => Tls::Anonymous,
    };
    let signed = section.flag("signed", false);
    section.finish();
    Provisioning {
        servers,
        collective,
        user,
        password,
        tls,
        signed,
    }
}

fn production(section: Section<'_, '_>) -> Production {
    let tokens = section.has("token") || section.has("seed");
    let usual = if tokens { "choria" } else { "mcollective" };
    let production = Production {
        servers: servers(&section, "[\"tls://broker.example.net:4222\"]"),
        collective: section
            .text("collective", "\"mcollective\"")
            .unwrap_or_else(|| located(usual.to_owned())),
        ca: needed_path(&section, "ca", "\"ca.pem\""),
        caller: if tokens {
            Caller::Token {
                token: needed_path(&section, "token", "\"provisioner.jwt\""),
                seed: needed_path(&section, "seed", "\"provisioner.seed\""),
            }
        } else {
            Caller::Certificate {
                certificate: needed_path(
                    &section,
                    "certificate",
                    "\"provisioner.mcollective.pem\"",
                ),
                key: needed_path(&section, "key", "\"provisioner.mcollective.key\""),
            }
        },
    };
    section.finish();
    production
}

fn token(section: Section<'_, '_>) -> Token {
    let example = "[{ name = \"factory-2026\", file = \"token-signer.pem\" }]";
    let mut keys = Vec::new();
    for key in section.sections("keys", example) {
        let name = key.needed("name", "\"factory-2026\"");
        let file = needed_path(&key, "file", "\"token-signer.pem\"");
        keys.push(TokenKey {
            name: name.map(|n| n.value).unwrap_or_default(),
            file,
        });
        key.finish();
    }
    if keys.is_empty() {
        section.missing("keys", example);
    }
    let node_token = secret(&section, "node_token").unwrap_or_else(|| {
        section.missing("node_token_file", "\"node-token.secret\"");
        SecretSource::Text(Secret::new(String::new()))
    });
    let token = Token {
        keys,
        issuers: section
            .texts("issuers", "[\"Choria Tokens Package\"]")
            .map_or_else(|| vec!["Choria Tokens Package".to_owned()], |t| t.value),
        audience: section.text("audience", "\"muster\"").map(|t| t.value),
        leeway: section.duration("leeway", 60 * SECOND, Duration::ZERO),
        node_token,
    };
    section.finish();
    token
}

fn csr(section: Section<'_, '_>) -> Csr {
    let lists = section.paths("blocked_keys", "[\"blocked-keys.txt\"]");
    let blocked_keys = lists.map(|files| {
        BlockedKeys::read(&files.value).unwrap_or_else(|says| {
            section.report(&files, says);
            BlockedKeys::default()
        })
    });
    let keys = parsed(&section, "keys", "[\"p256\", \"rsa2048\"]", |text| {
        serde_json::from_value(text.into())
            .map_err(|_| format!("has {text:?}, not one of {}", KEY_KINDS.join(", ")))
    });
    let policy = RequestPolicy {
        keys: if section.has("keys") {
            keys
        } else {
            KeyKind::ALL.to_vec()
        },
        punycode: section.flag("punycode", false),
        subject_attributes: parsed(&section, "subject_attributes", "[\"2.5.4.10\"]", |text| {
            Oid::try_from(text.to_owned())
        }),
        ip_ranges: parsed(&section, "ip_ranges", "[\"10.1.0.0/16\"]", str::parse),
        blocked_keys: blocked_keys.unwrap_or_default(),
    };
    section.finish();
    Csr { policy }
}

/// A list of texts, each read by `read`.
fn parsed<T>(
    section: &Section<'_, '_>,
    key: &str,
    example: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut values = Vec::new();
    if let Some(texts) = section.texts(key, example) {
        for text in &texts.value {
            match read(text) {
                Ok(value) => values.push(value),
                Err(says) => section.report(&texts, says),
            }
        }
    }
    values
}

/// Broker URLs: at least one, each `nats://` or `tls://`.
pub(super) fn servers(section: &Section<'_, '_>, example: &str) -> Vec<String> {
    let Some(servers) = section.texts("servers", example) else {
        if !section.has("servers") {
            section.missing("servers", example);
        }
        return Vec::new();
    };
    if servers.value.is_empty() {
        section.report(&servers, format!("is empty; write servers = {example}"));
    }
    for url in &servers.value {
        if !url.starts_with("tls://") && !url.starts_with("nats://") {
            section.report(
                &servers,
                format!("has {url:?}, which starts neither with tls:// nor with nats://"),
            );
        }
    }
    servers.value
}

/// Brokers other than those of the network, where there are any.
pub(super) fn others(section: &Section<'_, '_>) -> Vec<String> {
    match section.has("servers") {
        true => servers(section, "[\"tls://broker.example.net:4222\"]"),
        false => Vec::new(),
    }
}

/// `KEY` or `KEY_file`, not both.
fn secret(section: &Section<'_, '_>, key: &str) -> Option<SecretSource> {
    let file_key = format!("{key}_file");
    let text = section.text(key, "\"…\"");
    let file = section.path(&file_key, "\"file.secret\"");
    match (text, file) {
        (Some(text), Some(_)) => {
            section.report(&text, format!("and `{file_key}` are both there; keep one"));
            None
        }
        (Some(text), None) => Some(SecretSource::Text(Secret::new(text.value))),
        (None, Some(file)) => Some(SecretSource::File(file)),
        (None, None) => None,
    }
}

fn needed_path(section: &Section<'_, '_>, key: &str, example: &str) -> Located<PathBuf> {
    section
        .needed_path(key, example)
        .unwrap_or_else(|| located(PathBuf::new()))
}

fn texts(section: Section<'_, '_>, example: &str) -> Vec<(String, Located<String>)> {
    section.entries(example)
}

/// Stands in for a value that is not in the file.
fn located<T>(value: T) -> Located<T> {
    Located::unknown(value)
}
