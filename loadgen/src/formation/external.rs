//! Brokers of somebody else: where they are and how to get in, read from the files that the
//! scenario names.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::certificates::Issued;
use crate::message::Login;
use crate::scenario::{External, Location, Role, Tier, Tls};

/// The port of a broker whose address has none.
const PORT: u16 = 4222;

/// What the scenario says of somebody else's brokers cannot be used.
#[derive(Debug, Error)]
#[error("{}:{}: broker `{tier}`: {why}", .at.file, .at.line)]
pub struct ExternalError {
    /// Where the tier is written.
    at: Location,
    /// The tier.
    tier: String,
    /// What is wrong, and what to do.
    why: String,
}

/// The brokers of one tier, and how to get in.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The tier.
    pub tier: String,
    /// The names of its brokers, each with its address: host and port.
    pub brokers: Vec<(String, String)>,
    /// Which network they carry.
    pub role: Role,
    /// How their clients connect.
    pub tls: Tls,
    /// Who we are there.
    pub login: Login,
    /// Trust anchors, PEM.
    pub ca: Option<String>,
    /// What the certificates of nodes are signed with, where the brokers trust nothing else.
    pub issuer: Option<Issued>,
}

/// A context of the `nats` command line.
#[derive(Default, Deserialize)]
#[serde(default)]
struct NatsContext {
    url: String,
    user: String,
    password: String,
    token: String,
    ca: String,
    cert: String,
    key: String,
    creds: String,
    nkey: String,
    nsc: String,
    user_jwt: String,
    user_seed: String,
    socks_proxy: String,
}

/// Reads what is said of every tier.
///
/// # Errors
/// When a file cannot be read, or says what cannot be used.
pub fn reach_all(tiers: &[Tier]) -> Result<Vec<Reach>, ExternalError> {
    tiers.iter().map(reach).collect()
}

fn reach(tier: &Tier) -> Result<Reach, ExternalError> {
    let wrong = |why: String| ExternalError {
        at: tier.location.clone(),
        tier: tier.name.clone(),
        why,
    };
    let folder = Path::new(&*tier.location.file)
        .parent()
        .unwrap_or(Path::new(""));
    let given = tier.external.clone().unwrap_or_default();
    let context = match &given.context {
        Some(file) => read_context(&folder.join(file)).map_err(wrong)?,
        None => NatsContext::default(),
    };
    let servers = match given.servers.as_slice() {
        [] => context
            .url
            .split(',')
            .map(|url| url.trim().to_owned())
            .collect(),
        servers => servers.to_vec(),
    };
    let addresses: Vec<String> = servers
        .iter()
        .map(|server| address(server))
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    if addresses.len() != tier.count as usize {
        return Err(wrong(format!(
            "its context names {} addresses and count is {}; write count = {0}",
            addresses.len(),
            tier.count
        )));
    }
    let ca = match (&given.ca, context.ca.as_str()) {
        (Some(file), _) => Some(read(&folder.join(file)).map_err(wrong)?),
        (None, "") => None,
        (None, file) => Some(read(&beside(&given, folder, file)).map_err(wrong)?),
    };
    Ok(Reach {
        tier: tier.name.clone(),
        brokers: tier.brokers().zip(addresses).collect(),
        role: tier.role,
        tls: tier.tls,
        login: login(&given, context, folder).map_err(wrong)?,
        ca,
        issuer: issuer(&given, folder).map_err(wrong)?,
    })
}

fn issuer(given: &External, folder: &Path) -> Result<Option<Issued>, String> {
    let Some((certificate, key)) = &given.issuer else {
        return Ok(None);
    };
    Ok(Some(Issued {
        certificate: read(&folder.join(certificate))?,
        key: read(&folder.join(key))?,
    }))
}

fn login(given: &External, context: NatsContext, folder: &Path) -> Result<Login, String> {
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let secret = |file: &Option<String>| match file {
        Some(file) => read(&folder.join(file)).map(|text| said(text.trim().to_owned())),
        None => Ok(None),
    };
    Ok(Login {
        user: given.user.clone().or_else(|| said(context.user)),
        password: secret(&given.password_file)?.or_else(|| said(context.password)),
        token: secret(&given.token_file)?.or_else(|| said(context.token)),
    })
}

fn read_context(path: &Path) -> Result<NatsContext, String> {
    let shown = path.display();
    let context: NatsContext = serde_json::from_str(&read(path)?)
        .map_err(|error| format!("{shown} is no context of the nats command line: {error}"))?;
    let unusable = [
        ("creds", &context.creds),
        ("nkey", &context.nkey),
        ("nsc", &context.nsc),
        ("user_jwt", &context.user_jwt),
        ("user_seed", &context.user_seed),
        ("socks_proxy", &context.socks_proxy),
        ("cert", &context.cert),
        ("key", &context.key),
    ];
    if let Some((key, _)) = unusable.iter().find(|(_, value)| !value.is_empty()) {
        return Err(format!(
            "{shown} has `{key}`, which nodes cannot connect with; use a context with user and \
             password, or token"
        ));
    }
    Ok(context)
}

/// A file that the context names: beside the context unless its path is absolute.
fn beside(given: &External, folder: &Path, file: &str) -> PathBuf {
    let context = folder.join(given.context.as_deref().unwrap_or_default());
    context.parent().unwrap_or(folder).join(file)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// Host and port of an address.
fn address(server: &str) -> Result<String, String> {
    let host = server.split_once("://").map_or(server, |(_, host)| host);
    let host = host.trim_end_matches('/');
    if host.is_empty() {
        return Err("its context names no address (url)".to_owned());
    }
    if host.contains('@') {
        return Err(
            "an address with user and password in it; write user and password_file beside it"
                .to_owned(),
        );
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(match has_port {
        true => host.to_owned(),
        false => format!("{host}:{PORT}"),
    })
}
