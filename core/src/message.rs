//! Every frame on the wire, the protocol version, and the codes a connection is closed with.
//!
//! A frame is one header byte (version and flags), one tag byte and a body. Within a connection frames
//! arrive in order; the stream frames of each direction are numbered (modulo 256), so a lost or repeated
//! one is noticed and the connection starts anew. Layout: `docs/protocol.md`.

use crate::clock::{Timestamp, UnixMillis};
use crate::codec::{DecodeError, Reader, Writer};
use crate::delta::{Context, Delta};
use crate::household::{Household, VoidReason};
use crate::id::{EpochId, HouseholdId, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::replica::Cursor;

/// The version both ends must speak: the low half of each frame's first byte.
pub const PROTOCOL_VERSION: u8 = 1;
/// The WebSocket subprotocol that names this protocol.
pub const SUBPROTOCOL: &str = "omega.v1";
/// Largest frame in bytes, either way.
pub const FRAME_BYTES_MAX: usize = 512 * 1024;
/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Refused operations that one answer reports, and that the server remembers of a replica.
pub const VOIDS_MAX: usize = 4_096;
/// Deltas in one update.
pub const UPDATE_DELTAS_MAX: usize = 1_024;

const VERSION_MASK: u8 = 0x0f;

/// Number of a replica's connection attempt, made durable before it is used; the nonce tells two copies
/// of one storage apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session {
    /// Counts up from 1.
    pub number: u64,
    /// Random.
    pub nonce: u64,
}

/// The last operation that the server took of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Its stamp, [`Timestamp::ZERO`] for none.
    pub through: Timestamp,
    /// Its digest, 0 when the server does not know it.
    pub digest: u32,
}

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Proof of who this is; empty when the HTTP request carried it.
    pub token: String,
    /// The household this storage belongs to; `None` for a new one.
    pub household: Option<HouseholdId>,
    /// Which replica.
    pub replica: ReplicaId,
    /// Which connection attempt of it.
    pub session: Session,
    /// What this replica knows to be durable of its own operations.
    pub acked: Timestamp,
    /// Up to where it knows the household; `None` asks for a snapshot.
    pub cursor: Option<Cursor>,
    /// The epoch it last synced with.
    pub epoch: Option<EpochId>,
    /// Whether it still owes the server an offer of its confirmed state.
    pub owes_offer: bool,
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Opens the session.
    Hello(Hello),
    /// Operations; to be decoded with the connection's context.
    Delta(u8, Body<'a>),
    /// The replica's whole confirmed state, after a new epoch.
    Offer(u8, Box<Household>),
    /// Asks for a [`ServerFrame::Pong`].
    Ping,
}

/// An encoded body that only the connection's context can read.
#[derive(Debug, PartialEq, Eq)]
pub struct Body<'a>(pub &'a [u8]);

/// The server's answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The number of the session that it opens.
    pub session: u64,
    /// Whose household it is, by the token.
    pub household: HouseholdId,
    /// Its epoch.
    pub epoch: EpochId,
    /// The server's clock.
    pub server_time: UnixMillis,
    /// The last operation taken of this replica.
    pub taken: Taken,
    /// Operations of this replica that were refused and not yet reported for certain.
    pub voids: Vec<(Timestamp, VoidReason)>,
}

/// What a server sends. Frames with a number belong to the stream that moves the cursor.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerFrame<'a> {
    /// Answers the hello.
    Welcome(Welcome),
    /// The whole state at a version.
    Snapshot(u8, u64, Box<Household>),
    /// Deltas of others; to be decoded with the connection's context.
    Update(u8, Body<'a>),
    /// One delta of this client is durable.
    Ack(u8, Ack),
    /// The offered state is durable.
    Offered,
    /// Answers a ping.
    Pong,
}

/// One delta is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The number of the delta's frame.
    pub delta: u8,
    /// Whether the delta became a new version (not when all of it was known).
    pub advances: bool,
    /// Which of its operations were refused.
    pub voids: Vec<(Timestamp, VoidReason)>,
}

const TAG_HELLO: u8 = 1;
const TAG_DELTA: u8 = 2;
const TAG_OFFER: u8 = 3;
const TAG_PING: u8 = 4;
const TAG_WELCOME: u8 = 1;
const TAG_SNAPSHOT: u8 = 2;
const TAG_UPDATE: u8 = 3;
const TAG_ACK: u8 = 4;
const TAG_OFFERED: u8 = 5;
const TAG_PONG: u8 = 6;

fn frame(tag: u8) -> Writer {
    let mut writer = Writer::new();
    writer.u8(PROTOCOL_VERSION);
    writer.u8(tag);
    writer
}

