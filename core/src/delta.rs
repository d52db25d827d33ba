//! What one replica changed, and its bytes.
//!
//! A [`Delta`] holds operations of one replica in the order of their stamps and covers everything of
//! that replica up to `through`. A stamp it covers without an operation is superseded or void, so
//! coalescing and refusal leave no gaps.
//!
//! The encoder predicts: a [`Context`] remembers the titles, profiles and replicas that passed, and for
//! each title the last progress; a title that plays advances with the clock, so what is left to write is
//! a small difference. Both ends of a connection keep one context a direction, from an empty one at its
//! start; stored deltas are each written from an empty context. Layout: `docs/protocol.md`, "Operations".

use crate::causal::Dot;
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer, checksum};
use crate::household::snapshot::{read_stamp, write_stamp};
use crate::household::{
    Change, OBSERVED_MAX, Operation, PROFILE_NAME_BYTES_MAX, PlayState, Progress,
};
use crate::id::{ContentId, ProfileId, ReplicaId};
use std::collections::BTreeMap;

/// Operations in one delta.
pub const DELTA_OPERATIONS_MAX: usize = 500;
/// Bytes of one delta however it is encoded, by [`Operation::bytes_bound`]: what is taken from one
/// connection must fit a frame to any other.
pub const DELTA_BYTES_MAX: usize = 128 * 1024;
/// Titles, and replicas, that a context remembers; when one more comes it starts anew.
pub const CONTEXT_ENTRIES_MAX: usize = 1_024;

/// Operations of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// Whose.
    pub replica: ReplicaId,
    /// Everything of that replica up to here is covered.
    pub through: Timestamp,
    /// What is left of it, in the order of the stamps.
    pub operations: Vec<Operation>,
}

impl Delta {
    /// No encoding of this delta is longer, in bytes.
    pub fn bytes_bound(&self) -> usize {
        const FIXED: usize = 32;
        FIXED + self.operations.iter().map(Operation::bytes_bound).sum::<usize>()
    }

    /// Appends the delta, replica included.
    pub fn encode(&self, writer: &mut Writer, context: &mut Context) {
        context.write_replica(writer, self.replica);
        self.encode_operations(writer, context);
    }

    /// Appends the delta for a receiver who knows the replica.
    pub fn encode_operations(&self, writer: &mut Writer, context: &mut Context) {
        let last = self.operations.last().map(|operation| operation.timestamp);
        let explicit = last != Some(self.through);
        writer.varint((self.operations.len() as u64) << 1 | u64::from(explicit));
        for operation in &self.operations {
            context.write(writer, operation);
        }
        if explicit {
            write_stamp(writer, &mut context.last, self.through);
        }
    }

    /// Reads what [`Delta::encode`] wrote.
    pub fn decode(reader: &mut Reader, context: &mut Context) -> Result<Self, DecodeError> {
        let replica = context.read_replica(reader)?;
        Self::decode_operations(reader, context, replica)
    }

    /// Reads what [`Delta::encode_operations`] wrote.
    pub fn decode_operations(
        reader: &mut Reader,
        context: &mut Context,
        replica: ReplicaId,
    ) -> Result<Self, DecodeError> {
        let word = reader.varint()?;
        if word >> 1 > DELTA_OPERATIONS_MAX as u64 {
            return Err(DecodeError::Limit("DELTA_OPERATIONS_MAX"));
        }
        let mut operations: Vec<Operation> = Vec::new();
        let mut last = Timestamp::ZERO;
        for _ in 0..word >> 1 {
            let operation = context.read(reader)?;
            if operation.timestamp <= last {
                return Err(DecodeError::Invalid("order of stamps"));
            }
            last = operation.timestamp;
            operations.push(operation);
        }
        let explicit = word & 1 == 1;
        if operations.is_empty() && !explicit {
            return Err(DecodeError::Invalid("empty delta"));
        }
        let through = if explicit { read_stamp(reader, &mut context.last)? } else { last };
        if through < last || explicit == (through == last) {
            return Err(DecodeError::Invalid("end of the delta"));
        }
        Ok(Self { replica, through, operations })
    }
}

impl Operation {
    /// Tells this operation from another one with the same stamp.
    pub fn digest(&self) -> u32 {
        let mut writer = Writer::new();
        Context::default().write(&mut writer, self);
        checksum(writer.as_slice())
    }

    /// No encoding of this operation is longer, in bytes.
    pub fn bytes_bound(&self) -> usize {
        const FIXED: usize = 64;
        const DOT: usize = 24;
        match &self.change {
            Change::Add(content, observed) | Change::Remove(content, observed) => {
                FIXED + content.as_str().len() + DOT * observed.len()
            }
            Change::Progress(content, _) => FIXED + content.as_str().len(),
            Change::NameProfile(name) => FIXED + name.len(),
            Change::DeleteProfile => FIXED,
        }
    }

    /// Writes the operation alone, from an empty context.
    pub fn encode(&self, writer: &mut Writer) {
        Context::default().write(writer, self);
    }

    /// Reads what [`Operation::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Context::default().read(reader)
    }
}

