//! One route: its path, who may use it, and what it is for. The router is built from these, and so
//! is everything that must know all routes.
//!
//! Invariant: a route can't be reached before its [`Access`] was checked, except by those that check
//! it themselves ([`Access::Own`]).

use crate::auth::{Principal, Scope, bearer};
use crate::dev::{is_near, loopback_host};
use crate::edge::Edge;
use crate::error::{Error, Kind};
use crate::http::gzip;
use crate::limits::{FORM_BYTES_MAX, JSON_BYTES_MAX};
use crate::listen::Peer;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// The device a client says it is; must be the token's.
pub(crate) const DEVICE_ID: HeaderName = HeaderName::from_static("x-device-id");

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The handler sees to it.
    Own,
    /// Everybody, so often from one address.
    Open,
    /// Programs on this machine, and tokens with the scope `admin`.
    Operator,
    /// Tokens with this scope.
    Scope(Need),
}

/// The scope that a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Read,
    Write,
    Control,
    /// Both of them.
    WriteControl,
    /// Also on the server's own machine: a page in a browser there must not pass.
    Admin,
}

impl Need {
    /// The scope's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Control => "control",
            Self::WriteControl => "write control",
            Self::Admin => "admin",
        }
    }

    fn met_by(self, scope: Scope) -> bool {
        match self {
            Self::Read => scope.read,
            Self::Write => scope.write,
            Self::Control => scope.control,
            Self::WriteControl => scope.write && scope.control,
            Self::Admin => scope.admin,
        }
    }
}

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// Bytes that its body may have.
    pub(crate) body_max: usize,
    /// Made for this method only.
    pub(crate) handler: MethodRouter<Arc<Edge>>,
    /// What it is for, in a few words.
    pub(crate) about: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) takes: Content,
    /// What it answers, by status, when nothing is wrong.
    pub(crate) gives: Vec<(u16, Content)>,
    /// What may be wrong with this route and not with every other.
    pub(crate) refuses: &'static [Kind],
    /// Whether its answers may be packed: see `gzip` for which must not.
    pub(crate) packs: bool,
}

/// A parameter in a route's query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) required: bool,
    pub(crate) schema: fn() -> Value,
}

/// What a body is.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// There is none.
    Nothing,
    /// JSON of this schema.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// A form of this schema.
    Form(fn(&mut SchemaGenerator) -> Schema),
    /// A body of this media type.
    Other(&'static str),
}

impl Route {
    /// A route that reads something.
    pub(crate) fn get(
        path: &'static str,
        access: Access,
        handler: MethodRouter<Arc<Edge>>,
    ) -> Self {
        Self {
            method: Method::GET,
            path,
            access,
            body_max: 0,
            handler,
            about: "",
            parameters: &[],
            takes: Content::Nothing,
            gives: Vec::new(),
            refuses: &[],
            packs: false,
        }
    }

    /// A route that changes something.
    pub(crate) fn post(
        path: &'static str,
        access: Access,
        handler: MethodRouter<Arc<Edge>>,
    ) -> Self {
        Self { method: Method::POST, ..Self::get(path, access, handler) }
    }

    /// A route that changes a part of something.
    pub(crate) fn patch(
        path: &'static str,
        access: Access,
        handler: MethodRouter<Arc<Edge>>,
    ) -> Self {
        Self { method: Method::PATCH, ..Self::get(path, access, handler) }
    }

    /// A route that takes something away.
    pub(crate) fn delete(
        path: &'static str,
        access: Access,
        handler: MethodRouter<Arc<Edge>>,
    ) -> Self {
        Self { method: Method::DELETE, ..Self::get(path, access, handler) }
    }

