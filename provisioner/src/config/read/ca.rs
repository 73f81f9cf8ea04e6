//! Reading `[ca]`.

mod acme;

use std::num::NonZeroU32;
use std::time::Duration;

use super::{DAY, SECOND, located, needed_path, secret};
use crate::ca::pkcs11::KeyUri;
use crate::config::reader::Section;
use crate::config::{
    Backend, Ca, CaKey, CaKind, Crl, Helper, Http, HttpApi, Located, Passphrase, SecretSource,
};
use crate::hook::HelperContract;
use crate::hook::exec::DEFAULT_ENVIRONMENT;
use crate::hook::guard::{BreakerSettings, Pace};
use crate::hook::http::Target;
use crate::secret::Secret;

/// The longest life of a list of revoked certificates.
const LONGEST_LIST: Duration = Duration::from_secs(30 * 86_400);
/// The shortest pause of a breaker.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const KINDS: [&str; 4] = ["built-in", "exec", "pool", "http"];
const APIS: [&str; 5] = ["webhook", "vault", "cfssl", "step-ca", "acme"];

/// Reads the table. With `tokens` an issuer makes what nodes get, and this says who decides about them.
pub(super) fn read(section: Section<'_, '_>, tokens: bool) -> Ca {
    if !section.has("kind") && !tokens {
        section.missing("kind", "\"built-in\" (or \"exec\", \"pool\", \"http\")");
    }
    let kind = match section.word("kind", &KINDS, "built-in").as_str() {
        "built-in" if tokens => CaKind::Granted,
        "exec" => {
            let helper = helper(&section);
            CaKind::Exec {
                contract: contract(&section, tokens, &helper.profile),
                helper,
                backend: backend(&section),
            }
        }
        "pool" => CaKind::Pool {
            helper: helper(&section),
            helpers: section.number("helpers", 2, 1..257),
            in_flight: section.number("in_flight", 32, 1..1_025),
            start_timeout: section.duration("start_timeout", 30 * SECOND, SECOND),
            backend: backend(&section),
        },
        "http" => CaKind::Http(Box::new(http(&section, tokens))),
        _ => CaKind::BuiltIn {
            certificate: needed_path(&section, "certificate", "\"intermediate.pem\""),
            key: key(&section),
        },
    };
    let ca = Ca {
        roots: (!tokens).then(|| needed_path(&section, "roots", "\"ca.pem\"")),
        intermediates: match kind {
            _ if tokens => None,
            // Those stand in the file of its certificate.
            CaKind::BuiltIn { .. } => None,
            _ => section.path("intermediates", "\"intermediates.pem\""),
        },
        validity: section.duration("validity", 365 * DAY, 600 * SECOND),
        crl: crl(&section, &kind),
        kind,
    };
    section.finish();
    ca
}

/// `[ca.crl]`, which only goes with the authority whose key is here.
fn crl(section: &Section<'_, '_>, kind: &CaKind) -> Option<Crl> {
    if !section.has("crl") {
        return None;
    }
    let inner = section.section("crl");
    let file = needed_path(&inner, "file", "\"ca.crl\"");
    if !matches!(kind, CaKind::BuiltIn { .. }) {
        inner.report(
            &file,
            "goes with [ca] kind = \"built-in\" only: another authority publishes its own list",
        );
    }
    let (lifetime, refresh) = (
        inner.duration("lifetime", 7 * DAY, 60 * SECOND),
        inner.duration("refresh", DAY, 10 * SECOND),
    );
    if lifetime > LONGEST_LIST || refresh > lifetime / 2 {
        inner.report(
            &file,
            "goes with a `lifetime` of 30d at most and a `refresh` of half of it at most, so that \
             a list is renewed well before it ends",
        );
    }
    let url = inner.text("url", "\"http://ca.example.net/ca.crl\"");
    if let Some(url) = &url {
        let plain = url.value.bytes().all(|byte| byte.is_ascii_graphic());
        if !url.value.starts_with("http://") || !plain {
            let says = format!(
                "is {:?}, and lists are fetched from http://HOST/PATH: they are signed, and who \
                 checks certificates with them has none to check the server's",
                url.value
            );
            inner.report(url, says);
        }
    }
    inner.finish();
    Some(Crl {
        file,
        lifetime,
        refresh,
        url: url.map(|url| url.value),
    })
}

