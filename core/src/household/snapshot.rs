//! A household as bytes: equal states have equal bytes.
//!
//! Replicas come first and are named by their index afterwards; titles are sorted and share prefixes;
//! stamps are differences from the stamp before. Layout: `docs/protocol.md`, "State".

use super::{
    ENTRIES_MAX, Household, OBSERVED_MAX, PROFILE_NAME_BYTES_MAX, PROFILES_EVER_MAX, PROFILES_MAX,
    PlayState, Profile, Progress, REPLICAS_MAX,
};
use crate::causal::{Dot, VersionVector};
use crate::clock::{Timestamp, UnixMillis};
use crate::codec::{DecodeError, Reader, Writer};
use crate::crdt::lww::LwwRegister;
use crate::id::{CONTENT_ID_BYTES_MAX, ContentId, ProfileId, ReplicaId};

/// Version of these bytes; a newer one is refused, never guessed at.
pub const STATE_VERSION: u8 = 1;

/// Tag of a progress entry that was taken off "continue watching".
const REMOVED: u8 = 4;

impl Household {
    /// Appends the state, its version first.
    pub fn encode(&self, writer: &mut Writer) {
        writer.u8(STATE_VERSION);
        let mut dots = Dots::default();
        writer.varint(self.seen.len() as u64);
        for (replica, through) in self.seen.iter() {
            writer.fixed64(replica.0);
            dots.replicas.push(replica);
            write_stamp(writer, &mut dots.last, through);
        }
        writer.varint(self.deleted.len() as u64);
        for profile in &self.deleted {
            writer.fixed64(profile.0);
        }
        writer.varint(self.profiles.len() as u64);
        for (id, profile) in &self.profiles {
            writer.varint(id.0);
            profile.encode(writer, &mut dots);
        }
    }

    /// Reads what [`Household::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            STATE_VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let mut dots = Dots::default();
        let mut seen = VersionVector::default();
        for _ in 0..reader.count(REPLICAS_MAX, "REPLICAS_MAX")? {
            let replica = ReplicaId(reader.fixed64()?);
            ascending(dots.replicas.last(), &replica, "order of replicas")?;
            dots.replicas.push(replica);
            let through = read_stamp(reader, &mut dots.last)?;
            if through == Timestamp::ZERO {
                return Err(DecodeError::Invalid("replica of which nothing was seen"));
            }
            seen.raise(replica, through);
        }
        let mut household =
            Self { seen, profiles: Default::default(), deleted: Default::default() };
        for _ in 0..reader.count(PROFILES_EVER_MAX, "PROFILES_EVER_MAX")? {
            let id = ProfileId(reader.fixed64()?);
            ascending(household.deleted.last(), &id, "order of deleted profiles")?;
            if id == ProfileId::DEFAULT {
                return Err(DecodeError::Invalid("deleted default profile"));
            }
            household.deleted.insert(id);
        }
        for _ in 0..reader.count(PROFILES_MAX, "PROFILES_MAX")? {
            let id = ProfileId(reader.varint()?);
            let last = household.profiles.last_key_value().map(|(last, _)| last);
            ascending(last, &id, "order of profiles")?;
            if household.deleted.contains(&id) {
                return Err(DecodeError::Invalid("profile that was deleted"));
            }
            let profile = Profile::decode(reader, &mut dots, &household.seen)?;
            household.profiles.insert(id, profile);
        }
        household.check_limits()?;
        if !household.profiles.contains_key(&ProfileId::DEFAULT) {
            return Err(DecodeError::Invalid("state without the default profile"));
        }
        Ok(household)
    }
}

impl Household {
    /// An error when this state could not be read again.
    pub fn check_limits(&self) -> Result<(), DecodeError> {
        let adds = |p: &Profile| p.watchlist.iter().map(|(_, live)| live.len()).max();
        let most_adds = self.profiles.values().filter_map(adds).max().unwrap_or(0);
        let limits = [
            (self.seen.len(), REPLICAS_MAX, "REPLICAS_MAX"),
            (self.deleted.len(), PROFILES_EVER_MAX, "PROFILES_EVER_MAX"),
            (self.profiles.len(), PROFILES_MAX, "PROFILES_MAX"),
            (self.entries(), ENTRIES_MAX, "ENTRIES_MAX"),
            (most_adds, OBSERVED_MAX, "OBSERVED_MAX"),
        ];
        match limits.iter().find(|(count, max, _)| count > max) {
            Some((_, _, name)) => Err(DecodeError::Limit(name)),
            None => Ok(()),
        }
    }
}

impl Profile {
    fn encode(&self, writer: &mut Writer, dots: &mut Dots) {
        writer.u8(u8::from(self.name.is_some()));
        if let Some(LwwRegister { dot, value }) = &self.name {
            dots.write(writer, *dot);
            writer.bytes(value.as_bytes());
        }
        writer.varint(self.watchlist.len() as u64);
        let mut last = "";
        for (content, live) in self.watchlist.iter() {
            last = write_content(writer, last, content);
            writer.varint(live.len() as u64);
            for &dot in live {
                dots.write(writer, dot);
            }
        }
        writer.varint(self.progress.len() as u64);
        last = "";
        for (content, LwwRegister { dot, value }) in self.progress.iter() {
            last = write_content(writer, last, content);
            dots.write(writer, *dot);
            match value {
                None => writer.u8(REMOVED),
                Some(progress) => {
                    writer.u8(progress.state as u8);
                    writer.varint(u64::from(progress.position_s));
                    writer.varint(u64::from(progress.duration_s));
                }
            }
        }
    }

