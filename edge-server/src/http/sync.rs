//! The binary protocol in one request, for where there is no WebSocket: a whole session, or one request about
//! taste alone.
//!
//! A page that closes can't set headers (`navigator.sendBeacon`), so the token may also be in the
//! hello; before it is read, such a body has a lower limit. Invariant: the bytes of all bodies that
//! are being read are bounded together.

use crate::auth::{Principal, bearer};
use crate::edge::Edge;
use crate::error::Error;
use crate::http::SYNC_VERSION;
use crate::http::body::check_head;
use crate::http::route::check_device;
use crate::limits::BEACON_BYTES_MAX;
use crate::listen::Peer;
use crate::quota::Of;
use crate::ws::answer_taste;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use omega_sync_core::clock::Timestamp;
use omega_sync_core::message::{CloseCode, EXCHANGE_BYTES_MAX, Exchange, Exchanged, Hello};
use omega_sync_core::pattern::exchange::is_request;
use omega_sync_core::session::server::{ConnectionId, RoomOutput};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A session's frames, and the code it was closed with if it did not come to its end.
type Said = (Vec<Vec<u8>>, Option<CloseCode>);

/// The media type of a session's bodies.
pub(crate) const BINARY: &str = "application/octet-stream";

/// `POST /api/v1/sync`.
pub(crate) async fn sync(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    // A beacon of plain bytes has no type.
    let said = headers.get(CONTENT_TYPE).map(|said| said.as_bytes());
    if said.is_some_and(|said| !said.eq_ignore_ascii_case(BINARY.as_bytes())) {
        return Err(Error::MediaType(BINARY));
    }
    let header = headers.get(AUTHORIZATION).map(|value| bearer(value.as_bytes()));
    let known = match header {
        Some(token) => Some(edge.admit(token, edge.address(&peer, &headers)).await?),
        None => None,
    };
    let bytes_max = if known.is_some() { EXCHANGE_BYTES_MAX } else { BEACON_BYTES_MAX };
    check_head(&headers, bytes_max)?;
    let (bytes, place) = read(&edge, body, bytes_max).await?;
    let version = known_version(&headers)?;
    // A session's body begins with the length of its hello, which is never that small.
    if is_request(&bytes) {
        let principal = match known {
            Some(principal) => principal,
            None => edge.admit("", edge.address(&peer, &headers)).await?,
        };
        admit(&edge, &principal, &headers, 1, bytes.len())?;
        return Ok(binary(answer_taste(&edge, &principal, &bytes, version).await?));
    }
    let Exchange { mut hello, acked, frames } = Exchange::decode(&bytes)?;
    let token = std::mem::take(&mut hello.token);
    let principal = match known {
        Some(principal) => principal,
        None => edge.admit(&token, edge.address(&peer, &headers)).await?,
    };
    edge.quota.take(&principal)?;
    admit(&edge, &principal, &headers, 1 + frames.len(), bytes.len())?;
    let frames = frames.into_iter().map(<[u8]>::to_vec);
    let (requests, frames): (Vec<_>, Vec<_>) = frames.partition(|frame| is_request(frame));
    if requests.len() > 1 {
        return Err(Error::Malformed("one request about patterns at a time"));
    }
    drop(bytes);
    let of = principal.clone();
    let (mut frames, close) = exchange(&edge, principal, hello, acked, frames, place).await?;
    for request in requests.iter().filter(|_| close.is_none()) {
        frames.push(answer_taste(&edge, &of, request, version).await?);
    }
    Ok(binary(Exchanged::encode(&frames, close)))
}

/// Whether it may ask for so much.
fn admit(
    edge: &Edge,
    principal: &Principal,
    headers: &HeaderMap,
    frames: usize,
    bytes: usize,
) -> Result<(), Error> {
    check_device(principal, headers)?;
    if !principal.scope.read {
        return Err(Error::Scope("read"));
    }
    edge.quota.spend(principal, Of::Operations, frames)?;
    edge.quota.spend(principal, Of::Bytes, bytes)?;
    Ok(())
}

fn binary(body: Vec<u8>) -> Response {
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([(CONTENT_TYPE, HeaderValue::from_static(BINARY)), no_store], body).into_response()
}

/// The version of the global patterns that the device has, if a header says it.
fn known_version(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let Some(value) = headers.get(SYNC_VERSION) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    let wrong = || Error::field("X-Sync-Version", "it must be a number that the server has given");
    number.map(Some).ok_or_else(wrong)
}

/// Reads a body, chunk by chunk, as far as there is room for all that are being read.
async fn read(
    edge: &Edge,
    body: Body,
    bytes_max: usize,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Error> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut place: Option<OwnedSemaphorePermit> = None;
    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(|_| Error::Malformed("the body broke off"))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(Error::TooLarge(bytes_max));
        }
        let size = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        let more = edge.exchanges.clone().try_acquire_many_owned(size);
        let more = more.map_err(|_| Error::Overloaded)?;
        match &mut place {
            Some(place) => place.merge(more),
            None => place = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, place))
}

/// The session in the household's room.
async fn exchange(
    edge: &Edge,
    principal: Principal,
    hello: Hello,
    acked: Timestamp,
    frames: Vec<Vec<u8>>,
    place: Option<OwnedSemaphorePermit>,
) -> Result<Said, Error> {
    let connection = edge.hub.connection();
    let Principal { household, device, scope, region, .. } = principal;
    let quota = edge.quota.clone();
    let exchanged = edge.hub.call(&household, move |mut view| {
        view.locate(region);
        view.presence.see(&device, view.now);
        let before = view.room.operations();
        let frames = frames.iter().map(Vec::as_slice).collect();
        let request = Exchange { hello, acked, frames };
        let outputs = view.room.exchange(view.now, connection, request, scope.write);
        drop(place);
        let operations = usize::try_from(view.room.operations() - before).unwrap_or_default();
        // What is owed is for the next request to wait for.
        let _ = quota.charge(view.room.id(), &device, Of::Operations, operations);
        part(connection, outputs)
    });
    let (frames, close) = exchanged.await.map_err(Error::Room)?;
    match close {
        Some(code) if frames.is_empty() => Err(Error::Room(code)),
        close => Ok((frames, close)),
    }
}

/// What is for others, and the answer.
fn part(connection: ConnectionId, outputs: Vec<RoomOutput>) -> (Vec<RoomOutput>, Said) {
    let mut others = Vec::new();
    let mut frames = Vec::new();
    let mut close = None;
    for output in outputs {
        match output {
            RoomOutput::Send(to, frame) if to == connection => frames.push(frame),
            RoomOutput::Close(to, code) if to == connection => close = Some(code),
            other => others.push(other),
        }
    }
    (others, (frames, close))
}
