//! What `loadgen up` hands to whoever wants to work with the fleet: a NATS context, a
//! configuration for the original Choria client with the description of our load agent, and the
//! command lines that use them.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;

use crate::formation::broker::scheme;
use crate::formation::credentials::{OPERATOR, Proof};
use crate::formation::files::write_public;
use crate::formation::organization;
use crate::scenario::Tls;

/// The description (DDL) of the load agent; the original client refuses agents without one.
pub const MUSTER_DDL: &str = include_str!("handout/muster.json");

/// The public key of the run's organization ([`organization::NAME`]).
const ISSUER: &str = "plugin.security.issuer.choria.public";

/// A file could not be written.
#[derive(Debug, Error)]
#[error("{path} cannot be written: {source}", path = .path.display())]
pub struct HandoutError {
    path: PathBuf,
    source: io::Error,
}

/// Where the fleet is and how to get in.
#[derive(Debug)]
pub struct Access<'a> {
    /// Addresses of the production brokers, `host:port`.
    pub brokers: Vec<String>,
    /// How they are secured.
    pub tls: Tls,
    /// Trust anchors.
    pub ca: &'a Path,
    /// What the operator proves with who it is.
    pub operator: &'a Proof,
}

/// The files that were written.
#[derive(Debug)]
pub struct Handout {
    /// The NATS context.
    pub context: PathBuf,
    /// The configuration of the Choria client.
    pub choria: PathBuf,
    tls: Tls,
    tokens: bool,
}

impl Handout {
    /// Writes the files into `folder`; paths inside them are absolute.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(folder: &Path, access: &Access<'_>) -> Result<Self, HandoutError> {
        let folder = std::path::absolute(folder).map_err(error(folder))?;
        // Older and newer clients look in different folders of a libdir.
        for agents in ["lib/mcollective/agent", "lib/choria/agent"] {
            let agents = folder.join(agents);
            std::fs::create_dir_all(&agents).map_err(error(&agents))?;
            put(&agents.join("muster.json"), MUSTER_DDL)?;
        }
        let handout = Self {
            context: folder.join("nats.json"),
            choria: folder.join("choria.conf"),
            tls: access.tls,
            tokens: matches!(access.operator, Proof::Token(..)),
        };
        put(&handout.context, &nats_context(access)?)?;
        put(&handout.choria, &choria_conf(&folder, access)?)?;
        Ok(handout)
    }

    /// The command lines to paste, each with what it is for. `node` is one of the fleet.
    pub fn commands(&self, node: &str) -> [(&'static str, String); 4] {
        let plain = match self.tls {
            Tls::None => "INSECURE_DISABLE_TLS=true ",
            Tls::Server | Tls::Mutual => "",
        };
        // A user who is not root would otherwise be taken for USER.mcollective; a token says who it is.
        let who = match self.tokens {
            true => String::new(),
            false => format!("MCOLLECTIVE_CERTNAME={OPERATOR} "),
        };
        let choria = |what: &str| {
            format!(
                "{plain}{who}choria {what} --config {}",
                quoted(&self.choria)
            )
        };
        [
            (
                "NATS CLI",
                format!("nats --context {} sub '>'", quoted(&self.context)),
            ),
            ("Choria", choria("ping")),
            ("Choria", choria("req muster echo size=16 --limit 3")),
            ("Choria", choria(&format!("inventory {node}"))),
        ]
    }
}

/// A context as the `nats` command line reads it from a file.
fn nats_context(access: &Access<'_>) -> Result<String, HandoutError> {
    let scheme = scheme(access.tls);
    let urls: Vec<String> = access
        .brokers
        .iter()
        .map(|broker| format!("{scheme}://{broker}"))
        .collect();
    let mut context = json!({
        "description": "the fleet of loadgen up",
        "url": urls.join(","),
    });
    if access.tls != Tls::None {
        context["ca"] = absolute(access.ca)?.into();
    }
    if let (Tls::Mutual, Proof::Certificate(operator)) = (access.tls, access.operator) {
        context["cert"] = absolute(&operator.certificate)?.into();
        context["key"] = absolute(&operator.key)?.into();
    }
    Ok(format!("{context:#}\n"))
}

fn choria_conf(folder: &Path, access: &Access<'_>) -> Result<String, HandoutError> {
    let scheme = scheme(access.tls);
    let hosts: Vec<String> = access
        .brokers
        .iter()
        .map(|broker| match access.tls {
            Tls::None => format!("{scheme}://{broker}"),
            Tls::Server | Tls::Mutual => broker.clone(),
        })
        .collect();
    let mut lines = vec![
        ("collectives", "mcollective".to_owned()),
        ("main_collective", "mcollective".to_owned()),
        ("libdir", absolute(&folder.join("lib"))?),
        ("loglevel", "warn".to_owned()),
        ("default_discovery_method", "broadcast".to_owned()),
        ("plugin.choria.middleware_hosts", hosts.join(", ")),
        ("plugin.choria.use_srv", "false".to_owned()),
    ];
    lines.extend(security(access)?);
    let mut text = String::from("# Written by loadgen up: a Choria client of this fleet.\n");
    for (key, value) in lines {
        text.push_str(&format!("{key} = {value}\n"));
    }
    Ok(text)
}

