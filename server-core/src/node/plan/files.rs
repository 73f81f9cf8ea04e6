//! The single files a plan is made of.

use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Map, Value};

use super::super::{NodeError, ServerConf, Storage};
use super::Given;
use crate::agents::Facts;
use crate::storage::StorageError;
use crate::trust::Verifier;

/// A file of the storage as text.
pub(super) fn text(storage: &dyn Storage, name: &str) -> Result<Option<String>, NodeError> {
    let content = storage.read(name)?;
    content
        .map(|bytes| utf8(&storage.describe(name), bytes))
        .transpose()
}

/// A file as text, by its whole path.
pub(super) fn text_at(storage: &dyn Storage, path: &str) -> Result<Option<String>, NodeError> {
    let content = storage.read_path(path)?;
    content.map(|bytes| utf8(path, bytes)).transpose()
}

fn utf8(path: &str, bytes: Vec<u8>) -> Result<String, NodeError> {
    String::from_utf8(bytes).map_err(|_| {
        NodeError::Storage(StorageError {
            path: path.to_owned(),
            why: "is not UTF-8 text".to_owned(),
        })
    })
}

/// The files a node's trust rests on, read when they are needed.
pub(super) struct Trust<'a> {
    given: &'a Given,
    conf: &'a ServerConf,
    ca_path: String,
    ca: String,
}

/// Reads the trust anchors.
pub(super) fn trust<'a>(given: &'a Given, conf: &'a ServerConf) -> Result<Trust<'a>, NodeError> {
    let (ca_path, ca) = pem(given, conf, "plugin.security.file.ca", "ssl/ca.pem")?;
    Ok(Trust {
        given,
        conf,
        ca_path,
        ca,
    })
}

impl Trust<'_> {
    /// TLS towards the broker, from certificate, key and trust anchors.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, NodeError> {
        let read = |key, name| pem(self.given, self.conf, key, name);
        let (_, key) = read("plugin.security.file.key", "ssl/private.pem")?;
        let (path, certificate) = read("plugin.security.file.certificate", "ssl/certificate.pem")?;
        let clients = self.given.shared.tls();
        clients
            .mutual(&self.ca, &certificate, &key)
            .map_err(|error| wrong(&path, &error))
    }

    /// The judge of requests.
    pub(super) fn verifier(&self) -> Result<Arc<Verifier>, NodeError> {
        let (given, conf) = (self.given, self.conf);
        let verifier = given.shared.verifier(
            &self.ca,
            &conf.list("plugin.choria.security.certname_whitelist"),
            &conf.list("plugin.choria.security.privileged_users"),
            &given.clock,
        );
        verifier.map_err(|error| match error.code() {
            "trust.pattern" => NodeError::Rules(error),
            _ => wrong(&self.ca_path, &error),
        })
    }
}

/// TLS without a certificate. As in the original, a broker is verified where the node has the authorities to do it with.
pub(super) fn organization_tls(
    given: &Given,
    conf: &ServerConf,
) -> Result<Arc<ClientConfig>, NodeError> {
    let clients = given.shared.tls();
    let Some(path) = conf.get("plugin.security.choria.ca") else {
        tracing::warn!("plugin.security.choria.ca is not set: brokers are not verified");
        return Ok(clients.anonymous());
    };
    match text_at(given.storage.as_ref(), path)? {
        None => {
            tracing::warn!(file = path, "it is not there: brokers are not verified");
            Ok(clients.anonymous())
        }
        Some(ca) => clients
            .server_verified(&ca)
            .map_err(|error| wrong(path, &error)),
    }
}

/// A PEM file and where it is: where the configuration says, or else at its usual place.
fn pem(
    given: &Given,
    conf: &ServerConf,
    key: &str,
    name: &str,
) -> Result<(String, String), NodeError> {
    let storage = given.storage.as_ref();
    let path = conf
        .get(key)
        .map_or_else(|| storage.describe(name), str::to_owned);
    let content = text_at(storage, &path)?.ok_or_else(|| NodeError::Tls {
        path: path.clone(),
        why: "does not exist".to_owned(),
    })?;
    Ok((path, content))
}

fn wrong(path: &str, error: &dyn std::error::Error) -> NodeError {
    NodeError::Tls {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

/// The facts of one file; a damaged one costs the facts, not the node.
pub(super) fn facts(storage: &dyn Storage, path: &str) -> Facts {
    let mut all = Map::new();
    merge(storage, path, &mut all);
    Facts::from(all)
}

/// The files named by `plugin.yaml`, later ones winning; `facts.json` where none is named.
pub(super) fn production_facts(storage: &dyn Storage, conf: &ServerConf) -> Facts {
    let mut all = Map::new();
    match conf.get("plugin.yaml") {
        None => merge(storage, &storage.describe("facts.json"), &mut all),
        Some(paths) => {
            for path in paths
                .split(':')
                .map(str::trim)
                .filter(|one| !one.is_empty())
            {
                merge(storage, path, &mut all);
            }
        }
    }
    Facts::from(all)
}

fn merge(storage: &dyn Storage, path: &str, all: &mut Map<String, Value>) {
    let read = match storage.read_path(path) {
        Ok(None) => return,
        Ok(Some(content)) => serde_json::from_slice::<Map<String, Value>>(&content)
            .map_err(|error| format!("is not a JSON object: {error}")),
        Err(error) => Err(error.why),
    };
    match read {
        Ok(facts) => all.extend(facts),
        Err(why) => tracing::warn!(file = path, why, "a facts file is left out"),
    }
}

/// The classes, one a line, sorted.
pub(super) fn classes(
    storage: &dyn Storage,
    conf: &ServerConf,
) -> Result<Arc<[String]>, NodeError> {
    let path = conf
        .get("classesfile")
        .map_or_else(|| storage.describe("classes.txt"), str::to_owned);
    let content = storage.read_path(&path)?.unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let mut classes: Vec<String> = content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    classes.sort();
    Ok(classes.into())
}
