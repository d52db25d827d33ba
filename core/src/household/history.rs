//! Which keys of a household changed since a version: what a difference has to replace.
//!
//! A [`History`] remembers for each key the version that touched it last, and the one since which
//! it has been there. So a device that knows the household at a version gets the present value of
//! what was touched since, however often it changed, and names by a few bits what it knows already.
//!
//! Invariant: a key that was not touched since a version has the same value at that version and
//! now. [`Touch::Changed`] is said only of a key that had a value at that version; of progress only
//! when the title had the same duration all the time, of a device only when nothing but the version
//! of its app changed.

use super::Household;
use crate::clock::Timestamp;
use crate::codec::{DecodeError, Reader, Writer};
use crate::delta::Delta;
use crate::id::{ContentId, DeviceId, ProfileId, ReplicaId, TENANT_ID_BYTES_MAX};
use crate::operation::Change;
use std::collections::{BTreeMap, BTreeSet};

/// A part of a household that has a value of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Up to where a replica was seen.
    Replica(ReplicaId),
    /// That a profile was deleted.
    Deleted(ProfileId),
    /// The name of a profile.
    Name(ProfileId),
    /// The live adds of a title.
    Watchlist(ProfileId, ContentId),
    /// The progress of a title.
    Progress(ProfileId, ContentId),
    /// What a device says of itself.
    Device(DeviceId),
}

impl Key {
    fn profile(&self) -> Option<ProfileId> {
        match self {
            Self::Name(id) | Self::Watchlist(id, _) | Self::Progress(id, _) => Some(*id),
            Self::Replica(_) | Self::Deleted(_) | Self::Device(_) => None,
        }
    }
}

/// What the receiver of a difference knows of a key that was touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// It has an earlier value; of progress one with the same duration, of a device one that is the
    /// same but for the version of the app.
    Changed,
    /// Perhaps it has none.
    New,
}

/// Keys without a value that are remembered, so that devices can be told they are gone. When there are
/// more, the oldest go, and devices that are further behind get a snapshot.
pub const GONE_MAX: usize = 1_024;
/// More keys than a history ever holds.
const HISTORY_KEYS_MAX: usize = 4 * super::ENTRIES_MAX;

/// The keys that a difference replaces. A key without a value in the state it is taken from is
/// removed.
pub type Touched = BTreeMap<Key, Touch>;

/// The last versions of keys. Keys it does not know were not touched since [`History::floor`].
#[derive(Debug, Clone, Default)]
pub struct History {
    floor: u64,
    keys: BTreeMap<Key, Life>,
}

/// Versions in the life of a key.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    born: u64,
    last: u64,
}

impl History {
    /// A history of which everything up to `floor` is forgotten.
    pub fn new(floor: u64) -> Self {
        Self { floor, keys: BTreeMap::new() }
    }

    /// Versions from this one on can be told from the present.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// How many keys it knows.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Notes what became `version`; `touched` is what [`Household::touched_by`] said before it was merged.
    pub fn note(&mut self, version: u64, touched: Touched) {
        for (key, touch) in touched {
            if let Key::Deleted(profile) = key {
                self.keys.retain(|key, _| key.profile() != Some(profile));
            }
            let life = self.keys.entry(key).or_default();
            life.last = version;
            if touch == Touch::New {
                life.born = version;
            }
        }
    }

    /// Forgets what was touched up to `version`; older versions can't be told from the present
    /// then.
    pub fn forget(&mut self, version: u64) {
        self.floor = self.floor.max(version);
        self.keys.retain(|_, life| life.last > version);
    }

    /// What was touched after `version`, which is not below the floor.
    pub fn since(&self, version: u64) -> Touched {
        let late = self.keys.iter().filter(|(_, life)| life.last > version);
        let touch = |born| if born > version { Touch::New } else { Touch::Changed };
        late.map(|(key, life)| (key.clone(), touch(life.born))).collect()
    }
}

impl History {
    /// Forgets the oldest keys without a value beyond [`GONE_MAX`].
    pub fn trim(&mut self, household: &Household) {
        let valued: BTreeSet<Key> = household.keys().collect();
        let gone = self.keys.iter().filter(|(key, _)| !valued.contains(key));
        let mut gone: Vec<u64> = gone.map(|(_, life)| life.last).collect();
        let Some(surplus) = gone.len().checked_sub(GONE_MAX + 1) else {
            return;
        };
        gone.sort_unstable();
        self.floor = self.floor.max(gone[surplus]);
        let floor = self.floor;
        self.keys.retain(|key, life| life.last > floor || valued.contains(key));
    }