/// Checks size, version and flags and returns the tag.
fn open<'a>(bytes: &'a [u8]) -> Result<(u8, Reader<'a>), DecodeError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::Limit("FRAME_BYTES_MAX"));
    }
    let mut reader = Reader::new(bytes);
    let header = reader.u8()?;
    if header & VERSION_MASK != PROTOCOL_VERSION {
        return Err(DecodeError::Version(header & VERSION_MASK));
    }
    if header & !VERSION_MASK != 0 {
        return Err(DecodeError::Invalid("frame flags"));
    }
    Ok((reader.u8()?, reader))
}

impl Hello {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = frame(TAG_HELLO);
        writer.fixed64(self.replica.0);
        writer.varint(self.session.number);
        writer.fixed64(self.session.nonce);
        writer.varint(self.acked.0);
        writer.u8(u8::from(self.epoch.is_some())
            | u8::from(self.cursor.is_some()) << 1
            | u8::from(self.owes_offer) << 2);
        if let Some(epoch) = self.epoch {
            writer.fixed64(epoch.0);
        }
        if let Some(cursor) = self.cursor {
            writer.fixed64(cursor.epoch.0);
            writer.varint(cursor.version);
        }
        writer.bytes(self.household.as_ref().map_or("", HouseholdId::as_str).as_bytes());
        writer.bytes(self.token.as_bytes());
        writer.finish()
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let replica = ReplicaId(reader.fixed64()?);
        let session = Session { number: reader.varint()?, nonce: reader.fixed64()? };
        let acked = Timestamp(reader.varint()?);
        let flags = reader.u8()?;
        if flags > 7 {
            return Err(DecodeError::Invalid("hello flags"));
        }
        let epoch = if flags & 1 != 0 { Some(EpochId(reader.fixed64()?)) } else { None };
        let cursor = if flags & 2 != 0 {
            Some(Cursor { epoch: EpochId(reader.fixed64()?), version: reader.varint()? })
        } else {
            None
        };
        let household = reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")?;
        let household = match household {
            "" => None,
            id => Some(HouseholdId::new(id).map_err(|_| DecodeError::Invalid("household id"))?),
        };
        let token = reader.string(TOKEN_BYTES_MAX, "TOKEN_BYTES_MAX")?.into();
        let owes_offer = flags & 4 != 0;
        Ok(Self { token, household, replica, session, acked, cursor, epoch, owes_offer })
    }
}

impl<'a> ClientFrame<'a> {
    /// Reads a client's frame; the operations of a delta are left for the context.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (tag, mut reader) = open(bytes)?;
        let decoded = match tag {
            TAG_HELLO => Self::Hello(Hello::decode(&mut reader)?),
            TAG_DELTA => Self::Delta(reader.u8()?, Body(reader.rest())),
            TAG_OFFER => Self::Offer(reader.u8()?, Box::new(Household::decode(&mut reader)?)),
            TAG_PING => Self::Ping,
            _ => return Err(DecodeError::Invalid("frame tag")),
        };
        reader.finish()?;
        Ok(decoded)
    }

    /// A delta frame.
    pub fn delta(number: u8, delta: &Delta, context: &mut Context) -> Vec<u8> {
        let mut writer = frame(TAG_DELTA);
        writer.u8(number);
        delta.encode_operations(&mut writer, context);
        writer.finish()
    }

    /// An offer frame.
    pub fn offer(number: u8, household: &Household) -> Vec<u8> {
        let mut writer = frame(TAG_OFFER);
        writer.u8(number);
        household.encode(&mut writer);
        writer.finish()
    }

    /// A ping frame.
    pub fn ping() -> Vec<u8> {
        frame(TAG_PING).finish()
    }
}

impl<'a> ServerFrame<'a> {
    /// Reads a server's frame; the deltas of an update are left for the context.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (tag, mut reader) = open(bytes)?;
        let decoded = match tag {
            TAG_WELCOME => Self::Welcome(Welcome::decode(&mut reader)?),
            TAG_SNAPSHOT => {
                let (number, version) = (reader.u8()?, reader.varint()?);
                Self::Snapshot(number, version, Box::new(Household::decode(&mut reader)?))
            }
            TAG_UPDATE => Self::Update(reader.u8()?, Body(reader.rest())),
            TAG_ACK => {
                let number = reader.u8()?;
                let (delta, advances) = (reader.u8()?, reader.u8()?);
                if advances > 1 {
                    return Err(DecodeError::Invalid("ack flags"));
                }
                let voids = read_voids(&mut reader)?;
                Self::Ack(number, Ack { delta, advances: advances == 1, voids })
            }
            TAG_OFFERED => Self::Offered,
            TAG_PONG => Self::Pong,
            _ => return Err(DecodeError::Invalid("frame tag")),
        };
        reader.finish()?;
        Ok(decoded)
    }

    /// A snapshot frame.
    pub fn snapshot(number: u8, version: u64, household: &Household) -> Vec<u8> {
        let mut writer = frame(TAG_SNAPSHOT);
        writer.u8(number);
        writer.varint(version);
        household.encode(&mut writer);
        writer.finish()
    }

    /// An update frame that moves the cursor by `versions`; the receiver's own deltas are left out.
    pub fn update(number: u8, versions: u64, deltas: &[&Delta], context: &mut Context) -> Vec<u8> {
        let mut writer = frame(TAG_UPDATE);
        writer.u8(number);
        writer.varint(versions);
        writer.varint(deltas.len() as u64);
        for delta in deltas {
            delta.encode(&mut writer, context);
        }
        writer.finish()
    }

    /// An ack frame.
    pub fn ack(number: u8, ack: &Ack) -> Vec<u8> {
        let mut writer = frame(TAG_ACK);
        writer.u8(number);
        writer.u8(ack.delta);
        writer.u8(u8::from(ack.advances));
        write_voids(&mut writer, &ack.voids);
        writer.finish()
    }

    /// An offered frame.
    pub fn offered() -> Vec<u8> {
        frame(TAG_OFFERED).finish()
    }

    /// A pong frame.
    pub fn pong() -> Vec<u8> {
        frame(TAG_PONG).finish()
    }
}

