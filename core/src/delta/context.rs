//! How operations are written: what both ends of a connection remember, and so need not say.
//!
//! A title that plays advances with the clock, and a player reports at a steady pace. So the time and
//! the position of a progress update are predicted from the update before, and the usual one is a single
//! byte. Both ends keep one context a direction, from an empty one at the connection's start; stored
//! operations are each written from an empty context. Layout: `docs/protocol.md`, "Operations".

use super::LiveAdds;
use super::guess::{Guess, Track};
use super::title::{CONTEXT_ENTRIES_MAX, Titles};
use crate::causal::Dot;
use crate::clock::{Timestamp, UnixMillis, read_stamp, write_stamp};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ContentId, DeviceId, ProfileId, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::operation::{
    Change, DeviceRecord, OBSERVED_MAX, Operation, PROFILE_NAME_BYTES_MAX, PlayState, Progress,
};

/// Not a progress update: the lower three bits are the kind.
const FLAG_OTHER: u8 = 0x80;
const STATE_MASK: u8 = 0x03;
/// The time differs from the predicted one and follows.
const FLAG_TIME: u8 = 0x04;
/// The position differs from the predicted one and follows.
const FLAG_POSITION: u8 = 0x08;
/// The duration differs from the title's last and follows.
const FLAG_DURATION: u8 = 0x10;
/// The title differs from the author's last and follows.
const FLAG_CONTENT: u8 = 0x20;
/// The profile differs from the author's last and follows.
const FLAG_PROFILE: u8 = 0x40;

const KIND_MASK: u8 = 0x07;
const KIND_ADD: u8 = 0;
const KIND_REMOVE: u8 = 1;
const KIND_PROGRESS_REMOVED: u8 = 2;
const KIND_NAME: u8 = 3;
const KIND_DELETE: u8 = 4;
const KIND_DEVICE: u8 = 5;
/// No operation: the delta covers the stamps up to this one.
const KIND_END: u8 = 7;
/// How the time of an operation that is not a progress update is written: as this many bytes of
/// milliseconds after the last stamp, or freely.
const GAP_SHIFT: u8 = 3;
const GAP_MASK: u8 = 0x18;
const GAP_BYTES: [usize; 3] = [2, 3, 4];
const GAP_FREE: u8 = 3;

/// What passed on a connection, in one direction.
#[derive(Debug, Default)]
pub struct Context {
    /// No title is remembered.
    alone: bool,
    last: Timestamp,
    version: u64,
    titles: Titles,
    tracks: Vec<Option<Track>>,
    /// The authors that were named, in the order they came.
    authors: Vec<(ReplicaId, Author)>,
    /// The one who is writing, by place; `None` is the connection's own replica.
    writing: Option<usize>,
    own: Author,
}

/// What an author did last.
#[derive(Debug, Clone, Copy, Default)]
struct Author {
    profile: ProfileId,
    content: Option<usize>,
    /// Time between its last two updates of one title.
    pace_ms: u64,
}

impl Context {
    /// The context at the start of a connection: both ends know the time of the welcome.
    pub fn starting(time: UnixMillis) -> Self {
        Self { last: Timestamp::new(time, 0), ..Self::default() }
    }

    /// Both ends know the version that the welcome leads to: versions are written as what they are
    /// beyond it.
    pub fn begin_at(&mut self, version: u64) {
        self.version = version;
    }

    /// A context that remembers no title, for what is stored: it is mostly one operation.
    pub(super) fn alone() -> Self {
        Self { alone: true, ..Self::default() }
    }

    /// Writes an operation; `live` when what it observed is what was live at that version.
    pub(super) fn write(&mut self, writer: &mut Writer, operation: &Operation, live: Option<u64>) {
        let Operation { timestamp, profile, change } = operation;
        let author = self.author();
        let place = change.content().and_then(|content| self.place(content, author));
        let other_profile = *profile != author.profile && !matches!(change, Change::Device(..));
        let named = change.content().is_some() && (place.is_none() || place != author.content);
        let flags = flag(other_profile, FLAG_PROFILE) | flag(named, FLAG_CONTENT);
        match change {
            Change::Progress(_, Some(progress)) => {
                let guess = self.guess(place, author);
                let position_s = guess.position_s(*timestamp);
                writer.u8(progress.state as u8
                    | flag(guess.stamp != *timestamp, FLAG_TIME)
                    | flag(progress.position_s != position_s, FLAG_POSITION)
                    | flag(progress.duration_s != guess.duration_s(), FLAG_DURATION)
                    | flags);
                self.write_subject(writer, operation, flags, place);
                if guess.stamp != *timestamp {
                    write_stamp(writer, &mut { guess.stamp }, *timestamp);
                }
                if progress.position_s != position_s {
                    writer.signed(i64::from(progress.position_s) - i64::from(position_s));
                }
                if progress.duration_s != guess.duration_s() {
                    writer.varint(u64::from(progress.duration_s));
                }
                self.follow(*timestamp, *progress);
            }
            _ => {
                let gap = self.gap(*timestamp);
                writer.u8(FLAG_OTHER | kind(change) | gap << GAP_SHIFT | flags);
                self.write_subject(writer, operation, flags, place);
                self.write_gap(writer, gap, *timestamp);
                self.write_payload(writer, operation, live);
            }
        }
        self.last = *timestamp;
    }

