//! What one device of a household asks of another, and what becomes of it.
//!
//! Commands are messages: they live some seconds, are carried out at most once, and never enter the
//! household. Their life is counted by steady clocks only, from the handshake of the connection they
//! travel on: a device's wrong wall clock can't lengthen it. `docs/protocol.md`, "Commands", has the
//! bytes.

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ContentId, DeviceId, ProfileId, TENANT_ID_BYTES_MAX};

/// How long a command lives from the moment it is made, in milliseconds.
pub const COMMAND_LIFE_MS: u64 = 5_000;
/// Longest life that a server may give commands, in milliseconds.
pub const COMMAND_LIFE_MS_MAX: u64 = 60_000;
/// By how much the end of a command may look later on another connection of a device, in milliseconds:
/// what waits there for an answer gives up by then.
pub const COMMAND_DOUBT_MS: u64 = 10_000;
/// Highest volume, in percent.
pub const LEVEL_MAX: u8 = 100;
/// Devices that one presence frame tells of.
pub const PRESENT_DEVICES_MAX: usize = 256;

/// A command's name: 64 random bits of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What a device is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Go on playing.
    Play,
    /// Pause.
    Pause,
    /// Stop.
    Stop,
    /// Go to this position, in seconds.
    Seek(u32),
    /// Set the volume, in percent.
    VolumeSet(u8),
    /// Be silent.
    VolumeMute,
    /// Be heard again.
    VolumeUnmute,
    /// Open a title, at a position in seconds if there is one.
    LoadContent(ContentId, Option<u32>),
    /// Let what is playing go on on that device.
    CastTo(DeviceId),
}

/// A title that is to go on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// On whose shelf its position is.
    pub profile: ProfileId,
    /// The title to play.
    pub content: ContentId,
    /// From where, in seconds; `None`: from where the household knows it to be.
    pub position_s: Option<u32>,
}

/// What a device asks the server to pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A command, as it is.
    Command(Command),
    /// The title is loaded on the target, and then the one that asks is paused.
    Handoff(Handoff),
}

/// A request on its way to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The command's name.
    pub id: CommandId,
    /// Whether it may have left on an earlier connection already.
    pub again: bool,
    /// For which device.
    pub target: DeviceId,
    /// Its end, in milliseconds after the sender had its welcome.
    pub ends_ms: u64,
    /// What is asked.
    pub request: Request,
}

/// A command on its way to the device that is to carry it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The command's name.
    pub id: CommandId,
    /// Who sent it.
    pub from: DeviceId,
    /// Its end, in milliseconds after the server had the receiver's hello.
    pub ends_ms: u64,
    /// What to do.
    pub command: Command,
}

macro_rules! outcomes {
    ($(#[$head:meta])* $type:ident, $what:literal: $($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        $(#[$head])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($(#[$doc])* $name,)* }

        impl $type {
            /// All, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            fn read(number: u8) -> Result<Self, DecodeError> {
                Self::ALL.get(usize::from(number)).copied().ok_or(DecodeError::invalid($what))
            }
        }
    };
}

outcomes! {
    /// What a device answers to a command.
    Reply, "reply":
    /// Its app has taken it.
    Done = "done",
    /// Its app does not do this.
    NotSupported = "not_supported",
    /// Its app can't make sense of it.
    Invalid = "invalid",
}

outcomes! {
    /// What became of a command.
    CommandStatus, "status":
    /// The target has it: its app said so, or it was written to a session that can't say so.
    Delivered = "delivered",
    /// Its life was over before that was known; it is not carried out any more.
    Expired = "expired",
    /// The target has no session.
    Offline = "offline",
    /// The target does not do this, by its app's word or by what it says of itself.
    NotSupported = "not_supported",
    /// The target's app can't make sense of it.
    Invalid = "invalid",
    /// The household has no such device.
    DeviceUnknown = "device_unknown",
    /// The sender's token does not allow commands.
    Forbidden = "forbidden",
    /// Too many are on their way.
    RateLimited = "rate_limited",
}

/// What became of a command, for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the command.
    pub status: CommandStatus,
    /// Of a handoff that was delivered: where the title goes on, in seconds.
    pub position_s: Option<u32>,
}

impl From<CommandStatus> for Outcome {
    fn from(status: CommandStatus) -> Self {
        Self { status, position_s: None }
    }
}

