//! Tokens for everyone who asks, for demos on one's own machine.
//!
//! Invariant: the route exists only with `--dev`, which needs a loopback address to listen on, and
//! answers only a loopback peer that asked for a loopback host. The last check is against a web
//! page whose name was made to point here (DNS rebinding), the origin check against other pages.

use crate::address::X_FORWARDED_FOR;
use crate::auth::SCOPE;
use crate::edge::Edge;
use crate::error::Error;
use crate::http::body::{Parameters, json};
use crate::listen::Peer;
use axum::extract::{Extension, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, FORWARDED, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use omega_sync_core::id::{DeviceId, HouseholdId};

use std::sync::Arc;
use std::time::Duration;

/// How long a development token lives; short, so that fetching another is part of every demo.
pub const TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);

/// `GET /dev/token?household=H&device=D`.
pub(crate) async fn token(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Error> {
    if !peer.address.ip().to_canonical().is_loopback() || loopback_host(&headers).is_none() {
        return Err(Error::Origin("development tokens are for this machine only"));
    }
    let origin = headers.get(ORIGIN);
    if origin.is_some_and(|origin| !origin.to_str().is_ok_and(is_loopback_origin)) {
        return Err(Error::Origin("development tokens are for pages of this machine only"));
    }
    let household = parameters.take("household", HouseholdId::new);
    let device = parameters.take("device", DeviceId::new);
    parameters.finish()?;
    let missing = |name| Error::field(name, "it is missing");
    let household = household.ok_or_else(|| missing("household"))?;
    let device = device.ok_or_else(|| missing("device"))?;
    let token = edge.authority.issue(&household, &device, SCOPE, None, TOKEN_LIFE)?;
    let mut response = json(&serde_json::json!({ "token": token }));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    Ok(response)
}

/// Whether a request comes from a browser or program of this machine, and from no page of another.
pub(crate) fn is_local_page(peer: &Peer, headers: &HeaderMap) -> bool {
    is_near(peer, headers) && loopback_host(headers).is_some()
}

/// Whether a request comes from this machine, through no proxy on it, and says of no other page that it
/// comes from there.
pub(crate) fn is_near(peer: &Peer, headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN);
    let ours = origin.is_none_or(|origin| origin.to_str().is_ok_and(is_loopback_origin));
    let proxied = headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(FORWARDED);
    let near = peer.address.ip().to_canonical().is_loopback() && !proxied;
    near && ours
}

/// The host that was asked for, if it is this machine by its own names.
pub(crate) fn loopback_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next()?.to_str(), hosts.next()) {
        (Ok(host), None) => Some(host).filter(|host| is_loopback_host(host)),
        _ => None,
    }
}

fn is_loopback_origin(origin: &str) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(is_loopback_host)
}

/// Whether `host[:port]` is one of the names that no name server answers for.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_hosts() {
        for host in ["localhost", "localhost:8083", "127.0.0.1:80", "[::1]:8083", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        let others = ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8083"];
        for host in others.into_iter().chain(["[::2]", "localhost:80:80", "10.0.0.1"]) {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn only_loopback_pages_are_origins() {
        assert!(is_loopback_origin("http://localhost:5173"));
        assert!(is_loopback_origin("https://127.0.0.1"));
        for origin in ["null", "file://", "http://evil.example", "localhost", "ws://localhost"] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }
}
