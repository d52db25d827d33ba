//! A WebSocket that speaks JSON: for programs that don't run the core, down to a person with `wscat`.
//!
//! The first message says the token, unless the request's headers did. Every message may carry an
//! `id`, which its answer repeats. A message that is wrong is answered with an error and the socket
//! lives on; what its household's room refuses closes nothing either. Invariant: an `ack` of a change
//! says that it is durable.

use super::{Claim, End, Sink, Stream, broken, next_message};
use crate::auth::Principal;
use crate::edge::Edge;
use crate::error::Error;
use crate::http::body::read_value;
use crate::http::devices::{DeviceChange, HandoffRequest, command_device, hand_off_title};
use crate::http::household::{WatchlistChange, note};
use crate::http::route::check_device;
use crate::json::command::CommandBody;
use crate::json::value::{
    State, content_id, device_id, hlc, millis, optional, profile_id, seconds, when,
};
use crate::limits::{MESSAGE_ID_BYTES_MAX, REPLIES_MAX};
use crate::listen::stopped;
use crate::metrics::Count;
use crate::outbox::{Delivery, OutboxReader, Outgoing};
use crate::quota::Of;
use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use futures_util::SinkExt;
use omega_sync_core::clock::Timestamp;
use omega_sync_core::id::{ContentId, DeviceId, ProfileId};
use omega_sync_core::message::CloseCode;
use omega_sync_core::operation::{PlayState, Progress};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::SystemTime;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

/// One session, from its token to its end.
pub(super) async fn session(
    edge: &Edge,
    sink: &mut Sink,
    stream: &mut Stream,
    claim: Claim,
) -> End {
    let mut stopping = edge.stopping.subscribe();
    let opened = tokio::select! {
        opened = timeout(edge.limits.hello_timeout, open(edge, sink, stream, &claim)) => {
            opened.unwrap_or(Err(Error::Idle.into()))
        }
        () = stopped(&mut stopping) => Err(Error::Stopping.into()),
    };
    let principal = match opened {
        Ok(principal) => principal,
        Err(end) => return end,
    };
    claim.credit.lift();
    let _place = match edge.quota.open(&principal) {
        Ok(place) => place,
        Err(error) => return error.into(),
    };
    let (sender, mut news) = edge.outboxes.open();
    // Dropping it is leaving.
    let _membership = match edge.hub.listen(&principal, sender) {
        Ok(membership) => membership,
        Err(code) => return End::Close(code),
    };
    let (present, who) = watch::channel(principal.clone());
    let (replies, mut answers) = mpsc::channel(REPLIES_MAX);
    let urgent = news.urgent();
    let mut reader = Reader { edge, principal, claim: &claim, present, replies };
    tokio::select! {
        biased;
        code = urgent => End::Close(code),
        end = reader.run(stream) => end,
        end = write(edge, sink, &mut news, &mut answers) => end,
        () = until(edge, who) => End::Close(CloseCode::Unauthorized),
    }
}

/// Who it is, by the headers or the first message.
async fn open(
    edge: &Edge,
    sink: &mut Sink,
    stream: &mut Stream,
    claim: &Claim,
) -> Result<Principal, End> {
    if let Some(principal) = &claim.principal {
        return readable(principal.clone()).map_err(End::from);
    }
    let message = loop {
        if let Some(text) = text(next_message(stream).await?)? {
            break Received::read(&text);
        }
    };
    let (kind, rest) = message.said.map_err(End::from)?;
    if kind != "auth" {
        return Err(End::Close(CloseCode::Unauthorized));
    }
    let principal = authenticate(edge, claim, rest).await.map_err(End::from)?;
    let ack = Message::Text(reply(message.id, Ok(None)).into());
    sink.send(ack).await.map_err(|error| broken(&error))?;
    Ok(principal)
}

async fn authenticate(edge: &Edge, claim: &Claim, message: Value) -> Result<Principal, Error> {
    let AuthMessage { token } = read_value(message)?;
    let principal = edge.admit(&token, claim.from).await?;
    check_device(&principal, &claim.named)?;
    readable(principal)
}

fn readable(principal: Principal) -> Result<Principal, Error> {
    if principal.scope.read { Ok(principal) } else { Err(Error::Scope("read")) }
}

