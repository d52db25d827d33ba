//! Every frame on the wire but those about taste ([`crate::pattern`]), and the protocol version.
//!
//! A frame is one byte, the tag and a number, and a body. Within a connection frames arrive in order;
//! the stream frames of each direction are numbered (modulo 16), so a lost or repeated one is noticed
//! and the connection starts anew. The first frame of each side has the protocol version in place of
//! the number. Layout: `docs/protocol.md`.

mod close;
mod command;
mod exchange;
mod handshake;

pub use close::CloseCode;
pub use exchange::{
    EXCHANGE_BYTES_MAX, EXCHANGE_FRAMES_MAX, EXCHANGED_FRAMES_MAX, Exchange, Exchanged,
};
pub use handshake::{Hello, Session, TOKEN_BYTES_MAX, Taken, Welcome};

use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::command::{Asked, CommandId, Order, Outcome, Presence, Reply, read_reply};
use crate::delta::{Context, Delta, LiveAdds, ObservesLive};
use crate::household::{DIFFERENCE_BYTES_MAX, Household};
use crate::id::ReplicaId;
use crate::operation::VoidReason;
use crate::tag::{
    TAG_ACK, TAG_COMMAND, TAG_DELTA, TAG_DIFFERENCE, TAG_HELLO, TAG_OFFER, TAG_OFFERED, TAG_ORDER,
    TAG_PING, TAG_PONG, TAG_PRESENCE, TAG_REPLY, TAG_REPORT, TAG_SNAPSHOT, TAG_STATUS, TAG_UPDATE,
    TAG_WELCOME,
};

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
/// Refused operations that one answer reports, and that the server remembers of a replica.
pub const VOIDS_MAX: usize = 4_096;

const LOW_MASK: u8 = 0x0f;
const NUMBER_SHIFT: u8 = 4;

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
        return Err(DecodeError::version(number));
    }
    Ok((tag, FrameNumber(number), reader))
}

/// Frames that are not counted have the number 0.
const UNCOUNTED: FrameNumber = FrameNumber(0);

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
