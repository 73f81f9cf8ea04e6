//! HTTP with limits, and what each failure leaves open.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use server_core::words::causes;
use tokio::time::timeout;

use super::reply::{Reply, retry_after};
use crate::code::Code;
use crate::hook::HookError;

/// The most of a body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// A server's address: scheme, host, port, and a path in front of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    base: String,
    secure: bool,
}

impl Target {
    /// Reads a URL. It is `https`, or `http` on this very machine, and holds neither user nor
    /// query.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("{url:?} is no URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!(
                "{url:?} lacks scheme or host; write \"https://ca.example.net\""
            ));
        };
        if authority.as_str().contains('@') {
            return Err("holds a user; credentials have keys of their own".to_owned());
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(format!("{url:?} holds a query or fragment; end it before"));
        }
        let host = authority.host();
        let local = ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        match scheme {
            "https" => {}
            "http" if local => {}
            "http" => {
                return Err(format!(
                    "{url:?} is not encrypted; http:// is for servers on this machine, others \
                     need https://"
                ));
            }
            other => {
                return Err(format!(
                    "{url:?}: {other}:// is neither https:// nor http://"
                ));
            }
        }
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            secure: scheme == "https",
        })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether another address is on the same server.
    #[must_use]
    pub fn is_of(&self, uri: &Uri) -> bool {
        let own = self.base.parse::<Uri>();
        own.is_ok_and(|own| own.scheme() == uri.scheme() && own.authority() == uri.authority())
    }

    /// The address, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Asks one server.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Target,
    limit: Duration,
}

impl HttpClient {
    /// A client for this server; each exchange takes `limit` at most.
    #[must_use]
    pub fn new(target: Target, tls: Arc<ClientConfig>, limit: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT.min(limit)));
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(&tls))
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            // Whether a question may be asked twice is not for the transport to decide.
            .retry_canceled_requests(false)
            .build(connector);
        Self {
            client,
            target,
            limit,
        }
    }

    /// How long an exchange may take.
    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Who is asked.
    pub(super) const fn target(&self) -> &Target {
        &self.target
    }

    pub(super) async fn get(&self, path: &str) -> Result<Reply, HookError> {
        self.exchange(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends JSON.
    pub(super) async fn post(
        &self,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: impl Into<Bytes> + Send,
    ) -> Result<Reply, HookError> {
        self.exchange(Method::POST, path, headers, body.into())
            .await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Reply, HookError> {
        let url = format!("{}{path}", self.target.base);
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                let says = format!("what is configured for the header {name} cannot be one");
                HookError::unsent(Code::CaConfig, says)
            })?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("user-agent", concat!("muster/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| {
                HookError::unsent(Code::CaConfig, format!("{url} cannot be asked: {error}"))
            })?;
        self.fetch(request).await?.1.checked()
    }

    /// Sends a request as it is, and takes whatever is answered.
    pub(super) async fn fetch(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Parts, Reply), HookError> {
        let url = request.uri().to_string();
        match timeout(self.limit, self.talk(request, &url)).await {
            Ok(reply) => reply,
            Err(_) => Err(HookError::new(
                Code::CaUnavailable,
                format!("{url} did not answer within {:?}", self.limit),
            )),
        }
    }

    async fn talk(
        &self,
        request: Request<Full<Bytes>>,
        url: &str,
    ) -> Result<(Parts, Reply), HookError> {
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| unreached(&error, url))?;
        let (parts, body) = response.into_parts();
        let pause = parts
            .headers
            .get("retry-after")
            .and_then(|value| retry_after(value.to_str().ok()?, jiff::Timestamp::now()));
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let says = format!("{url} answered more than {} KiB", MAX_BODY / 1024);
                return HookError::new(Code::HookOutputTooLarge, says);
            }
            let says = format!("{url} broke its answer off: {error}");
            HookError::new(Code::CaUnavailable, says)
        })?;
        let reply = Reply {
            url: url.to_owned(),
            status: parts.status,
            pause,
            body: body.to_bytes(),
        };
        Ok((parts, reply))
    }
}

/// No answer at all: whether the question left, and who is at fault.
fn unreached(error: &ClientError, url: &str) -> HookError {
    let causes = causes(error);
    if error.source().is_some_and(is_untrusted) {
        let says = format!("{url} is not who it should be: {causes}; see `server_ca` in [ca]");
        return HookError::unsent(Code::CaConfig, says);
    }
    if error.is_connect() {
        let says = format!("{url} cannot be reached: {causes}");
        return HookError::unsent(Code::CaUnavailable, says);
    }
    HookError::new(
        Code::CaUnavailable,
        format!("{url} did not answer: {causes}"),
    )
}

/// Whether TLS did not like the server's certificate. Errors of the system's kind hide the one
/// they were made of from `source`.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidCertificate(_));
    }
    let inner = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match inner {
        Some(inner) => is_untrusted(inner),
        None => error.source().is_some_and(is_untrusted),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn addresses_are_https_or_on_this_machine() {
        for url in [
            "https://ca.example.net",
            "https://ca.example.net:8443/ca/",
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost",
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.is_secure(), url.starts_with("https"));
            assert!(!target.base().ends_with('/'));
        }
        for (url, says) in [
            ("ca.example.net", "lacks scheme"),
            ("http://ca.example.net", "not encrypted"),
            ("http://127.0.0.1.example.net", "not encrypted"),
            ("https://a:b@ca.example.net", "holds a user"),
            ("https://ca.example.net/?a=b", "query"),
            ("https://ca.example.net/#a", "query"),
            ("file:///etc/passwd", ""),
            ("gopher://ca.example.net", "neither"),
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }
}