/// Which devices are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Whether these are all; else they are those that came or went.
    pub all: bool,
    /// Each device, and for how many seconds it is gone; `None`: it is here.
    pub devices: Vec<(DeviceId, Option<u64>)>,
}

const KIND_SEEK: u8 = 3;
const KIND_VOLUME_SET: u8 = 4;
const KIND_LOAD_CONTENT: u8 = 7;
const KIND_CAST_TO: u8 = 8;
const KIND_HANDOFF: u8 = 9;
/// In place of a kind: the client wants to be told who is here.
const KIND_WATCH: u8 = 10;
/// Beside a request's kind: it may have left before.
const AGAIN: u8 = 0x80;
/// Beside a status: a position follows.
const HAS_POSITION: u8 = 0x80;

impl Command {
    /// Its number, in the order of the variants.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Play => 0,
            Self::Pause => 1,
            Self::Stop => 2,
            Self::Seek(_) => KIND_SEEK,
            Self::VolumeSet(_) => KIND_VOLUME_SET,
            Self::VolumeMute => 5,
            Self::VolumeUnmute => 6,
            Self::LoadContent(..) => KIND_LOAD_CONTENT,
            Self::CastTo(_) => KIND_CAST_TO,
        }
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Seek(position_s) => writer.varint((*position_s).into()),
            Self::VolumeSet(level) => writer.u8(*level),
            Self::LoadContent(content, start_s) => {
                content.encode(writer);
                write_position(*start_s, writer);
            }
            Self::CastTo(device) => writer.bytes(device.as_str().as_bytes()),
            _ => {}
        }
    }

    fn decode(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match kind {
            0 => Self::Play,
            1 => Self::Pause,
            2 => Self::Stop,
            KIND_SEEK => Self::Seek(reader.u32("position")?),
            KIND_VOLUME_SET => Self::volume(reader.u8()?.into())?,
            5 => Self::VolumeMute,
            6 => Self::VolumeUnmute,
            KIND_LOAD_CONTENT => {
                Self::LoadContent(ContentId::decode(reader)?, read_position(reader)?)
            }
            KIND_CAST_TO => Self::CastTo(read_device(reader)?),
            _ => return Err(DecodeError::invalid("command")),
        })
    }

    fn volume(level: u32) -> Result<Self, DecodeError> {
        let level = u8::try_from(level).ok().filter(|level| *level <= LEVEL_MAX);
        Ok(Self::VolumeSet(level.ok_or(DecodeError::limit("LEVEL_MAX"))?))
    }

    /// Its number beside its kind (position in seconds, or level), and its text (title or device).
    pub fn parts(&self) -> (Option<u32>, &str) {
        match self {
            Self::Seek(position_s) => (Some(*position_s), ""),
            Self::VolumeSet(level) => (Some((*level).into()), ""),
            Self::LoadContent(content, start_s) => (*start_s, content.as_str()),
            Self::CastTo(device) => (None, device.as_str()),
            _ => (None, ""),
        }
    }
}

impl Request {
    /// A request from its kind (a command's, or 9 for a handoff), its profile, its number (position in
    /// seconds, or level) and its text (title or device); `None` when they don't fit together.
    pub fn from_parts(
        kind: u8,
        profile: ProfileId,
        number: Option<u32>,
        text: &str,
    ) -> Option<Self> {
        let content = || ContentId::new(text).ok();
        Some(Self::Command(match kind {
            KIND_SEEK => Command::Seek(number?),
            KIND_VOLUME_SET => Command::volume(number?).ok()?,
            KIND_LOAD_CONTENT => Command::LoadContent(content()?, number),
            KIND_CAST_TO => Command::CastTo(DeviceId::new(text).ok()?),
            KIND_HANDOFF => {
                let handoff = Handoff { profile, content: content()?, position_s: number };
                return Some(Self::Handoff(handoff));
            }
            // The others have nothing beside their kind.
            _ => Command::decode(kind, &mut Reader::new(&[])).ok()?,
        }))
    }
}

/// A position that may be missing: 0, or one more than it.
fn write_position(position_s: Option<u32>, writer: &mut Writer) {
    writer.varint(position_s.map_or(0, |position_s| u64::from(position_s) + 1));
}