/// A file, or a key in a token.
fn key(section: &Section<'_, '_>) -> CaKey {
    let example = "\"intermediate.key\"";
    let phrase = passphrase(section, "key_passphrase", "\"MUSTER_CA_PASSPHRASE\"");
    let pin = passphrase(section, "key_pin", "\"MUSTER_CA_PIN\"");
    let written = section.text("key", example);
    let Some(written) = written.filter(|key| KeyUri::is_meant(&key.value)) else {
        let file = needed_path(section, "key", example);
        if pin.is_some() {
            section.report(
                &file,
                "is a file, and a `key_pin` goes with a key in a token; an encrypted file has a \
                 `key_passphrase`",
            );
        }
        return CaKey::File {
            file,
            passphrase: phrase,
        };
    };
    if phrase.is_some() {
        section.report(
            &written,
            "is in a token, which has a `key_pin`; a `key_passphrase` goes with a file",
        );
    }
    let uri = KeyUri::parse(&written.value).unwrap_or_else(|says| {
        section.report(&written, says);
        KeyUri::default()
    });
    if pin.is_some() && uri.pin_file().is_some() {
        section.report(
            &written,
            "names a `pin-source`, and a `key_pin` is there too; keep one",
        );
    }
    let Located { key, place, .. } = written;
    let uri = Located {
        value: uri,
        key,
        place,
    };
    CaKey::Token { uri, pin }
}

/// A passphrase or PIN: `KEY`, `KEY_file` or `KEY_env`.
fn passphrase(section: &Section<'_, '_>, key: &str, example: &str) -> Option<Passphrase> {
    let variable = section.text(&format!("{key}_env"), example);
    match (secret(section, key), variable) {
        (Some(_), Some(variable)) => {
            section.report(&variable, format!("and `{key}` are both there; keep one"));
            None
        }
        (Some(source), None) => Some(Passphrase::Secret(source)),
        (None, variable) => variable.map(Passphrase::Env),
    }
}

fn contract(section: &Section<'_, '_>, tokens: bool, profile: &str) -> HelperContract {
    let ours = section.word("contract", &["choria", "muster"], "choria") == "muster";
    let makes_keys = makes_keys(section, !ours && !tokens);
    match ours {
        true => HelperContract::Muster {
            profile: profile.to_owned(),
        },
        false => HelperContract::Choria { makes_keys },
    }
}

/// Whether keys come from the authority, where they may.
fn makes_keys(section: &Section<'_, '_>, may: bool) -> bool {
    let keys = section.text("keys", "\"node\" (or \"authority\")");
    let Some(keys) = keys else {
        return false;
    };
    match keys.value.as_str() {
        "node" => false,
        "authority" if may => true,
        "authority" => {
            section.report(
                &keys,
                "is \"authority\", which goes with contract = \"choria\" and without [issuer] only",
            );
            false
        }
        _ => {
            section.report(&keys, "is neither \"node\" nor \"authority\"");
            false
        }
    }
}

fn helper(section: &Section<'_, '_>) -> Helper {
    Helper {
        command: command(section),
        timeout: section.duration("timeout", 10 * SECOND, SECOND),
        environment: environment(section),
        profile: profile(section),
    }
}

fn profile(section: &Section<'_, '_>) -> String {
    optional(section, "profile", "\"node\"").unwrap_or_else(|| "node".to_owned())
}

fn optional(section: &Section<'_, '_>, key: &str, example: &str) -> Option<String> {
    section.text(key, example).map(|text| text.value)
}