    fn decode(
        reader: &mut Reader,
        dots: &mut Dots,
        seen: &VersionVector,
    ) -> Result<Self, DecodeError> {
        let name = match reader.u8()? {
            0 => None,
            1 => {
                let dot = dots.read(reader, seen)?;
                let name = reader.string(PROFILE_NAME_BYTES_MAX, "PROFILE_NAME_BYTES_MAX")?;
                Some(LwwRegister { dot, value: name.into() })
            }
            _ => return Err(DecodeError::Invalid("profile name flag")),
        };
        let mut profile = Self { name, ..Self::default() };
        let mut last = None;
        for _ in 0..reader.count(ENTRIES_MAX, "ENTRIES_MAX")? {
            let content = read_content(reader, &mut last)?;
            let count = reader.count(OBSERVED_MAX, "OBSERVED_MAX")?;
            if count == 0 {
                return Err(DecodeError::Invalid("watchlist entry without an add"));
            }
            let mut above = None;
            for _ in 0..count {
                let dot = dots.read(reader, seen)?;
                ascending(above.as_ref(), &dot, "order of adds")?;
                above = Some(dot);
                profile.watchlist.add(content.clone(), dot, &[]);
            }
        }
        let mut last = None;
        for _ in 0..reader.count(ENTRIES_MAX, "ENTRIES_MAX")? {
            let content = read_content(reader, &mut last)?;
            let dot = dots.read(reader, seen)?;
            let value = match reader.u8()? {
                REMOVED => None,
                state => {
                    let state = PlayState::ALL.get(usize::from(state));
                    Some(Progress {
                        state: *state.ok_or(DecodeError::Invalid("play state"))?,
                        position_s: reader.u32("position")?,
                        duration_s: reader.u32("duration")?,
                    })
                }
            };
            profile.progress.set(content, dot, value);
        }
        Ok(profile)
    }
}

/// Writes and reads dots against a list of replicas and the stamp before.
#[derive(Default)]
struct Dots {
    replicas: Vec<ReplicaId>,
    last: Timestamp,
}

impl Dots {
    fn write(&mut self, writer: &mut Writer, dot: Dot) {
        let index = self.replicas.binary_search(&dot.replica);
        let index = index.expect("a live dot is covered, so its replica is in the version vector");
        writer.varint(index as u64);
        write_stamp(writer, &mut self.last, dot.timestamp);
    }

    fn read(&mut self, reader: &mut Reader, seen: &VersionVector) -> Result<Dot, DecodeError> {
        let index = reader.count(REPLICAS_MAX, "REPLICAS_MAX")?;
        let replica = *self.replicas.get(index).ok_or(DecodeError::Invalid("replica index"))?;
        let dot = Dot { replica, timestamp: read_stamp(reader, &mut self.last)? };
        if seen.covers(dot) { Ok(dot) } else { Err(DecodeError::Invalid("dot that was not seen")) }
    }
}

/// Writes a stamp as the difference of its milliseconds from `last`; the lowest bit says whether a
/// logical counter other than 0 follows.
pub(crate) fn write_stamp(writer: &mut Writer, last: &mut Timestamp, stamp: Timestamp) {
    let difference = stamp.millis().0.wrapping_sub(last.millis().0) as i64;
    let zigzag = ((difference << 1) ^ (difference >> 63)) as u64;
    writer.varint(zigzag << 1 | u64::from(stamp.counter() != 0));
    if stamp.counter() != 0 {
        writer.varint(u64::from(stamp.counter()));
    }
    *last = stamp;
}

/// Reads what [`write_stamp`] wrote.
pub(crate) fn read_stamp(
    reader: &mut Reader,
    last: &mut Timestamp,
) -> Result<Timestamp, DecodeError> {
    let word = reader.varint()?;
    let zigzag = word >> 1;
    let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
    let millis = last.millis().0.wrapping_add(difference as u64);
    let counter = if word & 1 == 1 { reader.varint()? } else { 0 };
    let padded = word & 1 == 1 && counter == 0;
    if millis >= 1 << 48 || counter > u64::from(u16::MAX) || padded {
        return Err(DecodeError::Invalid("stamp"));
    }
    *last = Timestamp::new(UnixMillis(millis), counter as u16);
    Ok(*last)
}

fn write_content<'a>(writer: &mut Writer, last: &str, content: &'a ContentId) -> &'a str {
    let text = content.as_str();
    let shared = last.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    writer.varint(shared as u64);
    writer.bytes(&text.as_bytes()[shared..]);
    text
}

fn read_content(
    reader: &mut Reader,
    last: &mut Option<ContentId>,
) -> Result<ContentId, DecodeError> {
    let before = last.as_ref().map_or("", ContentId::as_str).as_bytes();
    let shared = reader.count(before.len(), "length of the content id before")?;
    let rest = reader.bytes(CONTENT_ID_BYTES_MAX, "CONTENT_ID_BYTES_MAX")?;
    let text = [&before[..shared], rest].concat();
    if before.get(shared).is_some_and(|byte| rest.first() == Some(byte)) {
        return Err(DecodeError::Invalid("shared prefix"));
    }
    let text = core::str::from_utf8(&text).map_err(|_| DecodeError::Invalid("content id"))?;
    let content = ContentId::new(text).map_err(|_| DecodeError::Invalid("content id"))?;
    ascending(last.as_ref(), &content, "order of content ids")?;
    *last = Some(content.clone());
    Ok(content)
}

fn ascending<T: Ord>(last: Option<&T>, next: &T, name: &'static str) -> Result<(), DecodeError> {
    if last.is_some_and(|last| last >= next) { Err(DecodeError::Invalid(name)) } else { Ok(()) }
}
