//! Whether the server lives, and whether it is ready: to be asked by whoever restarts it, and by
//! whoever sends it requests.

use crate::error::Error;
use crate::http::Edge;
use crate::http::body::Parameters;
use crate::http::route::Parameter;
use crate::http::taste::NOT_PRIVATE;
use crate::limits::HEALTH_TIMEOUT;
use crate::store::StoreError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use tokio::time::timeout;

/// The parameter of a health check.
pub(crate) const PROBE: &[Parameter] = &[Parameter {
    name: "probe",
    about: "`live`: answer 200 whenever the process answers; `ready`: only when it can work too",
    required: false,
    schema: || json!({"type": "string", "enum": ["live", "ready"], "default": "ready"}),
}];

/// How the server does.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Health {
    status: Status,
    /// The server's version
    version: &'static str,
    /// Whether it can work
    ready: bool,
    checks: Checks,
    /// `not private` on a server for development, which releases patterns and trends without noise; else
    /// not there
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy: Option<&'static str>,
}

/// In one word.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "HealthStatus")]
enum Status {
    /// It works
    Ok,
    /// Something that it depends on does not
    Unavailable,
    /// It ends
    Stopping,
}

/// Each thing that it depends on: `ok`, or what is wrong with it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HealthChecks")]
struct Checks {
    /// Whether loads and commits work
    store: &'static str,
    /// Whether there is a place for another socket
    sockets: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    Live,
    Ready,
}

/// `GET /health`, `GET /api/v1/health`.
pub(crate) async fn health(
    State(edge): State<Arc<Edge>>,
    mut parameters: Parameters,
) -> Result<Response, Error> {
    let probe = parameters.take("probe", |text| match text {
        "live" => Ok(Probe::Live),
        "ready" => Ok(Probe::Ready),
        _ => Err("it must be live or ready"),
    });
    parameters.finish()?;
    let checked = timeout(HEALTH_TIMEOUT, edge.store.check()).await;
    let late = || Err(StoreError::Unavailable("no answer in time".into()));
    let store = match checked.unwrap_or_else(|_| late()) {
        Ok(()) => "ok",
        Err(error) => error.code(),
    };
    let sockets = if edge.sockets.available_permits() > 0 { "ok" } else { "full" };
    let status = match (*edge.draining.borrow(), store) {
        (true, _) => Status::Stopping,
        (false, "ok") => Status::Ok,
        _ => Status::Unavailable,
    };
    let ready = matches!(status, Status::Ok);
    let code = match ready || probe == Some(Probe::Live) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let private = timeout(HEALTH_TIMEOUT, edge.aggregate.is_private()).await;
    let privacy = matches!(private, Ok(Ok(false))).then_some(NOT_PRIVATE);
    let version = env!("CARGO_PKG_VERSION");
    let health = Health { status, version, ready, checks: Checks { store, sockets }, privacy };
    Ok((code, Json(health)).into_response())
}
