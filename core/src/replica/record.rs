//! What a replica keeps in storage: one image, then a log of what changed since.
//!
//! Each record stands alone: format version, tag, body, checksum. Loading applies them in order. When a
//! record can't be read, everything before it counts, the rest is set aside by the caller, and the
//! replica takes a new id and asks for a snapshot, because it no longer knows what it had sent.

use super::{Cursor, REJECTED_MAX, Rejected, Replica};
use crate::clock::{Clock, Timestamp};
use crate::codec::{DecodeError, Reader, Writer, checksum};
use crate::delta::Delta;
use crate::household::Household;
use crate::id::{EpochId, HouseholdId, Random, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::message::{Taken, read_states, read_voids, write_voids};
use crate::operation::{Operation, VoidReason};
use crate::outbox::{OUTBOX_OPERATIONS_MAX, Outbox, Pending};

/// Version of the stored records; a newer one is refused and left alone.
pub const RECORD_VERSION: u8 = 1;

/// One change to a replica, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The app made an operation.
    Operation(Box<Pending>),
    /// The app made an operation, and everything up to it may leave at once.
    Leaving(Box<Pending>),
    /// A session got its number.
    Session(u64),
    /// Operations up to here may have left.
    Sent(Timestamp),
    /// The server acknowledged a delta.
    Acknowledged {
        /// The last operation of it.
        taken: Taken,
        /// How far it brought the household.
        versions: u64,
        /// What was refused.
        voids: Vec<(Timestamp, VoidReason)>,
    },
    /// The next version arrived, a delta of another replica.
    Update(Delta),
    /// The app took the rejected operations.
    RejectedTaken,
}

/// The bytes of a record.
pub type Stored = Vec<u8>;

/// The record of an operation before it is known whether it leaves at once.
pub(super) struct Made(Writer);

impl Made {
    pub(super) fn new(pending: &Pending) -> Self {
        let mut writer = Writer::new();
        writer.u8(RECORD_VERSION);
        writer.u8(TAG_OPERATION);
        pending.encode(&mut writer);
        Self(writer)
    }

    pub(super) fn store(mut self, leaves: bool) -> Stored {
        if leaves {
            self.0.replace(TAG_AT, TAG_LEAVING);
        }
        seal(self.0)
    }
}

/// Where a record's tag is.
const TAG_AT: usize = 1;
const TAG_IMAGE: u8 = 1;
const TAG_OPERATION: u8 = 2;
const TAG_SESSION: u8 = 3;
const TAG_SENT: u8 = 4;
const TAG_ACKNOWLEDGED: u8 = 5;
const TAG_UPDATE: u8 = 6;
const TAG_REJECTED_TAKEN: u8 = 7;
const TAG_LEAVING: u8 = 8;

/// A record of something that no server can have taken.
const NEVER_TAKEN: DecodeError = DecodeError::invalid("operation that was taken");

/// What came out of storage.
#[derive(Debug)]
pub struct Loaded {
    /// The replica.
    pub replica: Replica,
    /// Why not all records could be read. The caller sets the old ones aside and stores the image.
    pub damage: Option<DecodeError>,
}

impl Record {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(RECORD_VERSION);
        match self {
            Self::Operation(pending) => return Made::new(pending).store(false),
            Self::Leaving(pending) => return Made::new(pending).store(true),
            Self::Session(number) => {
                writer.u8(TAG_SESSION);
                writer.varint(*number);
            }
            Self::Sent(through) => {
                writer.u8(TAG_SENT);
                writer.varint(through.0);
            }
            Self::Acknowledged { taken, versions, voids } => {
                writer.u8(TAG_ACKNOWLEDGED);
                write_taken(&mut writer, *taken);
                writer.varint(*versions);
                write_voids(&mut writer, voids);
            }
            Self::Update(delta) => {
                writer.u8(TAG_UPDATE);
                delta.store(&mut writer);
            }
            Self::RejectedTaken => writer.u8(TAG_REJECTED_TAKEN),
        }
        seal(writer)
    }

    /// Reads the body that [`Record::encode`] wrote after the tag.
    fn decode(tag: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match tag {
            TAG_OPERATION => Self::Operation(Box::new(Pending::decode(reader)?)),
            TAG_LEAVING => Self::Leaving(Box::new(Pending::decode(reader)?)),
            TAG_SESSION => Self::Session(reader.varint()?),
            TAG_SENT => Self::Sent(Timestamp(reader.varint()?)),
            TAG_ACKNOWLEDGED => Self::Acknowledged {
                taken: read_taken(reader)?,
                versions: reader.varint()?,
                voids: read_voids(reader)?,
            },
            TAG_UPDATE => Self::Update(Delta::load(reader)?),
            TAG_REJECTED_TAKEN => Self::RejectedTaken,
            _ => return Err(DecodeError::invalid("record tag")),
        })
    }
}

