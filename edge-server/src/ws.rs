//! One WebSocket: upgrade, hello, then frames in both directions until one side ends it. Who asks for
//! no subprotocol speaks JSON (`json`).
//!
//! It knows tokens only to hand them to `auth`, and frames only as bytes; the first one is decoded
//! because it holds the token. Invariant: a socket ends with a close frame that carries one of the
//! protocol's codes, unless the peer is gone; and whatever ends it, its room hears of it.

pub(crate) mod echo;
mod json;

use crate::aggregate::Caller;
use crate::auth::{Principal, bearer};
use crate::edge::Edge;
use crate::error::Error;
use crate::http::request::RequestId;
use crate::http::route::{DEVICE_ID, check_device};
use crate::hub::Membership;
use crate::limits::{CLOSE_TIMEOUT, JSON_BYTES_MAX, READ_BYTES_MAX, STRANGER_BYTES_MAX};
use crate::listen::{Peer, stopped};
use crate::metrics::{Count, Metrics, Timing};
use crate::outbox::{Delivery, OutboxReader, Outgoing};
use crate::quota::Of;
use crate::wire::Credit;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use omega_sync_core::message::{ClientFrame, CloseCode, Hello, SUBPROTOCOL, TOKEN_SUBPROTOCOL};
use omega_sync_core::pattern::exchange::{Answer, Outcome, is_request};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite;
use tracing::Instrument;

/// Read at once from a socket; small, for there are many sockets and few large frames.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Gathered before it is written to a socket.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// Answers about patterns that wait to be written to a socket.
const TASTE_ANSWERS_MAX: usize = 1;

type Sink = SplitSink<WebSocket, Message>;
type Stream = SplitStream<WebSocket>;

/// How a socket ends.
#[derive(Debug)]
enum End {
    /// With our close frame.
    Close(CloseCode),
    /// With our close frame, and nothing more can be read.
    CloseUnread(CloseCode),
    /// The peer has ended it.
    Gone,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Close(error.close_code())
    }
}

/// `GET /ws`.
pub(crate) async fn upgrade(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    let upgrade = upgrade.map_err(|_| Error::UpgradeRequired)?.protocols([SUBPROTOCOL]);
    // Who asks for no protocol speaks JSON.
    let json = !headers.contains_key(SEC_WEBSOCKET_PROTOCOL);
    if !json && upgrade.selected_protocol().is_none() {
        return Err(Error::UpgradeRequired);
    }
    // Browsers can't set the header, nor read the answer to a refused request: their token is checked
    // when the socket is open.
    let asked = asked_token(&headers);
    let from = edge.address(&peer, &headers);
    let principal = match headers.get(AUTHORIZATION) {
        Some(value) => Some(edge.admit(bearer(value.as_bytes()), from).await?),
        None => None,
    };
    let mut named = HeaderMap::new();
    for device in headers.get_all(DEVICE_ID) {
        named.append(DEVICE_ID, device.clone());
    }
    if let Some(principal) = &principal {
        check_device(principal, &named)?;
    }
    let credit = peer.credit.clone();
    if principal.is_none() {
        credit.limit(STRANGER_BYTES_MAX);
    }
    let claim = Claim { principal, asked, named, from, credit };
    let bytes_max = if json { JSON_BYTES_MAX } else { READ_BYTES_MAX };
    // The request is over when the socket is open, and the socket goes by its id.
    let span = tracing::info_span!(parent: None, "session", id = id.as_str());
    Ok(sized(upgrade, bytes_max).on_upgrade(async move |socket| {
        run(&edge, socket, claim, json).instrument(span).await;
        // Until here the socket counts as a connection.
        drop(peer);
    }))
}

/// An upgrade to a socket that reads no more than this at once.
fn sized(upgrade: WebSocketUpgrade, bytes_max: usize) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_frame_size(bytes_max)
        .max_message_size(bytes_max)
}

/// The token among the subprotocols that were asked for.
fn asked_token(headers: &HeaderMap) -> Option<String> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut entries = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    entries.find_map(|entry| entry.trim().strip_prefix(TOKEN_SUBPROTOCOL)).map(str::to_owned)
}

/// What a request for a socket says of who sends it.
struct Claim {
    /// By the token in its `Authorization` header.
    principal: Option<Principal>,
    /// The token among the subprotocols.
    asked: Option<String>,
    /// The devices that the token must be for.
    named: HeaderMap,
    /// The address that it comes from.
    from: IpAddr,
    /// The bytes that the connection may send.
    credit: Arc<Credit>,
}

async fn run(edge: &Edge, socket: WebSocket, claim: Claim, json: bool) {
    let (mut sink, mut stream) = socket.split();
    let end = match edge.sockets.clone().try_acquire_owned() {
        Ok(_place) => {
            let end = match json {
                true => json::session(edge, &mut sink, &mut stream, claim).await,
                false => session(edge, &mut sink, &mut stream, claim).await,
            };
            return close(edge, end, &mut sink, &mut stream).await;
        }
        Err(_) => End::from(Error::Overloaded),
    };
    close(edge, end, &mut sink, &mut stream).await;
}

