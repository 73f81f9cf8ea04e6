//! Smallstep's step-ca: `POST /1.0/sign` with a one-time token of a JWK provisioner.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openssl::bn::BigNumContext;
use openssl::ec::{EcKey, EcKeyRef};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reply::Reply;
use super::{Api, HttpClient, issue, names};
use crate::code::Code;
use crate::hook::{HookAnswer, HookError, HookRequest};
use crate::judge::request::sha256;

/// How long a token is good for; one is made for each question.
const TOKEN_LIFE: i64 = 300;
/// Makes two tokens of one second differ.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Asks a step-ca.
pub struct StepCa {
    provisioner: String,
    kid: String,
    key: EncodingKey,
    validity: Duration,
}

impl std::fmt::Debug for StepCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepCa")
            .field("provisioner", &self.provisioner)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl StepCa {
    /// A server that knows this JWK provisioner by its P-256 key, in PEM and not encrypted.
    ///
    /// # Errors
    /// When the key is none of these.
    pub fn new(provisioner: String, key: &str, validity: Duration) -> Result<Self, String> {
        let unusable = |error: &dyn std::fmt::Display| {
            format!("is no P-256 private key in PEM, unencrypted: {error}")
        };
        let key = PKey::private_key_from_pem_callback(key.as_bytes(), |_| Ok(0))
            .map_err(|error| unusable(&error))?;
        let pair = key.ec_key().map_err(|error| unusable(&error))?;
        if pair.group().curve_name() != Some(Nid::X9_62_PRIME256V1) {
            return Err(unusable(&"another curve"));
        }
        let der = key
            .private_key_to_pkcs8()
            .map_err(|error| unusable(&error))?;
        Ok(Self {
            provisioner,
            kid: thumbprint(&pair).map_err(|error| unusable(&error))?,
            key: EncodingKey::from_ec_der(&der),
            validity,
        })
    }

    /// The one-time token for one node.
    fn token(&self, client: &HttpClient, request: &HookRequest) -> Result<String, HookError> {
        let now = jiff::Timestamp::now().as_second();
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let about = format!("{}\0{now}\0{count}", request.request.spki_sha256_hex());
        let claims = Claims {
            iss: &self.provisioner,
            aud: format!("{}/1.0/sign", client.target().base()),
            sub: request.request.identity(),
            sans: names(request),
            iat: now,
            // Clocks differ.
            nbf: now - 30,
            exp: now + TOKEN_LIFE,
            jti: hex::encode(sha256(about.as_bytes())),
        };
        let header = Header {
            kid: Some(self.kid.clone()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| {
            let says = format!(
                "the key of provisioner {} cannot sign: {error}",
                self.provisioner
            );
            HookError::unsent(Code::CaConfig, says)
        })
    }
}

/// The name of a public key: the thumbprint of its JWK (RFC 7638).
fn thumbprint(pair: &EcKeyRef<Private>) -> Result<String, openssl::error::ErrorStack> {
    let mut context = BigNumContext::new()?;
    let mut x = openssl::bn::BigNum::new()?;
    let mut y = openssl::bn::BigNum::new()?;
    let public = EcKey::from_public_key(pair.group(), pair.public_key())?;
    let point = public.public_key();
    point.affine_coordinates(pair.group(), &mut x, &mut y, &mut context)?;
    let x = URL_SAFE_NO_PAD.encode(x.to_vec_padded(32)?);
    let y = URL_SAFE_NO_PAD.encode(y.to_vec_padded(32)?);
    let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok(URL_SAFE_NO_PAD.encode(sha256(jwk.as_bytes())))
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: String,
    sub: &'a str,
    sans: Vec<String>,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    crt: String,
    #[serde(default)]
    ca: Option<String>,
    #[serde(default)]
    cert_chain: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Health {
    status: String,
}

#[async_trait]
impl Api for StepCa {
    fn kind(&self) -> &'static str {
        "step-ca"
    }

    async fn health(&self, client: &HttpClient) -> Result<(), HookError> {
        let reply = client.get("/health").await?;
        let health: Health = reply.json()?;
        if health.status == "ok" {
            return Ok(());
        }
        Err(reply.wrong("its status is not \"ok\""))
    }

    async fn sign(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<HookAnswer, HookError> {
        let body = json!({
            "csr": request.csr.csr,
            "ott": self.token(client, request)?,
            "notAfter": format!("{}s", self.validity.as_secs()),
        });
        let reply = client.post("/1.0/sign", &[], body.to_string()).await?;
        answer(&reply)
    }
}

/// What was signed, and by whom.
pub(super) fn answer(reply: &Reply) -> Result<HookAnswer, HookError> {
    let answer: Answer = reply.json()?;
    Ok(match answer.cert_chain {
        Some(chain) if !chain.is_empty() => issue(chain.iter().map(String::as_str)),
        _ => issue(std::iter::once(answer.crt.as_str()).chain(answer.ca.as_deref())),
    })
}
