//! Making keys: `gencsr` and `gen25519`. A private key is written to the node's storage and nowhere else.

use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::{AgentContext, Answer, Call, Surroundings};
use super::in_provisioning;
use crate::trust::{CsrSubject, KeyAlgorithm, KeyPair, TrustError, chain, possession};

const PRIVATE_KEY: &str = "ssl/private.pem";
const CERTIFICATE: &str = "ssl/certificate.pem";

/// The longest common name taken, as the agent's description says.
const MAX_CN: usize = 253;

/// Arguments of `gencsr`. `ST` exists in the description and is ignored by every node.
#[derive(Deserialize)]
struct CsrInput {
    #[serde(default)]
    cn: String,
    #[serde(default, rename = "C")]
    country: String,
    #[serde(default, rename = "L")]
    locality: String,
    #[serde(default, rename = "O")]
    organization: String,
    #[serde(default, rename = "OU")]
    organizational_unit: String,
    /// An enrolled node that keeps its key is to make another one all the same; of this project.
    #[serde(default)]
    new_key: bool,
    /// An enrolled node that keeps its key is to sign this; of this project.
    #[serde(default)]
    nonce: String,
}

pub(super) async fn gencsr(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let node = context.node();
    in_provisioning(node)?;
    let input: CsrInput = call.input()?;
    let name = match input.cn.as_str() {
        "" => node.identity.as_str(),
        cn if cn.len() > MAX_CN => return Err(Answer::aborted("the common name is too long")),
        cn => cn,
    };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let subject = CsrSubject {
        country: given(&input.country),
        locality: given(&input.locality),
        organization: given(&input.organization),
        organizational_unit: given(&input.organizational_unit),
    };
    let failed = |error: TrustError| Answer::aborted(format!("Could not create the CSR: {error}"));
    let kept = (node.keep_key && !input.new_key).then(|| enrolled_with(node));
    let (key, is_new) = match kept.flatten() {
        Some(key) => (key, false),
        None => (generate(node.key_algorithm).await.map_err(failed)?, true),
    };
    let csr = key.csr(name, &subject).map_err(failed)?;
    let store = |file: &str, content: &str, mode| {
        let written = node.storage.write(file, content.as_bytes(), mode);
        written.map_err(|error| Answer::aborted(format!("Could not store the key: {error}")))
    };
    if is_new {
        store(PRIVATE_KEY, &key.to_pem(), 0o600)?;
    }
    store("ssl/csr.pem", &csr, 0o644)?;
    let mut told = json!({
        "csr": csr,
        "public_key": key.public_pem_quirk(),
        "ssldir": node.storage.describe("ssl"),
    });
    // Beyond what the original answers: who asks knows that it may ask the node back.
    if node.keep_key {
        told["keeps_key"] = true.into();
        if let Some(message) = possession::message(node.identity.as_str(), &input.nonce) {
            told["proof"] = hex::encode(key.sign(&message).map_err(failed)?).into();
        }
    }
    Ok(Answer::ok(told))
}

/// The key the node is enrolled with: the one its certificate is for. A key of an enrolment that
/// never came to a certificate is not kept.
fn enrolled_with(node: &Surroundings) -> Option<KeyPair> {
    let text = |file: &str| {
        let bytes = node.storage.read(file).ok().flatten()?;
        String::from_utf8(bytes).ok().map(Zeroizing::new)
    };
    let key = KeyPair::from_pem(&text(PRIVATE_KEY)?).ok()?;
    let chain = chain::parse_pem_bundle(&text(CERTIFICATE)?).ok()?;
    let certified = chain::public_spki_der(chain.first()?).ok()?;
    (certified == key.public_spki_der()).then_some(key)
}

/// An RSA key takes a tenth of a second and more: that does not belong on a thread that serves others.
async fn generate(algorithm: KeyAlgorithm) -> Result<KeyPair, TrustError> {
    match algorithm {
        KeyAlgorithm::Rsa2048 => {
            let made = tokio::task::spawn_blocking(move || KeyPair::generate(algorithm)).await;
            made.unwrap_or_else(|error| Err(TrustError::Key(error.to_string())))
        }
        KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => KeyPair::generate(algorithm),
    }
}

#[derive(Deserialize)]
struct NonceInput {
    #[serde(default)]
    nonce: String,
}

pub(super) fn gen25519(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let node = context.node();
    in_provisioning(node)?;
    let NonceInput { nonce } = call.input()?;
    let failed = |error: TrustError| Answer::aborted(format!("Could not create the key: {error}"));
    let key = KeyPair::generate(KeyAlgorithm::Ed25519).map_err(failed)?;
    let signature = key.sign(nonce.as_bytes()).map_err(failed)?;
    let seed = key
        .ed25519_seed_hex()
        .ok_or_else(|| Answer::aborted("Could not create the key: it has no seed"))?;
    let stored = node
        .storage
        .remove("server.jwt")
        .and_then(|()| node.storage.write("server.seed", seed.as_bytes(), 0o600));
    stored.map_err(|error| Answer::aborted(format!("Could not store the key: {error}")))?;
    Ok(Answer::ok(json!({
        "public_key": hex::encode(key.public_raw()),
        "signature": hex::encode(signature),
        "directory": node.storage.describe(""),
    })))
}