    /// Writes up to where a delta reaches beyond its last operation.
    pub(super) fn write_end(&mut self, writer: &mut Writer, through: Timestamp) {
        let gap = self.gap(through);
        writer.u8(FLAG_OTHER | KIND_END | gap << GAP_SHIFT);
        self.write_gap(writer, gap, through);
        self.last = through;
    }

    /// Reads a stamp and what was done then; nothing for the end of a delta.
    pub(super) fn read(
        &mut self,
        reader: &mut Reader,
        live: LiveAdds,
    ) -> Result<(Timestamp, Option<(ProfileId, Change)>), DecodeError> {
        let head = reader.u8()?;
        let kind = if head & FLAG_OTHER == 0 { None } else { Some(head & KIND_MASK) };
        let allowed = match kind {
            None | Some(KIND_ADD | KIND_REMOVE | KIND_PROGRESS_REMOVED) => {
                FLAG_CONTENT | FLAG_PROFILE
            }
            Some(KIND_NAME | KIND_DELETE) => FLAG_PROFILE,
            Some(KIND_DEVICE | KIND_END) => 0,
            _ => return Err(DecodeError::invalid("operation kind")),
        };
        if head & (FLAG_CONTENT | FLAG_PROFILE) & !allowed != 0 {
            return Err(DecodeError::invalid("operation flags"));
        }
        let mut profile = self.read_profile(reader, head)?;
        if kind == Some(KIND_DEVICE) {
            profile = ProfileId::DEFAULT;
        }
        let content =
            if allowed & FLAG_CONTENT != 0 { Some(self.read_content(reader, head)?) } else { None };
        let (stamp, change) = match (kind, content) {
            (None, Some(content)) => {
                let (stamp, progress) = self.read_progress(reader, head)?;
                (stamp, Some(Change::Progress(content, Some(progress))))
            }
            (Some(kind), content) => {
                let stamp = self.read_gap(reader, (head & GAP_MASK) >> GAP_SHIFT)?;
                let subject = (profile, content, stamp);
                (stamp, self.read_payload(reader, kind, subject, live)?)
            }
            (None, None) => return Err(DecodeError::invalid("operation kind")),
        };
        self.last = stamp;
        Ok((stamp, change.map(|change| (profile, change))))
    }

    fn read_progress(
        &mut self,
        reader: &mut Reader,
        head: u8,
    ) -> Result<(Timestamp, Progress), DecodeError> {
        let author = self.author();
        let guess = self.guess(author.content, author);
        let mut stamp = guess.stamp;
        if head & FLAG_TIME != 0 {
            read_stamp(reader, &mut stamp)?;
        }
        let mut position_s = guess.position_s(stamp);
        if head & FLAG_POSITION != 0 {
            let position = reader.signed()?.checked_add(i64::from(position_s));
            let position = position.and_then(|position| u32::try_from(position).ok());
            position_s = position.ok_or(DecodeError::invalid("position"))?;
        }
        let duration_s =
            if head & FLAG_DURATION != 0 { reader.u32("duration")? } else { guess.duration_s() };
        let state = PlayState::ALL[usize::from(head & STATE_MASK)];
        let progress = Progress { position_s, duration_s, state };
        self.follow(stamp, progress);
        Ok((stamp, progress))
    }

    fn write_subject(
        &mut self,
        writer: &mut Writer,
        operation: &Operation,
        flags: u8,
        place: Option<usize>,
    ) {
        if flags & FLAG_PROFILE != 0 {
            writer.fixed64(operation.profile.0);
            self.author_mut().profile = operation.profile;
        }
        if let (Some(content), true) = (operation.change.content(), flags & FLAG_CONTENT != 0) {
            self.titles.write(writer, content, place);
            match place {
                Some(place) => self.author_mut().content = Some(place),
                None if self.alone => {}
                None => self.remember(content.clone()),
            }
        }
    }

    fn read_profile(&mut self, reader: &mut Reader, head: u8) -> Result<ProfileId, DecodeError> {
        if head & FLAG_PROFILE != 0 {
            self.author_mut().profile = ProfileId(reader.fixed64()?);
        }
        Ok(self.author().profile)
    }

