//! The example is complete, and mistakes are told all at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use super::{CaKind, Config, Ledger, Tls};

const EXAMPLE: &str = include_str!("../../example.toml");

fn mistakes(text: &str) -> String {
    let found = Config::parse(Path::new("provisioner.toml"), text);
    found.err().map(|m| m.to_string()).unwrap_or_default()
}

#[test]
fn the_example_is_a_configuration() {
    let config = Config::parse(Path::new("/etc/muster/provisioner.toml"), EXAMPLE).unwrap();
    assert_eq!(config.state_dir, Path::new("/etc/muster/state"));
    assert!(matches!(config.provisioning.tls, Tls::Anonymous));
    assert!(matches!(config.ca.kind, CaKind::BuiltIn { .. }));
    assert_eq!(config.limits.nodes, 512);
}

#[test]
fn a_helper_s_path_is_relative_to_the_file_and_its_environment_is_named() {
    let built_in = EXAMPLE.find("kind = \"built-in\"").unwrap();
    let end = EXAMPLE.find("roots = \"ca.pem\"").unwrap();
    let exec = |more: &str| {
        let (before, after) = (&EXAMPLE[..built_in], &EXAMPLE[end..]);
        let text = format!("{before}kind = \"exec\"\n{more}\n{after}");
        Config::parse(Path::new("/etc/muster/provisioner.toml"), &text)
    };
    let ca = |more: &str| match exec(more).unwrap().ca.kind {
        CaKind::Exec { helper, .. } => (helper.command.value, helper.environment),
        other => panic!("{other:?}"),
    };
    let (command, environment) = ca("command = [\"./helper\", \"./a\"]");
    assert_eq!(command, ["/etc/muster/./helper", "./a"]);
    assert_eq!(environment, ["PATH", "LANG", "LC_ALL", "TZ"]);
    let (command, environment) = ca("command = [\"sh\"]\nenvironment = [\"VAULT_ADDR\"]");
    assert_eq!(command, ["sh"]);
    assert_eq!(environment, ["VAULT_ADDR"]);
    let mistakes = exec("command = [\"sh\"]\nenvironment = [\"A=1\"]").unwrap_err();
    assert!(mistakes.to_string().contains("\"A=1\""), "{mistakes}");
}