fn read_position(reader: &mut Reader) -> Result<Option<u32>, DecodeError> {
    let next = reader.varint()?.checked_sub(1);
    let position = next.map(u32::try_from).transpose();
    position.map_err(|_| DecodeError::invalid("position"))
}

fn read_device(reader: &mut Reader) -> Result<DeviceId, DecodeError> {
    let text = reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")?;
    DeviceId::new(text).map_err(|_| DecodeError::invalid("device id"))
}

impl Asked {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        let kind = match &self.request {
            Request::Command(command) => command.kind(),
            Request::Handoff(_) => KIND_HANDOFF,
        };
        writer.u8(if self.again { kind | AGAIN } else { kind });
        writer.fixed64(self.id.0);
        writer.bytes(self.target.as_str().as_bytes());
        writer.varint(self.ends_ms);
        match &self.request {
            Request::Command(command) => command.encode(writer),
            Request::Handoff(Handoff { profile, content, position_s }) => {
                writer.fixed64(profile.0);
                content.encode(writer);
                write_position(*position_s, writer);
            }
        }
    }

    /// `None`: the client wants to be told who is here.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Option<Self>, DecodeError> {
        let head = reader.u8()?;
        if head == KIND_WATCH {
            return Ok(None);
        }
        let (again, kind) = (head & AGAIN != 0, head & !AGAIN);
        Ok(Some(Self {
            again,
            id: CommandId(reader.fixed64()?),
            target: read_device(reader)?,
            ends_ms: reader.varint()?,
            request: match kind {
                KIND_HANDOFF => Request::Handoff(Handoff {
                    profile: ProfileId(reader.fixed64()?),
                    content: ContentId::decode(reader)?,
                    position_s: read_position(reader)?,
                }),
                kind => Request::Command(Command::decode(kind, reader)?),
            },
        }))
    }
}

/// The body of a frame that asks to be told who is here.
pub(crate) fn write_watch(writer: &mut Writer) {
    writer.u8(KIND_WATCH);
}

/// An answer's body.
pub(crate) fn write_reply(id: CommandId, reply: Reply, writer: &mut Writer) {
    writer.fixed64(id.0);
    writer.u8(reply as u8);
}

pub(crate) fn read_reply(reader: &mut Reader) -> Result<(CommandId, Reply), DecodeError> {
    Ok((CommandId(reader.fixed64()?), Reply::read(reader.u8()?)?))
}

impl Order {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u8(self.command.kind());
        writer.fixed64(self.id.0);
        writer.bytes(self.from.as_str().as_bytes());
        writer.varint(self.ends_ms);
        self.command.encode(writer);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = reader.u8()?;
        let (id, from) = (CommandId(reader.fixed64()?), read_device(reader)?);
        let ends_ms = reader.varint()?;
        Ok(Self { id, from, ends_ms, command: Command::decode(kind, reader)? })
    }
}

impl Outcome {
    pub(crate) fn encode(self, id: CommandId, writer: &mut Writer) {
        writer.fixed64(id.0);
        writer.u8(self.status as u8 | if self.position_s.is_some() { HAS_POSITION } else { 0 });
        if let Some(position_s) = self.position_s {
            writer.varint(position_s.into());
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<(CommandId, Self), DecodeError> {
        let (id, head) = (CommandId(reader.fixed64()?), reader.u8()?);
        let status = CommandStatus::read(head & !HAS_POSITION)?;
        let position_s = match head & HAS_POSITION {
            0 => None,
            _ => Some(reader.u32("position")?),
        };
        Ok((id, Self { status, position_s }))
    }
}

impl Presence {
    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.all));
        writer.varint(self.devices.len() as u64);
        for (device, gone_s) in &self.devices {
            writer.bytes(device.as_str().as_bytes());
            writer.varint(gone_s.map_or(0, |gone_s| gone_s.saturating_add(1)));
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let all = reader.u8()?;
        if all > 1 {
            return Err(DecodeError::invalid("presence"));
        }
        let count = reader.count(PRESENT_DEVICES_MAX, "PRESENT_DEVICES_MAX")?;
        let mut devices = Vec::new();
        for _ in 0..count {
            devices.push((read_device(reader)?, reader.varint()?.checked_sub(1)));
        }
        Ok(Self { all: all == 1, devices })
    }
}
