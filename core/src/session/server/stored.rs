//! What the server keeps of a household, as bytes: one snapshot, the log after and before it, and a row
//! for each replica. A store sees bytes and numbers only.

use super::Room;
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::delta::Delta;
use crate::household::{History, Household};
use crate::id::{EpochId, HouseholdId, ReplicaId};
use crate::message::{Session, read_voids, write_voids};
use crate::operation::VoidReason;
use std::collections::BTreeMap;

/// A household as a store loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The life of the database.
    pub epoch: EpochId,
    /// Of the last commit: how many there were, those without a new version included.
    pub revision: u64,
    /// The version of the last commit.
    pub version: u64,
    /// The last snapshot, empty for none.
    pub snapshot: Vec<u8>,
    /// The version it was taken at, 0 for none.
    pub snapshot_version: u64,
    /// Every log entry kept, in the order of the versions.
    pub log: Vec<(u64, Vec<u8>)>,
    /// Every replica's row.
    pub replicas: Vec<(ReplicaId, Vec<u8>)>,
}

impl Stored {
    /// Every replica's row, read.
    pub(super) fn rows(&self) -> Result<BTreeMap<ReplicaId, Row>, DecodeError> {
        self.replicas.iter().map(|(replica, row)| Ok((*replica, Row::decode(row)?))).collect()
    }

    /// The log entries after a version, read: without a hole, and up to this version.
    pub(super) fn entries_after(&self, version: u64) -> Result<Vec<(u64, Delta)>, DecodeError> {
        let mut entries = Vec::new();
        let mut last = version;
        for (at, bytes) in self.log.iter().filter(|(at, _)| *at > version) {
            if *at != last + 1 {
                return Err(DecodeError::invalid("versions of the log"));
            }
            last = *at;
            entries.push((last, Delta::load(&mut Reader::new(bytes))?));
        }
        if last != self.version {
            return Err(DecodeError::invalid("end of the log"));
        }
        Ok(entries)
    }
}

/// What becomes durable in one step, if the store's revision is still `follows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The life of the database; the first commit of a household creates it.
    pub epoch: EpochId,
    /// The revision before; 0 for none.
    pub follows: u64,
    /// The revision after.
    pub revision: u64,
    /// The version after.
    pub version: u64,
    /// New log entries.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// Rows in place of the ones before.
    pub replicas: Vec<(ReplicaId, Vec<u8>)>,
    /// A snapshot in place of the one before.
    pub snapshot: Option<Snapshot>,
}

/// A whole state; log entries up to it are not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version it was taken at.
    pub version: u64,
    /// The state.
    pub bytes: Vec<u8>,
}

impl Commit {
    /// Adds the room's next commit, so that both become durable in one step.
    pub fn merge(&mut self, next: Self) {
        debug_assert_eq!(self.revision, next.follows);
        self.revision = next.revision;
        self.version = next.version;
        self.entries.extend(next.entries);
        let newer = |id: &ReplicaId| next.replicas.iter().any(|(other, _)| other == id);
        self.replicas.retain(|(id, _)| !newer(id));
        self.replicas.extend(next.replicas);
        self.snapshot = next.snapshot.or(self.snapshot.take());
    }
}

/// What the server remembers of a replica besides its operations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) session: Session,
    /// Of the last operation taken, 0 when not known.
    pub(super) digest: u32,
    /// Refused operations that the replica may not have heard of.
    pub(super) voids: BTreeMap<Timestamp, VoidReason>,
}

impl Row {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.varint(self.session.number);
        writer.fixed32(self.session.nonce);
        writer.fixed32(self.digest);
        let voids: Vec<_> = self.voids.iter().map(|(&stamp, &reason)| (stamp, reason)).collect();
        write_voids(&mut writer, &voids);
        writer.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let session = Session { number: reader.varint()?, nonce: reader.fixed32()? };
        let digest = reader.fixed32()?;
        let voids = read_voids(&mut reader)?.into_iter().collect();
        reader.finish()?;
        Ok(Self { session, digest, voids })
    }
}

/// A log entry as it is stored.
pub(super) fn entry(version: u64, delta: &Delta) -> (u64, Vec<u8>) {
    let mut writer = Writer::new();
    delta.store(&mut writer);
    (version, writer.finish())
}

impl Stored {
    /// The log entries after the snapshot, read.
    ///
    /// # Errors
    /// As [`Room::load`].
    pub fn deltas(&self) -> Result<Vec<(u64, Delta)>, DecodeError> {
        self.entries_after(self.snapshot_version)
    }
}

impl Room {
    /// Loads a household from what was stored.
    ///
    /// # Errors
    /// [`DecodeError`]: the store is damaged or from a newer version.
    pub fn load(id: HouseholdId, stored: &Stored) -> Result<Self, DecodeError> {
        let mut household = Household::default();
        let mut history = History::new(stored.snapshot_version);
        if stored.snapshot.is_empty() != (stored.snapshot_version == 0) {
            return Err(DecodeError::invalid("version of the snapshot"));
        }
        if !stored.snapshot.is_empty() {
            let mut reader = Reader::new(&stored.snapshot);
            household = Household::decode(&mut reader)?;
            history = History::decode(&mut reader)?;
            reader.finish()?;
        }
        for (version, delta) in stored.entries_after(stored.snapshot_version)? {
            history.note(version, household.touched_by(&delta));
            household.merge(&delta);
        }
        Ok(Self {
            revision: stored.revision,
            version: stored.version,
            household,
            history,
            snapshot_version: stored.snapshot_version,
            rows: stored.rows()?,
            ..Self::create(id, stored.epoch)
        })
    }

    /// The state as it is to be stored at the present version.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut writer = Writer::new();
        self.household.encode(&mut writer);
        self.history.encode(&mut writer);
        Snapshot { version: self.version, bytes: writer.finish() }
    }
}