#[test]
fn a_ledger_is_one_services_own_unless_a_bucket_is_named() {
    let ledger = |text: &str| {
        let text = EXAMPLE.replace("[ledger]", &format!("[ledger]\n{text}"));
        Config::parse(Path::new("p.toml"), &text).map(|config| config.ledger)
    };
    assert!(matches!(ledger("").unwrap(), Ledger::Embedded));
    let Ledger::Shared(shared) = ledger("kind = \"shared\"\nreplicas = 3").unwrap() else {
        panic!("not embedded");
    };
    assert_eq!(
        (shared.bucket.as_str(), shared.replicas),
        ("provisioner", 3)
    );
    for (wrong, says) in [
        ("kind = \"shred\"", "did you mean `shared`?"),
        ("bucket = \"b\"", "unknown key `bucket`"),
        (
            "kind = \"shared\"\nbucket = \"a.b\"",
            "letters, digits, - and _",
        ),
        ("kind = \"shared\"\nreplicas = 9", "outside 1 to 5"),
    ] {
        let said = ledger(wrong).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}

/// Every commented-out default, taken at its word, changes nothing and is known.
#[test]
fn the_defaults_in_the_example_are_the_defaults() {
    let mut spoken = String::new();
    // What follows a section that is commented out itself is an example, not a default.
    let mut aside = false;
    for line in EXAMPLE.lines() {
        aside = line.starts_with("# [") || (aside && !line.starts_with('['));
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_default = !aside
            && line.starts_with("# ")
            && bare.split_once(" = ").is_some_and(|(key, value)| {
                let simple = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                simple && !value.contains('…') && !value.starts_with("the ")
            });
        let skip = [
            "kind",
            "command",
            "timeout",
            "environment",
            "contract",
            "key_passphrase_env",
            "key",
            "key_pin_file",
            "profile",
            "api",
            "url",
            "server_ca",
            "client_certificate",
            "client_key",
            "secret_file",
            "token_file",
            "mount",
            "role",
            "namespace",
            "label",
            "provisioner",
            "provisioner_key",
            "helpers",
            "in_flight",
            "start_timeout",
            "intermediates",
            "rate",
            "burst",
            "breaker_failures",
            "breaker_pause",
            "breaker_pause_max",
            "roots",
            "ca",
            "tls",
            "bucket",
            "replicas",
            "member",
            "rules",
            "quarantine",
        ];
        let key = bare.split(' ').next().unwrap_or_default();
        let again = line.starts_with("# validity") && line.contains("longest");
        if is_default && !skip.contains(&key) && !again {
            spoken.push_str(bare);
        } else {
            spoken.push_str(line);
        }
        spoken.push('\n');
    }
    let said = Config::parse(Path::new("p.toml"), &spoken).unwrap();
    let unsaid = Config::parse(Path::new("p.toml"), EXAMPLE).unwrap();
    assert_ne!(spoken, EXAMPLE);
    for (a, b) in [
        (format!("{:?}", said.limits), format!("{:?}", unsaid.limits)),
        (
            format!("{:?}", said.timeouts),
            format!("{:?}", unsaid.timeouts),
        ),
        (format!("{:?}", said.retry), format!("{:?}", unsaid.retry)),
        (format!("{:?}", said.sweep), format!("{:?}", unsaid.sweep)),
        (format!("{:?}", said.http), format!("{:?}", unsaid.http)),
        (
            format!("{:?}", said.ca.validity),
            format!("{:?}", unsaid.ca.validity),
        ),
        (
            format!("{:?}", said.token.issuers),
            format!("{:?}", unsaid.token.issuers),
        ),
        (
            format!("{:?}", said.token.leeway),
            format!("{:?}", unsaid.token.leeway),
        ),
    ] {
        assert_eq!(a, b);
    }
}

#[test]
fn every_mistake_is_told_in_one_go() {
    let text = EXAMPLE
        .replace("state_dir = ", "state_dri = ")
        .replace("# nodes = 512 ", "nodes = \"5\" #")
        .replace("# probe = \"2s\"", "probe = 2")
        .replace("[ca]\nkind = \"built-in\"", "[ca]\nkind = \"buildin\"");
    let told = mistakes(&text);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    assert!(
        told.contains("`state_dir` is missing; write state_dir = \"state\""),
        "{told}"
    );
    assert!(
        told.contains("unknown key `state_dri` at the top of the file; did you mean `state_dir`?")
    );
    assert!(told.contains(
        "`ca.kind` is \"buildin\", not one of built-in, exec, pool, http; did you mean `built-in`?"
    ));
    assert!(
        told.contains("`limits.nodes` is text, and a whole number is wanted; write nodes = 512")
    );
    assert!(told.contains(
        "`timeouts.probe` is integer, and a duration in quotes is wanted; write probe = \"2s\""
    ));
    assert!(lines.iter().all(|l| l.starts_with("provisioner.toml:")));
}

#[test]
fn the_place_is_line_and_column() {
    let told = mistakes(&format!("{EXAMPLE}\n[limitz]\n"));
    let line = EXAMPLE.lines().count() + 2;
    let wanted = format!(
        "provisioner.toml:{line}:2: unknown key `limitz` at the top of the file; did you mean `limits`?"
    );
    assert_eq!(told, wanted);
}

#[test]
fn broken_toml_is_a_mistake_with_a_place() {
    let told = mistakes("state_dir = \n");
    assert!(told.starts_with("provisioner.toml:1:"), "{told}");
}

#[test]
fn secrets_are_not_shown() {
    let text = EXAMPLE.replace(
        "password_file = \"provisioning.password\"",
        "password = \"hunter2\"",
    );
    let config = Config::parse(Path::new("p.toml"), &text).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn durations_have_a_least() {
    let told = mistakes(&EXAMPLE.replace("# confirm = \"2m\"", "confirm = \"1s\""));
    assert!(told.contains("is below its least, 3s"), "{told}");
    let config = Config::parse(Path::new("p.toml"), EXAMPLE).unwrap();
    assert_eq!(config.timeouts.confirm, Duration::from_secs(120));
}

/// The example with another `[ca]`.
fn with_ca(ca: &str) -> String {
    let begin = EXAMPLE.find("kind = \"built-in\"").unwrap();
    let end = EXAMPLE.find("roots = \"ca.pem\"").unwrap();
    format!("{}{ca}\n{}", &EXAMPLE[..begin], &EXAMPLE[end..])
}

#[test]
fn hooks_over_http_name_what_they_lack() {
    for (ca, wanted) in [
        (
            "kind = \"http\"",
            "`api` is missing in [ca]; write api = \"webhook\"",
        ),
        (
            "kind = \"http\"\napi = \"vault\"",
            "`url` is missing in [ca]; write url = \"https://ca.example.net\"",
        ),
        (
            "kind = \"http\"\napi = \"vault\"\nurl = \"https://a.example\"",
            "`server_ca` is missing in [ca]",
        ),
        (
            "kind = \"http\"\napi = \"vault\"\nurl = \"http://a.example\"",
            "is not encrypted; http:// is for servers on this machine",
        ),
        (
            "kind = \"http\"\napi = \"vault\"\nurl = \"http://127.0.0.1:1\"",
            "`role` is missing in [ca]",
        ),
        (
            "kind = \"http\"\napi = \"webhook\"\nurl = \"http://127.0.0.1:1\"",
            "`secret_file` is missing in [ca]; write secret_file = \"secret.secret\"",
        ),
        (
            "kind = \"http\"\napi = \"webhook\"\nurl = \"http://127.0.0.1:1\"\nsecret = \"s\"\nrole = \"r\"",
            "unknown key `role` in [ca]",
        ),
        (
            "kind = \"http\"\napi = \"acme\"\nurl = \"http://127.0.0.1:1/dir\"\neab_kid = \"k\"",
            "`eab_key_file` is missing in [ca]",
        ),
        (
            "kind = \"http\"\napi = \"acme\"\nurl = \"http://127.0.0.1:1/dir\"\ncontact = [\"ca@a.example\"]",
            "`ca.contact` has \"ca@a.example\", which is no URL",
        ),
        (
            "kind = \"http\"\napi = \"acme\"\nurl = \"http://127.0.0.1:1/dir\"\ndns_command = []",
            "`ca.dns_command` is empty",
        ),
        (
            "kind = \"pool\"\ncommand = [\"sh\"]\nhelpers = 0",
            "`ca.helpers` = 0 is outside 1 to 256",
        ),
    ] {
        let told = mistakes(&with_ca(ca));
        assert!(told.contains(wanted), "{ca}: {told}");
    }
    let right = "kind = \"http\"\napi = \"vault\"\nurl = \"http://127.0.0.1:1\"\nrole = \"r\"\ntoken = \"hunter2\"\nrate = 50";
    let config = Config::parse(Path::new("p.toml"), &with_ca(right)).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_key_is_a_file_or_in_a_token() {
    let token = "key = \"pkcs11:token=muster;object=ca?module-path=/usr/lib/x.so\"";
    let base = "kind = \"built-in\"\ncertificate = \"intermediate.pem\"";
    for (keys, wanted) in [
        (
            "key = \"pkcs11:token=muster;object=ca\"".to_owned(),
            "`ca.key` names no library (`module-path`)",
        ),
        (
            token.replace(".so", ".so&pin-value=4711"),
            "`ca.key` holds the PIN itself",
        ),
        (
            format!("{token}\nkey_passphrase = \"4711\""),
            "`ca.key` is in a token, which has a `key_pin`",
        ),
        (
            "key = \"a.key\"\nkey_pin_file = \"pin\"".to_owned(),
            "`ca.key` is a file, and a `key_pin` goes with a key in a token",
        ),
        (
            token.replace(".so", ".so&pin-source=/pin") + "\nkey_pin_env = \"PIN\"",
            "`ca.key` names a `pin-source`, and a `key_pin` is there too",
        ),
        (
            format!("{token}\nkey_pin_env = \"PIN\"\nkey_pin_file = \"pin\""),
            "`ca.key_pin_env` and `key_pin` are both there",
        ),
    ] {
        let told = mistakes(&with_ca(&format!("{base}\n{keys}")));
        assert!(told.contains(wanted), "{keys}: {told}");
        assert!(!told.contains("4711"), "{told}");
    }
    let right = format!("{base}\n{token}\nkey_pin = \"4711\"");
    let config = Config::parse(Path::new("p.toml"), &with_ca(&right)).unwrap();
    assert!(!format!("{config:?}").contains("4711"));
}

#[test]
fn an_election_is_for_ledgers_of_ones_own() {
    let base = include_str!("../../example.toml");
    let text = base.replace("[ledger]\n", "[ledger]\nkind = \"shared\"\n");
    let text = format!("{text}\n[election]\nname = \"a.b\"\n[events]\nsubject = \"a.>\"\n");
    let says = mistakes(&text);
    for part in [
        "[election]: members of a shared ledger all work at once",
        "\"a.b\" is not 1 to 64 letters",
        "\"a.>\" is no subject without wildcards",
    ] {
        assert!(says.contains(part), "{part} is not in\n{says}");
    }
}

#[test]
fn placement_names_only_what_is_there() {
    let base = include_str!("../../example.toml");
    let placement = "[placement]\n\
        rules = [\n\
        { by = \"hash\", targets = [\"west\", \"eats\"] },\n\
        { by = \"capacity\", targets = [\"west\"] },\n\
        { by = \"fact\", fact = \"site\", targets = { ams = \"north\" } },\n\
        { by = \"weight\", targets = [\"west\", \"west\"] },\n\
        ]\n\
        quarantine = \"hold\"\n\
        [placement.targets.west]\n\
        servers = [\"b1:4222\"]\n\
        collectives = [\"west\"]\n\
        [placement.targets.east]\n\
        servers = [\"b1,b2\"]\n";
    let text = base.replace("[placement]\n", placement);
    let mistakes = Config::parse(Path::new("p.toml"), &text).unwrap_err();
    let says = mistakes.to_string();
    for part in [
        "names \"eats\", and there is no [placement.targets.eats]; did you mean `east`?",
        "names west, which has no capacity",
        "names \"north\"",
        "names west twice",
        "`placement.quarantine` names \"hold\"",
        "lacks \"mcollective\", the collective of [network.production]",
        "has \"b1,b2\", which is no address",
    ] {
        assert!(says.contains(part), "{part} is not in\n{says}");
    }
    assert_eq!(mistakes.list.len(), 7, "{says}");
}
