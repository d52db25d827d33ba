//! Every frame on the wire, and the protocol version.
//!
//! A frame is one byte, the tag and a number, and a body. Within a connection frames arrive in order;
//! the stream frames of each direction are numbered (modulo 16), so a lost or repeated one is noticed
//! and the connection starts anew. The first frame of each side has the protocol version in place of
//! the number. Layout: `docs/protocol.md`.

mod close;
mod command;
mod exchange;

pub use close::CloseCode;
pub use exchange::{EXCHANGE_BYTES_MAX, EXCHANGE_FRAMES_MAX, Exchange, Exchanged};

use crate::clock::{Timestamp, UnixMillis};
use crate::codec::{DecodeError, Reader, Writer};
use crate::command::{Asked, CommandId, Order, Outcome, Presence, Reply, read_reply};
use crate::delta::{Context, Delta, LiveAdds, ObservesLive};
use crate::household::{DIFFERENCE_BYTES_MAX, Household};
use crate::id::{EpochId, HouseholdId, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::operation::VoidReason;

/// The version both ends must speak: the upper half of the first byte of hello and welcome.
pub const PROTOCOL_VERSION: u8 = 1;
/// The WebSocket subprotocol that names this protocol.
pub const SUBPROTOCOL: &str = "omega.v1";
/// Before a token among the subprotocols that a client asks for: a browser's only place for it outside
/// the hello.
pub const TOKEN_SUBPROTOCOL: &str = "omega.token.";
/// Largest frame in bytes, either way.
pub const FRAME_BYTES_MAX: usize = 512 * 1024;
/// States in an offer, each of an earlier epoch.
pub const OFFER_STATES_MAX: usize = 8;
/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Refused operations that one answer reports, and that the server remembers of a replica.
pub const VOIDS_MAX: usize = 4_096;

const LOW_MASK: u8 = 0x0f;
const NUMBER_SHIFT: u8 = 4;

/// Number of a replica's connection attempt, made durable before it is used; the nonce tells two copies
/// of one storage apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session {
    /// Counts up from 1.
    pub number: u64,
    /// Random.
    pub nonce: u32,
}

/// The last operation that the server took of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Its stamp, [`Timestamp::ZERO`] for none.
    pub through: Timestamp,
    /// The digest of everything up to it, 0 when the server does not know it.
    pub digest: u32,
}

/// Number of a stream frame: counts up from 1, modulo 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameNumber(u8);

impl FrameNumber {
    /// The first one of a connection.
    pub const FIRST: Self = Self(1);

    /// Returns this number and moves on.
    pub fn advance(&mut self) -> Self {
        let number = *self;
        self.0 = (number.0 + 1) & LOW_MASK;
        number
    }
}

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Proof of who this is; empty when the HTTP request carried it.
    pub token: String,
    /// Mark of the household this storage belongs to; `None` for a new one.
    pub household: Option<u32>,
    /// Which replica.
    pub replica: ReplicaId,
    /// Which connection attempt of it.
    pub session: Session,
    /// Digest of the last own operation that this replica knows to be durable, 0 when it is not known.
    pub acked: Option<u32>,
    /// Mark of the epoch it last synced with.
    pub epoch: Option<u32>,
    /// Up to which version of that epoch it knows the household; `None` asks for a snapshot.
    pub cursor: Option<u64>,
    /// Whether it still owes the server an offer of what earlier epochs confirmed.
    pub owes_offer: bool,
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Opens the session.
    Hello(Hello),
    /// Operations; to be decoded with the connection's context.
    Delta(FrameNumber, Body<'a>),
    /// The whole states that the replica confirmed with earlier epochs; see [`read_offer`].
    Offer(FrameNumber, Body<'a>),
    /// Asks for a [`ServerFrame::Pong`].
    Ping,
    /// Asks something of another device.
    Command(Asked),
    /// Wants to be told which devices are here, now and when that changes.
    Watch,
    /// Answers an order.
    Reply(CommandId, Reply),
}

/// An encoded body that can't be read without what the connection or the receiver knows.
#[derive(Debug, PartialEq, Eq)]
pub struct Body<'a>(pub &'a [u8]);

