//! What one device is known to hold, kept beside it from outside: which of its viewers' actions
//! still wait, and what it has heard of.
//!
//! A ledger goes with every write to the device's disk and every frame it sends, so after a power
//! cut the world knows what must be there, and when the server takes a frame what was in it.

/// The number of what a viewer did, by its place in the world's list.
pub type ActionId = u32;
/// The number of what the server took: an action under one name.
pub type OpId = u32;

/// An action that waits for the server, under the stamp it has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its stamp.
    pub stamp: u64,
    /// What it is.
    pub action: ActionId,
}

/// What somebody has heard of: everything up to a version in one life of the database, and more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Which life, by its place in the oracle's list.
    pub life: usize,
    /// Up to which version of it.
    pub version: u64,
    /// What else: own operations ahead of the version, or what an earlier life left behind.
    pub extra: Vec<OpId>,
}

/// Everything the world knows of what a device holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The replica's id.
    pub replica: u64,
    /// What waits, in the order of the stamps.
    pub entries: Vec<Entry>,
    /// What was heard of.
    pub known: Known,
    /// In which life it synced last, by its place in the oracle's list.
    pub synced: Option<usize>,
    /// What earlier lives said and the present one may not have.
    pub owed: Option<Vec<OpId>>,
    /// How many refused operations the app has not taken.
    pub refused: usize,
    /// True time at which the hello left whose answer last measured the clock.
    pub measured_ms: Option<u64>,
}

impl Ledger {
    /// The action that waits under a stamp.
    pub fn at(&self, stamp: u64) -> Option<ActionId> {
        let place = self.entries.binary_search_by_key(&stamp, |entry| entry.stamp).ok()?;
        Some(self.entries[place].action)
    }
}