/// A server; an authority's interface knows of certificates only, a webhook of tokens too.
fn http(section: &Section<'_, '_>, tokens: bool) -> Http {
    let apis = if tokens { &APIS[..1] } else { &APIS[..] };
    if !section.has("api") {
        section.missing(
            "api",
            "\"webhook\" (or \"vault\", \"cfssl\", \"step-ca\", \"acme\")",
        );
    }
    let url = section
        .needed("url", "\"https://ca.example.net\"")
        .unwrap_or_else(|| located(String::new()));
    let target = (!url.value.is_empty()).then(|| Target::parse(&url.value));
    if let Some(Err(says)) = &target {
        section.report(&url, says);
    }
    let server_ca = section.path("server_ca", "\"ca-server.pem\"");
    if matches!(&target, Some(Ok(target)) if target.is_secure()) && server_ca.is_none() {
        section.missing("server_ca", "\"ca-server.pem\"");
    }
    let certificate = section.path("client_certificate", "\"client.pem\"");
    let key = section.path("client_key", "\"client.key\"");
    match (&certificate, &key) {
        (Some(_), None) => section.missing("client_key", "\"client.key\""),
        (None, Some(_)) => section.missing("client_certificate", "\"client.pem\""),
        _ => {}
    }
    Http {
        url,
        server_ca,
        client: certificate.zip(key),
        timeout: section.duration("timeout", 10 * SECOND, SECOND),
        in_flight: section.number("in_flight", 32, 1..1_025),
        api: match section.word("api", apis, "webhook").as_str() {
            "vault" => HttpApi::Vault {
                mount: optional(section, "mount", "\"pki\"").unwrap_or_else(|| "pki".to_owned()),
                role: section
                    .needed("role", "\"nodes\"")
                    .map(|role| role.value)
                    .unwrap_or_default(),
                namespace: optional(section, "namespace", "\"fleet\""),
                token: needed_secret(section, "token"),
            },
            "cfssl" => HttpApi::Cfssl {
                profile: optional(section, "profile", "\"node\""),
                label: optional(section, "label", "\"primary\""),
                secret: secret(section, "secret"),
            },
            "acme" => acme::read(section),
            "step-ca" => HttpApi::StepCa {
                provisioner: section
                    .needed("provisioner", "\"muster\"")
                    .map(|name| name.value)
                    .unwrap_or_default(),
                key: needed_path(section, "provisioner_key", "\"step-provisioner.key\""),
            },
            _ => HttpApi::Webhook {
                secret: needed_secret(section, "secret"),
                token: secret(section, "token"),
                profile: profile(section),
            },
        },
        backend: backend(section),
    }
}

fn needed_secret(section: &Section<'_, '_>, key: &str) -> SecretSource {
    secret(section, key).unwrap_or_else(|| {
        if !section.has(key) && !section.has(&format!("{key}_file")) {
            section.missing(&format!("{key}_file"), &format!("\"{key}.secret\""));
        }
        SecretSource::Text(Secret::new(String::new()))
    })
}

/// Pace and breaker, which every backend outside this process has.
fn backend(section: &Section<'_, '_>) -> Backend {
    let count = |key: &str, default: usize, most: usize| {
        let number = section.number(key, default, 1..most + 1);
        u32::try_from(number)
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN)
    };
    let rate = section.has("rate").then(|| count("rate", 100, 1_000_000));
    let burst = count(
        "burst",
        rate.map_or(1, |rate| rate.get() as usize),
        1_000_000,
    );
    let usual = BreakerSettings::default();
    let pause = section.duration("breaker_pause", usual.pause, LEAST_PAUSE);
    let pause_max = section.duration("breaker_pause_max", usual.pause_max, LEAST_PAUSE);
    Backend {
        pace: rate.map(|rate| Pace { rate, burst }),
        breaker: BreakerSettings {
            failures: count("breaker_failures", usual.failures as usize, 1_000).get(),
            pause,
            pause_max: pause_max.max(pause),
        },
    }
}

fn command(section: &Section<'_, '_>) -> Located<Vec<String>> {
    let example = "[\"/usr/local/bin/helper\"]";
    match section.command("command", example) {
        Some(command) if command.value.is_empty() => {
            section.report(&command, format!("is empty; write command = {example}"));
            command
        }
        Some(command) => command,
        None => {
            if !section.has("command") {
                section.missing("command", example);
            }
            located(Vec::new())
        }
    }
}

/// Names of variables, none of which can be a path or an assignment.
fn environment(section: &Section<'_, '_>) -> Vec<String> {
    let example = "[\"PATH\", \"LANG\"]";
    let Some(names) = section.texts("environment", example) else {
        return DEFAULT_ENVIRONMENT
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
    };
    for name in &names.value {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(plain) {
            section.report(
                &names,
                format!("has {name:?}, which is no variable's name; write environment = {example}"),
            );
        }
    }
    names.value
}
