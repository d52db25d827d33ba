//! What every request passes: an id, a time limit, a line in the access log.
//!
//! Whatever is logged on a request's way, in its handler, a room or the store, stands in the span
//! `request`, which has its id. Invariant: the log has no token, no content id and no query: of a path
//! it names the route only.

use crate::edge::Edge;
use crate::error::Error;
use crate::http::problem;
use crate::limits::REQUEST_ID_BYTES_MAX;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONNECTION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout;
use tracing::Instrument;

/// Names a request, in the answer and in the log; a client may choose it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The log's target for finished requests.
const ACCESS: &str = "omega_edge::access";
/// Routes that are asked all the time and tell little; they are logged at a lower level.
const QUIET: [&str; 4] = ["/health", "/api/v1/health", "/metrics", STATIC];
/// What the log calls everything that is no route.
const STATIC: &str = "(file)";

/// The name of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's own, if that can do no harm in a log, else a random one.
    fn of(request: &Request) -> Self {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let given = request.headers().get(REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(plain)
        });
        Self(given.cloned().unwrap_or_else(|| {
            let random = format!("{:016x}", getrandom::u64().unwrap_or_default());
            HeaderValue::try_from(random).unwrap_or(HeaderValue::from_static("none"))
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives a request up that takes too long.
pub(crate) async fn in_time(
    State(edge): State<Arc<Edge>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let work = timeout(edge.limits.request_timeout, next.run(request));
    work.await.map_err(|_| Error::Timeout)
}

/// Carries a request to its route and the answer back.
pub(crate) async fn carry(
    State(edge): State<Arc<Edge>>,
    mut request: Request,
    next: Next,
) -> Response {
    // There are as many as connections; it is never closed.
    let place = edge.requests.clone().try_acquire_owned();
    let started = Instant::now();
    let id = RequestId::of(&request);
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or(STATIC, MatchedPath::as_str);
    request.extensions_mut().insert(id.clone());
    let status = tracing::field::Empty;
    let span = tracing::info_span!("request", id = id.as_str(), %method, route, status);
    let response = next.run(request).instrument(span.clone()).await;
    drop(place);
    let (mut response, kind) = problem::complete(response, &id);
    if let Some(kind) = kind {
        edge.metrics.refused(kind);
    }
    response.headers_mut().insert(REQUEST_ID, id.0.clone());
    if *edge.draining.borrow() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The client's next request goes elsewhere, and not into a connection that ends under it.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, took) = (response.status(), started.elapsed());
    let (id, status, micros) = (id.as_str(), status.as_u16(), took.as_micros());
    span.record("status", status);
    edge.metrics.requested(&method, route, status, took);
    if QUIET.contains(&route) && status < 500 {
        tracing::debug!(target: ACCESS, id, %method, route, status, micros);
    } else {
        tracing::info!(target: ACCESS, id, %method, route, status, micros);
    }
    response
}
