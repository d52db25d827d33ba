//! Whether the server lives, and whether it is ready: to be asked by whoever restarts it, and by
//! whoever sends it requests.

use crate::auth::jwks::State as KeysState;
use crate::edge::Edge;
use crate::error::Error;
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
use std::time::Duration;
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
    /// The identity provider's keys; not there without one. Whether the server is ready does not depend on
    /// them
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<KeysCheck>,
}

/// How the identity provider's keys do.
#[derive(Debug, Serialize, JsonSchema)]
struct KeysCheck {
    status: KeysStatus,
    /// How many there are
    count: usize,
    /// How long ago they were read; null if there are none
    age_seconds: Option<u64>,
    /// The last time that they could not be read; null if they always could
    last_failure: Option<KeysFailure>,
}

/// In one word.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum KeysStatus {
    /// They were read the last time
    Ok,
    /// They could not be read the last time, and those from before count
    Failing,
    /// There are none: the provider's tokens are refused
    Missing,
}

/// Why keys could not be read.
#[derive(Debug, Serialize, JsonSchema)]
struct KeysFailure {
    /// How long ago that was
    seconds_ago: u64,
    /// What was wrong
    reason: String,
}

impl From<KeysState> for KeysCheck {
    fn from(KeysState { keys, is_read, age, failed }: KeysState) -> Self {
        let status = match (keys, is_read) {
            (0, _) => KeysStatus::Missing,
            (_, true) => KeysStatus::Ok,
            (_, false) => KeysStatus::Failing,
        };
        let failure =
            |(ago, reason): (Duration, _)| KeysFailure { seconds_ago: ago.as_secs(), reason };
        let age_seconds = age.map(|age| age.as_secs());
        Self { status, count: keys, age_seconds, last_failure: failed.map(failure) }
    }
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
    let keys = edge.authority.keys().map(KeysCheck::from);
    let checks = Checks { store, sockets, keys };
    let health = Health { status, version, ready, checks, privacy };
    Ok((code, Json(health)).into_response())
}
