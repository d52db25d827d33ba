//! Remote commands as JSON says them, and what HTTP makes of their outcome. How they travel is the
//! core's (`session/server/relay.rs`).

use crate::error::Error;
use crate::json::schema;
use crate::json::value::{optional, whole};
use omega_sync_core::command::{Command, CommandStatus, LEVEL_MAX, Outcome};
use omega_sync_core::id::{ContentId, DeviceId};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

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
#[schemars(rename = "Command", transform = each_command)]
pub(crate) struct CommandBody {
    /// What to do
    #[serde(rename = "type")]
    kind: CommandType,
    /// Where to: for `seek`
    #[serde(default, deserialize_with = "optional::seconds")]
    #[schemars(schema_with = "schema::optional_seconds")]
    position_seconds: Option<u32>,
    /// How loud, in percent: for `volume_set`
    #[serde(default, deserialize_with = "level")]
    #[schemars(with = "Option<u8>", range(max = 100))]
    level: Option<u8>,
    /// Which title: for `load_content`
    #[serde(default, deserialize_with = "optional::content")]
    #[schemars(schema_with = "schema::optional_id")]
    content_id: Option<ContentId>,
    /// Where to begin, in seconds: for `load_content`, if not at the start
    #[serde(default, deserialize_with = "optional::seconds")]
    #[schemars(schema_with = "schema::optional_seconds")]
    start_position: Option<u32>,
    /// To which device: for `cast_to`
    #[serde(default, deserialize_with = "optional::device")]
    #[schemars(schema_with = "schema::optional_id")]
    target_device_id: Option<DeviceId>,
}

/// A command has the fields of its type and no others.
fn each_command(whole: &mut Schema) {
    let plain = ["play", "pause", "stop", "volume_mute", "volume_unmute"];
    let kinds = plain.into_iter().map(|kind| (kind, None, None)).chain([
        ("seek", Some("position_seconds"), None),
        ("volume_set", Some("level"), None),
        ("load_content", Some("content_id"), Some("start_position")),
        ("cast_to", Some("target_device_id"), None),
    ]);
    schema::one_of(whole, |all| {
        let variant = |(kind, needed, possible): (_, Option<&str>, Option<&str>)| {
            schema::variant(all, Some(("type", kind)), needed.as_slice(), possible.as_slice())
        };
        kinds.map(variant).collect()
    });
}

fn level<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u8>, D::Error> {
    let level = whole(from, LEVEL_MAX.into())?;
    Ok(level.and_then(|level| u8::try_from(level).ok()))
}

impl CommandBody {
    /// The command, if the fields are those of its type.
    ///
    /// # Errors
    /// A field that its type needs is missing, or one that it does not have is there.
    pub(crate) fn checked(self) -> Result<Command, Error> {
        let mut fields = Fields(self);
        let command = match fields.0.kind {
            CommandType::Play => Command::Play,
            CommandType::Pause => Command::Pause,
            CommandType::Stop => Command::Stop,
            CommandType::VolumeMute => Command::VolumeMute,
            CommandType::VolumeUnmute => Command::VolumeUnmute,
            CommandType::Seek => {
                Command::Seek(needed("position_seconds", fields.0.position_seconds.take())?)
            }
            CommandType::VolumeSet => Command::VolumeSet(needed("level", fields.0.level.take())?),
            CommandType::LoadContent => {
                let content = needed("content_id", fields.0.content_id.take())?;
                Command::LoadContent(content, fields.0.start_position.take())
            }
            CommandType::CastTo => {
                Command::CastTo(needed("target_device_id", fields.0.target_device_id.take())?)
            }
        };
        match fields.left() {
            Some(name) => Err(Error::field(name, "this command has no such field")),
            None => Ok(command),
        }
    }
}

fn needed<T>(name: &str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::field(name, "this command needs it"))
}

/// A body whose fields are being taken.
struct Fields(CommandBody);

impl Fields {
    /// A field that nobody took.
    fn left(&self) -> Option<&'static str> {
        let CommandBody { position_seconds, level, content_id, start_position, .. } = &self.0;
        let left = [
            ("position_seconds", position_seconds.is_some()),
            ("level", level.is_some()),
            ("content_id", content_id.is_some()),
            ("start_position", start_position.is_some()),
            ("target_device_id", self.0.target_device_id.is_some()),
        ];
        left.into_iter().find(|(_, there)| *there).map(|(name, _)| name)
    }
}

/// The command as a device that speaks JSON reads it.
pub(crate) fn to_json(command: &Command) -> Value {
    match command {
        Command::Play => json!({"type": CommandType::Play}),
        Command::Pause => json!({"type": CommandType::Pause}),
        Command::Stop => json!({"type": CommandType::Stop}),
        Command::Seek(position_s) => {
            json!({"type": CommandType::Seek, "position_seconds": position_s})
        }
        Command::VolumeSet(level) => json!({"type": CommandType::VolumeSet, "level": level}),
        Command::VolumeMute => json!({"type": CommandType::VolumeMute}),
        Command::VolumeUnmute => json!({"type": CommandType::VolumeUnmute}),
        Command::LoadContent(content, start_s) => {
            let mut load =
                json!({"type": CommandType::LoadContent, "content_id": content.as_str()});
            if let Some(start_s) = start_s {
                load["start_position"] = (*start_s).into();
            }
            load
        }
        Command::CastTo(device) => {
            json!({"type": CommandType::CastTo, "target_device_id": device.as_str()})
        }
    }
}

/// What became of a command that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "CommandStatus")]
pub(crate) enum Status {
    /// The target took it; one that speaks JSON: it was written to its session
    Delivered,
    /// Its time was over before that was known
    Expired,
}

impl Status {
    /// The status of an outcome.
    ///
    /// # Errors
    /// The command was refused.
    pub(crate) fn of(outcome: Outcome) -> Result<Self, Error> {
        match outcome.status {
            CommandStatus::Delivered => Ok(Self::Delivered),
            CommandStatus::Expired => Ok(Self::Expired),
            CommandStatus::Offline => Err(Error::DeviceOffline),
            CommandStatus::NotSupported => {
                Err(Error::NotSupported("the device or its app does not take this command"))
            }
            CommandStatus::Invalid => Err(Error::field("type", "the app on the device refuses it")),
            CommandStatus::DeviceUnknown => Err(Error::DeviceUnknown),
            CommandStatus::Forbidden => Err(Error::Scope("control")),
            CommandStatus::RateLimited => Err(Error::RateLimited(1)),
        }
    }
}