/// Waits until the permission ends, which may be put off meanwhile.
async fn until(edge: &Edge, mut who: watch::Receiver<Principal>) {
    loop {
        let principal = who.borrow_and_update().clone();
        let permitted = principal.ends.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::select! {
            () = sleep(permitted) => return,
            () = edge.revoked.ended(&principal) => return,
            changed = who.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// The text of a message, `None` for a ping or pong.
fn text(message: Message) -> Result<Option<Utf8Bytes>, End> {
    match message {
        Message::Text(text) => Ok(Some(text)),
        Message::Binary(_) => Err(End::Close(CloseCode::Malformed)),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(None),
    }
}

/// A `progress_update`: what is left out is as it was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressMessage {
    #[serde(deserialize_with = "content_id")]
    content_id: ContentId,
    #[serde(deserialize_with = "seconds")]
    position_seconds: u32,
    #[serde(default, deserialize_with = "optional::seconds")]
    duration_seconds: Option<u32>,
    state: Option<State>,
    #[serde(default, deserialize_with = "profile_id")]
    profile: ProfileId,
    #[serde(default, deserialize_with = "millis")]
    timestamp: Option<u64>,
    #[serde(default, deserialize_with = "hlc")]
    hlc: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuthMessage {
    token: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandMessage {
    #[serde(deserialize_with = "device_id")]
    target_device_id: DeviceId,
    command: CommandBody,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyMessage {}

/// A message; whatever is wrong with it, its answer has its id.
struct Received {
    id: Option<Value>,
    /// Its type, and all but type and id.
    said: Result<(String, Value), Error>,
}

impl Received {
    fn read(text: &str) -> Self {
        let wrong = |error| Self { id: None, said: Err(error) };
        let mut fields: Map<String, Value> = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return wrong(Error::Malformed("the message is no object")),
            Err(_) => return wrong(Error::Malformed("the message is no JSON")),
        };
        let id = fields.remove("id").filter(|id| !id.is_null());
        let fits = id.as_ref().is_none_or(|id| match id {
            Value::String(text) => text.len() <= MESSAGE_ID_BYTES_MAX,
            other => other.is_number(),
        });
        if !fits {
            let detail = format!("it must be a number or a text of {MESSAGE_ID_BYTES_MAX} bytes");
            return wrong(Error::field("id", detail));
        }
        let said = match fields.remove("type") {
            Some(Value::String(kind)) => Ok((kind, Value::Object(fields))),
            _ => Err(Error::field("type", "it is missing, or no text")),
        };
        Self { id, said }
    }
}

/// An answer: `ack` with what more there is to say, or `error`.
fn reply(id: Option<Value>, result: Result<Option<Value>, Error>) -> String {
    let mut reply = match result {
        Ok(Some(more)) => more,
        Ok(None) => json!({"type": "ack"}),
        Err(error) => {
            let code = error.kind().code();
            let mut reply = json!({"type": "error", "code": code, "message": error.to_string()});
            if let Some(seconds) = error.retry_after_s() {
                reply["retry_after"] = seconds.into();
            }
            if let Error::Invalid(errors) = error {
                reply["errors"] = json!(errors);
            }
            reply
        }
    };
    if let Some(id) = id {
        reply["id"] = id;
    }
    reply.to_string()
}

/// A change is durable.
fn ack((timestamp, hlc): (u64, &str)) -> Value {
    json!({"type": "ack", "timestamp": timestamp, "hlc": hlc})
}

/// Takes messages, one after the other.
struct Reader<'a> {
    edge: &'a Edge,
    principal: Principal,
    claim: &'a Claim,
    present: watch::Sender<Principal>,
    replies: mpsc::Sender<String>,
}

impl Reader<'_> {
    async fn run(&mut self, stream: &mut Stream) -> End {
        loop {
            let idle = Instant::now() + self.edge.limits.idle_timeout;
            let message = match timeout_at(idle, next_message(stream)).await {
                Ok(Ok(message)) => message,
                Ok(Err(end)) => return end,
                Err(_) => return Error::Idle.into(),
            };
            // Whatever it is costs something to read, and most of it an answer.
            if let Err(error) = self.edge.quota.spend(&self.principal, Of::Operations, 1) {
                return error.into();
            }
            let text = match text(message) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(end) => return end,
            };
            self.edge.metrics.add(Count::FramesReceived, 1);
            self.edge.metrics.add(Count::BytesReceived, text.len());
            let reply = self.take(&text).await;
            if self.replies.send(reply).await.is_err() {
                return End::Gone;
            }
        }
    }

    async fn take(&mut self, text: &str) -> String {
        let Received { id, said } = Received::read(text);
        let paid = said.and_then(|said| {
            self.edge.quota.spend(&self.principal, Of::Bytes, text.len())?;
            Ok(said)
        });
        match paid {
            Ok((kind, rest)) => reply(id, self.answer(&kind, rest).await),
            Err(error) => reply(id, Err(error)),
        }
    }

    async fn answer(&mut self, kind: &str, message: Value) -> Result<Option<Value>, Error> {
        self.edge.quota.take(&self.principal)?;
        match kind {
            "ping" => {
                let EmptyMessage {} = read_value(message)?;
                Ok(Some(json!({"type": "pong"})))
            }
            "device_heartbeat" => {
                let EmptyMessage {} = read_value(message)?;
                self.edge.hub.see(&self.principal).await.map_err(Error::Room)?;
                Ok(None)
            }
            "auth" => self.renew(message).await,
            "watchlist_update" => {
                self.may_write()?;
                let change: WatchlistChange = read_value(message)?;
                let changed = change.carry_out(self.edge, &self.principal).await?;
                Ok(Some(ack(changed.stamp())))
            }
            "progress_update" => {
                self.may_write()?;
                self.progress(read_value(message)?).await
            }
            "device_describe" => {
                self.may_write()?;
                let change: DeviceChange = read_value(message)?;
                let own = self.principal.device.clone();
                change.carry_out(self.edge, &self.principal, own).await?;
                Ok(None)
            }
            "device_command" => {
                self.may_control()?;
                let CommandMessage { target_device_id, command } = read_value(message)?;
                let told = command_device(self.edge, &self.principal, target_device_id, command);
                let told = told.await?;
                Ok(Some(json!({
                    "type": "ack", "command_id": told.command_id, "status": told.status,
                })))
            }
            "device_handoff" => {
                self.may_control()?;
                let wanted: HandoffRequest = read_value(message)?;
                let done = hand_off_title(self.edge, &self.principal, wanted).await?;
                Ok(Some(json!({"type": "ack", "position_seconds": done.position_seconds})))
            }
            _ => Err(Error::field("type", "there is no such message")),
        }
    }

    /// A later token of the same device puts the end off.
    async fn renew(&mut self, message: Value) -> Result<Option<Value>, Error> {
        let principal = authenticate(self.edge, self.claim, message).await?;
        if principal.household != self.principal.household {
            return Err(Error::HouseholdMismatch);
        }
        if principal.device != self.principal.device {
            return Err(Error::DeviceMismatch);
        }
        self.present.send_replace(principal.clone());
        self.principal = principal;
        Ok(None)
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.principal.scope.write { Ok(()) } else { Err(Error::Scope("write")) }
    }

    fn may_control(&self) -> Result<(), Error> {
        if self.principal.scope.control { Ok(()) } else { Err(Error::Scope("control")) }
    }

    async fn progress(&self, message: ProgressMessage) -> Result<Option<Value>, Error> {
        let ProgressMessage { content_id, position_seconds, profile, .. } = message;
        let (duration, state) = (message.duration_seconds, message.state);
        let progress = move |known: Option<Progress>| Progress {
            position_s: position_seconds,
            duration_s: duration.unwrap_or(known.map_or(0, |known| known.duration_s)),
            state: match state {
                Some(state) => state.into(),
                None => known.map_or(PlayState::Playing, |known| known.state),
            },
        };
        let at = when(message.timestamp, message.hlc);
        let noted = note(self.edge, &self.principal, profile, content_id, at, progress).await?;
        Ok(Some(ack(noted.stamp())))
    }
}

/// Writes answers and news as they come, and pings.
async fn write(
    edge: &Edge,
    sink: &mut Sink,
    news: &mut OutboxReader,
    answers: &mut mpsc::Receiver<String>,
) -> End {
    let mut pings = interval(edge.limits.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.tick().await;
    loop {
        let mut command: Option<Box<dyn FnOnce() + Send>> = None;
        let message = tokio::select! {
            biased;
            Some(answer) = answers.recv() => Message::Text(answer.into()),
            outgoing = news.next() => match outgoing {
                Outgoing::Close(code) => return End::Close(code),
                Outgoing::Command(Delivery { bytes, deadline, written }) => {
                    news.written(bytes.len());
                    if Instant::now() >= deadline {
                        continue;
                    }
                    command = written;
                    match text_of(bytes) {
                        Ok(message) => message,
                        Err(end) => return end,
                    }
                }
                Outgoing::Frame(bytes) | Outgoing::Update(bytes, _) => {
                    news.written(bytes.len());
                    match text_of(bytes) {
                        Ok(message) => message,
                        Err(end) => return end,
                    }
                }
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        if let Message::Text(text) = &message {
            edge.metrics.add(Count::FramesSent, 1);
            edge.metrics.add(Count::BytesSent, text.len());
        }
        if let Err(error) = sink.send(message).await {
            return broken(&error);
        }
        if let Some(written) = command {
            written();
        }
    }
}

fn text_of(bytes: Bytes) -> Result<Message, End> {
    Utf8Bytes::try_from(bytes).map(Message::Text).map_err(|_| Error::Internal.into())
}
