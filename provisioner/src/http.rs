//! `/metrics`, `/healthz`, `/readyz` and `/ca.crl`.
//!
//! `/healthz` says 200 as long as the process serves at all; `/readyz` says 200
//! when nodes can be enrolled and 503 with the reasons when they cannot. Where a list of revoked
//! certificates is published, `/ca.crl` is the current one in DER (RFC 5280 §4.2.1.13, RFC 2585).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use server_core::words::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::crl::Published;
use crate::metrics::Metrics;
use crate::ready::Readiness;

/// What is served.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) metrics: Metrics,
    pub(crate) ready: Arc<Readiness>,
    /// Called before metrics are written.
    pub(crate) refresh: Arc<dyn Fn() + Send + Sync>,
    /// The list of revoked certificates, where one is published.
    pub(crate) list: Option<watch::Receiver<Option<Arc<Published>>>>,
}

/// Binds `listen`; returns the address really bound.
///
/// # Errors
/// The address is in use or not ours.
pub(crate) async fn bind(listen: &str) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until shutdown.
pub(crate) async fn serve(listener: TcpListener, seen: Seen, shutdown: Shutdown) {
    let mut router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness));
    if seen.list.is_some() {
        router = router.route("/ca.crl", get(list));
    }
    let serving = axum::serve(listener, router.with_state(seen));
    let stopped = async move { shutdown.cancelled().await };
    if let Err(error) = serving.with_graceful_shutdown(stopped).await {
        tracing::warn!(%error, "metrics are no longer served");
    }
}

async fn metrics_text(State(shared): State<Seen>) -> impl IntoResponse {
    (shared.refresh)();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text())
}

async fn readiness(State(shared): State<Seen>) -> impl IntoResponse {
    let missing = shared.ready.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
    }
}

async fn list(State(shared): State<Seen>) -> Response {
    let current = shared.list.and_then(|list| list.borrow().clone());
    match current {
        Some(published) => {
            let kind = [(header::CONTENT_TYPE, "application/pkix-crl")];
            (kind, published.list.der.clone()).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "no list was made yet\n").into_response(),
    }
}