    /// Says what it is for.
    pub(crate) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Says which parameters it has.
    pub(crate) fn parameters(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    /// Says which JSON it takes.
    pub(crate) fn takes<T: JsonSchema>(self) -> Self {
        let takes = Content::Json(|generator| generator.subschema_for::<T>());
        Self { takes, body_max: JSON_BYTES_MAX, ..self }
    }

    /// Says that its body may be longer than most.
    pub(crate) fn up_to(self, body_max: usize) -> Self {
        Self { body_max, ..self }
    }

    /// Says which form it takes.
    pub(crate) fn takes_form<T: JsonSchema>(self) -> Self {
        let takes = Content::Form(|generator| generator.subschema_for::<T>());
        Self { takes, body_max: FORM_BYTES_MAX, ..self }
    }

    /// Says which other body it takes.
    pub(crate) fn takes_other(self, media_type: &'static str, body_max: usize) -> Self {
        Self { takes: Content::Other(media_type), body_max, ..self }
    }

    /// Says which JSON it answers with.
    pub(crate) fn gives<T: JsonSchema>(self, status: u16) -> Self {
        self.gives_content(status, Content::Json(|generator| generator.subschema_for::<T>()))
    }

    /// Says what else it answers with.
    pub(crate) fn gives_content(mut self, status: u16, content: Content) -> Self {
        self.gives.push((status, content));
        self
    }

    /// Says that its answers may be packed.
    pub(crate) fn packed(self) -> Self {
        Self { packs: true, ..self }
    }

    /// Says what may be wrong.
    pub(crate) fn refuses(self, refuses: &'static [Kind]) -> Self {
        Self { refuses, ..self }
    }

    /// Adds it to a router, behind the check of who may use it.
    pub(crate) fn add_to(self, router: Router<Arc<Edge>>, edge: &Arc<Edge>) -> Router<Arc<Edge>> {
        let limit = DefaultBodyLimit::max(self.body_max);
        let guard = from_fn_with_state((edge.clone(), self.access), check);
        let handler = self.handler.route_layer(guard).route_layer(limit);
        let pack = from_fn_with_state(edge.clone(), gzip::answers);
        router.route(self.path, if self.packs { handler.route_layer(pack) } else { handler })
    }
}

/// Lets a request pass with its [`Principal`], or refuses it.
async fn check(
    State((edge, access)): State<(Arc<Edge>, Access)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    match access {
        Access::Own => {}
        Access::Open => edge.addresses.take(from(&edge, &request))?,
        Access::Operator if is_local(&request) => {}
        Access::Operator => {
            let principal = principal(&edge, request.headers(), from(&edge, &request)).await?;
            if !principal.scope.admin {
                return Err(Error::Scope("admin"));
            }
        }
        Access::Scope(need) => {
            let principal = principal(&edge, request.headers(), from(&edge, &request)).await?;
            if !need.met_by(principal.scope) {
                return Err(Error::Scope(need.word()));
            }
            edge.quota.take(&principal)?;
            request.extensions_mut().insert(principal);
        }
    }
    Ok(next.run(request).await)
}

/// Who sent a request, by its token; it must be the device that the request says, if it says one.
async fn principal(edge: &Edge, headers: &HeaderMap, from: IpAddr) -> Result<Principal, Error> {
    let header = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let principal = edge.admit(bearer(header), from).await?;
    check_device(&principal, headers)?;
    Ok(principal)
}

/// The address that a request comes from.
fn from(edge: &Edge, request: &Request) -> IpAddr {
    let nowhere = IpAddr::from([0, 0, 0, 0]);
    let peer = request.extensions().get::<Peer>();
    peer.map_or(nowhere, |peer| edge.address(peer, request.headers()))
}

/// The token's device must be the one in the headers, if one is there.
pub(crate) fn check_device(principal: &Principal, headers: &HeaderMap) -> Result<(), Error> {
    let said = headers.get_all(DEVICE_ID).iter();
    let same = said.map(|value| value.as_bytes() == principal.device.as_str().as_bytes());
    if same.into_iter().all(|same| same) { Ok(()) } else { Err(Error::DeviceMismatch) }
}

/// Whether a program of this machine asks, and neither a proxy on it nor somebody else's page in its
/// browser. Only programs leave the host out.
fn is_local(request: &Request) -> bool {
    let headers = request.headers();
    let named = !headers.contains_key(HOST) || loopback_host(headers).is_some();
    request.extensions().get::<Peer>().is_some_and(|peer| named && is_near(peer, headers))
}