/// What the client shows, and whom it trusts.
fn security(access: &Access<'_>) -> Result<Vec<(&'static str, String)>, HandoutError> {
    let ca = absolute(access.ca)?;
    Ok(match access.operator {
        Proof::Certificate(operator) => vec![
            ("plugin.security.provider", "file".to_owned()),
            (
                "plugin.security.file.certificate",
                absolute(&operator.certificate)?,
            ),
            ("plugin.security.file.key", absolute(&operator.key)?),
            ("plugin.security.file.ca", ca),
        ],
        Proof::Token(operator, key) => vec![
            ("plugin.security.provider", "choria".to_owned()),
            (
                "plugin.security.choria.token_file",
                absolute(&operator.token)?,
            ),
            (
                "plugin.security.choria.seed_file",
                absolute(&operator.seed)?,
            ),
            ("plugin.security.choria.ca", ca),
            (
                "plugin.security.issuer.names",
                organization::NAME.to_owned(),
            ),
            (ISSUER, key.clone()),
        ],
    })
}

fn absolute(path: &Path) -> Result<String, HandoutError> {
    let absolute = std::path::absolute(path).map_err(error(path))?;
    Ok(absolute.display().to_string())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn put(path: &Path, text: &str) -> Result<(), HandoutError> {
    write_public(path, text).map_err(error(path))
}

fn error(path: &Path) -> impl Fn(io::Error) -> HandoutError + '_ {
    move |source| HandoutError {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::formation::credentials::{Pair, TokenPair};

    fn write(tls: Tls, folder: &Path) -> Handout {
        let operator = Proof::Certificate(Pair {
            certificate: "op.pem".into(),
            key: "op.key".into(),
        });
        let access = Access {
            brokers: vec!["127.0.0.1:4222".to_owned(), "127.0.0.1:4223".to_owned()],
            tls,
            ca: Path::new("ca.pem"),
            operator: &operator,
        };
        Handout::write(folder, &access).unwrap()
    }

    #[test]
    fn a_client_finds_everything_by_absolute_paths() {
        let folder = tempfile::tempdir().unwrap();
        let handout = write(Tls::Mutual, folder.path());
        let conf = std::fs::read_to_string(&handout.choria).unwrap();
        let value = |key: &str| {
            let line = conf.lines().find(|line| line.starts_with(key));
            line.unwrap().split_once(" = ").unwrap().1.to_owned()
        };
        assert_eq!(
            value("plugin.choria.middleware_hosts"),
            "127.0.0.1:4222, 127.0.0.1:4223"
        );
        for key in ["certificate", "key", "ca"] {
            let path = value(&format!("plugin.security.file.{key}"));
            assert!(Path::new(&path).is_absolute(), "{path}");
        }
        let ddl = Path::new(&value("libdir")).join("mcollective/agent/muster.json");
        let ddl: serde_json::Value = serde_json::from_slice(&std::fs::read(ddl).unwrap()).unwrap();
        assert_eq!(ddl["metadata"]["name"], "muster");

        let context = std::fs::read_to_string(&handout.context).unwrap();
        let context: serde_json::Value = serde_json::from_str(&context).unwrap();
        assert_eq!(context["url"], "tls://127.0.0.1:4222,tls://127.0.0.1:4223");
        assert!(Path::new(context["cert"].as_str().unwrap()).is_absolute());
    }

    #[test]
    fn commands_can_be_pasted_whatever_the_folder_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("it's here");
        std::fs::create_dir(&odd).unwrap();
        let commands = write(Tls::Mutual, &odd).commands("n1.example.net");
        let (_, ping) = &commands[1];
        assert!(
            ping.starts_with("MCOLLECTIVE_CERTNAME=operator.mcollective choria ping --config '")
        );
        let shell = std::process::Command::new("sh")
            .args(["-c", &ping.replace("choria ping --config", "test -f")])
            .status();
        assert!(shell.unwrap().success(), "{ping}");
    }

    #[test]
    fn a_client_with_a_token_is_of_the_organization() {
        let folder = tempfile::tempdir().unwrap();
        let files = TokenPair {
            token: "op.jwt".into(),
            seed: "op.seed".into(),
        };
        let access = Access {
            brokers: vec!["127.0.0.1:4222".to_owned()],
            tls: Tls::Server,
            ca: Path::new("ca.pem"),
            operator: &Proof::Token(files, "7a".repeat(32)),
        };
        let handout = Handout::write(folder.path(), &access).unwrap();
        let conf = std::fs::read_to_string(&handout.choria).unwrap();
        assert!(conf.contains("plugin.security.provider = choria"), "{conf}");
        assert!(ISSUER.contains(organization::NAME) && conf.contains(ISSUER));
        assert!(!conf.contains("plugin.security.file"), "{conf}");
        assert!(handout.commands("n1")[1].1.starts_with("choria ping"));
    }

    #[test]
    fn plain_brokers_are_said_to_be_plain() {
        let folder = tempfile::tempdir().unwrap();
        let handout = write(Tls::None, folder.path());
        let conf = std::fs::read_to_string(&handout.choria).unwrap();
        assert!(conf.contains("nats://127.0.0.1:4222"), "{conf}");
        assert!(
            handout.commands("n1.example.net")[1]
                .1
                .starts_with("INSECURE_DISABLE_TLS=true")
        );
    }
}
