//! Taking a configuration: checked as a whole first, then written in the order of the original.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::{AgentContext, Answer, Call, Surroundings};
use super::in_provisioning;
use crate::events::EventKind;
use crate::server_conf::{SERVER_CONF, ServerConf};
use crate::storage::StorageError;
use crate::trust::ecdh;
use crate::trust::jwt::{Credential, ServerClaims};

/// Arguments of `configure`; a provisioner sends all of them, unused ones empty.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Input {
    config: String,
    certificate: String,
    ca: String,
    ssldir: String,
    key: String,
    ecdh_public: String,
    server_jwt: String,
    action_policies: Option<BTreeMap<String, String>>,
    opa_policies: Option<BTreeMap<String, String>>,
}

/// Everything that will be written, known to be sound.
struct Files {
    tls: Option<Tls>,
    server_jwt: String,
    settings: BTreeMap<String, String>,
    action_policies: Vec<(String, Vec<u8>)>,
    opa_policies: Vec<(String, Vec<u8>)>,
}

struct Tls {
    folder: String,
    certificate: String,
    ca: String,
    key: Option<Zeroizing<String>>,
}

pub(super) fn configure(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let node = context.node();
    in_provisioning(node)?;
    let files = check(node, call.input()?)?;
    if let Some(tls) = &files.tls {
        write_tls(node, tls).map_err(|error| aborted("TLS Setup Failed", &error))?;
    }
    if !files.server_jwt.is_empty() {
        let jwt = files.server_jwt.as_bytes();
        let written = node.storage.write("server.jwt", jwt, 0o600);
        written.map_err(|error| aborted("Could not write the server token", &error))?;
    }
    write_conf(
        context,
        &format!(
            "request {} from {} ({})",
            call.request_id, call.caller, call.sender
        ),
        &files.settings,
    )?;
    for (folder, policies) in [
        ("policies", &files.action_policies),
        ("policies/rego", &files.opa_policies),
    ] {
        if !policies.is_empty() {
            let written = node.storage.replace_dir(folder, policies);
            written.map_err(|error| aborted("Could not write the policies", &error))?;
        }
    }
    let lines = files.settings.len() + 1;
    let file = node.storage.describe(SERVER_CONF);
    Ok(
        Answer::ok(json!({ "message": format!("Wrote {lines} lines to {file}") }))
            .announcing(EventKind::Provisioned),
    )
}

/// Writes `server.conf` whole, with a first line that says who caused it.
pub(super) fn write_conf(
    context: &AgentContext<'_>,
    cause: &str,
    settings: &BTreeMap<String, String>,
) -> Result<(), Answer> {
    let comment = format!(
        "configuration file written in {cause} at {}",
        context.now().rfc3339()
    );
    let text = ServerConf::render(&comment, settings).map_err(|error| {
        Answer::aborted(format!("Could not decode configuration data: {error}"))
    })?;
    let storage = &context.node().storage;
    storage
        .write(SERVER_CONF, text.as_bytes(), 0o600)
        .map_err(|error| aborted("Could not write the configuration", &error))
}

fn check(node: &Surroundings, input: Input) -> Result<Files, Answer> {
    if input.config.is_empty() {
        return Err(Answer::aborted(
            "Did not receive any configuration to write",
        ));
    }
    let settings: BTreeMap<String, String> =
        serde_json::from_str(&input.config).map_err(|error| {
            Answer::aborted(format!("Could not decode configuration data: {error}"))
        })?;
    if settings.is_empty() {
        return Err(Answer::aborted(
            "Did not receive any configuration to write",
        ));
    }
    let key = shipped_key(node, &input)?;
    check_token(node, &input.server_jwt)?;
    let wants_tls =
        !input.certificate.is_empty() && !input.ca.is_empty() && !input.ssldir.is_empty();
    let tls = match wants_tls {
        true => Some(Tls {
            folder: folder_of(node, &input.ssldir)?,
            certificate: input.certificate,
            ca: input.ca,
            key,
        }),
        false => None,
    };
    Ok(Files {
        tls,
        server_jwt: input.server_jwt,
        settings,
        action_policies: policies(input.action_policies, ".policy")?,
        opa_policies: policies(input.opa_policies, ".rego")?,
    })
}