async fn session(edge: &Edge, sink: &mut Sink, stream: &mut Stream, claim: Claim) -> End {
    let mut stopping = edge.stopping.subscribe();
    let credit = claim.credit.clone();
    let opened = tokio::select! {
        opened = timeout(edge.limits.hello_timeout, open(edge, stream, claim)) => {
            opened.unwrap_or(Err(Error::Idle.into()))
        }
        () = stopped(&mut stopping) => Err(Error::Stopping.into()),
    };
    let (principal, hello) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    credit.lift();
    let _place = match edge.quota.open(&principal) {
        Ok(place) => place,
        Err(error) => return error.into(),
    };
    let (sender, mut outbox) = edge.outboxes.open();
    let membership = match edge.hub.join(&principal, hello, sender) {
        Ok(membership) => membership,
        Err(code) => return End::Close(code),
    };
    tracing::debug!(household = %principal.household, device = %principal.device, "joined");
    let permitted = principal.ends.duration_since(SystemTime::now()).unwrap_or_default();
    let urgent = outbox.urgent();
    let (answers, mut answered) = mpsc::channel(TASTE_ANSWERS_MAX);
    let taste = Taste { edge, principal: &principal, answers };
    let end = tokio::select! {
        biased;
        code = urgent => End::Close(code),
        end = read(edge, stream, &membership, &taste) => end,
        end = write(edge, sink, &mut outbox, &mut answered) => end,
        () = sleep(permitted) => End::Close(CloseCode::Unauthorized),
        () = edge.revoked.ended(&principal) => End::Close(CloseCode::Unauthorized),
    };
    tracing::debug!(household = %principal.household, device = %principal.device, ?end, "left");
    end
}

/// Waits for the hello and finds out who says it. A token in the request's headers counts before the
/// hello's.
async fn open(edge: &Edge, stream: &mut Stream, claim: Claim) -> Result<(Principal, Hello), End> {
    let frame = next_frame(stream).await?;
    let mut hello = match ClientFrame::decode(&frame).map_err(Error::from)? {
        ClientFrame::Hello(hello) => hello,
        _ => return Err(Error::Malformed("the first frame must be a hello").into()),
    };
    let token = claim.asked.unwrap_or_else(|| std::mem::take(&mut hello.token));
    let principal = match claim.principal {
        Some(principal) => principal,
        None => edge.admit(&token, claim.from).await.map_err(End::from)?,
    };
    check_device(&principal, &claim.named).map_err(End::from)?;
    if !principal.scope.read {
        return Err(Error::Scope("read").into());
    }
    if hello.household.is_some_and(|mark| mark != principal.household.mark()) {
        return Err(Error::HouseholdMismatch.into());
    }
    Ok((principal, hello))
}

/// Requests about patterns that a socket sends: they are no household's business, so they don't pass its
/// room. One is answered before the next is read.
struct Taste<'a> {
    edge: &'a Edge,
    principal: &'a Principal,
    answers: mpsc::Sender<Vec<u8>>,
}

impl Taste<'_> {
    async fn answer(&self, frame: &[u8]) -> Result<(), End> {
        let answer = answer_taste(self.edge, self.principal, frame, None).await?;
        // The writer is gone only with the socket.
        let _ = self.answers.send(answer).await;
        Ok(())
    }
}

/// The answer to a request about patterns, which counts as a request in the rates.
pub(crate) async fn answer_taste(
    edge: &Edge,
    principal: &Principal,
    frame: &[u8],
    version: Option<u64>,
) -> Result<Vec<u8>, Error> {
    if let Err(Error::RateLimited(seconds)) = edge.quota.take(principal) {
        let outcome = Outcome::RateLimited(seconds);
        return Ok(Answer { outcome, ..Answer::default() }.encode());
    }
    let caller = Caller {
        household: principal.household.clone(),
        device: principal.device.clone(),
        region: principal.region.clone(),
        may_write: principal.scope.write,
    };
    Ok(edge.aggregate.exchange(&caller, frame, version).await?)
}

/// Hands every frame to the room; reads no further while the room's inbox is full.
async fn read(edge: &Edge, stream: &mut Stream, membership: &Membership, taste: &Taste<'_>) -> End {
    loop {
        let end = Instant::now() + edge.limits.idle_timeout;
        let message = match timeout_at(end, next_message(stream)).await {
            Ok(Ok(message)) => message,
            Ok(Err(end)) => return end,
            Err(_) => return Error::Idle.into(),
        };
        // Pings count too: each is answered.
        if let Err(error) = edge.quota.spend(taste.principal, Of::Operations, 1) {
            return error.into();
        }
        let frame = match binary(message) {
            Ok(Some(frame)) => frame,
            Ok(None) => continue,
            Err(error) => return error.into(),
        };
        edge.metrics.add(Count::FramesReceived, 1);
        edge.metrics.add(Count::BytesReceived, frame.len());
        if let Err(error) = edge.quota.spend(taste.principal, Of::Bytes, frame.len()) {
            return error.into();
        }
        if is_request(&frame) {
            if let Err(end) = taste.answer(&frame).await {
                return end;
            }
            continue;
        }
        if membership.deliver(frame).await.is_err() {
            // The outbox says with which code.
            return std::future::pending().await;
        }
    }
}

