//! HashiCorp Vault and OpenBao: the PKI secrets engine, `POST /v1/MOUNT/sign/ROLE`.

use std::time::Duration;

use async_trait::async_trait;
use hyper::header::HeaderName;
use serde::Deserialize;
use serde_json::json;

use super::reply::Reply;
use super::{Api, HttpClient, issue, names, seconds};
use crate::hook::{HookAnswer, HookError, HookRequest};
use crate::secret::Secret;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");

/// Asks a PKI engine.
#[derive(Debug)]
pub struct Vault {
    /// Where the engine is mounted.
    pub mount: String,
    /// The role that signs.
    pub role: String,
    /// A token that may do that.
    pub token: Secret,
    /// The namespace, where there are several.
    pub namespace: Option<String>,
    /// How long certificates shall live.
    pub validity: Duration,
}

#[derive(Deserialize)]
struct Answer {
    data: Signed,
}

#[derive(Deserialize)]
struct Signed {
    certificate: String,
    #[serde(default)]
    ca_chain: Option<Vec<String>>,
    #[serde(default)]
    issuing_ca: Option<String>,
}

#[async_trait]
impl Api for Vault {
    fn kind(&self) -> &'static str {
        "vault"
    }

    /// The engine's own certificate, which everybody may ask for.
    async fn health(&self, client: &HttpClient) -> Result<(), HookError> {
        let path = format!("/v1/{}/ca/pem", self.mount);
        let reply = client.get(&path).await?;
        if reply.body.starts_with(b"-----BEGIN CERTIFICATE-----") {
            return Ok(());
        }
        Err(reply.wrong("the engine has no issuer yet; no certificate is there"))
    }

    async fn sign(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<HookAnswer, HookError> {
        let identity = request.request.identity();
        let addresses = &names(request)[1..];
        let body = json!({
            "csr": request.csr.csr,
            "common_name": identity,
            "alt_names": identity,
            "ip_sans": addresses.join(","),
            "ttl": seconds(self.validity),
            "format": "pem",
        });
        let mut headers = vec![(TOKEN, self.token.reveal())];
        if let Some(namespace) = &self.namespace {
            headers.push((NAMESPACE, namespace));
        }
        let path = format!("/v1/{}/sign/{}", self.mount, self.role);
        let reply = client.post(&path, &headers, body.to_string()).await?;
        answer(&reply)
    }
}

/// What was signed, and by whom.
pub(super) fn answer(reply: &Reply) -> Result<HookAnswer, HookError> {
    let Answer { data } = reply.json()?;
    let chain = match data.ca_chain {
        Some(chain) if !chain.is_empty() => chain,
        _ => data.issuing_ca.into_iter().collect(),
    };
    let leaf = std::iter::once(data.certificate.as_str());
    Ok(issue(leaf.chain(chain.iter().map(String::as_str))))
}