/// Adds the checksum.
pub(crate) fn seal(mut writer: Writer) -> Vec<u8> {
    writer.fixed32(checksum(writer.as_slice()));
    writer.finish()
}

/// Checks version and checksum; returns tag and body.
pub(crate) fn unseal(bytes: &[u8]) -> Result<(u8, Reader<'_>), DecodeError> {
    let (body, sum) = bytes.split_last_chunk().ok_or(DecodeError::Truncated)?;
    let version = *body.first().ok_or(DecodeError::Truncated)?;
    if checksum(body) != u32::from_le_bytes(*sum) {
        return Err(DecodeError::Checksum);
    }
    if version != RECORD_VERSION {
        return Err(DecodeError::version(version));
    }
    let mut reader = Reader::new(&body[1..]);
    Ok((reader.u8()?, reader))
}

impl Replica {
    /// Loads what was stored, the image first.
    ///
    /// # Errors
    /// [`DecodeError::Version`] when a newer version of this program wrote it: nothing may be changed
    /// then. Other damage is survived and reported in [`Loaded`].
    pub fn load(
        records: &[Vec<u8>],
        household: Option<HouseholdId>,
        random: &mut Random,
    ) -> Result<Loaded, DecodeError> {
        let mut replica = Self::new(household, random);
        let mut damage = None;
        for (index, record) in records.iter().enumerate() {
            match replica.replay(index == 0, record) {
                Ok(()) => {}
                Err(DecodeError::Version(found)) => return Err(DecodeError::Version(found)),
                Err(error) => {
                    damage = Some(error);
                    break;
                }
            }
        }
        if damage.is_some() {
            replica.renew(random);
            replica.forget_cursor();
        }
        Ok(Loaded { replica, damage })
    }

    /// Apart, as a fresh device has nothing to replay and need not compile it.
    #[inline(never)]
    fn replay(&mut self, first: bool, bytes: &[u8]) -> Result<(), DecodeError> {
        let (tag, mut reader) = unseal(bytes)?;
        if (tag == TAG_IMAGE) != first {
            return Err(DecodeError::invalid("order of records"));
        }
        if tag == TAG_IMAGE {
            let image = Self::decode(&mut reader)?;
            reader.finish()?;
            *self = image;
            return Ok(());
        }
        let record = Record::decode(tag, &mut reader)?;
        reader.finish()?;
        self.repeat(record)
    }

    /// Makes a stored change again.
    fn repeat(&mut self, record: Record) -> Result<(), DecodeError> {
        match record {
            Record::Operation(pending) => self.wait(*pending)?,
            Record::Leaving(pending) => {
                let stamp = pending.operation.timestamp;
                self.wait(*pending)?;
                self.outbox.mark_sent(stamp);
            }
            Record::Session(number) => self.session_number = number,
            Record::Sent(through) => self.outbox.mark_sent(through),
            Record::Acknowledged { taken, versions, voids } => {
                self.settle(taken, &voids).map_err(|_| NEVER_TAKEN)?;
                self.advance(versions);
            }
            Record::Update(delta) => drop(self.merge(&delta).map_err(|_| NEVER_TAKEN)?),
            Record::RejectedTaken => self.rejected.clear(),
        }
        Ok(())
    }