/// Writes frames as they come, as many at once as there are, and pings.
async fn write(
    edge: &Edge,
    sink: &mut Sink,
    outbox: &mut OutboxReader,
    answered: &mut mpsc::Receiver<Vec<u8>>,
) -> End {
    let mut pings = interval(edge.limits.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.tick().await;
    loop {
        let first = tokio::select! {
            outgoing = outbox.next() => Some(outgoing),
            Some(answer) = answered.recv() => {
                edge.metrics.add(Count::FramesSent, 1);
                edge.metrics.add(Count::BytesSent, answer.len());
                match sink.send(Message::Binary(answer.into())).await {
                    Ok(()) => continue,
                    Err(error) => return broken(&error),
                }
            }
            _ = pings.tick() => None,
        };
        let written = match first {
            Some(first) => write_all(&edge.metrics, sink, outbox, first).await,
            None => sink.send(Message::Ping(Bytes::new())).await.map(|()| None),
        };
        match written {
            Ok(None) => {}
            Ok(Some(code)) => return End::Close(code),
            Err(error) => return broken(&error),
        }
    }
}

/// Writes a frame and those that wait behind it, then flushes; returns the code to close with, if
/// that came up.
async fn write_all(
    metrics: &Metrics,
    sink: &mut Sink,
    outbox: &mut OutboxReader,
    first: Outgoing,
) -> Result<Option<CloseCode>, axum::Error> {
    let mut size = 0;
    let mut updates = Vec::new();
    let mut code = None;
    let mut next = Some(first);
    while let Some(outgoing) = next {
        match outgoing {
            Outgoing::Frame(frame) => {
                size += frame.len();
                metrics.add(Count::FramesSent, 1);
                sink.feed(Message::Binary(frame)).await?;
            }
            Outgoing::Update(frame, since) => {
                size += frame.len();
                updates.push(since);
                metrics.add(Count::FramesSent, 1);
                sink.feed(Message::Binary(frame)).await?;
            }
            Outgoing::Close(close) => {
                code = Some(close);
                break;
            }
            Outgoing::Command(Delivery { bytes, deadline, .. }) => {
                size += bytes.len();
                if Instant::now() < deadline {
                    metrics.add(Count::FramesSent, 1);
                    sink.feed(Message::Binary(bytes)).await?;
                }
            }
        }
        next = outbox.try_next();
    }
    sink.flush().await?;
    outbox.written(size);
    for since in updates {
        metrics.observe(Timing::FanOut, since.elapsed());
    }
    metrics.add(Count::BytesSent, size);
    Ok(code)
}

/// The next binary frame.
async fn next_frame(stream: &mut Stream) -> Result<Bytes, End> {
    loop {
        if let Some(frame) = binary(next_message(stream).await?)? {
            return Ok(frame);
        }
    }
}

/// The frame in a message, `None` for a ping or pong.
fn binary(message: Message) -> Result<Option<Bytes>, Error> {
    match message {
        Message::Binary(frame) => Ok(Some(frame)),
        Message::Text(_) => Err(Error::Malformed("frames are binary")),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(None),
    }
}

/// The next message of whatever kind; the library answers pings.
async fn next_message(stream: &mut Stream) -> Result<Message, End> {
    match stream.next().await {
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(broken(&error)),
    }
}

fn broken(error: &axum::Error) -> End {
    use tungstenite::Error::{Capacity, Io, Protocol, Utf8};
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<tungstenite::Error>()) {
        Some(Capacity(_)) => End::CloseUnread(CloseCode::TooLarge),
        Some(Protocol(_) | Utf8(_)) => End::CloseUnread(CloseCode::Malformed),
        Some(Io(error)) if error.kind() == ErrorKind::TimedOut => End::Close(CloseCode::Slow),
        Some(Io(error)) if error.kind() == ErrorKind::QuotaExceeded => {
            End::CloseUnread(CloseCode::TooLarge)
        }
        _ => End::Gone,
    }
}

/// Says goodbye and gives the peer a moment to hear it: a socket dropped with unread bytes is
/// reset, and a reset can overtake the close frame.
async fn close(edge: &Edge, end: End, sink: &mut Sink, stream: &mut Stream) {
    let (code, readable) = match end {
        End::Close(code) => (code, true),
        End::CloseUnread(code) => (code, false),
        End::Gone => {
            // Completes the peer's closing handshake, if there is one.
            let _ = timeout(CLOSE_TIMEOUT, sink.close()).await;
            return;
        }
    };
    edge.metrics.closed(code);
    let frame = CloseFrame { code: code.code(), reason: code.reason().into() };
    let goodbye = async {
        sink.send(Message::Close(Some(frame))).await?;
        if readable {
            while let Some(Ok(_)) = stream.next().await {}
        } else {
            sleep(CLOSE_TIMEOUT).await;
        }
        Ok::<(), axum::Error>(())
    };
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}