/// The server's answer to a hello. What the hello said rightly is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The number of the session that it opens, modulo 256.
    pub session: u8,
    /// Whose household it is, by the token.
    pub household: Option<HouseholdId>,
    /// Its epoch.
    pub epoch: Option<EpochId>,
    /// The server's clock.
    pub server_time: UnixMillis,
    /// The last operation taken of this replica.
    pub taken: Option<Taken>,
    /// Operations of this replica that were refused and not yet reported for certain.
    pub voids: Vec<(Timestamp, VoidReason)>,
}

/// What a server sends. Frames with a number belong to the stream that moves the cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// Answers the hello.
    Welcome(Welcome),
    /// The whole state at a version.
    Snapshot(FrameNumber, u64, Box<Household>),
    /// The cursor moves by that many versions, and what they changed; to be applied to the state there.
    Difference(FrameNumber, u64, Body<'a>),
    /// The next version, a delta of another replica; to be decoded with the connection's context.
    Update(FrameNumber, Body<'a>),
    /// The oldest delta on its way is durable.
    Ack(FrameNumber, Ack),
    /// The offered state is durable.
    Offered,
    /// Answers a ping.
    Pong,
    /// Another device wants this one to do something.
    Order(Order),
    /// What became of a command.
    Status(CommandId, Outcome),
    /// Which devices are here.
    Presence(Presence),
}

/// One delta is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Whether the delta became a new version (not when all of it was known).
    pub advances: bool,
    /// Which of its operations were refused.
    pub voids: Vec<(Timestamp, VoidReason)>,
}

const TAG_HELLO: u8 = 0;
const TAG_DELTA: u8 = 1;
const TAG_OFFER: u8 = 2;
const TAG_PING: u8 = 3;
const TAG_COMMAND: u8 = 5;
const TAG_REPLY: u8 = 6;
const TAG_WELCOME: u8 = 0;
const TAG_SNAPSHOT: u8 = 1;
const TAG_DIFFERENCE: u8 = 2;
const TAG_UPDATE: u8 = 3;
const TAG_ACK: u8 = 4;
const TAG_REPORT: u8 = 5;
const TAG_OFFERED: u8 = 6;
const TAG_PONG: u8 = 7;
const TAG_ORDER: u8 = 9;
const TAG_STATUS: u8 = 10;
const TAG_PRESENCE: u8 = 11;

const HELLO_HOUSEHOLD: u8 = 1;
const HELLO_ACKED: u8 = 2;
const HELLO_EPOCH: u8 = 4;
const HELLO_CURSOR: u8 = 8;
const HELLO_OWES_OFFER: u8 = 16;
const HELLO_TOKEN: u8 = 32;
const WELCOME_HOUSEHOLD: u8 = 1;
const WELCOME_EPOCH: u8 = 2;
const WELCOME_TAKEN: u8 = 4;
const WELCOME_VOIDS: u8 = 8;

fn frame(tag: u8, number: FrameNumber) -> Writer {
    let mut writer = Writer::new();
    writer.u8(tag | number.0 << NUMBER_SHIFT);
    writer
}

/// Checks size and version and returns tag and number; `first` is the tag that carries the version.
fn open(bytes: &[u8], first: u8) -> Result<(u8, FrameNumber, Reader<'_>), DecodeError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::limit("FRAME_BYTES_MAX"));
    }
    let mut reader = Reader::new(bytes);
    let head = reader.u8()?;
    let (tag, number) = (head & LOW_MASK, head >> NUMBER_SHIFT);
    if tag == first && number != PROTOCOL_VERSION {
        return Err(DecodeError::Version(number));
    }
    Ok((tag, FrameNumber(number), reader))
}

/// Frames that are not counted have the number 0.
const UNCOUNTED: FrameNumber = FrameNumber(0);

