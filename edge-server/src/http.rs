//! Routes, health, and errors as problem documents (RFC 9457).

use crate::auth::Authority;
use crate::dev;
use crate::error::Error;
use crate::hub::Hub;
use crate::limits::{HEALTH_TIMEOUT, Limits};
use crate::store::{Store, StoreError};
use crate::ws;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// What all requests share.
pub(crate) struct Edge {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) authority: Authority,
    pub(crate) limits: Limits,
    /// Places for WebSocket sessions.
    pub(crate) sockets: Arc<Semaphore>,
    /// Whether the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// All routes. `dev` adds those that only a developer's own machine may have.
pub(crate) fn router(edge: Arc<Edge>, dev: bool, folder: Option<&Path>) -> Router {
    let mut router = Router::new()
        .route("/health", get(health))
        .route("/api/v1/health", get(health))
        .route("/ws", get(ws::upgrade));
    if dev {
        router = router.route("/dev/token", get(dev::token));
    }
    let router = match folder {
        Some(folder) => router.fallback_service(ServeDir::new(folder)),
        None => router.fallback(async || Error::NotFound),
    };
    let nosniff = HeaderValue::from_static("nosniff");
    let mut router = router
        .with_state(edge)
        .layer(SetResponseHeaderLayer::if_not_present(X_CONTENT_TYPE_OPTIONS, nosniff));
    if dev {
        // What is being worked on changes under the browser.
        let no_cache = HeaderValue::from_static("no-cache");
        router = router.layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, no_cache));
    }
    router
}

async fn health(State(edge): State<Arc<Edge>>) -> Response {
    let checked = timeout(HEALTH_TIMEOUT, edge.store.check()).await;
    let late = || Err(StoreError::Unavailable("no answer in time".into()));
    let (status, text, store) = match checked.unwrap_or_else(|_| late()) {
        Ok(()) => (StatusCode::OK, "ok", "ok"),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.code()),
    };
    let version = env!("CARGO_PKG_VERSION");
    let body = json!({"status": text, "version": version, "checks": {"store": store}});
    answer(status, "application/json", &body)
}

/// A JSON answer.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, content_type)], body.to_string()).into_response()
}

impl IntoResponse for Error {
    /// The one place where an error becomes an HTTP answer; what the store said is logged, not
    /// sent.
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = match &self {
            Self::Store(error) => {
                tracing::error!(code, %error, "a request failed");
                "the storage does not work at the moment: try again later".into()
            }
            other => other.to_string(),
        };
        let title = status.canonical_reason().unwrap_or_default();
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
        });
        answer(status, "application/problem+json", &body)
    }
}
