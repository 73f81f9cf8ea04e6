//! Cloudflare's cfssl: `POST /api/v1/cfssl/sign`, or `authsign` where it wants a key.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::{X509, X509VerifyResult};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::Reply;
use super::{Api, HttpClient, issue, names};
use crate::code::Code;
use crate::hook::redact::quoted;
use crate::hook::{HookAnswer, HookError, HookRequest};

/// Asks `cfssl serve` or `multirootca`.
#[derive(Debug)]
pub struct Cfssl {
    /// The signing profile, if not the default one.
    pub profile: Option<String>,
    /// The signer, where one server has several.
    pub label: Option<String>,
    key: Option<hmac::Key>,
    /// The certificate that signed last; an answer to `sign` holds the leaf alone.
    issuer: Mutex<Option<String>>,
}

impl Cfssl {
    /// A server with this profile and label; `key` is the hexadecimal one of its `auth_keys`.
    ///
    /// # Errors
    /// When the key is not hexadecimal.
    pub fn new(
        profile: Option<String>,
        label: Option<String>,
        key: Option<&str>,
    ) -> Result<Self, String> {
        let key = key
            .map(|key| hex::decode(key).map_err(|error| format!("is not hexadecimal: {error}")))
            .transpose()?
            .map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        Ok(Self {
            profile,
            label,
            key,
            issuer: Mutex::new(None),
        })
    }

    /// The certificate that signed this one, asked for again only when it changes.
    async fn issuer(&self, client: &HttpClient, leaf: &str) -> Result<String, HookError> {
        let known = self.known().filter(|issuer| issued(issuer, leaf));
        match known {
            Some(issuer) => Ok(issuer),
            None => self.ask_issuer(client).await,
        }
    }

    async fn ask_issuer(&self, client: &HttpClient) -> Result<String, HookError> {
        let body = Value::Object(self.labelled());
        let reply = client
            .post("/api/v1/cfssl/info", &[], body.to_string())
            .await?;
        let issuer = certificate(&reply)?;
        *self.issuer.lock().unwrap_or_else(PoisonError::into_inner) = Some(issuer.clone());
        Ok(issuer)
    }

    fn known(&self) -> Option<String> {
        self.issuer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn labelled(&self) -> serde_json::Map<String, Value> {
        let mut body = serde_json::Map::new();
        for (key, value) in [("label", &self.label), ("profile", &self.profile)] {
            if let Some(value) = value {
                body.insert(key.to_owned(), value.as_str().into());
            }
        }
        body
    }
}

#[derive(Deserialize)]
struct Answer {
    success: bool,
    #[serde(default)]
    result: Option<Signed>,
    #[serde(default)]
    errors: Vec<Value>,
}

#[derive(Deserialize)]
struct Signed {
    certificate: String,
}

/// What was signed, or who signs.
pub(super) fn certificate(reply: &Reply) -> Result<String, HookError> {
    let answer: Answer = reply.json()?;
    match answer.result {
        Some(result) if answer.success => Ok(result.certificate),
        _ => {
            let errors = quoted(&Value::from(answer.errors).to_string());
            let says = format!("{} refused: {errors}", reply.url);
            Err(HookError::unsent(Code::CaRefused, says))
        }
    }
}

#[async_trait]
impl Api for Cfssl {
    fn kind(&self) -> &'static str {
        "cfssl"
    }

    async fn health(&self, client: &HttpClient) -> Result<(), HookError> {
        self.ask_issuer(client).await.map(drop)
    }

    async fn sign(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<HookAnswer, HookError> {
        let mut body = self.labelled();
        body.insert(
            "certificate_request".into(),
            request.csr.csr.as_str().into(),
        );
        body.insert("hosts".into(), names(request).into());
        body.insert(
            "subject".into(),
            json!({ "CN": request.request.identity() }),
        );
        let body = Value::Object(body).to_string();
        let reply = match &self.key {
            None => client.post("/api/v1/cfssl/sign", &[], body).await?,
            Some(key) => {
                let token = STANDARD.encode(hmac::sign(key, body.as_bytes()));
                let body = json!({ "token": token, "request": STANDARD.encode(&body) });
                let path = "/api/v1/cfssl/authsign";
                client.post(path, &[], body.to_string()).await?
            }
        };
        let certificate = certificate(&reply)?;
        // The certificate exists from here on, whatever becomes of the chain.
        let issuer = self
            .issuer(client, &certificate)
            .await
            .map_err(|error| HookError {
                unsigned: false,
                ..error
            })?;
        Ok(issue([certificate.as_str(), &issuer]))
    }
}

/// Whether one signed the other. The name alone does not tell: an authority may have a new key.
fn issued(issuer: &str, leaf: &str) -> bool {
    let read = |pem: &str| X509::from_pem(pem.as_bytes());
    let (Ok(issuer), Ok(leaf)) = (read(issuer), read(leaf)) else {
        return false;
    };
    let signed = issuer.public_key().and_then(|key| leaf.verify(&key));
    issuer.issued(&leaf) == X509VerifyResult::OK && signed.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    #[test]
    fn an_authority_with_a_new_key_is_another_one() {
        let params = || {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "CA");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let known = params().self_signed(&old).unwrap().pem();
        let leaf = |key| {
            let node = CertificateParams::new(["n1.example.net".to_owned()]).unwrap();
            let own = KeyPair::generate().unwrap();
            let issuer = Issuer::new(params(), key);
            node.signed_by(&own, &issuer).unwrap().pem()
        };
        assert!(issued(&known, &leaf(old)));
        assert!(!issued(&known, &leaf(new)));
        assert!(!issued(&known, "no certificate"));
    }
}
