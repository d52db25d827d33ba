//! `GET /dev/echo`: a WebSocket that says back what it hears. Conformance tests of RFC 6455 need one; it
//! has the framing, the bounds and the ends of the other sockets. With `--dev` only.

use super::{Sink, Stream, sized};
use crate::edge::Edge;
use crate::error::Error;
use crate::limits::{CLOSE_TIMEOUT, READ_BYTES_MAX};
use crate::listen::Peer;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error::{Capacity, Protocol, Utf8};

/// For the other side to read a close frame.
const READ_TIME: Duration = Duration::from_millis(100);

/// `GET /dev/echo`.
pub(crate) async fn upgrade(
    State(edge): State<Arc<Edge>>,
    Extension(peer): Extension<Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Error> {
    if !peer.address.ip().to_canonical().is_loopback() {
        return Err(Error::Origin("the echo is for this machine only"));
    }
    let upgrade = upgrade.map_err(|_| Error::UpgradeRequired)?;
    Ok(sized(upgrade, READ_BYTES_MAX).on_upgrade(async move |socket| {
        let (mut sink, mut stream) = socket.split();
        let end = echo(&edge, &mut sink, &mut stream).await;
        if let Some(code) = end {
            let reason = "".into();
            let _ = sink.send(Message::Close(Some(CloseFrame { code, reason }))).await;
            // Until the other side has read it; unread bytes would make a reset of our end.
            sleep(READ_TIME).await;
        } else {
            // Completes the other side's closing handshake, if there is one.
            let _ = timeout(CLOSE_TIMEOUT, sink.close()).await;
        }
        drop(peer);
    }))
}

/// Ends with the RFC's own code, if it is for us to say one. The other sockets have codes of their own.
async fn echo(edge: &Edge, sink: &mut Sink, stream: &mut Stream) -> Option<u16> {
    loop {
        let message = match timeout(edge.limits.idle_timeout, stream.next()).await {
            Err(_) => return Some(close_code::AWAY),
            Ok(None | Some(Ok(Message::Close(_)))) => return None,
            Ok(Some(Err(error))) => return code_of(&error),
            // The library answers pings.
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(message))) => message,
        };
        if sink.send(message).await.is_err() {
            return None;
        }
    }
}

/// RFC 6455, section 7.4.1.
fn code_of(error: &axum::Error) -> Option<u16> {
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref()) {
        Some(Capacity(_)) => Some(close_code::SIZE),
        Some(Utf8(_)) => Some(close_code::INVALID),
        Some(Protocol(_)) => Some(close_code::PROTOCOL),
        _ => None,
    }
}
