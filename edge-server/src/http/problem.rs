//! Errors as problem documents (RFC 9457), whoever made them.
//!
//! Invariant: every answer with an error status that leaves the server has such a document, with a
//! stable `type`. What the store said is logged, not sent.

use crate::error::{Error, FieldError, Kind};
use crate::http::openapi::HTML;
use crate::http::request::RequestId;
use axum::body::Body;
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// What the `type` of every problem starts with; the rest is its code.
pub const TYPE_PREFIX: &str = "urn:omega-sync:problem:";
/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong with a request (RFC 9457).
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Problem {
    /// Which kind of problem: a stable URN that ends in `code`
    #[serde(rename = "type")]
    kind: String,
    /// What kinds of problems have this status
    title: String,
    /// The HTTP status
    status: u16,
    /// The stable name of this kind of problem
    code: String,
    /// What happened, and what to do
    detail: String,
    /// The fields or parameters that are missing or wrong
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    errors: Vec<FieldError>,
    /// The request, as the server's log names it
    request_id: String,
}

impl Problem {
    fn new(kind: Kind, detail: String, errors: Vec<FieldError>) -> Self {
        let status = StatusCode::from_u16(kind.status()).unwrap_or_default();
        Self {
            kind: format!("{TYPE_PREFIX}{}", kind.code()),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: kind.status(),
            code: kind.code().into(),
            detail,
            errors,
            request_id: String::new(),
        }
    }
}

impl IntoResponse for Error {
    /// The one place where an error becomes an HTTP answer. Its body is written by `complete`,
    /// which knows the request.
    fn into_response(self) -> Response {
        let kind = self.kind();
        let detail = match &self {
            Self::Store(error) => {
                tracing::error!(code = error.code(), %error, "a request failed");
                "the storage does not work at the moment: try again later".into()
            }
            other => other.to_string(),
        };
        let mut response = StatusCode::from_u16(kind.status()).unwrap_or_default().into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::UpgradeRequired) {
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.4.
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        // RFC 6750, section 3.
        let challenge = match &self {
            Self::Auth(crate::auth::AuthError::Missing) => Some("Bearer".to_owned()),
            Self::Auth(_) => Some("Bearer error=\"invalid_token\"".to_owned()),
            Self::Scope(scope) => {
                Some(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            _ => None,
        };
        if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        let errors = if let Self::Invalid(errors) = self { errors } else { Vec::new() };
        response.extensions_mut().insert((kind, Problem::new(kind, detail, errors)));
        response
    }
}

/// Writes the body of an error; one that a library made gets the document of its status. What says
/// more than a problem could, as the answer to a health check does, stays. Also says the kind.
pub(crate) fn complete(response: Response, request: &RequestId) -> (Response, Option<Kind>) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return (response, None);
    }
    let (mut parts, body) = response.into_parts();
    let said = parts.headers.get(CONTENT_TYPE);
    let said = said.is_some_and(|said| said == "application/json" || said == HTML);
    if said {
        return (Response::from_parts(parts, body), None);
    }
    let made = parts.extensions.remove::<(Kind, Problem)>();
    let (kind, mut problem) = made.unwrap_or_else(|| {
        let kind = Kind::of_status(status.as_u16());
        (kind, Problem::new(kind, kind.meaning().into(), Vec::new()))
    });
    problem.status = status.as_u16();
    problem.request_id = request.as_str().into();
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    (Response::from_parts(parts, Body::from(body)), Some(kind))
}