/// Reads the body of an update: how far the cursor moves, and the deltas.
pub fn read_update(body: &[u8], context: &mut Context) -> Result<(u64, Vec<Delta>), DecodeError> {
    let mut reader = Reader::new(body);
    let versions = reader.varint()?;
    let mut deltas = Vec::new();
    for _ in 0..reader.count(UPDATE_DELTAS_MAX, "UPDATE_DELTAS_MAX")? {
        deltas.push(Delta::decode(&mut reader, context)?);
    }
    reader.finish()?;
    Ok((versions, deltas))
}

/// Reads the body of a delta frame from `replica`.
pub fn read_delta(
    body: &[u8],
    context: &mut Context,
    replica: ReplicaId,
) -> Result<Delta, DecodeError> {
    let mut reader = Reader::new(body);
    let delta = Delta::decode_operations(&mut reader, context, replica)?;
    reader.finish()?;
    Ok(delta)
}

impl Welcome {
    /// The frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = frame(TAG_WELCOME);
        writer.varint(self.session);
        writer.bytes(self.household.as_str().as_bytes());
        writer.fixed64(self.epoch.0);
        writer.varint(self.server_time.0);
        writer.varint(self.taken.through.0);
        writer.fixed32(self.taken.digest);
        write_voids(&mut writer, &self.voids);
        writer.finish()
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let session = reader.varint()?;
        let household = reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")?;
        Ok(Self {
            session,
            household: HouseholdId::new(household)
                .map_err(|_| DecodeError::Invalid("household id"))?,
            epoch: EpochId(reader.fixed64()?),
            server_time: UnixMillis(reader.varint()?),
            taken: Taken { through: Timestamp(reader.varint()?), digest: reader.fixed32()? },
            voids: read_voids(reader)?,
        })
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
        voids.push((stamp, *reason.ok_or(DecodeError::Invalid("void reason"))?));
    }
    Ok(voids)
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $reason:literal;)*) => {
        /// Why a connection was closed: a WebSocket close code (RFC 6455, section 7.4.2, private range).
        /// 4000 to 4499: try again. 4500 to 4999: trying again would fail the same way.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum CloseCode { $($(#[$doc])* $name = $number,)* }

        impl CloseCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable name, sent as the close reason.
            pub fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

close_codes! {
    /// The server stops or starts anew.
    Restart = 4000, "restart";
    /// The client reads too slowly; it catches up from its cursor.
    Slow = 4001, "slow";
    /// A frame was lost or repeated.
    Resync = 4002, "resync";
    /// A stamp is too far ahead; the next handshake measures the clock.
    Drift = 4003, "drift";
    /// The server can't store at the moment.
    StorageUnavailable = 4004, "storage_unavailable";
    /// Nothing was heard for too long.
    Idle = 4005, "idle";
    /// A newer connection of this replica took over.
    Replaced = 4006, "replaced";
    /// A limit of the server is reached.
    Overloaded = 4007, "overloaded";
    /// A frame that can't be read. It may be a broken proxy, so the client comes back, more and more
    /// slowly.
    Malformed = 4008, "malformed";
    /// The token is missing, wrong or expired: fetch another.
    Unauthorized = 4010, "unauthorized";
    /// The storage is a copy or was rolled back: the replica takes a new id.
    StaleSession = 4020, "stale_session";
    /// This server does not speak that protocol version.
    VersionUnsupported = 4501, "version_unsupported";
    /// The token is for another household than the storage.
    HouseholdMismatch = 4502, "household_mismatch";
    /// A frame above [`FRAME_BYTES_MAX`], or a delta above its limit.
    TooLarge = 4503, "too_large";
}

impl CloseCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The code with that number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|close| close.code() == code)
    }

    /// Whether trying again would fail the same way.
    pub fn is_final(self) -> bool {
        (4500..=4999).contains(&self.code())
    }
}

impl From<DecodeError> for CloseCode {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Version(_) => Self::VersionUnsupported,
            DecodeError::Limit("FRAME_BYTES_MAX") => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}