    fn wait(&mut self, pending: Pending) -> Result<(), DecodeError> {
        let stamp = pending.operation.timestamp;
        wait(&mut self.outbox, self.id, pending)?;
        self.clock.observe(stamp);
        Ok(())
    }

    /// The whole replica as one record, in place of all stored before.
    pub fn image(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(RECORD_VERSION);
        writer.u8(TAG_IMAGE);
        writer.fixed64(self.id.0);
        writer.bytes(self.household.as_ref().map_or("", HouseholdId::as_str).as_bytes());
        writer.u8(u8::from(self.epoch.is_some())
            | u8::from(self.cursor.is_some()) << 1
            | u8::from(!self.owed.is_empty()) << 2);
        if let Some(epoch) = self.epoch {
            writer.fixed64(epoch.0);
        }
        if let Some(cursor) = self.cursor {
            writer.fixed64(cursor.epoch.0);
            writer.varint(cursor.version);
        }
        write_taken(&mut writer, self.acked);
        writer.varint(self.session_number);
        writer.varint(self.clock.last().0);
        writer.signed(self.offset_ms);
        writer.varint(self.outbox.sent_through().0);
        writer.varint(self.outbox.len() as u64);
        for pending in self.outbox.iter() {
            pending.encode(&mut writer);
        }
        writer.varint(self.rejected.len() as u64);
        for Rejected { operation, reason } in &self.rejected {
            operation.encode(&mut writer);
            writer.u8(*reason as u8);
        }
        self.confirmed.encode(&mut writer);
        for owed in &self.owed {
            owed.encode(&mut writer);
        }
        seal(writer)
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let id = ReplicaId(reader.fixed64()?);
        let household = match reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")? {
            "" => None,
            id => Some(HouseholdId::new(id).map_err(|_| DecodeError::invalid("household id"))?),
        };
        let flags = reader.u8()?;
        if flags > 7 {
            return Err(DecodeError::invalid("image flags"));
        }
        let epoch = if flags & 1 != 0 { Some(EpochId(reader.fixed64()?)) } else { None };
        let cursor = if flags & 2 != 0 {
            Some(Cursor { epoch: EpochId(reader.fixed64()?), version: reader.varint()? })
        } else {
            None
        };
        let acked = read_taken(reader)?;
        let session_number = reader.varint()?;
        let mut clock = Clock::after(Timestamp(reader.varint()?));
        let offset_ms = reader.signed()?;
        let mut outbox = Outbox::default();
        outbox.mark_sent(Timestamp(reader.varint()?));
        for _ in 0..reader.count(OUTBOX_OPERATIONS_MAX, "OUTBOX_OPERATIONS_MAX")? {
            wait(&mut outbox, id, Pending::decode(reader)?)?;
        }
        clock.observe(outbox.last());
        let mut rejected = Vec::new();
        for _ in 0..reader.count(REJECTED_MAX, "REJECTED_MAX")? {
            let operation = Operation::decode(reader)?;
            let reason = VoidReason::ALL.get(usize::from(reader.u8()?));
            let reason = *reason.ok_or(DecodeError::invalid("void reason"))?;
            rejected.push(Rejected { operation, reason });
        }
        let confirmed = Household::decode(reader)?;
        let owed = if flags & 4 != 0 { read_states(reader)? } else { Vec::new() };
        Ok(Self {
            id,
            household,
            confirmed,
            owed,
            outbox,
            clock,
            offset_ms,
            acked,
            epoch,
            cursor,
            session_number,
            rejected,
        })
    }
}

/// Puts an operation into the outbox; they were made in the order of their stamps.
fn wait(outbox: &mut Outbox, author: ReplicaId, pending: Pending) -> Result<(), DecodeError> {
    if pending.operation.timestamp <= outbox.last() {
        return Err(DecodeError::invalid("order of operations"));
    }
    outbox.push(author, pending);
    Ok(())
}

fn write_taken(writer: &mut Writer, taken: Taken) {
    writer.varint(taken.through.0);
    writer.fixed32(taken.digest);
}

fn read_taken(reader: &mut Reader) -> Result<Taken, DecodeError> {
    Ok(Taken { through: Timestamp(reader.varint()?), digest: reader.fixed32()? })
}