impl Hello {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut writer = frame(TAG_HELLO, FrameNumber(PROTOCOL_VERSION));
        writer.fixed64(self.replica.0);
        writer.varint(self.session.number);
        writer.fixed32(self.session.nonce);
        writer.u8(flag(self.household.is_some(), HELLO_HOUSEHOLD)
            | flag(self.acked.is_some(), HELLO_ACKED)
            | flag(self.epoch.is_some(), HELLO_EPOCH)
            | flag(self.cursor.is_some(), HELLO_CURSOR)
            | flag(self.owes_offer, HELLO_OWES_OFFER)
            | flag(!self.token.is_empty(), HELLO_TOKEN));
        for mark in [self.household, self.acked, self.epoch].into_iter().flatten() {
            writer.fixed32(mark);
        }
        if let Some(version) = self.cursor {
            writer.varint(version);
        }
        if !self.token.is_empty() {
            writer.bytes(self.token.as_bytes());
        }
        writer.finish()
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let replica = ReplicaId(reader.fixed64()?);
        let session = Session { number: reader.varint()?, nonce: reader.fixed32()? };
        let flags = reader.u8()?;
        if flags >= HELLO_TOKEN << 1 {
            return Err(DecodeError::invalid("hello flags"));
        }
        let has = |flag: u8| flags & flag != 0;
        Ok(Self {
            replica,
            session,
            household: if has(HELLO_HOUSEHOLD) { Some(reader.fixed32()?) } else { None },
            acked: if has(HELLO_ACKED) { Some(reader.fixed32()?) } else { None },
            epoch: if has(HELLO_EPOCH) { Some(reader.fixed32()?) } else { None },
            cursor: if has(HELLO_CURSOR) { Some(reader.varint()?) } else { None },
            owes_offer: has(HELLO_OWES_OFFER),
            token: match has(HELLO_TOKEN) {
                true => reader.string(TOKEN_BYTES_MAX, "TOKEN_BYTES_MAX")?.into(),
                false => String::new(),
            },
        })
    }
}

impl<'a> ClientFrame<'a> {
    /// Reads a client's frame; the operations of a delta are left for the context, and an offer until
    /// it is known whether it is wanted.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (tag, number, mut reader) = open(bytes, TAG_HELLO)?;
        let decoded = match tag {
            TAG_HELLO => Self::Hello(Hello::decode(&mut reader)?),
            TAG_DELTA => Self::Delta(number, Body(reader.rest())),
            TAG_OFFER => Self::Offer(number, Body(reader.rest())),
            TAG_PING if number == UNCOUNTED => Self::Ping,
            TAG_COMMAND if number == UNCOUNTED => {
                Asked::decode(&mut reader)?.map_or(Self::Watch, Self::Command)
            }
            TAG_REPLY if number == UNCOUNTED => {
                let (id, reply) = read_reply(&mut reader)?;
                Self::Reply(id, reply)
            }
            _ => return Err(DecodeError::invalid("frame tag")),
        };
        reader.finish()?;
        Ok(decoded)
    }

    /// A delta frame.
    pub fn delta(
        number: FrameNumber,
        delta: &Delta,
        context: &mut Context,
        live: ObservesLive,
    ) -> Vec<u8> {
        let mut writer = frame(TAG_DELTA, number);
        delta.encode_operations(&mut writer, context, live);
        writer.finish()
    }

    /// An offer frame of so many of the states as fit, the last ones first. One always fits.
    pub fn offer(number: FrameNumber, states: &[Household]) -> Vec<u8> {
        let mut writer = frame(TAG_OFFER, number);
        for state in states.iter().rev() {
            let mut one = Writer::new();
            state.encode(&mut one);
            if writer.as_slice().len() + one.as_slice().len() <= FRAME_BYTES_MAX {
                writer.raw(one.as_slice());
            }
        }
        writer.finish()
    }

    /// A ping frame.
    pub fn ping() -> Vec<u8> {
        frame(TAG_PING, UNCOUNTED).finish()
    }
}