/// A server token has to be for the key that `gen25519` made last. The node cannot verify it any further: only the
/// configuration that comes with it names the organization.
fn check_token(node: &Surroundings, token: &str) -> Result<(), Answer> {
    if token.is_empty() {
        return Ok(());
    }
    let refused = |why: String| Answer::aborted(format!("The server token is refused: {why}"));
    let seed = node.storage.read("server.seed");
    let seed =
        seed.map_err(|error| aborted("Could not read the seed of the server token", &error))?;
    let seed = seed.map(|bytes| Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()));
    let seed = seed.ok_or_else(|| refused("there was no gen25519 before it".to_owned()))?;
    Credential::new::<ServerClaims>(token, &seed)
        .map(|_| ())
        .map_err(|error| refused(error.to_string()))
}

/// A key made elsewhere and encrypted for this node alone, by the secret of the last `jwt` call.
fn shipped_key(node: &Surroundings, input: &Input) -> Result<Option<Zeroizing<String>>, Answer> {
    if input.key.is_empty() {
        return Ok(None);
    }
    let failed = |why: String| {
        Answer::aborted(format!(
            "TLS Setup Failed: could not decrypt private key: {why}"
        ))
    };
    if input.ecdh_public.is_empty() {
        return Err(failed("ecdh_public is required with a key".to_owned()));
    }
    let state = node.provision.lock();
    let secret = state.secret.as_ref();
    let secret = secret.ok_or_else(|| failed("private key not set".to_owned()))?;
    let shared = secret
        .shared(&input.ecdh_public)
        .map_err(|error| failed(error.to_string()))?;
    ecdh::decrypt_pem(&input.key, &shared)
        .map(Some)
        .map_err(|error| failed(error.to_string()))
}

/// The storage's own name of the folder told by `gencsr`. A folder anywhere else is refused: the
/// network does not choose where a node writes.
fn folder_of(node: &Surroundings, ssldir: &str) -> Result<String, Answer> {
    let own = format!("{}/", node.storage.describe(""));
    match ssldir.trim_end_matches('/').strip_prefix(&own) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(Answer::aborted(format!(
            "TLS Setup Failed: ssldir {ssldir:?} is not below {own:?}"
        ))),
    }
}

fn policies(
    given: Option<BTreeMap<String, String>>,
    ending: &str,
) -> Result<Vec<(String, Vec<u8>)>, Answer> {
    given
        .unwrap_or_default()
        .into_iter()
        .map(|(name, text)| {
            let stem = name.strip_suffix(ending).unwrap_or_default();
            let sound = !stem.is_empty()
                && !stem.starts_with('.')
                && stem
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
            match sound {
                true => Ok((name, text.into_bytes())),
                false => Err(Answer::aborted(format!(
                    "Policy name {name:?} is refused: expected a plain file name ending in {ending}"
                ))),
            }
        })
        .collect()
}

fn write_tls(node: &Surroundings, tls: &Tls) -> Result<(), StorageError> {
    let folder = &tls.folder;
    let write = |file: &str, content: &str, mode| {
        let path = format!("{folder}/{file}");
        node.storage.write(&path, content.as_bytes(), mode)
    };
    if let Some(key) = &tls.key {
        write("private.pem", key, 0o600)?;
        node.storage.remove(&format!("{folder}/csr.pem"))?;
    }
    write("certificate.pem", &tls.certificate, 0o644)?;
    write("ca.pem", &tls.ca, 0o644)
}

fn aborted(what: &str, error: &StorageError) -> Answer {
    Answer::aborted(format!("{what}: {error}"))
}
