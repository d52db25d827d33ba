//! The first frame of each side: hello and welcome. Each leaves out what the other side knows.

use super::{FrameNumber, PROTOCOL_VERSION, frame, read_voids, write_voids};
use crate::clock::{Timestamp, UnixMillis};
use crate::codec::{DecodeError, Reader};
use crate::id::{EpochId, HouseholdId, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::operation::VoidReason;
use crate::tag::{TAG_HELLO, TAG_WELCOME};

/// Longest token in bytes.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

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

/// Number of a replica's connection attempt, made durable before it is used; the nonce tells two copies
/// of one storage apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Session {
    /// Counts up from 1.
    pub number: u64,
    /// Drawn at random for each connection.
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

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Proof of who this is; empty when the HTTP request carried it.
    pub token: String,
    /// Mark of the household this storage belongs to; `None` for a new one.
    pub household: Option<u32>,
    /// The replica that connects.
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

impl Hello {
    /// Encodes the frame, its tag included.
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

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
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

/// The server's answer to a hello. What the hello said rightly is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The number of the session that it opens, modulo 256.
    pub session: u8,
    /// Whose household it is, by the token.
    pub household: Option<HouseholdId>,
    /// The epoch of the server's database.
    pub epoch: Option<EpochId>,
    /// The server's clock.
    pub server_time: UnixMillis,
    /// The last operation taken of this replica.
    pub taken: Option<Taken>,
    /// Operations of this replica that were refused and not yet reported for certain.
    pub voids: Vec<(Timestamp, VoidReason)>,
}

impl Welcome {
    /// Encodes the frame, its tag included.
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

    pub(super) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
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