const KIND_ADD: u8 = 0;
const KIND_REMOVE: u8 = 1;
const KIND_PROGRESS: u8 = 2;
const KIND_PROGRESS_REMOVED: u8 = 3;
const KIND_NAME: u8 = 4;
const KIND_DELETE: u8 = 5;
const KIND_MASK: u8 = 0x07;
/// The profile differs from the one before and follows.
const FLAG_PROFILE: u8 = 0x08;
/// Where the play state stands in the first byte.
const STATE_SHIFT: u8 = 4;
const STATE_MASK: u8 = 0x30;
/// The duration differs from the title's last and follows.
const FLAG_DURATION: u8 = 0x40;
/// The title differs from the one before and follows.
const FLAG_CONTENT: u8 = 0x80;

/// What both ends of a connection remember to write less.
#[derive(Debug, Default)]
pub struct Context {
    last: Timestamp,
    profile: Option<ProfileId>,
    content: usize,
    contents: Vec<ContentId>,
    places: BTreeMap<ContentId, usize>,
    tracks: BTreeMap<usize, Track>,
    replicas: Vec<ReplicaId>,
}

/// The last progress of a title.
#[derive(Debug, Clone, Copy)]
struct Track {
    timestamp: Timestamp,
    progress: Progress,
}

impl Track {
    /// Where the title is at `now` if nobody touched it, in seconds.
    fn predicted_s(&self, now: Timestamp) -> i64 {
        let elapsed_ms = now.millis().0.saturating_sub(self.timestamp.millis().0);
        let elapsed_s = if self.progress.state == PlayState::Playing {
            (elapsed_ms.saturating_add(500) / 1000) as i64
        } else {
            0
        };
        i64::from(self.progress.position_s).saturating_add(elapsed_s)
    }
}

impl Context {
    fn write(&mut self, writer: &mut Writer, operation: &Operation) {
        let profile = operation.profile;
        let flag = |set, flag| if set { flag } else { 0 };
        let mut head = flag(profile != self.profile.unwrap_or(ProfileId::DEFAULT), FLAG_PROFILE);
        let place = operation.change.content().map(|content| {
            let place = self.place(content);
            head |= flag(place != Some(self.content), FLAG_CONTENT);
            place
        });
        let track = place.flatten().and_then(|place| self.tracks.get(&place)).copied();
        head |= match &operation.change {
            Change::Add(..) => KIND_ADD,
            Change::Remove(..) => KIND_REMOVE,
            Change::Progress(_, None) => KIND_PROGRESS_REMOVED,
            Change::Progress(_, Some(progress)) => {
                let known = track.map_or(0, |track| track.progress.duration_s);
                KIND_PROGRESS
                    | (progress.state as u8) << STATE_SHIFT
                    | flag(progress.duration_s != known, FLAG_DURATION)
            }
            Change::NameProfile(_) => KIND_NAME,
            Change::DeleteProfile => KIND_DELETE,
        };
        writer.u8(head);
        write_stamp(writer, &mut self.last, operation.timestamp);
        if head & FLAG_PROFILE != 0 {
            writer.varint(profile.0);
            self.profile = Some(profile);
        }
        if let (Some(content), true) = (operation.change.content(), head & FLAG_CONTENT != 0) {
            self.write_content(writer, content, place.flatten());
        }
        match &operation.change {
            Change::Add(_, observed) | Change::Remove(_, observed) => {
                writer.varint(observed.len() as u64);
                let mut last = operation.timestamp;
                for dot in observed {
                    self.write_replica(writer, dot.replica);
                    write_stamp(writer, &mut last, dot.timestamp);
                }
            }
            Change::Progress(_, Some(progress)) => {
                let predicted = track.map_or(0, |track| track.predicted_s(operation.timestamp));
                writer.signed(i64::from(progress.position_s) - predicted);
                if head & FLAG_DURATION != 0 {
                    writer.varint(u64::from(progress.duration_s));
                }
                self.follow(operation.timestamp, *progress);
            }
            Change::NameProfile(name) => writer.bytes(name.as_bytes()),
            Change::Progress(_, None) | Change::DeleteProfile => {}
        }
    }

    fn read(&mut self, reader: &mut Reader) -> Result<Operation, DecodeError> {
        let head = reader.u8()?;
        let timestamp = read_stamp(reader, &mut self.last)?;
        if head & FLAG_PROFILE != 0 {
            self.profile = Some(ProfileId(reader.varint()?));
        }
        let profile = self.profile.unwrap_or(ProfileId::DEFAULT);
        let kind = head & KIND_MASK;
        let allowed = match kind {
            KIND_PROGRESS => STATE_MASK | FLAG_DURATION | FLAG_CONTENT,
            KIND_ADD | KIND_REMOVE | KIND_PROGRESS_REMOVED => FLAG_CONTENT,
            _ => 0,
        };
        if head & !(KIND_MASK | FLAG_PROFILE | allowed) != 0 {
            return Err(DecodeError::Invalid("operation flags"));
        }
        let change = match kind {
            KIND_ADD | KIND_REMOVE => {
                let content = self.read_content(reader, head)?;
                let observed = self.read_observed(reader, timestamp)?;
                if kind == KIND_ADD {
                    Change::Add(content, observed)
                } else {
                    Change::Remove(content, observed)
                }
            }
            KIND_PROGRESS => {
                let content = self.read_content(reader, head)?;
                let progress = self.read_progress(reader, head, timestamp)?;
                Change::Progress(content, Some(progress))
            }
            KIND_PROGRESS_REMOVED => Change::Progress(self.read_content(reader, head)?, None),
            KIND_NAME => {
                let name = reader.string(PROFILE_NAME_BYTES_MAX, "PROFILE_NAME_BYTES_MAX")?;
                Change::NameProfile(name.into())
            }
            KIND_DELETE => Change::DeleteProfile,
            _ => return Err(DecodeError::Invalid("operation kind")),
        };
        Ok(Operation { timestamp, profile, change })
    }

