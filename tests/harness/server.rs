//! The server: the real room on a virtual store.

use omega_sync_core::clock::Timestamp;
use omega_sync_core::codec::Reader;
use omega_sync_core::delta::Delta;
use omega_sync_core::id::{EpochId, HouseholdId, ReplicaId};
use omega_sync_core::session::server::{Commit, Room, RoomOutput, Stored};
use std::collections::{BTreeMap, VecDeque};

/// The database: what is in it survives everything.
#[derive(Debug, Default)]
pub struct Store {
    stored: Option<Stored>,
    /// Every delta that was ever committed, for the checks.
    pub history: Vec<Delta>,
    stamps: BTreeMap<ReplicaId, Timestamp>,
}

impl Store {
    /// Makes a commit durable if the version is the expected one.
    ///
    /// # Panics
    /// When a version goes back or a replica's stamps do.
    pub fn commit(&mut self, commit: &Commit) -> bool {
        let stored = self.stored.get_or_insert_with(|| Stored {
            epoch: commit.epoch,
            version: 0,
            snapshot: Vec::new(),
            snapshot_version: 0,
            log: Vec::new(),
            replicas: Vec::new(),
        });
        if stored.version != commit.expected || stored.epoch != commit.epoch {
            return false;
        }
        assert!(commit.version >= stored.version, "a version went back");
        stored.version = commit.version;
        stored.log.extend(commit.entries.iter().cloned());
        for (replica, row) in &commit.replicas {
            stored.replicas.retain(|(other, _)| other != replica);
            stored.replicas.push((*replica, row.clone()));
        }
        if let Some(snapshot) = &commit.snapshot {
            stored.snapshot = snapshot.bytes.clone();
            stored.snapshot_version = snapshot.version;
            stored.log.retain(|(version, _)| *version > snapshot.version);
        }
        for (_, bytes) in &commit.entries {
            self.note(bytes);
        }
        true
    }

    fn note(&mut self, bytes: &[u8]) {
        let delta = Delta::load(&mut Reader::new(bytes));
        let delta = delta.expect("the room encoded it");
        let stamps = delta.operations.iter().map(|operation| operation.timestamp);
        let last = self.stamps.entry(delta.replica).or_default();
        for stamp in stamps {
            assert!(stamp > *last, "acknowledged stamps of a replica must ascend");
            *last = stamp;
        }
        self.history.push(delta);
    }

    /// Loads the room, or creates it.
    pub fn room(&self, household: &HouseholdId) -> Room {
        match &self.stored {
            Some(stored) => Room::load(household.clone(), stored).expect("the room wrote it"),
            None => Room::create(household.clone(), EpochId(1)),
        }
    }
}

/// The server process.
#[derive(Debug, Default)]
pub struct Server {
    /// The room; `None` until somebody needs it.
    pub room: Option<Room>,
    /// Outputs that wait to be carried out, one by one. A kill loses them.
    pub queue: VecDeque<RoomOutput>,
    /// The database.
    pub store: Store,
}

impl Server {
    /// kill -9.
    pub fn kill(&mut self) {
        self.room = None;
        self.queue.clear();
    }
}
