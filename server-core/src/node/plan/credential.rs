//! What a node without a certificate shows to the broker: a server token of its organization, and its key's seed.

use std::sync::Arc;

use super::super::{NodeError, ServerConf, Storage};
use super::Given;
use super::files;
use crate::trust::jwt::{Credential, Organization, OrganizationKey, ServerClaims};
use crate::words::{Identity, UnixTime};

/// Whom a node's requests come from, and what it shows to the broker: by the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// A certificate; callers have one too (protocol 1).
    Certificate,
    /// A server token; requests are believed, as the broker decides who may send them
    /// (`plugin.security.server_anon_tls`).
    Anonymous,
    /// A server token; callers have a token of the organization (protocol 2).
    Organization,
}

impl Provider {
    /// What the configuration asks for.
    pub(super) fn of(conf: &ServerConf) -> Result<Self, NodeError> {
        match conf.get("plugin.security.provider") {
            Some(provider) if provider.eq_ignore_ascii_case("choria") => Ok(Self::Organization),
            Some(provider) if !provider.eq_ignore_ascii_case("file") => Err(
                NodeError::Unsupported(format!("plugin.security.provider = {provider}")),
            ),
            _ if conf.flag("plugin.security.server_anon_tls") == Some(true) => Ok(Self::Anonymous),
            _ => Ok(Self::Certificate),
        }
    }

    /// The settings that name token and seed.
    const fn keys(self) -> Option<[&'static str; 2]> {
        match self {
            Self::Certificate => None,
            Self::Anonymous => Some([
                "plugin.choria.security.server.token_file",
                "plugin.choria.security.server.seed_file",
            ]),
            Self::Organization => Some([
                "plugin.security.choria.token_file",
                "plugin.security.choria.seed_file",
            ]),
        }
    }
}

/// Reads token and seed, and whether they are this node's and still good; nothing for nodes with a certificate.
pub(super) fn load(
    given: &Given,
    conf: &ServerConf,
    provider: Provider,
) -> Result<Option<Arc<Credential>>, NodeError> {
    let Some([token_key, seed_key]) = provider.keys() else {
        return Ok(None);
    };
    let storage = given.storage.as_ref();
    let (token_path, token) = read(storage, conf, token_key, "server.jwt")?;
    let (seed_path, seed) = read(storage, conf, seed_key, "server.seed")?;
    let (credential, claims) =
        Credential::new::<ServerClaims>(&token, &seed).map_err(|error| NodeError::Credential {
            why: format!("with the seed in {seed_path}: {error}"),
            path: token_path.clone(),
        })?;
    let identity = conf.identity()?;
    let identity = identity.as_ref().unwrap_or(&given.config.identity);
    check(&claims, identity, given.clock.unix()).map_err(|why| NodeError::Credential {
        path: token_path,
        why,
    })?;
    Ok(Some(Arc::new(credential)))
}

/// The organizations whose members may send requests.
pub(super) fn organizations(conf: &ServerConf) -> Result<Vec<Organization>, NodeError> {
    const NAMES: &str = "plugin.security.issuer.names";
    let names = conf.list(NAMES);
    if names.is_empty() {
        let why = "is needed with plugin.security.provider = choria".to_owned();
        return Err(conf.wrong(NAMES, why).into());
    }
    let organization = |name: &&str| {
        let key = format!("plugin.security.issuer.{name}.public");
        let public = conf.get(&key).unwrap_or_default();
        match OrganizationKey::parse(public) {
            Ok(public) => Ok(Organization {
                name: (*name).to_owned(),
                key: public,
            }),
            Err(error) => Err(conf.wrong(&key, error.to_string()).into()),
        }
    };
    names.iter().map(organization).collect()
}

fn read(
    storage: &dyn Storage,
    conf: &ServerConf,
    key: &str,
    name: &str,
) -> Result<(String, String), NodeError> {
    let path = conf
        .get(key)
        .map_or_else(|| storage.describe(name), str::to_owned);
    match files::text_at(storage, &path)? {
        Some(text) => Ok((path, text)),
        None => Err(NodeError::Credential {
            path,
            why: format!("does not exist ({key})"),
        }),
    }
}

fn check(claims: &ServerClaims, identity: &Identity, now: UnixTime) -> Result<(), String> {
    if claims.identity != identity.as_str() {
        return Err(format!(
            "is the token of {:?}, and this node is {:?}",
            claims.identity.chars().take(253).collect::<String>(),
            identity.as_str()
        ));
    }
    match claims.standard.expires() {
        None => Err("never expires (no exp)".to_owned()),
        Some(end) if end <= now.secs() => {
            Err(format!("expired at {}", UnixTime::from_secs(end).rfc3339()))
        }
        Some(_) => Ok(()),
    }
}
