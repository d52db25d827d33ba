//! Where people allow a device: a page without script, a picture of its address, and a route for apps.
//!
//! The page knows a household by its key, which its members have from the operator; an app by its token.
//! Invariant: the page shows what a code is about, and answers it, only to who has the key. With `--dev`,
//! a browser of this machine needs none.

mod page;

use self::page::{Notice, Page};
use crate::auth::Principal;
use crate::dev::{is_local_page, loopback_host};
use crate::edge::Edge;
use crate::error::Error;
use crate::http::body::{JsonBody, Parameters};
use crate::http::form::{Fields, Form};
use crate::http::route::Parameter;
use crate::listen::Peer;
use crate::pairing::code::{PairingKey, UserCode};
use crate::pairing::{Pairings, Residence, Wish, common};
use crate::store::access::KnownKey;
use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use omega_sync_core::id::HouseholdId;
use qrcodegen::{QrCode, QrCodeEcc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

/// The media type of the picture.
pub(crate) const SVG: &str = "image/svg+xml";
/// White around the picture, in its squares (ISO/IEC 18004, section 9.1).
const QUIET: i32 = 4;

impl Edge {
    /// The pairings, if there are any on this server.
    pub(crate) fn pairings(&self) -> Result<&Pairings, Error> {
        self.pairings.as_ref().ok_or(Error::NotFound)
    }

    /// Where phones find this server: as configured, or, on a developer's machine, where the request
    /// found it.
    pub(crate) fn pair_url(&self, headers: &HeaderMap) -> Result<String, Error> {
        match (&self.pair_url, self.dev) {
            (Some(url), _) => Ok(url.clone()),
            (None, true) => {
                let host = loopback_host(headers);
                host.map(|host| format!("http://{host}")).ok_or(Error::NotFound)
            }
            (None, false) => Err(Error::NotFound),
        }
    }

    /// Whether a browser of the developer's own machine asks, which needs no key.
    fn trusts(&self, peer: &Peer, headers: &HeaderMap) -> bool {
        self.dev && is_local_page(peer, headers)
    }
}

/// `GET /pair`.
pub(crate) async fn page(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Error> {
    edge.pairings()?;
    let code = parameters.take("user_code", |text| Ok::<_, String>(UserCode::read(text)));
    parameters.finish()?;
    let code = code.flatten().map(|code| code.to_string()).unwrap_or_default();
    let keyless = edge.trusts(&peer, &headers);
    Ok(Page::Ask { code: &code, household: "", keyless, notice: None }.answer())
}

/// `POST /pair`: the code with the household's key, or the answer with the ticket that this gave.
pub(crate) async fn submit(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Error> {
    let pairings = edge.pairings()?;
    let keyless = edge.trusts(&peer, &headers);
    let Ok(fields) = form.read() else { return Err(Error::Malformed("the body is no form")) };
    let text = |name| fields.get(name).unwrap_or_default();
    let ask = |notice| {
        let (code, household) = (text("user_code"), text("household"));
        Page::Ask { code, household, keyless, notice: Some(notice) }.answer()
    };
    if let Err(error) = pairings.guess(edge.address(&peer, &headers), Instant::now()) {
        let mut response = ask(Notice::TooOften);
        if let Some(seconds) = error.retry_after_s() {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return Ok(response);
    }
    let Some(code) = UserCode::read(text("user_code")) else { return Ok(ask(Notice::Code)) };
    if let Some(ticket) = fields.get("ticket") {
        return Ok(decide(pairings, code, ticket, text("decision")));
    }
    let Some(residence) = recognise(&edge, &fields, keyless).await? else {
        return Ok(ask(Notice::Wrong));
    };
    let household = residence.household.clone();
    match pairings.ticket(code, residence, Instant::now())? {
        Some((ticket, wish)) => {
            let code = code.to_string();
            Ok(Page::Confirm { code: &code, household: &household, ticket: &ticket, wish: &wish }
                .answer())
        }
        None => Ok(ask(Notice::Wrong)),
    }
}

/// The household whose key was given.
async fn recognise(
    edge: &Edge,
    fields: &Fields,
    keyless: bool,
) -> Result<Option<Residence>, Error> {
    let household = fields.get("household").map(|text| HouseholdId::new(text.trim()));
    let Some(Ok(household)) = household else { return Ok(None) };
    if keyless {
        return Ok(Some(Residence { household, region: None }));
    }
    let Some(key) = fields.get("key").and_then(PairingKey::read) else { return Ok(None) };
    let known = edge.access.pairing_key(household.clone()).await?;
    let known = known.filter(|known| known.digest == key.digest(&household));
    Ok(known.map(|KnownKey { region, .. }| Residence { household, region }))
}

/// Answers a code with the ticket of the page before.
fn decide(pairings: &Pairings, code: UserCode, ticket: &str, decision: &str) -> Response {
    let now = Instant::now();
    let answered = pairings.redeem(code, ticket, now).and_then(|residence| {
        let wish = pairings.wish(code, now)?;
        let allow = match decision {
            "allow" => Some(wish.scope.as_str()),
            _ => None,
        };
        pairings.answer(code, &residence, allow, now)
    });
    match answered {
        Some(wish) => Page::Done { wish: &wish, allowed: decision == "allow" }.answer(),
        None => {
            let notice = Some(Notice::Over);
            Page::Ask { code: "", household: "", keyless: false, notice }.answer()
        }
    }
}

/// `GET /pair/qr.svg`: the page's address with a code, as a picture. It says nothing that the code does
/// not say, whether or not there is such a code.
pub(crate) async fn picture(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Error> {
    edge.pairings()?;
    let url = edge.pair_url(&headers)?;
    let code = parameters.take("user_code", |text| UserCode::read(text).ok_or("it is no code"));
    parameters.finish()?;
    let code = code.ok_or_else(|| Error::field("user_code", "it is missing"))?;
    let text = format!("{url}/pair?user_code={code}");
    let picture = QrCode::encode_text(&text, QrCodeEcc::Medium).map_err(|_| Error::Internal)?;
    let cache = (CACHE_CONTROL, "private, max-age=600");
    Ok(([(CONTENT_TYPE, SVG), cache], draw(&picture)).into_response())
}

fn draw(code: &QrCode) -> String {
    let side = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            // Writing to a text can't fail.
            let _ = write!(path, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
         <path d=\"{path}\"/></svg>"
    )
}

/// A code as a device shows it; what people type may have spaces and small letters.
const CODE_PATTERN: &str = "^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$";

/// The parameter of the page and the picture.
pub(crate) const CODE_PARAMETER: &[Parameter] = &[Parameter {
    name: "user_code",
    about: "The code that the device shows",
    required: false,
    schema: || json!({"type": "string"}),
}];

/// The same parameter, without which there is no picture.
pub(crate) const PICTURE_PARAMETER: &[Parameter] = &[Parameter {
    name: "user_code",
    about: "The code that the device shows",
    required: true,
    schema: || json!({"type": "string", "pattern": CODE_PATTERN}),
}];

/// What the page sends. Parameters that are not listed are ignored
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(transform = crate::json::schema::form)]
#[allow(dead_code, reason = "the description of a form, which `Fields` reads")]
pub(crate) struct PairingForm {
    /// The code that the device shows
    #[schemars(regex(pattern = CODE_PATTERN))]
    user_code: String,
    /// First: whose device it is to be
    household: Option<String>,
    /// First: the household's key
    key: Option<String>,
    /// Then: what the first answer gave
    ticket: Option<String>,
    /// Then: `allow`, anything else is no
    decision: Option<String>,
}

/// What becomes of a device
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Nothing yet: say what it is about
    Show,
    /// It becomes the household's
    Allow,
    /// It does not
    Deny,
}

/// An answer to a device that wants to be paired
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairingAnswer {
    /// The code that the device shows
    #[schemars(length(min = 8, max = 64))]
    user_code: String,
    /// What becomes of it
    decision: Decision,
}

/// What a pairing is about
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PairingDescribed {
    /// The device's id
    device_id: String,
    /// What people call it; empty if it does not say
    device_name: String,
    /// The program that asks
    client_id: String,
    /// What its tokens allow, or would allow
    scope: String,
    /// What became of it
    decision: Decision,
}

/// `POST /api/v1/pairing`.
pub(crate) async fn answer(
    State(edge): State<Arc<Edge>>,
    Extension(principal): Extension<Principal>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    JsonBody(answer): JsonBody<PairingAnswer>,
) -> Result<Json<PairingDescribed>, Error> {
    let pairings = edge.pairings()?;
    let now = Instant::now();
    pairings.guess(edge.address(&peer, &headers), now)?;
    let code = UserCode::read(&answer.user_code).ok_or(Error::CodeUnknown)?;
    let wish = pairings.wish(code, now).ok_or(Error::CodeUnknown)?;
    // Nobody gives more than they have.
    let scope = common(&wish.scope, &principal.scope.words());
    let allow = match answer.decision {
        Decision::Show => return Ok(described(wish, scope, Decision::Show)),
        Decision::Allow => Some(scope.as_str()),
        Decision::Deny => None,
    };
    let Principal { household, region, .. } = principal;
    let answered = pairings.answer(code, &Residence { household, region }, allow, now);
    let wish = answered.ok_or(Error::CodeUnknown)?;
    Ok(described(wish, scope, answer.decision))
}

fn described(wish: Wish, scope: String, decision: Decision) -> Json<PairingDescribed> {
    Json(PairingDescribed {
        device_id: wish.device.as_str().into(),
        device_name: wish.name,
        client_id: wish.client,
        scope,
        decision,
    })
}
