//! Hooks over HTTP: a signed webhook in our contract, and the interfaces of certificate authorities.
//!
//! `client` speaks HTTP and tells what each failure leaves open; an [`Api`] per kind of server
//! maps questions and answers. Redirects are never followed, a body is read up to 1 MiB, and over
//! TLS the server is held against the configured authority alone.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::StatusCode;

mod acme;
mod cfssl;
mod client;
mod reply;
mod step_ca;
mod vault;
mod webhook;

pub use acme::{Acme, AcmeSettings, DnsCommand, ExternalAccount};
pub use cfssl::Cfssl;
pub use client::{HttpClient, Target};
pub use step_ca::StepCa;
pub use vault::Vault;
pub use webhook::Webhook;

use reply::Reply;

use super::{Decision, Hook, HookAnswer, HookError, HookRequest, Issued};
use crate::ca::ToBeSigned;

/// How one kind of server is asked.
#[async_trait]
pub trait Api: Send + Sync + std::fmt::Debug {
    /// The kind of server, for logs and metrics: `vault`.
    fn kind(&self) -> &'static str;

    /// Whether what is needed on this machine is there; asks nobody.
    ///
    /// # Errors
    /// `hook.config` or `ca.config`, saying what to repair.
    fn self_test(&self) -> Result<(), HookError> {
        Ok(())
    }

    /// Whether the server is there and is what it is taken for.
    ///
    /// # Errors
    /// A `ca.*` or `hook.*` code.
    async fn health(&self, client: &HttpClient) -> Result<(), HookError>;

    /// Asks about one node.
    ///
    /// # Errors
    /// A `ca.*` or `hook.*` code.
    async fn sign(
        &self,
        client: &HttpClient,
        request: &HookRequest,
    ) -> Result<HookAnswer, HookError>;

    /// Whether an answer may name the target of a node.
    fn may_place(&self) -> bool {
        false
    }

    /// What would be decided, where the server can be asked that.
    ///
    /// # Errors
    /// As [`Api::sign`].
    async fn rehearse(
        &self,
        _client: &HttpClient,
        _request: &HookRequest,
    ) -> Result<Option<HookAnswer>, HookError> {
        Ok(None)
    }
}

/// Asks a server about each node.
#[derive(Debug)]
pub struct HttpHook<A> {
    client: HttpClient,
    api: A,
}

impl<A: Api> HttpHook<A> {
    /// A hook that asks this server in this way.
    #[must_use]
    pub const fn new(client: HttpClient, api: A) -> Self {
        Self { client, api }
    }
}

#[async_trait]
impl<A: Api> Hook for HttpHook<A> {
    fn kind(&self) -> &'static str {
        self.api.kind()
    }

    fn may_place(&self) -> bool {
        self.api.may_place()
    }

    /// Address, certificates and secrets were read with the configuration.
    fn self_test(&self) -> Result<(), HookError> {
        self.api.self_test()
    }

    async fn health(&self) -> Result<(), HookError> {
        self.api.health(&self.client).await
    }

    async fn decide(
        &self,
        request: &HookRequest,
        _prepared: Option<&ToBeSigned>,
    ) -> Result<HookAnswer, HookError> {
        self.api.sign(&self.client, request).await
    }

    async fn rehearse(&self, request: &HookRequest) -> Result<Option<HookAnswer>, HookError> {
        self.api.rehearse(&self.client, request).await
    }
}

/// An authority's answer: it issues, and knows nothing else to say.
fn issue<'a>(certificates: impl IntoIterator<Item = &'a str>) -> HookAnswer {
    let mut chain = String::new();
    for certificate in certificates {
        chain.push_str(certificate.trim());
        chain.push('\n');
    }
    let issued = Issued {
        certificate: chain,
        ..Issued::default()
    };
    HookAnswer::new(Decision::Issue(Box::new(issued)), String::new())
}

/// The names a certificate is asked for: the node's own and the addresses it was granted.
fn names(request: &HookRequest) -> Vec<String> {
    let addresses = request.request.addresses().iter().map(ToString::to_string);
    std::iter::once(request.request.identity().to_owned())
        .chain(addresses)
        .collect()
}

/// A life in seconds as authorities write it: `7776000s`.
fn seconds(life: Duration) -> String {
    format!("{}s", life.as_secs())
}

/// Reads any bytes as the answer of each kind of authority, with this status. For fuzzing.
pub(crate) fn read_any_answer(status: u16, body: &[u8]) -> Vec<Result<HookAnswer, HookError>> {
    let reply = || Reply {
        url: "https://ca.example.net".to_owned(),
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
        pause: None,
        body: Bytes::copy_from_slice(body),
    };
    let read = |answer: fn(&Reply) -> Result<HookAnswer, HookError>| answer(&reply().checked()?);
    vec![
        read(vault::answer),
        read(|reply| cfssl::certificate(reply).map(|leaf| issue([leaf.as_str()]))),
        read(step_ca::answer),
        acme::problem::judged(reply()).map(|reply| issue(std::str::from_utf8(&reply.body).ok())),
    ]
}
