//! Remote commands and handoff: from one device of a household to a live session of another.
//!
//! A command is never stored. It is written to one session of its target, once, within its time to
//! live, or not at all; who sent it hears which. Invariant: "delivered" says that it was written to
//! a session that was alive.

use crate::error::Error;
use crate::http::value::{optional, whole};
use crate::hub::Inside;
use crate::outbox::{Delivery, Outbox};
use omega_sync_core::household::Progress;
use omega_sync_core::id::{ContentId, DeviceId, ProfileId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Highest volume, in percent.
pub const LEVEL_MAX: u8 = 100;

/// What a device is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommandType {
    Play,
    Pause,
    Stop,
    Seek,
    VolumeSet,
    VolumeMute,
    VolumeUnmute,
    LoadContent,
    CastTo,
}

/// A command, with the fields that its type needs and no others.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Command {
    /// What to do
    #[serde(rename = "type")]
    kind: CommandType,
    /// Where to: for `seek`
    #[serde(default, deserialize_with = "optional::seconds")]
    #[schemars(with = "Option<f64>", range(min = 0, max = 4_294_967_295_u32))]
    position_seconds: Option<u32>,
    /// How loud, in percent: for `volume_set`
    #[serde(default, deserialize_with = "level")]
    #[schemars(with = "Option<u8>", range(max = 100))]
    level: Option<u8>,
    /// Which title: for `load_content`
    #[serde(default, deserialize_with = "optional::content")]
    #[schemars(
        with = "Option<String>",
        length(min = 1, max = 64),
        regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")
    )]
    content_id: Option<ContentId>,
    /// Where to begin, in seconds: for `load_content`, if not at the start
    #[serde(default, deserialize_with = "optional::seconds")]
    #[schemars(with = "Option<f64>", range(min = 0, max = 4_294_967_295_u32))]
    start_position: Option<u32>,
    /// To which device: for `cast_to`
    #[serde(default, deserialize_with = "optional::device")]
    #[schemars(
        with = "Option<String>",
        length(min = 1, max = 64),
        regex(pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")
    )]
    target_device_id: Option<DeviceId>,
}

fn level<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let level = whole(from, LEVEL_MAX.into())?;
    Ok(level.and_then(|level| u8::try_from(level).ok()))
}

impl Command {
    /// Loads a title at a position.
    fn load(content: ContentId, position_s: u32) -> Self {
        Self {
            content_id: Some(content),
            start_position: Some(position_s),
            ..Self::plain(CommandType::LoadContent)
        }
    }

    fn plain(kind: CommandType) -> Self {
        Self {
            kind,
            position_seconds: None,
            level: None,
            content_id: None,
            start_position: None,
            target_device_id: None,
        }
    }

