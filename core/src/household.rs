//! The shared document of a household: profiles, each with a watchlist and viewing progress, and what
//! its devices say of themselves.
//!
//! The server puts all operations of a household in one order and everybody applies them in that order,
//! so an operation arrives after everything its author had seen (causal delivery). Under it, applying
//! operations one by one gives the same state as joining whole states.
//!
//! Invariants: an operation at or below what the household has seen of its author changes nothing, so
//! every operation may be repeated; a deleted profile never comes back.

mod difference;
mod field;
mod history;
mod snapshot;

pub use history::{GONE_MAX, History, Key, Touch, Touched};
pub use snapshot::{DIFFERENCE_BYTES_MAX, STATE_VERSION, TOUCHED_MAX};

use crate::causal::{Dot, VersionVector};
use crate::clock::Timestamp;
use crate::crdt::lww::{LwwMap, LwwRegister};
use crate::crdt::orset::OrSet;
use crate::delta::Delta;
use crate::id::{ContentId, DeviceId, ProfileId, ReplicaId};
use crate::operation::{
    Change, Changed, DeviceRecord, OBSERVED_MAX, Operation, Part, Progress, VoidReason,
};
use crate::sorted::{Map, Set};

/// Live adds and progress entries of all profiles together: what a snapshot frame can hold.
pub const ENTRIES_MAX: usize = 5_000;
/// Profiles that exist at one time, the default one included.
pub const PROFILES_MAX: usize = 32;
/// Profiles that ever existed: deleted ids are kept, because deletion is final.
pub const PROFILES_EVER_MAX: usize = 512;
/// Device records that one household may hold, removed ones included.
pub const DEVICES_MAX: usize = 64;
/// Replicas that one household may have seen.
pub const REPLICAS_MAX: usize = 1_024;

/// One profile's shelf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    pub(crate) name: Option<LwwRegister<String>>,
    pub(crate) watchlist: OrSet<ContentId>,
    pub(crate) progress: LwwMap<ContentId, Option<Progress>>,
}

impl Profile {
    /// Its name; the default profile may have none.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", |register| &register.value)
    }

    /// Its name and who gave it; `None` for a default profile that nobody named.
    pub fn naming(&self) -> Option<&LwwRegister<String>> {
        self.name.as_ref()
    }

    /// The titles to watch.
    pub fn watchlist(&self) -> &OrSet<ContentId> {
        &self.watchlist
    }

    /// How far each title was watched; `None` for one taken off "continue watching".
    pub fn progress(&self) -> &LwwMap<ContentId, Option<Progress>> {
        &self.progress
    }

    /// The titles of both.
    fn titles(&self) -> Vec<&ContentId> {
        let mut titles = Vec::with_capacity(self.progress.len() + self.watchlist.len());
        titles.extend(self.progress.iter().map(|(content, _)| content));
        for (content, _) in self.watchlist.iter() {
            if self.progress.get(content).is_none() {
                titles.push(content);
            }
        }
        titles
    }
}

/// A household's state as one replica or the server has confirmed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Household {
    seen: VersionVector,
    profiles: Map<ProfileId, Profile>,
    deleted: Set<ProfileId>,
    devices: LwwMap<DeviceId, Option<DeviceRecord>>,
}

impl Default for Household {
    fn default() -> Self {
        Self {
            seen: VersionVector::default(),
            profiles: Map::of(ProfileId::DEFAULT, Profile::default()),
            deleted: Set::new(),
            devices: LwwMap::default(),
        }
    }
}

impl Household {
    /// Applies one replica's delta; what it has seen already changes nothing.
    ///
    /// The caller delivers each replica's deltas in order and every operation after those its author
    /// had seen; the numbered frames of a session see to that.
    pub fn merge(&mut self, delta: &Delta) -> Changed {
        let mut changed = Changed::new();
        for operation in &delta.operations {
            if operation.timestamp > self.seen.of(delta.replica) {
                self.apply(delta.replica, operation, &mut changed);
            }
        }
        self.cover(delta.replica, delta.through);
        changed
    }