    fn read_content(&mut self, reader: &mut Reader, head: u8) -> Result<ContentId, DecodeError> {
        if head & FLAG_CONTENT != 0 {
            match self.titles.read(reader)? {
                Ok(place) => self.author_mut().content = Some(place),
                Err(content) if self.alone => return Ok(content),
                Err(content) => self.remember(content),
            }
        }
        let content = self.author().content.and_then(|place| self.titles.get(place));
        content.cloned().ok_or(DecodeError::invalid("title reference"))
    }

    fn remember(&mut self, content: ContentId) {
        let (place, forgotten) = self.titles.remember(content);
        if forgotten {
            self.tracks.clear();
            self.own.content = None;
            for (_, author) in &mut self.authors {
                author.content = None;
            }
        }
        self.tracks.push(None);
        self.author_mut().content = Some(place);
    }

    fn place(&self, content: &ContentId, author: Author) -> Option<usize> {
        let last = author.content.filter(|&place| self.titles.get(place) == Some(content));
        last.or_else(|| self.titles.place(content))
    }

    /// What an update of the title at `place` will probably say.
    fn guess(&self, place: Option<usize>, author: Author) -> Guess {
        let track = place.and_then(|place| *self.tracks.get(place)?);
        let stamp = match track {
            None => self.last,
            Some(track) => {
                let millis = track.timestamp.millis().0.saturating_add(author.pace_ms);
                Timestamp::new(UnixMillis(millis), 0)
            }
        };
        Guess { stamp, track }
    }

    fn follow(&mut self, timestamp: Timestamp, progress: Progress) {
        let Some(place) = self.author().content else {
            return;
        };
        if let Some(track) = self.tracks.get_mut(place) {
            let before = track.replace(Track { timestamp, progress });
            if let Some(before) = before.filter(|b| b.progress.state == PlayState::Playing) {
                let pace_ms = timestamp.millis().0.saturating_sub(before.timestamp.millis().0);
                self.author_mut().pace_ms = pace_ms;
            }
        }
    }

    /// How the time of an operation is best written.
    fn gap(&self, timestamp: Timestamp) -> u8 {
        let Some(gap_ms) = timestamp.millis().0.checked_sub(self.last.millis().0) else {
            return GAP_FREE;
        };
        let fits = |bytes: &usize| timestamp.counter() == 0 && gap_ms >> (8 * bytes) == 0;
        GAP_BYTES.iter().position(fits).map_or(GAP_FREE, |at| at as u8)
    }

    fn write_gap(&self, writer: &mut Writer, gap: u8, timestamp: Timestamp) {
        match GAP_BYTES.get(usize::from(gap)) {
            Some(&bytes) => {
                let gap_ms = timestamp.millis().0.wrapping_sub(self.last.millis().0);
                writer.raw(&gap_ms.to_le_bytes()[..bytes]);
            }
            None => write_stamp(writer, &mut { self.last }, timestamp),
        }
    }

    fn read_gap(&self, reader: &mut Reader, gap: u8) -> Result<Timestamp, DecodeError> {
        match GAP_BYTES.get(usize::from(gap)) {
            Some(&bytes) => {
                let mut gap_ms = [0; 8];
                gap_ms[..bytes].copy_from_slice(reader.raw(bytes)?);
                let millis = self.last.millis().0 + u64::from_le_bytes(gap_ms);
                if millis >= 1 << 48 {
                    return Err(DecodeError::invalid("stamp"));
                }
                Ok(Timestamp::new(UnixMillis(millis), 0))
            }
            None => read_stamp(reader, &mut { self.last }),
        }
    }

    fn write_payload(&mut self, writer: &mut Writer, operation: &Operation, live: Option<u64>) {
        match &operation.change {
            Change::Add(_, observed) | Change::Remove(_, observed) => {
                if let Some(version) = live {
                    let further = version.saturating_sub(self.version);
                    self.version += further;
                    return writer.varint(further.saturating_add(1));
                }
                writer.varint(0);
                writer.varint(observed.len() as u64);
                let mut last = operation.timestamp;
                for dot in observed {
                    self.write_replica(writer, dot.replica);
                    write_stamp(writer, &mut last, dot.timestamp);
                }
            }
            Change::NameProfile(name) => writer.bytes(name.as_bytes()),
            Change::Device(device, record) => {
                writer.bytes(device.as_str().as_bytes());
                writer.u8(u8::from(record.is_some()));
                if let Some(record) = record {
                    record.encode(writer);
                }
            }
            Change::Progress(..) | Change::DeleteProfile => {}
        }
    }