impl<'a> ServerFrame<'a> {
    /// Reads a server's frame; update and difference are left for those who can read them.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (tag, number, mut reader) = open(bytes, TAG_WELCOME)?;
        let decoded = match tag {
            TAG_WELCOME => Self::Welcome(Welcome::decode(&mut reader)?),
            TAG_SNAPSHOT => {
                let version = reader.varint()?;
                Self::Snapshot(number, version, Box::new(Household::decode(&mut reader)?))
            }
            TAG_DIFFERENCE => {
                let versions = reader.varint()?;
                let mut body = reader.clone();
                if versions > 0 {
                    body.bytes(DIFFERENCE_BYTES_MAX, "DIFFERENCE_BYTES_MAX")?;
                }
                body.finish()?;
                Self::Difference(number, versions, Body(reader.rest()))
            }
            TAG_UPDATE => Self::Update(number, Body(reader.rest())),
            TAG_ACK => Self::Ack(number, Ack { advances: true, voids: Vec::new() }),
            TAG_REPORT => {
                let advances = reader.u8()?;
                if advances > 1 {
                    return Err(DecodeError::invalid("ack flags"));
                }
                let voids = read_voids(&mut reader)?;
                Self::Ack(number, Ack { advances: advances == 1, voids })
            }
            TAG_OFFERED if number == UNCOUNTED => Self::Offered,
            TAG_PONG if number == UNCOUNTED => Self::Pong,
            TAG_ORDER if number == UNCOUNTED => Self::Order(Order::decode(&mut reader)?),
            TAG_STATUS if number == UNCOUNTED => {
                let (id, outcome) = Outcome::decode(&mut reader)?;
                Self::Status(id, outcome)
            }
            TAG_PRESENCE if number == UNCOUNTED => Self::Presence(Presence::decode(&mut reader)?),
            _ => return Err(DecodeError::invalid("frame tag")),
        };
        reader.finish()?;
        Ok(decoded)
    }

    /// A snapshot frame.
    pub fn snapshot(number: FrameNumber, version: u64, household: &Household) -> Vec<u8> {
        let mut writer = frame(TAG_SNAPSHOT, number);
        writer.varint(version);
        household.encode(&mut writer);
        writer.finish()
    }

    /// Whether a frame of this server brings somebody up to date by what changed.
    pub fn is_difference(frame: &[u8]) -> bool {
        frame.first().is_some_and(|head| head & LOW_MASK == TAG_DIFFERENCE)
    }

    /// Whether a frame of this server is a delta that another device made.
    pub fn is_update(frame: &[u8]) -> bool {
        frame.first().is_some_and(|head| head & LOW_MASK == TAG_UPDATE)
    }

    /// A difference frame that moves the cursor by `versions`.
    pub fn difference(
        number: FrameNumber,
        versions: u64,
        write: impl FnOnce(&mut Writer),
    ) -> Vec<u8> {
        let mut writer = frame(TAG_DIFFERENCE, number);
        writer.varint(versions);
        if versions > 0 {
            write(&mut writer);
        }
        writer.finish()
    }

    /// An update frame: the delta of the next version.
    pub fn update(
        number: FrameNumber,
        delta: &Delta,
        context: &mut Context,
        live: ObservesLive,
    ) -> Vec<u8> {
        let mut writer = frame(TAG_UPDATE, number);
        delta.encode(&mut writer, context, live);
        writer.finish()
    }

    /// An ack frame.
    pub fn ack(number: FrameNumber, ack: &Ack) -> Vec<u8> {
        if ack.advances && ack.voids.is_empty() {
            return frame(TAG_ACK, number).finish();
        }
        let mut writer = frame(TAG_REPORT, number);
        writer.u8(u8::from(ack.advances));
        write_voids(&mut writer, &ack.voids);
        writer.finish()
    }

    /// An offered frame.
    pub fn offered() -> Vec<u8> {
        frame(TAG_OFFERED, UNCOUNTED).finish()
    }

    /// A pong frame.
    pub fn pong() -> Vec<u8> {
        frame(TAG_PONG, UNCOUNTED).finish()
    }
}