    /// The command as its target reads it.
    ///
    /// # Errors
    /// A field that its type needs is missing, or one that it does not have is there.
    fn checked(&self) -> Result<Value, Error> {
        let fields = [
            ("position_seconds", self.position_seconds.map(Value::from)),
            ("level", self.level.map(Value::from)),
            ("content_id", self.content_id.as_ref().map(|content| content.as_str().into())),
            ("start_position", self.start_position.map(Value::from)),
            ("target_device_id", self.target_device_id.as_ref().map(|id| id.as_str().into())),
        ];
        let (needed, possible) = match self.kind {
            CommandType::Seek => (Some("position_seconds"), None),
            CommandType::VolumeSet => (Some("level"), None),
            CommandType::LoadContent => (Some("content_id"), Some("start_position")),
            CommandType::CastTo => (Some("target_device_id"), None),
            CommandType::Play
            | CommandType::Pause
            | CommandType::Stop
            | CommandType::VolumeMute
            | CommandType::VolumeUnmute => (None, None),
        };
        let mut command = json!({"type": self.kind});
        for (name, value) in fields {
            let known = Some(name) == needed || Some(name) == possible;
            match value {
                Some(_) if !known => {
                    return Err(Error::field(name, "this command has no such field"));
                }
                Some(value) => command[name] = value,
                None if Some(name) == needed => {
                    return Err(Error::field(name, "this command needs it"));
                }
                None => {}
            }
        }
        Ok(command)
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CommandStatus")]
pub(crate) enum Status {
    /// It was written to a live session of its target
    Delivered,
    /// Its time was over before it could be
    Expired,
}

/// A command on its way.
pub(crate) struct Sent {
    id: String,
    deadline: Instant,
    written: oneshot::Receiver<()>,
}

impl Sent {
    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Waits until it is written or its time is over.
    pub(crate) async fn status(self) -> Status {
        match timeout_at(self.deadline, self.written).await {
            Ok(Ok(())) => Status::Delivered,
            _ => Status::Expired,
        }
    }
}

/// Puts a command on its way to a live session of a device.
pub(crate) fn send(
    inside: &Inside,
    from: &DeviceId,
    to: &DeviceId,
    command: &Command,
    life: Duration,
) -> Result<Sent, Error> {
    let body = command.checked()?;
    let outbox = session(inside, to)?;
    if let Some(other) = &command.target_device_id {
        let records = inside.room.household().devices();
        let record = records.get(to).and_then(|register| register.value.as_ref());
        if !record.is_some_and(|record| record.capabilities.can_cast) {
            return Err(Error::NotSupported("the device says that it can't cast"));
        }
        known(inside, other)?;
    }
    deliver(outbox, inside, from, body, life)
}

fn deliver(
    outbox: &Outbox,
    inside: &Inside,
    from: &DeviceId,
    body: Value,
    life: Duration,
) -> Result<Sent, Error> {
    let id = format!("{:016x}", getrandom::u64().map_err(|_| Error::Internal)?);
    let life_ms = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    let message = json!({
        "type": "device_command",
        "command_id": id,
        "from": from.as_str(),
        "command": body,
        "expires": inside.now.0.saturating_add(life_ms),
    });
    let deadline = Instant::now() + life;
    let (tell, written) = oneshot::channel();
    let delivery = Delivery { text: message.to_string(), deadline, written: tell };
    outbox.deliver(delivery).map_err(|_| Error::DeviceOffline)?;
    Ok(Sent { id, deadline, written })
}

/// A device that this household knows: by its record, or because it was here.
fn known(inside: &Inside, device: &DeviceId) -> Result<(), Error> {
    let records = inside.room.household().devices();
    let described = records.get(device).is_some_and(|register| register.value.is_some());
    let here = described || inside.presence.last_seen(device).is_some();
    if here { Ok(()) } else { Err(Error::DeviceUnknown) }
}

/// The newest session of a device that takes commands.
fn session<'a>(inside: &'a Inside, device: &DeviceId) -> Result<&'a Outbox, Error> {
    known(inside, device)?;
    if !inside.presence.is_online(device) {
        return Err(Error::DeviceOffline);
    }
    let records = inside.room.household().devices();
    let record = records.get(device).and_then(|register| register.value.as_ref());
    if !record.is_some_and(|record| record.capabilities.remote_controllable) {
        return Err(Error::NotSupported("the device does not say that it is remote-controllable"));
    }
    own_session(inside, device)
        .ok_or(Error::NotSupported("the device's session takes no commands: it speaks no JSON"))
}

fn own_session<'a>(inside: &'a Inside, device: &DeviceId) -> Option<&'a Outbox> {
    let newest = inside.presence.connections(device);
    newest
        .filter_map(|id| Some((id, inside.listeners.get(&id)?)))
        .max_by_key(|(id, _)| *id)
        .map(|(_, outbox)| outbox)
}

/// A title goes on on another device.
pub(crate) struct Handoff {
    /// Where it goes on.
    pub(crate) position_s: u32,
    /// The command to the target.
    pub(crate) sent: Sent,
}

/// Loads a title on another device where it was left, and pauses the one that asks.
pub(crate) fn hand_off(
    inside: &Inside,
    from: &DeviceId,
    to: &DeviceId,
    profile: ProfileId,
    content: &ContentId,
    life: Duration,
) -> Result<Handoff, Error> {
    let shelf = inside.room.household().profile(profile);
    let progress = shelf.and_then(|shelf| shelf.progress().get(content)?.value);
    let position_s = progress.map_or(0, |progress: Progress| progress.resume_s());
    let outbox = session(inside, to)?;
    let load = Command::load(content.clone(), position_s).checked()?;
    let sent = deliver(outbox, inside, from, load, life)?;
    if from != to
        && let Some(own) = own_session(inside, from)
    {
        let pause = Command::plain(CommandType::Pause).checked()?;
        // Whether it arrives does not change where the title goes on.
        drop(deliver(own, inside, to, pause, life));
    }
    Ok(Handoff { position_s, sent })
}