    /// Appends the history, as it is stored beside the state.
    pub fn encode(&self, writer: &mut Writer) {
        writer.varint(self.floor);
        writer.varint(self.keys.len() as u64);
        for (key, life) in &self.keys {
            key.encode(writer);
            writer.varint(life.last);
            writer.varint(life.last - life.born);
        }
    }

    /// Reads what [`History::encode`] wrote.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let floor = reader.varint()?;
        let mut keys = BTreeMap::new();
        for _ in 0..reader.count(HISTORY_KEYS_MAX, "HISTORY_KEYS_MAX")? {
            let key = Key::decode(reader)?;
            let last = reader.varint()?;
            let born = last.checked_sub(reader.varint()?);
            let born = born.ok_or(DecodeError::invalid("versions of a key"))?;
            keys.insert(key, Life { born, last });
        }
        Ok(Self { floor, keys })
    }
}

impl Key {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Replica(id) => (writer.u8(0), writer.fixed64(id.0)).1,
            Self::Deleted(id) => (writer.u8(1), writer.fixed64(id.0)).1,
            Self::Name(id) => (writer.u8(2), writer.fixed64(id.0)).1,
            Self::Watchlist(id, content) | Self::Progress(id, content) => {
                writer.u8(if matches!(self, Self::Watchlist(..)) { 3 } else { 4 });
                writer.fixed64(id.0);
                content.encode(writer);
            }
            Self::Device(id) => {
                writer.u8(5);
                writer.bytes(id.as_str().as_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let tag = reader.u8()?;
        if tag == 5 {
            let id = reader.string(TENANT_ID_BYTES_MAX, "TENANT_ID_BYTES_MAX")?;
            let id = DeviceId::new(id).map_err(|_| DecodeError::invalid("device id"))?;
            return Ok(Self::Device(id));
        }
        let id = reader.fixed64()?;
        Ok(match tag {
            0 => Self::Replica(ReplicaId(id)),
            1 => Self::Deleted(ProfileId(id)),
            2 => Self::Name(ProfileId(id)),
            3 => Self::Watchlist(ProfileId(id), ContentId::decode(reader)?),
            4 => Self::Progress(ProfileId(id), ContentId::decode(reader)?),
            _ => return Err(DecodeError::invalid("key tag")),
        })
    }
}

impl Household {
    /// What merging a delta touches.
    pub fn touched_by(&self, delta: &Delta) -> Touched {
        let mut touched = Touched::new();
        let mut touch = |key: Key, known: bool| {
            let touch = if known { Touch::Changed } else { Touch::New };
            let most = touched.entry(key).or_insert(touch);
            *most = touch.max(*most);
        };
        let seen = self.seen().of(delta.replica);
        if delta.through > seen {
            touch(Key::Replica(delta.replica), seen > Timestamp::ZERO);
        }
        for operation in delta.operations.iter().filter(|operation| operation.timestamp > seen) {
            let id = operation.profile;
            let shelf = self.profile(id);
            match &operation.change {
                Change::Add(content, _) | Change::Remove(content, _) => {
                    let known = shelf.is_some_and(|p| !p.watchlist.dots(content).is_empty());
                    touch(Key::Watchlist(id, content.clone()), known);
                }
                Change::Progress(content, value) => {
                    let register = shelf.and_then(|p| p.progress.get(content));
                    let known = register.is_some_and(|register| match (register.value, value) {
                        (Some(old), Some(new)) => old.duration_s == new.duration_s,
                        (_, None) => true,
                        (None, Some(_)) => false,
                    });
                    touch(Key::Progress(id, content.clone()), known);
                }
                Change::NameProfile(_) => {
                    touch(Key::Name(id), shelf.is_some_and(|p| p.name.is_some()));
                }
                Change::DeleteProfile => touch(Key::Deleted(id), self.is_deleted(id)),
                Change::Device(device, record) => {
                    let register = self.devices().get(device);
                    let known = register.is_some_and(|register| match (&register.value, record) {
                        (Some(old), Some(new)) => old.differs_in_version(new),
                        (_, None) => true,
                        (None, Some(_)) => false,
                    });
                    touch(Key::Device(device.clone()), known);
                }
            }
        }
        touched
    }
}