    /// Applies a delta that the server says it took, unless it can't have.
    ///
    /// # Errors
    /// Why it must have refused an operation. Those before it are applied.
    pub fn merge_taken(&mut self, delta: &Delta) -> Result<Changed, VoidReason> {
        let mut changed = Changed::new();
        let seen = self.seen.of(delta.replica);
        if seen == Timestamp::ZERO && self.seen.len() >= REPLICAS_MAX {
            return Err(VoidReason::HouseholdFull);
        }
        for operation in &delta.operations {
            if operation.timestamp > seen {
                self.check(operation)?;
                self.apply(delta.replica, operation, &mut changed);
            }
        }
        self.cover(delta.replica, delta.through);
        Ok(changed)
    }

    fn apply(&mut self, replica: ReplicaId, operation: &Operation, changed: &mut Changed) {
        let Operation { timestamp, profile, ref change } = *operation;
        let dot = Dot { timestamp, replica };
        self.seen.raise(replica, timestamp);
        if let Change::Device(device, value) = change {
            if self.devices.set(device.clone(), dot, value.clone()) {
                changed.insert(Part::Devices);
            }
            return;
        }
        if self.deleted.contains(&profile) {
            return;
        }
        if *change == Change::DeleteProfile {
            self.delete(profile, changed);
            return;
        }
        let shelf = match change {
            Change::NameProfile(_) => self.profiles.or_default(profile),
            _ => match self.profiles.get_mut(&profile) {
                Some(shelf) => shelf,
                None => return,
            },
        };
        match change {
            Change::Add(content, observed) => {
                shelf.watchlist.add(content.clone(), dot, observed);
                changed.insert(Part::Watchlist(profile));
            }
            Change::Remove(content, observed) => {
                if shelf.watchlist.remove(content, observed) {
                    changed.insert(Part::Watchlist(profile));
                }
            }
            Change::Progress(content, value) => {
                if shelf.progress.set(content.clone(), dot, *value) {
                    changed.insert(Part::Progress(profile));
                }
            }
            Change::NameProfile(name) => {
                match &mut shelf.name {
                    Some(register) => drop(register.set(dot, name.clone())),
                    none => *none = Some(LwwRegister { dot, value: name.clone() }),
                }
                changed.insert(Part::Profiles);
            }
            Change::DeleteProfile | Change::Device(..) => {}
        }
    }

    fn delete(&mut self, profile: ProfileId, changed: &mut Changed) {
        if profile == ProfileId::DEFAULT {
            return;
        }
        self.profiles.remove(&profile);
        self.deleted.insert(profile);
        changed.extend([Part::Profiles, Part::Watchlist(profile), Part::Progress(profile)]);
    }

    /// Joins a whole state, as after the restore of a server's backup.
    pub fn join(&mut self, other: Self) {
        for (id, theirs) in other.profiles {
            let mine = self.profiles.or_default(id);
            mine.watchlist.join(theirs.watchlist, &self.seen, &other.seen);
            mine.progress.join(theirs.progress, &self.seen, &other.seen);
            mine.name = match (mine.name.take(), theirs.name) {
                (Some(a), Some(b)) => Some(if b.dot > a.dot { b } else { a }),
                (a, b) => a.or(b),
            };
        }
        self.devices.join(other.devices, &self.seen, &other.seen);
        self.deleted.extend(other.deleted);
        self.profiles.retain(|id, _| !self.deleted.contains(id));
        self.seen.join(&other.seen);
    }

    /// Joins whole states, but for each that would lead beyond the limits.
    pub fn join_within_limits(&mut self, states: Vec<Self>) {
        for state in states {
            let mut joined = self.clone();
            joined.join(state);
            if joined.check_limits().is_ok() {
                *self = joined;
            }
        }
    }

