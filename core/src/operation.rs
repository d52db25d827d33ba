//! The vocabulary of a household: what users intend, the stamped operations that it becomes, and why one
//! is refused.
//!
//! An [`Operation`] is a user's [`Intent`] with its stamp. How operations are written is
//! [`crate::delta`]'s, what they do to a household [`crate::household`]'s.

mod device;

pub(crate) use device::CAPABILITIES_BITS;
pub use device::{Capabilities, DEVICE_TEXT_BYTES_MAX, DeviceRecord, DeviceType, Resolution};

use crate::causal::Dot;
use crate::clock::Timestamp;
use crate::id::{ContentId, DeviceId, ProfileId};
use crate::sorted::Set;

/// Longest profile name in bytes.
pub const PROFILE_NAME_BYTES_MAX: usize = 64;
/// Concurrent adds of one title that may be live, and dots that one operation may have observed.
pub const OBSERVED_MAX: usize = 64;

/// What the player was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlayState {
    /// Playing: the position moves with the clock.
    Playing,
    /// Paused by the viewer.
    Paused,
    /// Left before the end.
    Stopped,
    /// Watched to the end.
    Finished,
}

impl PlayState {
    /// All states, at the index that stands for them in bytes.
    pub const ALL: [Self; 4] = [Self::Playing, Self::Paused, Self::Stopped, Self::Finished];
}

/// How far a title was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Seconds from the start.
    pub position_s: u32,
    /// Length of the title in seconds, 0 when unknown.
    pub duration_s: u32,
    /// What the player was doing.
    pub state: PlayState,
}

/// Share of a title, in percent, from which it counts as watched.
pub const COMPLETED_PERCENT: u32 = 95;

impl Progress {
    /// Share watched in percent, 0 to 100; 100 when finished.
    pub fn completion_percent(&self) -> u32 {
        if self.state == PlayState::Finished {
            return 100;
        }
        match u64::from(self.duration_s) {
            0 => 0,
            duration => (u64::from(self.position_s) * 100 / duration).min(100) as u32,
        }
    }

    /// Whether it counts as watched.
    pub fn is_completed(&self) -> bool {
        self.completion_percent() >= COMPLETED_PERCENT
    }

    /// Where to go on: the position, or the start when it counts as watched.
    pub fn resume_s(&self) -> u32 {
        if self.is_completed() { 0 } else { self.position_s }
    }
}

/// What a user wants. It has no stamp yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Put a title on the watchlist.
    Add(ProfileId, ContentId),
    /// Take a title off the watchlist.
    Remove(ProfileId, ContentId),
    /// Note how far a title was watched; `None` takes it off "continue watching".
    Progress(ProfileId, ContentId, Option<Progress>),
    /// Create a profile or give it another name.
    NameProfile(ProfileId, String),
    /// Delete a profile and everything on its shelf, for good.
    DeleteProfile(ProfileId),
    /// Note what a device says of itself; `None` takes it off the list.
    DescribeDevice(DeviceId, Option<DeviceRecord>),
}

/// One stamped change. With its author's replica id the stamp is its name, a [`Dot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// When, by the author's hybrid logical clock.
    pub timestamp: Timestamp,
    /// On which shelf; the default one for [`Change::Device`], which is on none.
    pub profile: ProfileId,
    /// What the operation changes.
    pub change: Change,
}

/// What an operation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a title in place of the observed adds of it.
    Add(ContentId, Vec<Dot>),
    /// Removes the observed adds of a title.
    Remove(ContentId, Vec<Dot>),
    /// Sets the progress of a title.
    Progress(ContentId, Option<Progress>),
    /// Names the profile, and creates it when it is new.
    NameProfile(String),
    /// Deletes the profile.
    DeleteProfile,
    /// Sets what a device says of itself.
    Device(DeviceId, Option<DeviceRecord>),
}

impl Operation {
    /// The parts of the household that it changes.
    pub fn parts(&self) -> Changed {
        let profile = self.profile;
        match &self.change {
            Change::Add(..) | Change::Remove(..) => Changed::of(Part::Watchlist(profile)),
            Change::Progress(..) => Changed::of(Part::Progress(profile)),
            Change::Device(..) => Changed::of(Part::Devices),
            // A profile comes or goes with what is on its shelf.
            Change::NameProfile(_) | Change::DeleteProfile => {
                Changed::from([Part::Profiles, Part::Watchlist(profile), Part::Progress(profile)])
            }
        }
    }

    /// The adds that an add or a remove observed.
    pub fn observed(&self) -> Option<&[Dot]> {
        match &self.change {
            Change::Add(_, observed) | Change::Remove(_, observed) => Some(observed),
            _ => None,
        }
    }

    /// No encoding of this operation is longer, in bytes.
    pub fn bytes_bound(&self) -> usize {
        const FIXED: usize = 64;
        const DOT: usize = 24;
        let text = self.change.content().map_or(0, |content| content.as_str().len());
        let observed = self.observed().map_or(0, <[Dot]>::len);
        FIXED + text + DOT * observed + self.change.payload_bound()
    }
}

impl Change {
    /// The title it is about.
    pub fn content(&self) -> Option<&ContentId> {
        match self {
            Self::Add(content, _) | Self::Remove(content, _) | Self::Progress(content, _) => {
                Some(content)
            }
            Self::NameProfile(_) | Self::DeleteProfile | Self::Device(..) => None,
        }
    }

    fn payload_bound(&self) -> usize {
        match self {
            Self::NameProfile(name) => name.len(),
            Self::Device(device, record) => {
                device.as_str().len() + record.as_ref().map_or(0, DeviceRecord::bytes_bound)
            }
            _ => 0,
        }
    }
}

/// Why the server refused an operation for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VoidReason {
    /// The profile was deleted; deletion is final.
    ProfileDeleted,
    /// The profile was never created.
    ProfileUnknown,
    /// A limit of the household is reached.
    HouseholdFull,
    /// The default profile can't be deleted.
    DefaultProfile,
    /// The token does not allow writing.
    Forbidden,
}

impl VoidReason {
    /// All reasons, at the index that stands for them in bytes.
    pub const ALL: [Self; 5] = [
        Self::ProfileDeleted,
        Self::ProfileUnknown,
        Self::HouseholdFull,
        Self::DefaultProfile,
        Self::Forbidden,
    ];

    /// The stable name that apps see.
    pub fn code(self) -> &'static str {
        match self {
            Self::ProfileDeleted => "profile_deleted",
            Self::ProfileUnknown => "profile_unknown",
            Self::HouseholdFull => "household_full",
            Self::DefaultProfile => "default_profile",
            Self::Forbidden => "forbidden",
        }
    }
}

/// A part of a household that a screen shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The list of profiles.
    Profiles,
    /// One profile's watchlist.
    Watchlist(ProfileId),
    /// One profile's progress.
    Progress(ProfileId),
    /// The list of devices.
    Devices,
}

/// The parts that changed.
pub type Changed = Set<Part>;
