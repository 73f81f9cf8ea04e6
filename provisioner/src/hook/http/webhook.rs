//! The signed webhook: our contract over HTTP.
//!
//! `POST` with the question as body. `X-Muster-Timestamp` holds the time in seconds and
//! `X-Muster-Signature` is `v1=` and the HMAC-SHA256 (hexadecimal) over `timestamp.body`. A
//! receiver compares both and takes nothing older than five minutes.

use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use hyper::header::{AUTHORIZATION, HeaderName};
use jiff::Timestamp;

use super::reply::Reply;
use super::{Api, HttpClient};
use crate::code::Code;
use crate::hook::contract::{self, Question};
use crate::hook::{HookAnswer, HookError, HookRequest};
use crate::judge::request::sha256;
use crate::secret::Secret;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-muster-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-muster-signature");

/// Asks a service of the site's own, in our contract.
#[derive(Debug)]
pub struct Webhook {
    key: hmac::Key,
    bearer: Option<String>,
    profile: String,
}

impl Webhook {
    /// Signs with this secret, shows this bearer token, asks for certificates of this profile.
    #[must_use]
    pub fn new(secret: &Secret, bearer: Option<&Secret>, profile: String) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes()),
            bearer: bearer.map(|token| format!("Bearer {}", token.reveal())),
            profile,
        }
    }

    /// One exchange; tried a second time where that cannot do harm, because the receiver signs
    /// once for an `idempotency_key`.
    async fn ask(&self, client: &HttpClient, question: &Question) -> Result<Reply, HookError> {
        let first = self.post(client, question).await;
        match first {
            Err(error) if error.code == Code::CaUnavailable && error.retry_after.is_none() => {
                tokio::time::sleep(pause(&question.request_id)).await;
                let again = self.post(client, question).await;
                // Only when neither try can have been heard is it certain that nothing was signed.
                again.map_err(|again| HookError {
                    unsigned: again.unsigned && error.unsigned,
                    ..again
                })
            }
            other => other,
        }
    }

    async fn post(&self, client: &HttpClient, question: &Question) -> Result<Reply, HookError> {
        let timestamp = Timestamp::now().as_second().to_string();
        let mut context = hmac::Context::with_key(&self.key);
        context.update(timestamp.as_bytes());
        context.update(b".");
        context.update(&question.json);
        let signature = format!("v1={}", hex::encode(context.sign()));
        let mut headers = vec![(TIMESTAMP, timestamp.as_str()), (SIGNATURE, &signature)];
        if let Some(bearer) = &self.bearer {
            headers.push((AUTHORIZATION, bearer));
        }
        client.post("", &headers, question.json.clone()).await
    }

    async fn decide(
        &self,
        client: &HttpClient,
        request: &HookRequest,
        dry_run: bool,
    ) -> Result<HookAnswer, HookError> {
        let question = contract::sign(request, &self.profile, client.limit(), dry_run)?;
        let reply = self.ask(client, &question).await?;
        contract::read_answer(&question, &reply.body)
    }
}

/// A moment before the second try, spread by the question's name.
fn pause(request_id: &str) -> Duration {
    let [first, ..] = sha256(request_id.as_bytes());
    Duration::from_millis(50 + u64::from(first))
}

#[async_trait]
impl Api for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn may_place(&self) -> bool {
        true
    }

    async fn health(&self, client: &HttpClient) -> Result<(), HookError> {
        let question = contract::health(client.limit());
        let reply = self.post(client, &question).await?;
        contract::read_health(&question, &reply.body)
    }

    async fn sign(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<HookAnswer, HookError> {
        self.decide(client, request, false).await
    }

    async fn rehearse(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<Option<HookAnswer>, HookError> {
        self.decide(client, request, true).await.map(Some)
    }
}
