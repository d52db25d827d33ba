//! Tokens for paired devices (RFC 8628, RFC 6749 section 6, RFC 7009). Errors are OAuth's own JSON.
//!
//! Invariants: what a token says is durable before the token leaves; a refresh token counts once, and
//! one that comes twice ends all that came of it.

use crate::aggregate::region::Region;
use crate::clock::now;
use crate::edge::Edge;
use crate::error::Error;
use crate::http::form::{Fields, Form, FormError};
use crate::json::schema::{self, ID_PATTERN};
use crate::limits::{PAIRED_TOKEN_LIFE, PAIRING_LIFE};
use crate::listen::Peer;
use crate::pairing::code::RefreshToken;
use crate::pairing::{Allowed, Polled, Residence, Wish, common};
use crate::store::access::{Paired, Pairing, Revocation, Rotated, Rotation};
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use omega_sync_core::id::{DeviceId, HouseholdId};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// The grant of a device code.
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Bytes of a program's name, and of a device's for people.
pub(crate) const CLIENT_NAME_BYTES_MAX: usize = 64;
/// Words that a device may ask for; an empty parameter counts as left out.
const SCOPE_PATTERN: &str = "^((read|write|control)( (read|write|control)){0,2})?$";
/// Answers with tokens and codes are for nobody else.
const NO_STORE: [(axum::http::HeaderName, &str); 2] =
    [(CACHE_CONTROL, "no-store"), (PRAGMA, "no-cache")];

/// What a device asks for. Parameters that are not listed are ignored
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(transform = schema::form)]
#[allow(dead_code, reason = "the description of a form, which `Fields` reads")]
pub(crate) struct DeviceRequest {
    /// The program's name
    #[schemars(length(min = 1, max = 64), regex(pattern = ID_PATTERN))]
    client_id: String,
    /// What tokens are to allow: words of `read write control`, all of them when it is missing
    #[schemars(regex(pattern = SCOPE_PATTERN))]
    scope: Option<String>,
    /// The device's id: a new one when it is missing or empty
    #[schemars(length(max = 64), regex(pattern = ID_PATTERN))]
    device_id: Option<String>,
    /// What people call the device
    #[schemars(length(max = 64), regex(pattern = ID_PATTERN))]
    device_name: Option<String>,
}

/// Codes for a device
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeviceCodes {
    /// For the device only
    device_code: String,
    /// What the device shows
    user_code: String,
    /// Where people go to
    verification_uri: String,
    /// The same with the code in it, for a QR code
    verification_uri_complete: String,
    /// A picture of that address as a QR code, SVG
    qr_uri: String,
    /// Life of the codes in seconds
    expires_in: u64,
    /// Seconds between two questions of the device
    interval: u64,
    /// The device's id, which its tokens will have
    device_id: String,
}

/// How a device asks for tokens. Parameters that are not listed are ignored
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(transform = each_grant)]
#[allow(dead_code, reason = "the description of a form, which `Fields` reads")]
pub(crate) struct TokenRequest {
    /// `urn:ietf:params:oauth:grant-type:device_code` or `refresh_token`
    grant_type: String,
    /// Of a device code: the code
    device_code: Option<String>,
    /// Of a device code: the program's name
    client_id: Option<String>,
    /// Of a refresh token: the token
    refresh_token: Option<String>,
    /// Of a refresh token: fewer words than before
    #[schemars(regex(pattern = SCOPE_PATTERN))]
    scope: Option<String>,
}

/// A device asks for tokens with one of two grants.
fn each_grant(whole: &mut Schema) {
    schema::form(whole);
    schema::one_of(whole, |all| {
        let kind = |kind| Some(("grant_type", kind));
        vec![
            schema::variant(all, kind(DEVICE_CODE), &["device_code", "client_id"], &[]),
            schema::variant(all, kind("refresh_token"), &["refresh_token"], &["scope"]),
        ]
    });
}

/// Tokens for a device
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Tokens {
    /// For every request
    access_token: String,
    /// Always `Bearer`
    token_type: &'static str,
    /// Life of the access token in seconds
    expires_in: u64,
    /// For the next tokens; counts once
    refresh_token: String,
    /// What the access token allows
    scope: String,
}

/// Which token is given back. Parameters that are not listed are ignored
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(transform = schema::form)]
#[allow(dead_code, reason = "the description of a form, which `Fields` reads")]
pub(crate) struct RevokeRequest {
    /// A refresh token; any other counts as given back already
    #[schemars(length(min = 1))]
    token: String,
}