/// Reads the body of an update.
pub fn read_update(
    body: &[u8],
    context: &mut Context,
    live: LiveAdds,
) -> Result<Delta, DecodeError> {
    Delta::decode(&mut Reader::new(body), context, live)
}

/// Reads the body of an offer: one state or more.
pub fn read_offer(body: &Body) -> Result<Vec<Household>, DecodeError> {
    read_states(&mut Reader::new(body.0))
}

/// Reads states to the end, one at least.
pub(crate) fn read_states(reader: &mut Reader) -> Result<Vec<Household>, DecodeError> {
    let mut states = vec![Household::decode(reader)?];
    while !reader.is_empty() {
        if states.len() >= OFFER_STATES_MAX {
            return Err(DecodeError::limit("OFFER_STATES_MAX"));
        }
        states.push(Household::decode(reader)?);
    }
    Ok(states)
}

/// Reads the body of a delta frame from `replica`.
pub fn read_delta(
    body: &[u8],
    context: &mut Context,
    replica: ReplicaId,
    live: LiveAdds,
) -> Result<Delta, DecodeError> {
    Delta::decode_operations(&mut Reader::new(body), context, replica, live)
}

impl Welcome {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut writer = frame(TAG_WELCOME, FrameNumber(PROTOCOL_VERSION));
        writer.u8(flag(self.household.is_some(), WELCOME_HOUSEHOLD)
            | flag(self.epoch.is_some(), WELCOME_EPOCH)
            | flag(self.taken.is_some(), WELCOME_TAKEN)
            | flag(!self.voids.is_empty(), WELCOME_VOIDS));
        writer.u8(self.session);
        writer.varint(self.server_time.0);
        if let Some(household) = &self.household {
            writer.bytes(household.as_str().as_bytes());
        }
        if let Some(epoch) = self.epoch {
            writer.fixed64(epoch.0);
        }
        if let Some(taken) = self.taken {
            writer.varint(taken.through.0);
            writer.fixed32(taken.digest);
        }
        if !self.voids.is_empty() {
            write_voids(&mut writer, &self.voids);
        }
        writer.finish()
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags >= WELCOME_VOIDS << 1 {
            return Err(DecodeError::invalid("welcome flags"));
        }
        let has = |flag: u8| flags & flag != 0;
        let (session, server_time) = (reader.u8()?, UnixMillis(reader.varint()?));
        let household = if has(WELCOME_HOUSEHOLD) {
            let id = reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")?;
            Some(HouseholdId::new(id).map_err(|_| DecodeError::invalid("household id"))?)
        } else {
            None
        };
        let epoch = if has(WELCOME_EPOCH) { Some(EpochId(reader.fixed64()?)) } else { None };
        let taken = if has(WELCOME_TAKEN) {
            Some(Taken { through: Timestamp(reader.varint()?), digest: reader.fixed32()? })
        } else {
            None
        };
        let voids = if has(WELCOME_VOIDS) { read_voids(reader)? } else { Vec::new() };
        Ok(Self { session, household, epoch, server_time, taken, voids })
    }
}

pub(crate) fn write_voids(writer: &mut Writer, voids: &[(Timestamp, VoidReason)]) {
    writer.varint(voids.len() as u64);
    for (stamp, reason) in voids {
        writer.varint(stamp.0);
        writer.u8(*reason as u8);
    }
}

pub(crate) fn read_voids(reader: &mut Reader) -> Result<Vec<(Timestamp, VoidReason)>, DecodeError> {
    let mut voids = Vec::new();
    for _ in 0..reader.count(VOIDS_MAX, "VOIDS_MAX")? {
        let stamp = Timestamp(reader.varint()?);
        let reason = VoidReason::ALL.get(usize::from(reader.u8()?));
        voids.push((stamp, *reason.ok_or(DecodeError::invalid("void reason"))?));
    }
    Ok(voids)
}