    /// Whether the server takes this operation, or why it voids it.
    pub fn check(&self, operation: &Operation) -> Result<(), VoidReason> {
        self.check_within(operation, ENTRIES_MAX)
    }

    /// The same for a household that may have fewer entries than [`ENTRIES_MAX`].
    pub fn check_within(
        &self,
        operation: &Operation,
        entries_max: usize,
    ) -> Result<(), VoidReason> {
        let profile = operation.profile;
        if let Change::Device(device, _) = &operation.change {
            let full = self.devices.len() >= DEVICES_MAX && self.devices.get(device).is_none();
            return if full { Err(VoidReason::HouseholdFull) } else { Ok(()) };
        }
        if self.deleted.contains(&profile) {
            return Err(VoidReason::ProfileDeleted);
        }
        let Some(shelf) = self.profiles.get(&profile) else {
            let full = self.profiles.len() >= PROFILES_MAX
                || self.profiles.len() + self.deleted.len() >= PROFILES_EVER_MAX;
            return match operation.change {
                Change::NameProfile(_) if full => Err(VoidReason::HouseholdFull),
                Change::NameProfile(_) => Ok(()),
                _ => Err(VoidReason::ProfileUnknown),
            };
        };
        let full = || self.entries() >= entries_max.min(ENTRIES_MAX);
        match &operation.change {
            Change::Add(content, observed) => {
                let dots = shelf.watchlist.dots(content);
                let left = dots.iter().filter(|dot| !observed.contains(dot)).count();
                let refused = left >= OBSERVED_MAX || left == dots.len() && full();
                if refused { Err(VoidReason::HouseholdFull) } else { Ok(()) }
            }
            Change::Progress(content, _) if shelf.progress.get(content).is_none() && full() => {
                Err(VoidReason::HouseholdFull)
            }
            Change::DeleteProfile if profile == ProfileId::DEFAULT => {
                Err(VoidReason::DefaultProfile)
            }
            _ => Ok(()),
        }
    }

    /// Notes that everything of `replica` up to `through` is settled, as by a delta without operations.
    pub fn cover(&mut self, replica: ReplicaId, through: Timestamp) {
        if through > Timestamp::ZERO {
            self.seen.raise(replica, through);
        }
    }

    /// What this state has seen.
    pub fn seen(&self) -> &VersionVector {
        &self.seen
    }

    /// A profile's shelf, if it exists.
    pub fn profile(&self, id: ProfileId) -> Option<&Profile> {
        self.profiles.get(&id)
    }

    /// All profiles in the order of their ids, the default one first.
    pub fn profiles(&self) -> impl Iterator<Item = (ProfileId, &Profile)> {
        self.profiles.iter().map(|(&id, profile)| (id, profile))
    }

    /// What its devices say of themselves; `None` for one taken off the list.
    pub fn devices(&self) -> &LwwMap<DeviceId, Option<DeviceRecord>> {
        &self.devices
    }

    /// Whether a profile was deleted.
    pub fn is_deleted(&self, id: ProfileId) -> bool {
        self.deleted.contains(&id)
    }

    /// The profiles that were deleted.
    pub fn deleted(&self) -> impl Iterator<Item = ProfileId> + '_ {
        self.deleted.iter().copied()
    }

    /// How many entries count towards [`ENTRIES_MAX`].
    pub fn entries(&self) -> usize {
        let adds = |p: &Profile| p.watchlist.iter().map(|(_, live)| live.len()).sum::<usize>();
        self.profiles.values().map(|p| adds(p) + p.progress.len()).sum()
    }

    /// Every part a screen may show.
    pub fn all_parts(&self) -> Changed {
        let parts = |&id| [Part::Watchlist(id), Part::Progress(id)];
        self.profiles.keys().flat_map(parts).chain([Part::Profiles, Part::Devices]).collect()
    }
}

#[cfg(test)]
mod tests;