/// What is wrong, in OAuth's words
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OAuthError {
    /// The kind of error (RFC 6749, section 5.2; RFC 8628, section 3.5)
    error: &'static str,
    /// What to do
    error_description: &'static str,
}

impl OAuthError {
    fn fail(error: &'static str, error_description: &'static str) -> Failure {
        Failure::Said(Self { error, error_description })
    }

    fn missing(error_description: &'static str) -> Failure {
        Self::fail("invalid_request", error_description)
    }
}

/// What goes wrong here: OAuth's own errors, and what goes wrong everywhere.
pub(crate) enum Failure {
    Said(OAuthError),
    Other(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Said(error) => (StatusCode::BAD_REQUEST, NO_STORE, Json(error)).into_response(),
            Self::Other(error) => error.into_response(),
        }
    }
}

fn fields(form: Form) -> Result<Fields, Failure> {
    form.read().map_err(|error| match error {
        FormError::Malformed => {
            OAuthError::missing("send application/x-www-form-urlencoded in UTF-8")
        }
        FormError::Twice => OAuthError::missing("a parameter is there twice"),
    })
}

/// `POST /oauth/device_authorization`.
pub(crate) async fn authorize(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Failure> {
    let pairings = edge.pairings()?;
    let url = edge.pair_url(&headers)?;
    let fields = fields(form)?;
    let wish = wish(&fields)?;
    let device_id = wish.device.as_str().to_owned();
    let from = edge.address(&peer, &headers);
    let codes = pairings.ask(wish, from, Instant::now())?;
    let bounds = pairings.bounds();
    let answer = DeviceCodes {
        verification_uri: format!("{url}/pair"),
        verification_uri_complete: format!("{url}/pair?user_code={}", codes.user),
        qr_uri: format!("{url}/pair/qr.svg?user_code={}", codes.user),
        user_code: codes.user.to_string(),
        device_code: codes.device,
        expires_in: bounds.life.as_secs(),
        interval: bounds.poll_every.as_secs(),
        device_id,
    };
    Ok((NO_STORE, Json(answer)).into_response())
}

fn wish(fields: &Fields) -> Result<Wish, Failure> {
    let client = fields.get("client_id").ok_or(OAuthError::missing("`client_id` is missing"))?;
    let name = fields.get("device_name").unwrap_or_default();
    let plain =
        |text: &str| text.len() <= CLIENT_NAME_BYTES_MAX && !text.chars().any(char::is_control);
    if !plain(client) || !plain(name) {
        return Err(OAuthError::missing("names have up to 64 bytes, without control characters"));
    }
    let scope = scope(fields.get("scope"), crate::auth::SCOPE)?;
    let device = match fields.get("device_id") {
        Some(id) => DeviceId::new(id).map_err(|_| OAuthError::missing("`device_id` is no id"))?,
        None => {
            let id = format!("device-{:016x}", getrandom::u64().map_err(|_| Error::Internal)?);
            DeviceId::new(&id).map_err(|_| Error::Internal)?
        }
    };
    Ok(Wish { client: client.into(), device, name: name.into(), scope })
}

/// The words that are wanted, each of which must be among those that can be had.
fn scope(wanted: Option<&str>, had: &str) -> Result<String, Failure> {
    let wanted = wanted.unwrap_or(had);
    let scope = common(wanted, had);
    let all = wanted.split(' ').filter(|word| !word.is_empty()).count();
    if scope.is_empty() || scope.split(' ').count() != all {
        return Err(OAuthError::fail("invalid_scope", "use words of `read write control`"));
    }
    Ok(scope)
}

/// `POST /oauth/token`.
pub(crate) async fn token(State(edge): State<Arc<Edge>>, form: Form) -> Result<Response, Failure> {
    edge.pairings()?;
    let fields = fields(form)?;
    let need = |name, missing| fields.get(name).ok_or(OAuthError::missing(missing));
    let tokens = match need("grant_type", "`grant_type` is missing")? {
        DEVICE_CODE => {
            let code = need("device_code", "`device_code` is missing")?;
            let client = need("client_id", "`client_id` is missing")?;
            redeem(&edge, code, client).await?
        }
        "refresh_token" => {
            let token = need("refresh_token", "`refresh_token` is missing")?;
            refresh(&edge, token, fields.get("scope")).await?
        }
        _ => {
            let known = "use the grant of a device code or of a refresh token";
            return Err(OAuthError::fail("unsupported_grant_type", known));
        }
    };
    Ok((NO_STORE, Json(tokens)).into_response())
}

/// Tokens for a device whose code was allowed.
async fn redeem(edge: &Edge, code: &str, client: &str) -> Result<Tokens, Failure> {
    let pairings = edge.pairings()?;
    let erasures = pairings.erasures();
    let allowed = match pairings.poll(code, client, Instant::now()) {
        Polled::Allowed(allowed) => allowed,
        Polled::Pending => {
            return Err(OAuthError::fail("authorization_pending", "nobody has answered yet"));
        }
        Polled::SlowDown => {
            return Err(OAuthError::fail(
                "slow_down",
                "wait five seconds longer between questions",
            ));
        }
        Polled::Denied => return Err(OAuthError::fail("access_denied", "somebody said no")),
        Polled::Expired => {
            return Err(OAuthError::fail("expired_token", "nobody answered in time: ask anew"));
        }
        Polled::Unknown => {
            return Err(OAuthError::fail("invalid_grant", "there is no such code: ask anew"));
        }
    };
    let refresh = RefreshToken::random(None)?;
    let now = now().0;
    let Allowed { residence: Residence { household, region }, device, scope, allowed_s } = allowed;
    let pairing = Pairing {
        id: refresh.pairing(),
        household: household.clone(),
        device: device.clone(),
        scope: scope.clone(),
        region: region.clone(),
        allowed_s,
        current: refresh.digest(),
        ends: now + PAIRING_LIFE.as_millis() as u64,
    };
    let denied = match edge.access.pair(pairing, now).await? {
        // It may have come behind the erasure.
        Paired::Done if pairings.erasures() != erasures => {
            edge.access.unpair(refresh.pairing(), refresh.digest()).await?;
            "a household was erased meanwhile: ask anew"
        }
        Paired::Done => {
            tracing::info!(%household, %device, "paired");
            return tokens(edge, (&household, &device), scope, region.as_ref(), &refresh);
        }
        Paired::Full => "the household has as many paired devices as it may have",
        Paired::Revoked => "the device was forgotten, or its household's tokens were revoked",
    };
    Err(OAuthError::fail("access_denied", denied))
}

/// Tokens for a device that was paired before.
async fn refresh(edge: &Edge, text: &str, wanted: Option<&str>) -> Result<Tokens, Failure> {
    let unknown = || OAuthError::fail("invalid_grant", "the device is not paired: pair it anew");
    let used = RefreshToken::read(text).ok_or_else(unknown)?;
    let next = RefreshToken::random(Some(used.pairing()))?;
    let now = now().0;
    let rotation = Rotation {
        id: used.pairing(),
        used: used.digest(),
        next: next.digest(),
        now,
        ends: now + PAIRING_LIFE.as_millis() as u64,
    };
    match edge.access.rotate(rotation).await? {
        Rotated::Done { household, device, scope: had, region } => {
            let scope = scope(wanted, &had)?;
            tokens(edge, (&household, &device), scope, region.as_ref(), &next)
        }
        Rotated::Unknown => Err(unknown()),
        Rotated::Reused { household, device } => {
            tracing::warn!(%household, %device, "a refresh token came twice: the pairing is over");
            let at = now / 1000;
            edge.revoked.note(&Revocation::Before { household, device: Some(device), at });
            Err(unknown())
        }
    }
}

fn tokens(
    edge: &Edge,
    (household, device): (&HouseholdId, &DeviceId),
    scope: String,
    region: Option<&Region>,
    refresh: &RefreshToken,
) -> Result<Tokens, Failure> {
    let access_token =
        edge.authority.issue(household, device, &scope, region, PAIRED_TOKEN_LIFE)?;
    Ok(Tokens {
        access_token,
        token_type: "Bearer",
        expires_in: PAIRED_TOKEN_LIFE.as_secs(),
        refresh_token: refresh.text(),
        scope,
    })
}

/// `POST /oauth/revoke`: a device gives its pairing back, as when somebody logs out. Nothing of the
/// answer says whether there was one.
pub(crate) async fn revoke(State(edge): State<Arc<Edge>>, form: Form) -> Result<Response, Failure> {
    edge.pairings()?;
    let fields = fields(form)?;
    let token = fields.get("token").ok_or(OAuthError::missing("`token` is missing"))?;
    if let Some(token) = RefreshToken::read(token) {
        let unpaired = edge.access.unpair(token.pairing(), token.digest()).await?;
        if let Some((household, device)) = unpaired {
            edge.revoked.forget(&household, &device).await?;
            tracing::info!(%household, %device, "gave its pairing back");
        }
    }
    Ok((NO_STORE, StatusCode::OK).into_response())
}
