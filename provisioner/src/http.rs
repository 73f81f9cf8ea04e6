//! `/metrics`, `/healthz` and `/readyz`.
//!
//! `/healthz` says 200 as long as the process serves at all; `/readyz` says 200
//! when nodes can be enrolled and 503 with the reasons when they cannot.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use server_core::words::Shutdown;
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::ready::Readiness;

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    ready: Arc<Readiness>,
    refresh: Arc<dyn Fn() + Send + Sync>,
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

/// Serves until shutdown. `refresh` is called before metrics are written.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    ready: Arc<Readiness>,
    refresh: Arc<dyn Fn() + Send + Sync>,
    shutdown: Shutdown,
) {
    let shared = Shared {
        metrics,
        ready,
        refresh,
    };
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .with_state(shared);
    let serving = axum::serve(listener, router);
    let stopped = async move { shutdown.cancelled().await };
    if let Err(error) = serving.with_graceful_shutdown(stopped).await {
        tracing::warn!(%error, "metrics are no longer served");
    }
}

async fn metrics_text(State(shared): State<Shared>) -> impl IntoResponse {
    (shared.refresh)();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.metrics.text())
}

async fn readiness(State(shared): State<Shared>) -> impl IntoResponse {
    let missing = shared.ready.missing();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
    }
}