    fn read_progress(
        &mut self,
        reader: &mut Reader,
        head: u8,
        timestamp: Timestamp,
    ) -> Result<Progress, DecodeError> {
        let track = self.tracks.get(&self.content).copied();
        let predicted = track.map_or(0, |track| track.predicted_s(timestamp));
        let position = reader.signed()?.checked_add(predicted);
        let position = position.and_then(|position| u32::try_from(position).ok());
        let duration_s = if head & FLAG_DURATION != 0 {
            reader.u32("duration")?
        } else {
            track.map_or(0, |track| track.progress.duration_s)
        };
        let progress = Progress {
            position_s: position.ok_or(DecodeError::Invalid("position"))?,
            duration_s,
            state: PlayState::ALL[usize::from((head & STATE_MASK) >> STATE_SHIFT)],
        };
        self.follow(timestamp, progress);
        Ok(progress)
    }

    fn read_observed(
        &mut self,
        reader: &mut Reader,
        timestamp: Timestamp,
    ) -> Result<Vec<Dot>, DecodeError> {
        let count = reader.count(OBSERVED_MAX, "OBSERVED_MAX")?;
        let mut last = timestamp;
        let mut observed = Vec::new();
        for _ in 0..count {
            let replica = self.read_replica(reader)?;
            observed.push(Dot { replica, timestamp: read_stamp(reader, &mut last)? });
        }
        Ok(observed)
    }

    /// 0 and the title when it is new, else how many titles back it first came.
    fn write_content(&mut self, writer: &mut Writer, content: &ContentId, place: Option<usize>) {
        match place {
            Some(place) => {
                writer.varint((self.contents.len() - place) as u64);
                self.content = place;
            }
            None => {
                writer.varint(0);
                content.encode(writer);
                self.remember(content.clone());
            }
        }
    }

    fn read_content(&mut self, reader: &mut Reader, head: u8) -> Result<ContentId, DecodeError> {
        if head & FLAG_CONTENT != 0 {
            match reader.count(self.contents.len(), "titles in the context")? {
                0 => {
                    let content = ContentId::decode(reader)?;
                    self.remember(content);
                }
                back => self.content = self.contents.len() - back,
            }
        }
        self.contents.get(self.content).cloned().ok_or(DecodeError::Invalid("title reference"))
    }

    fn place(&self, content: &ContentId) -> Option<usize> {
        self.places.get(content).copied()
    }

    fn remember(&mut self, content: ContentId) {
        if self.contents.len() >= CONTEXT_ENTRIES_MAX {
            self.contents.clear();
            self.places.clear();
            self.tracks.clear();
        }
        self.content = self.contents.len();
        self.places.insert(content.clone(), self.content);
        self.contents.push(content);
    }

    fn follow(&mut self, timestamp: Timestamp, progress: Progress) {
        self.tracks.insert(self.content, Track { timestamp, progress });
    }

    /// 0 and the id when it is new, else its place counted from 1.
    fn write_replica(&mut self, writer: &mut Writer, replica: ReplicaId) {
        match self.replicas.iter().position(|known| *known == replica) {
            Some(place) => writer.varint(place as u64 + 1),
            None => {
                writer.varint(0);
                writer.fixed64(replica.0);
                self.remember_replica(replica);
            }
        }
    }

    fn read_replica(&mut self, reader: &mut Reader) -> Result<ReplicaId, DecodeError> {
        match reader.count(self.replicas.len(), "replicas in the context")? {
            0 => {
                let replica = ReplicaId(reader.fixed64()?);
                self.remember_replica(replica);
                Ok(replica)
            }
            place => Ok(self.replicas[place - 1]),
        }
    }

    fn remember_replica(&mut self, replica: ReplicaId) {
        if self.replicas.len() >= CONTEXT_ENTRIES_MAX {
            self.replicas.clear();
        }
        self.replicas.push(replica);
    }
}

impl Change {
    /// The title it is about.
    pub fn content(&self) -> Option<&ContentId> {
        match self {
            Self::Add(content, _) | Self::Remove(content, _) | Self::Progress(content, _) => {
                Some(content)
            }
            Self::NameProfile(_) | Self::DeleteProfile => None,
        }
    }
}