    fn read_payload(
        &mut self,
        reader: &mut Reader,
        kind: u8,
        (profile, content, stamp): (ProfileId, Option<ContentId>, Timestamp),
        live: LiveAdds,
    ) -> Result<Option<Change>, DecodeError> {
        Ok(match (kind, content) {
            (KIND_ADD, Some(content)) => {
                let observed = self.read_observed(reader, profile, &content, stamp, live)?;
                Some(Change::Add(content, observed))
            }
            (KIND_REMOVE, Some(content)) => {
                let observed = self.read_observed(reader, profile, &content, stamp, live)?;
                Some(Change::Remove(content, observed))
            }
            (KIND_PROGRESS_REMOVED, Some(content)) => Some(Change::Progress(content, None)),
            (KIND_NAME, _) => {
                let name = reader.string(PROFILE_NAME_BYTES_MAX, "PROFILE_NAME_BYTES_MAX")?;
                Some(Change::NameProfile(name.into()))
            }
            (KIND_DELETE, _) => Some(Change::DeleteProfile),
            (KIND_DEVICE, _) => {
                let id = reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")?;
                let device = DeviceId::new(id).map_err(|_| DecodeError::invalid("device id"))?;
                let record = match reader.u8()? {
                    0 => None,
                    1 => Some(DeviceRecord::decode(reader)?),
                    _ => return Err(DecodeError::invalid("device flag")),
                };
                Some(Change::Device(device, record))
            }
            _ => None,
        })
    }

    fn read_observed(
        &mut self,
        reader: &mut Reader,
        profile: ProfileId,
        content: &ContentId,
        stamp: Timestamp,
        live: LiveAdds,
    ) -> Result<Vec<Dot>, DecodeError> {
        if let Some(further) = reader.varint()?.checked_sub(1) {
            self.version = self.version.saturating_add(further);
            let observed = live(profile, content, self.version);
            return observed.ok_or(DecodeError::invalid("version that was observed"));
        }
        let mut last = stamp;
        let mut observed = Vec::new();
        for _ in 0..reader.count(OBSERVED_MAX, "OBSERVED_MAX")? {
            let (_, replica) = self.read_replica(reader)?;
            observed.push(Dot { replica, timestamp: read_stamp(reader, &mut last)? });
        }
        Ok(observed)
    }

    /// Writes who wrote what follows.
    pub(super) fn write_author(&mut self, writer: &mut Writer, replica: ReplicaId) {
        self.writing = Some(self.write_replica(writer, replica));
    }

    /// Reads who wrote what follows.
    pub(super) fn read_author(&mut self, reader: &mut Reader) -> Result<ReplicaId, DecodeError> {
        let (place, replica) = self.read_replica(reader)?;
        self.writing = Some(place);
        Ok(replica)
    }

    /// 0 and the id when it is new, else its place counted from 1. Returns its place.
    fn write_replica(&mut self, writer: &mut Writer, replica: ReplicaId) -> usize {
        match self.authors.iter().position(|(known, _)| *known == replica) {
            Some(place) => {
                writer.varint(place as u64 + 1);
                place
            }
            None => {
                writer.varint(0);
                writer.fixed64(replica.0);
                self.remember_replica(replica)
            }
        }
    }

    fn read_replica(&mut self, reader: &mut Reader) -> Result<(usize, ReplicaId), DecodeError> {
        match reader.count(self.authors.len(), "replicas in the context")? {
            0 => {
                let replica = ReplicaId(reader.fixed64()?);
                Ok((self.remember_replica(replica), replica))
            }
            place => Ok((place - 1, self.authors[place - 1].0)),
        }
    }

    fn remember_replica(&mut self, replica: ReplicaId) -> usize {
        if self.authors.len() >= CONTEXT_ENTRIES_MAX {
            self.authors.clear();
            self.writing = None;
        }
        self.authors.push((replica, Author::default()));
        self.authors.len() - 1
    }

    fn author(&self) -> Author {
        let named = self.writing.and_then(|place| self.authors.get(place));
        named.map_or(self.own, |(_, author)| *author)
    }

    fn author_mut(&mut self) -> &mut Author {
        match self.writing.and_then(|place| self.authors.get_mut(place)) {
            Some((_, author)) => author,
            None => &mut self.own,
        }
    }
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

fn kind(change: &Change) -> u8 {
    match change {
        Change::Add(..) => KIND_ADD,
        Change::Remove(..) => KIND_REMOVE,
        Change::Progress(..) => KIND_PROGRESS_REMOVED,
        Change::NameProfile(_) => KIND_NAME,
        Change::DeleteProfile => KIND_DELETE,
        Change::Device(..) => KIND_DEVICE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_remembers_so_many_authors() {
        let mut context = Context::default();
        for id in 0..2 * CONTEXT_ENTRIES_MAX as u64 {
            context.write_author(&mut Writer::new(), ReplicaId(id));
            assert!(context.authors.len() <= CONTEXT_ENTRIES_MAX);
        }
    }
}
