//! HTTP: the way from the list of routes to a router.

mod abilities;
pub(crate) mod admin;
pub(crate) mod body;
pub(crate) mod devices;
pub(crate) mod export;
pub(crate) mod form;
pub(crate) mod gzip;
mod health;
pub(crate) mod household;
pub(crate) mod metrics;
pub(crate) mod oauth;
mod openapi;
mod pair;
pub(crate) mod problem;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod routes;
mod sync;
pub(crate) mod taste;

use crate::dev;
use crate::edge::Edge;
use crate::error::Error;
use crate::http::request::REQUEST_ID;
use crate::http::route::{DEVICE_ID, Route};
use crate::ws;
use axum::Router;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tower_http::cors::{Any, CorsLayer};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// How long a browser may remember that a page of anywhere may ask.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 60 * 60);
/// The version of the global patterns that a device has.
pub(crate) const SYNC_VERSION: HeaderName = HeaderName::from_static("x-sync-version");

/// The router. `dev` adds what only a developer's own machine may have.
pub(crate) fn router(edge: Arc<Edge>, dev: bool, folder: Option<&Path>) -> Router {
    let routes = routes::all();
    let cors = cors(&routes);
    let mut router = routes.into_iter().fold(Router::new(), |all, route| route.add_to(all, &edge));
    router = match folder {
        Some(folder) => router.fallback_service(ServeDir::new(folder)),
        None => router.fallback(async || Error::NotFound),
    };
    // Pages must be able to read every error, that of a request which took too long too.
    router = router.layer(from_fn_with_state(edge.clone(), request::in_time)).layer(cors);
    if dev {
        // Outside of the layer: its answers are for pages of this machine only.
        router = router.route("/dev/token", get(dev::token));
        router = router.route("/dev/echo", get(ws::echo::upgrade));
    }
    let nosniff = HeaderValue::from_static("nosniff");
    let mut router =
        router.layer(SetResponseHeaderLayer::if_not_present(X_CONTENT_TYPE_OPTIONS, nosniff));
    if dev {
        // What is being worked on changes under the browser.
        let no_cache = HeaderValue::from_static("no-cache");
        router = router.layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, no_cache));
    }
    router.layer(from_fn_with_state(edge.clone(), request::carry)).with_state(edge)
}

/// Pages of any origin may ask, also those without one: packaged TV apps say `null` or `file://`.
/// That gives nothing away, because no request is allowed by a cookie: whoever has no token gets
/// nothing.
fn cors(routes: &[Route]) -> CorsLayer {
    let mut methods: Vec<Method> = Vec::new();
    for route in routes {
        if !methods.contains(&route.method) {
            methods.push(route.method.clone());
        }
    }
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(methods)
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            DEVICE_ID,
            SYNC_VERSION,
            REQUEST_ID,
        ])
        .expose_headers([ETAG, RETRY_AFTER, REQUEST_ID])
        .max_age(PREFLIGHT_AGE)
}
